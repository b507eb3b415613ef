//! Who holds the unsold stock: this engine alone ([`EmbeddedLedger`]), or several engines that are lent it by [`redis`]
//! ([`SharedLedger`]). [`SaleDesk`] makes and changes sales, whichever it is.
//!
//! Never knows HTTP or SQL.

mod audit;
mod books;
mod desk;
mod embedded;
pub mod redis;
mod settings;
mod shared;
mod withdrawal;

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;

pub use audit::{LedgerState, StockAudit};
pub use books::{LedgerBook, ThreeBooks};
pub use desk::{NewSale, SaleDesk, SaleError};
pub use embedded::EmbeddedLedger;
pub use settings::LedgerSettings;
pub use shared::SharedLedger;
pub use withdrawal::Withdrawal;

use self::redis::RedisFault;
use crate::admission::{Board, LiveSale};
use crate::domain::{Sale, Units};
use crate::orders::StoreError;

/// An answer that a ledger may have to wait for.
pub type Awaited<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Who holds the units that are not sold.
pub trait Ledger: Debug + Send + Sync {
    /// Puts a sale that the store has just made on the board.
    fn open(&self, board: &Board, sale: Sale);

    /// Takes `units` of the sale off sale, wherever they are. `None` when there are not as many unsold.
    fn withdraw<'a>(&'a self, sale: &'a LiveSale, units: Units) -> Awaited<'a, Option<Withdrawal>>;

    /// The store has `units` more of the sale than before.
    fn grow(&self, sale: &LiveSale, units: Units);

    /// Where the units of the sale are, counted in the store and in the ledger. `None` when there is no such sale.
    fn audit<'a>(&'a self, sale: &'a LiveSale) -> Awaited<'a, Result<Option<StockAudit>, StoreError>>;

    /// The three books of the sale as they are now. `None` when there is no such sale.
    fn books<'a>(&'a self, sale: &'a LiveSale) -> Awaited<'a, Result<Option<ThreeBooks>, StoreError>>;

    /// Whether the Redis that others lend from answers and lets this engine do what lending needs. `None` when there is no
    /// Redis.
    fn redis_answers(&self) -> Awaited<'_, Option<Result<(), RedisFault>>>;

    /// Commands sent to Redis since the start. `None` when there is no Redis.
    fn redis_commands(&self) -> Option<u64>;
}
