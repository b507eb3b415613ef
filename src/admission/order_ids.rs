//! Order numbers that grow on this node, whatever the calendar does.
//!
//! # Protocol of the atomics
//!
//! `last` is the last tick given out, raised by compare-and-swap, and publishes nothing: relaxed.

use super::sync::{AtomicU64, Ordering};
use crate::domain::{EpochMs, NodeId, OrderId};

/// A hybrid clock: the calendar's milliseconds, and a count within them that may run ahead of it.
#[derive(Debug)]
pub struct OrderIds {
    node: NodeId,
    last: AtomicU64,
}

impl OrderIds {
    /// Numbers of `node` above `newest`, the highest that was ever given out.
    pub fn after(node: NodeId, newest: Option<OrderId>) -> Self {
        Self { node, last: AtomicU64::new(newest.map_or(0, OrderId::tick)) }
    }

    /// The tick of the last number that was given out.
    pub fn last_tick(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }

    /// Gives out only numbers above `known` from now on.
    pub fn rise_above(&self, known: OrderId) {
        self.last.fetch_max(known.tick(), Ordering::Relaxed);
    }

    /// The next number.
    pub fn next(&self, now: EpochMs) -> OrderId {
        let floor = OrderId::tick_at(now);
        let step = |last: u64| Some(floor.max(last + 1));
        let last =
            self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step).unwrap_or_else(|last| last);
        OrderId::from_tick(floor.max(last + 1), self.node)
    }
}

#[cfg(all(test, not(feature = "model")))]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_when_the_calendar_steps_back_and_after_a_restart() {
        let node = NodeId::new(3).unwrap();
        let now = EpochMs(1_800_000_000_000);
        let ids = OrderIds::after(node, None);
        let first = ids.next(now);
        let second = ids.next(now.plus_ms(-60_000));
        assert!(second > first);
        let restarted = OrderIds::after(node, Some(second));
        assert!(restarted.next(now.plus_ms(-60_000)) > second);
    }
}
