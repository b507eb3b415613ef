//! Who holds which stock. On one machine all of it is ours: the ledger is the order store's own count. Between several
//! nodes it is lent out by [`redis`].
//!
//! Never knows HTTP or SQL.

mod embedded;
pub mod redis;

pub use embedded::{EmbeddedLedger, NewSale, SaleError};
