//! Who holds the unsold stock: this engine alone ([`EmbeddedLedger`]), or several engines that are lent it
//! ([`SharedLedger`]). [`SaleDesk`] makes and changes sales, whichever it is.
//!
//! [`lease`] is the protocol of lending as pure machines, [`agent`] runs them, [`redis`] is the wire to the books. Never
//! knows HTTP or SQL; only the agent and the wire know Redis.

pub mod agent;
mod audit;
mod books;
mod concerns;
mod desk;
mod embedded;
pub mod lease;
pub mod redis;
mod retiring;
mod settings;
mod withdrawal;

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;

pub use agent::SharedLedger;
pub use audit::{LedgerState, StockAudit};
pub use books::{LedgerBook, ThreeBooks};
pub use concerns::Concerns;
pub use desk::{NewSale, SaleDesk, SaleError};
pub use embedded::EmbeddedLedger;
pub use settings::LedgerSettings;
pub use withdrawal::Withdrawal;

use crate::admission::{Board, LiveSale};
use crate::domain::{Sale, Units};
use crate::orders::StoreError;

/// An answer that a ledger may have to wait for.
pub type Awaited<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Why stock is not lent at the moment, in the words of who lends it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LedgerFault {
    /// It does not answer; it may come back by itself.
    #[error("{0}")]
    Away(String),
    /// It refuses this engine; an operator must act.
    #[error("{0}")]
    Refused(String),
}

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

    /// Whether who lends the stock answers, and lets this engine do what lending needs. `None` when nobody lends it.
    fn answers(&self) -> Awaited<'_, Option<Result<(), LedgerFault>>>;

    /// Commands sent to who lends the stock since the start. `None` when nobody lends it.
    fn commands(&self) -> Option<u64>;

    /// What an operator has to look after, with a code each.
    fn concerns(&self) -> Vec<(&'static str, String)>;
}
