//! Search: a document for each sale follows the sales into a search server, MeiliSearch, Elasticsearch or OpenSearch.
//! `SEARCH.md` beside this file is for whoever searches there.
//!
//! A document is a state and no event: what the order store has is compared with what the index was told, and what differs is
//! written, the newest only, at most once in an interval for each sale. One engine of a store writes ([`Search::run`]).
//! Nothing is written down of it: whoever goes on writes every document once, and then removes those that it did not write.
//! What is to be written is a machine without I/O and clock, the shelf; what is said to whom is one file a server.

mod client;
mod document;
mod elastic;
mod meili;
mod outcome;
mod progress;
mod rebuild;
mod server;
mod settings;
mod shelf;
mod writer;

pub use progress::{Progress, Standing};
pub use rebuild::RebuildState;
pub use settings::{SearchKind, SearchSettings};
pub use writer::Search;
