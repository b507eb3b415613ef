//! Durable orders: the store that is the truth, the writers that feed it in batches, the events it tells of.

mod store;

pub use store::{Applied, Batch, Fault, Receipt, StoreError, Transition};
