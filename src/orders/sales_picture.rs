//! All live sales at once, for whoever shows them elsewhere.

use super::desk::OrderDesk;
use super::store::StoreError;
use crate::domain::{EpochMs, Sale, SalePhase};

/// The live sales as the order store has them.
#[derive(Clone, Debug)]
pub struct SalesPicture {
    /// At this moment, or a little later, they were so. Of the store's own calendar, where several engines may share it.
    pub as_of: EpochMs,
    /// Each with where it is in its life.
    pub sales: Vec<(Sale, SalePhase)>,
}

impl OrderDesk {
    /// All live sales. What is sold of them is what is durable, at whichever engine.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn sales_picture(&self) -> Result<SalesPicture, StoreError> {
        let read = self.read(|store| Ok((store.calendar()?, store.stops()?, store.sales()?)));
        let (as_of, stops, sales) = read.await?;
        let (admission, now) = (self.admission(), self.clock().calendar());
        let phase = |sale: &Sale| admission.phase_of(&sale.terms, stops.concern(sale.key.tenant()), now);
        let sales = sales.into_iter().map(|sale| {
            let phase = phase(&sale);
            (sale, phase)
        });
        Ok(SalesPicture { as_of: as_of.unwrap_or(now), sales: sales.collect() })
    }
}
