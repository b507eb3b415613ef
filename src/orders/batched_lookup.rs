//! Looking orders up, many askers at once: what is asked for while the store is being read is read next, in one go.
//!
//! A thread an asker would have hundreds of them wait for the processor and wake each other; here at most one reads.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;

use super::store::{StoreError, StoreReader};
use crate::domain::{Order, OrderId};

/// Orders read at once at most: a read is short, so that nobody waits long for those before him.
const ORDERS_MAX: usize = 1_024;

type Answer = Result<Option<Order>, StoreError>;
type Asker = (OrderId, oneshot::Sender<Answer>);

/// Who waits for an order to be read. As many wait as have asked; the edge's limits on connections are its limits.
#[derive(Debug, Default)]
pub(super) struct Lookups {
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    askers: Vec<Asker>,
    /// Somebody reads, and will look again before he stops.
    is_read: bool,
}

impl Lookups {
    /// Looks `id` up, on the blocking pool of the calling runtime or with somebody who reads already.
    pub async fn order(self: &Arc<Self>, reader: &Arc<dyn StoreReader>, id: OrderId) -> Answer {
        let (reply, answer) = oneshot::channel();
        let first = {
            let mut waiting = self.waiting.lock();
            waiting.askers.push((id, reply));
            !std::mem::replace(&mut waiting.is_read, true)
        };
        if first {
            let shift = Shift { lookups: Arc::clone(self), has_ended: false };
            let reader = Arc::clone(reader);
            // Nobody waits for the reading itself: each asker waits for its own answer.
            drop(spawn_blocking(move || shift.read(&*reader)));
        }
        answer.await.unwrap_or_else(|_| Err(StoreError::cut_short()))
    }
}

/// The duty to read until nobody waits. However it ends, also on a runtime that never runs it, nobody is left waiting.
struct Shift {
    lookups: Arc<Lookups>,
    has_ended: bool,
}

impl Shift {
    fn read(mut self, reader: &dyn StoreReader) {
        while let Some(askers) = self.next() {
            let ids: Vec<OrderId> = askers.iter().map(|(id, _)| *id).collect();
            // Who does not wait any more needs no answer: a reply that nobody takes is no failure.
            match reader.orders(&ids) {
                Ok(orders) => {
                    for ((_, reply), order) in askers.into_iter().zip(orders) {
                        let _ = reply.send(Ok(order));
                    }
                }
                // A store that is away takes its time to say so. Who came meanwhile has waited as well, and hears the same:
                // one failure for all, not one after the other.
                Err(error) => {
                    for (_, reply) in askers.into_iter().chain(self.latecomers()) {
                        let _ = reply.send(Err(error.clone()));
                    }
                }
            }
        }
    }

    /// Those who have come while the read went on.
    fn latecomers(&self) -> Vec<Asker> {
        std::mem::take(&mut self.lookups.waiting.lock().askers)
    }

    /// Those who are served next. `None` when nobody waits: the next asker begins another shift.
    fn next(&mut self) -> Option<Vec<Asker>> {
        let mut waiting = self.lookups.waiting.lock();
        let served = waiting.askers.len().min(ORDERS_MAX);
        self.has_ended = served == 0;
        waiting.is_read = !self.has_ended;
        (!self.has_ended).then(|| waiting.askers.drain(..served).collect())
    }
}

