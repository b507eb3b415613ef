//! Durable orders: the store that is the truth, the writer that feeds it in batches, the events it tells of.
//!
//! Never knows HTTP or Redis. [`OrderDesk`] is the door for the rest of the engine.

mod deadlines;
mod desk;
mod events;
mod recovery;
pub mod sqlite;
mod store;
mod writer;

pub use deadlines::Deadlines;
pub use desk::OrderDesk;
pub use events::{Event, EventKind};
pub use recovery::Recovered;
pub use store::{Applied, Audit, Batch, Fault, Receipt, SaleChange, StoreError, Transition};
pub use writer::{OrderWriter, Step, WriterSettings, WriterWatch};
