//! How long to wait before something that has just been done is done again: the first time not at all, then ever longer.

use std::time::{Duration, Instant};

use crate::domain::NodeId;

/// The wait before the second time.
const FIRST: Duration = Duration::from_millis(250);
/// The longest wait.
const LONGEST: Duration = Duration::from_secs(30);
/// Who has not needed it for so long, and for [`CALM_WAITS`] of its last wait, begins anew: what befalls a node now and
/// then is not one thing that goes on.
const CALM_MIN: Duration = Duration::from_secs(5);
const CALM_WAITS: u32 = 4;
/// Nodes that do the same at once spread over this part of a wait.
const SPREAD: u32 = 8;

/// Waits that double, up to a limit, each a little different on each node.
#[derive(Clone, Copy, Debug, Default)]
pub struct Backoff {
    last: Option<Last>,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    /// When it was, or is, done after its wait.
    due: Instant,
    wait: Duration,
}

impl Last {
    /// For how long it must not be needed until it is as if it never was.
    fn calm(&self) -> Duration {
        CALM_MIN.max(self.wait * CALM_WAITS)
    }
}

impl Backoff {
    /// How long `node` waits at `now` before it does it once more.
    pub fn next(&mut self, node: NodeId, now: Instant) -> Duration {
        let recent = self.last.filter(|last| now.saturating_duration_since(last.due) < last.calm());
        let wait = match recent {
            None => Duration::ZERO,
            // It waits still: once is enough.
            Some(last) if last.due > now => return last.due - now,
            Some(last) => (last.wait * 2).clamp(FIRST, LONGEST),
        };
        let jitter = wait * (u32::from(node.number()) % SPREAD) / (2 * SPREAD);
        self.last = Some(Last { due: now + wait + jitter, wait });
        wait + jitter
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn n6_waits_double_up_to_a_limit_differ_from_node_to_node_and_end_when_all_is_calm() {
        let (node, other) = (NodeId::new(0).unwrap(), NodeId::new(3).unwrap());
        let mut backoff = Backoff::default();
        let mut now = Instant::now();
        let mut waits = Vec::new();
        for _ in 0..10 {
            let wait = backoff.next(node, now);
            assert!(wait.is_zero() || backoff.next(node, now) == wait, "asked again while it waits");
            waits.push(wait.as_millis());
            now += wait;
        }
        assert_eq!(waits, [0, 250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
        let mut elsewhere = Backoff::default();
        elsewhere.next(other, now);
        assert_eq!(elsewhere.next(other, now), FIRST + FIRST * 3 / 16);
        assert_eq!(backoff.next(node, now + LONGEST * CALM_WAITS), Duration::ZERO);
    }

    #[test]
    fn what_befalls_a_node_now_and_then_costs_it_no_wait() {
        let node = NodeId::new(0).unwrap();
        let mut backoff = Backoff::default();
        let mut now = Instant::now();
        for _ in 0..10 {
            assert_eq!(backoff.next(node, now), Duration::ZERO);
            now += CALM_MIN;
        }
    }
}
