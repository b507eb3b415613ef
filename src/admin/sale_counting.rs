//! Counts sales in the store whose turn it is.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::control_plane::ControlPlane;
use super::sale_counts::{COUNT_EVERY, COUNTING_MAX, Counted};
use crate::admission::LiveSale;

/// Counting a sale may take this part of the time at most: one that takes long is counted more seldom.
const COUNTING_SHARE: u32 = 20;

impl ControlPlane {
    /// Has the sales counted whose turn it is, each with how often that is, and waits a moment for it: what is not counted by then is
    /// told by the next page or snapshot. Of several who want that at once one counts.
    pub(super) async fn count_soon(self: &Arc<Self>, wanted: Vec<(Arc<LiveSale>, Duration)>) {
        let Ok(alone) = Arc::clone(&self.counting).try_acquire_owned() else { return };
        let plane = Arc::clone(self);
        let counting = tokio::spawn(async move {
            plane.count_sales(wanted).await;
            drop(alone);
        });
        let _ = timeout(COUNTING_MAX, counting).await;
    }

    async fn count_sales(&self, wanted: Vec<(Arc<LiveSale>, Duration)>) {
        let now = Instant::now();
        self.sale_counts.keep(&self.admission.board().sales());
        let mut due: Vec<_> = wanted
            .into_iter()
            .filter_map(|(sale, every)| {
                let Some(counted) = self.sale_counts.of(sale.id) else { return Some((None, sale)) };
                let age = now.saturating_duration_since(counted.at);
                // A little early: the next look is a whole second away.
                let every = every.max(counted.took * COUNTING_SHARE).saturating_sub(COUNT_EVERY / 2);
                (age >= every).then_some((Some(counted.at), sale))
            })
            .collect();
        due.sort_by_key(|(at, _)| *at);
        for (_, sale) in due {
            if now.elapsed() >= COUNTING_MAX {
                return;
            }
            // Without the wait for a place.
            let counting = async {
                let at = Instant::now();
                (at, self.sales.ledger().audit(&sale).await, at.elapsed())
            };
            let (at, Ok(Some(audit)), took) = self.in_bulk(counting).await else { continue };
            let counted = Counted { at, took, audit: audit.orders, conserved: audit.conserved };
            self.sale_counts.set(sale.id, counted);
        }
    }
}
