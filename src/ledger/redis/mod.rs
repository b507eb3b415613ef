//! The ledger of engines that sell one stock together: the books are in Redis, written by the scripts of `lua/` alone.
//!
//! [`Lender`] is where to start reading; [`Holding`] is what it counts, [`compare`] what it checks itself by.

mod door;
mod holding;
mod lender;
mod link;
mod movements;
mod pulse;
mod reconcile;
mod relay;
mod settings;
mod store;
mod watch;
mod withholding;

pub use door::LenderDoor;
pub use holding::{Holding, Outcome, Standing};
pub use lender::Lender;
pub use link::{RedisFault, RedisLink};
pub use movements::{
    Caller, Chunk, Life, Line, Movement, Rebuild, RedisBooks, Reply, Snapshot, Verdict, book_key,
};
pub use reconcile::{Drift, MemoryView, compare, compare_outside};
pub use relay::{EventRelay, RelayError, RelaySettings, RelayedEvent};
pub use settings::RedisSettings;
pub use store::{LedgerStore, StoreView};
pub use watch::LenderWatch;
