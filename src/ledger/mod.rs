//! Who holds which stock. On one machine all of it is ours: the ledger is the order store's own count.
//!
//! Never knows HTTP or SQL.

mod embedded;

pub use embedded::{EmbeddedLedger, NewSale, SaleError};
