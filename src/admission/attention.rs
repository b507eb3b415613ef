//! How whoever lends the stock hears that something happened to a sale: a sale where nothing happens is looked at by nobody.
//!
//! # Protocol of the atomics
//!
//! `is_named` is true from the moment in which a sale is named in the channel until it is taken up. Who does something to the
//! sale swaps it afterwards, who looks after the sale swaps it before it looks, and of two swaps one comes first: either
//! what was done is seen by this look, or the sale is named for another one. Release and acquire carry what was done from
//! the first swap to the second.

use super::sync::{AtomicBool, Ordering};
use crate::domain::SaleId;

/// Whether a sale is named and was not taken up yet.
#[derive(Debug)]
pub(super) struct Named(AtomicBool);

impl Named {
    pub fn not_yet() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Whoever looks from now on sees what was done before. Call it before the look.
    pub fn take_up(&self) {
        self.0.swap(false, Ordering::AcqRel);
    }

    /// Something was done to the sale. Whether it is to be named.
    fn name(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

/// Where the sales are named.
#[derive(Debug)]
pub(super) struct Attention {
    names: flume::Sender<SaleId>,
    named: flume::Receiver<SaleId>,
}

impl Default for Attention {
    fn default() -> Self {
        let (names, named) = flume::unbounded();
        Self { names, named }
    }
}

impl Attention {
    /// Something was done to the sale.
    #[inline]
    pub fn name(&self, sale: SaleId, named: &Named) {
        if named.name() {
            // The receiver is this struct's own.
            let _ = self.names.send(sale);
        }
    }

    /// The sales that something was done to, each once until it is taken up.
    pub fn named(&self) -> &flume::Receiver<SaleId> {
        &self.named
    }
}
