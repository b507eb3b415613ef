//! Webhooks, and what they tell of, as the rest of the engine asks the order desk about them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::desk::OrderDesk;
use super::events::Event;
use super::step::Step;
use super::store_error::StoreError;
use super::trail::TrailEntry;
use super::webhook_log::{LogEnds, WebhookRow, WebhookStep};
use crate::admission::LiveSale;

impl OrderDesk {
    /// Writes down how webhooks go. Whether all of it was written.
    ///
    /// # Errors
    /// As [`OrderDesk::apply`].
    pub async fn step_webhooks(&self, step: WebhookStep) -> Result<bool, StoreError> {
        self.ask(|reply| Step::Webhooks(Box::new(step), reply)).await
    }

    /// All endpoints of webhooks that were ever known, by name, and the ends of the logs that they are told of.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn webhooks(&self) -> Result<(Vec<WebhookRow>, LogEnds), StoreError> {
        self.read(|store| store.webhooks()).await
    }

    /// Entries of the trail above `after`, about whichever tenant, in order, at most `limit`.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn all_acts_after(&self, after: u64, limit: usize) -> Result<Vec<TrailEntry>, StoreError> {
        self.read(move |store| store.all_acts_after(after, limit)).await
    }

    /// As [`OrderDesk::events_after`], each with its sale, whether that is on the board, archived, or was just made by another
    /// node. `None` where the store knows none: such an event, and those behind it, wait.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn events_with_sales(
        &self,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(Event, Option<Arc<LiveSale>>)>, StoreError> {
        let events = self.events_after(after, limit).await?;
        let mut sales = HashMap::new();
        let mut told = Vec::with_capacity(events.len());
        for event in events {
            let id = event.order.placed.sale;
            let sale = match sales.entry(id) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(place) => place.insert(self.sale_of(id).await?),
            };
            let sale = sale.clone();
            told.push((event, sale));
        }
        Ok(told)
    }
}