impl Drop for Shift {
    fn drop(&mut self) {
        if !self.has_ended {
            *self.lookups.waiting.lock() = Waiting::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::task::JoinHandle;

    use super::super::events::Event;
    use super::super::store::{Audit, CompleteOrders, PoolFigures, StartVisitor};
    use super::*;
    use crate::domain::{Sale, SaleId, StoreIdentity};

    /// A store that has no orders, counts how often it is read, and waits for a word before each answer.
    #[derive(Debug)]
    struct SlowStore {
        reads: AtomicUsize,
        go_on: flume::Receiver<()>,
    }

    impl crate::orders::RoomReader for SlowStore {
        fn room_marks(&self, _: &[SaleId]) -> Result<Vec<(SaleId, crate::domain::RoomMarks)>, StoreError> {
            Ok(Vec::new())
        }

        fn registrations(
            &self,
            _: SaleId,
            _: Option<(crate::domain::EpochMs, crate::domain::Who)>,
            _: usize,
        ) -> Result<Vec<crate::domain::Registration>, StoreError> {
            Ok(Vec::new())
        }

        fn room_moves(
            &self,
            _: SaleId,
            _: crate::domain::EpochMs,
            _: usize,
        ) -> Result<Vec<crate::domain::RoomMove>, StoreError> {
            Ok(Vec::new())
        }

        fn pass_secret(&self) -> Result<Vec<u8>, StoreError> {
            unreachable!("look-ups need no passes")
        }
    }

    impl crate::orders::WebhookReader for SlowStore {
        fn webhooks(&self) -> Result<(Vec<crate::orders::WebhookRow>, crate::orders::LogEnds), StoreError> {
            Ok(Default::default())
        }

        fn all_acts_after(&self, _: u64, _: usize) -> Result<Vec<crate::orders::TrailEntry>, StoreError> {
            Ok(Vec::new())
        }
    }

    impl StoreReader for SlowStore {
        fn stops(&self) -> Result<crate::domain::Stops, StoreError> {
            Ok(crate::domain::Stops::default())
        }

        fn graces(&self) -> Result<Vec<crate::orders::Grace>, StoreError> {
            Ok(Vec::new())
        }

        fn last_alive(&self) -> Result<Option<crate::domain::EpochMs>, StoreError> {
            Ok(None)
        }

        fn orders(&self, ids: &[OrderId]) -> Result<Vec<Option<Order>>, StoreError> {
            self.reads.fetch_add(1, Ordering::SeqCst);
            self.go_on.recv().expect("the test says when to go on");
            Ok(vec![None; ids.len()])
        }

        fn archived_orders_of(
            &self,
            _: &crate::orders::WantedOrders,
        ) -> Result<Vec<(OrderId, SaleId)>, StoreError> {
            Ok(Vec::new())
        }

        fn archived_sales(&self, _: &str) -> Result<Vec<crate::domain::Sale>, StoreError> {
            Ok(Vec::new())
        }

        fn archived_sale(
            &self,
            _: &crate::domain::SaleKey,
        ) -> Result<Option<crate::domain::Sale>, StoreError> {
            Ok(None)
        }

        fn moving_sales(&self) -> Result<Vec<SaleId>, StoreError> {
            Ok(Vec::new())
        }

        fn orders_after(
            &self,
            _: Option<SaleId>,
            _: Option<OrderId>,
            _: usize,
        ) -> Result<Vec<Order>, StoreError> {
            Ok(Vec::new())
        }

        fn complete_orders(
            &self,
            _: &crate::orders::OrderFilter,
            _: Option<OrderId>,
            _: usize,
            through: OrderId,
        ) -> Result<CompleteOrders, StoreError> {
            Ok(CompleteOrders { orders: Vec::new(), looked_through: through, through, newest: None })
        }

        fn events_after(&self, _: u64, _: usize) -> Result<Vec<Event>, StoreError> {
            Ok(Vec::new())
        }

        fn trail_after(
            &self,
            _: &str,
            _: u64,
            _: usize,
        ) -> Result<Vec<crate::orders::TrailEntry>, StoreError> {
            Ok(Vec::new())
        }

        fn trail_page(
            &self,
            _: &crate::orders::TrailFilter,
        ) -> Result<Vec<crate::orders::TrailEntry>, StoreError> {
            Ok(Vec::new())
        }

        fn refunds(&self, _: OrderId) -> Result<Vec<crate::orders::RefundRecord>, StoreError> {
            Ok(Vec::new())
        }

        fn audit(&self, _: SaleId) -> Result<Option<Audit>, StoreError> {
            Ok(None)
        }

        fn sale(&self, _: SaleId) -> Result<Option<Sale>, StoreError> {
            Ok(None)
        }

        fn sales(&self) -> Result<Vec<Sale>, StoreError> {
            Ok(Vec::new())
        }

        fn read_all(&self, _: &mut dyn StartVisitor) -> Result<(), StoreError> {
            Ok(())
        }

        fn identity(&self) -> Result<StoreIdentity, StoreError> {
            unreachable!("look-ups need no identity")
        }

        fn pool_figures(&self) -> PoolFigures {
            PoolFigures::default()
        }
    }

    fn slow_store() -> (Arc<SlowStore>, Arc<dyn StoreReader>, flume::Sender<()>) {
        let (go, go_on) = flume::unbounded();
        let store = Arc::new(SlowStore { reads: AtomicUsize::new(0), go_on });
        (Arc::clone(&store), store, go)
    }

    /// Somebody who wants to see the order with this number.
    fn ask(lookups: &Arc<Lookups>, reader: &Arc<dyn StoreReader>, number: u64) -> JoinHandle<Answer> {
        let (lookups, reader) = (Arc::clone(lookups), Arc::clone(reader));
        let id = OrderId::from_number(number).unwrap();
        tokio::spawn(async move { lookups.order(&reader, id).await })
    }

    /// Lets the tasks run until `done`, or fails.
    async fn until(done: impl Fn() -> bool) {
        for _ in 0..10_000 {
            if done() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        panic!("it did not come to that within 10 s");
    }

    #[tokio::test]
    async fn who_asks_during_a_read_is_served_by_the_next_one() {
        let (store, reader, go) = slow_store();
        let lookups = Arc::new(Lookups::default());
        let ask = |number| ask(&lookups, &reader, number);
        let first = ask(1);
        until(|| store.reads.load(Ordering::SeqCst) == 1).await;
        let others: Vec<_> = (2..200).map(ask).collect();
        until(|| lookups.waiting.lock().askers.len() == others.len()).await;
        go.send(()).unwrap();
        go.send(()).unwrap();
        assert!(first.await.unwrap().unwrap().is_none());
        for other in others {
            assert!(other.await.unwrap().unwrap().is_none());
        }
        assert_eq!(store.reads.load(Ordering::SeqCst), 2);
        until(|| !lookups.waiting.lock().is_read).await;
    }

    #[tokio::test]
    async fn a_read_that_breaks_off_leaves_nobody_waiting() {
        let (store, reader, go) = slow_store();
        let lookups = Arc::new(Lookups::default());
        let ask = |number| ask(&lookups, &reader, number);
        let first = ask(1);
        until(|| store.reads.load(Ordering::SeqCst) == 1).await;
        let second = ask(2);
        until(|| lookups.waiting.lock().askers.len() == 1).await;
        // The store panics.
        drop(go);
        assert!(first.await.unwrap().unwrap_err().is_transient());
        assert!(second.await.unwrap().unwrap_err().is_transient());
        assert!(!lookups.waiting.lock().is_read, "the next asker begins anew");
    }
}
