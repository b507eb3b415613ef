//! The failure detector: which of the other nodes live, as far as this one has heard. Silence is a reason to ask the
//! store, never evidence.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::domain::NodeId;

/// What was last heard of a node.
#[derive(Clone, Copy, Debug)]
enum Heard {
    /// At `at` its last beat was `silent` ago.
    Beat { silent: Duration, at: Instant },
    /// It said that it leaves.
    Gone,
}

impl Heard {
    fn silence(self, now: Instant) -> Duration {
        match self {
            Self::Beat { silent, at } => silent + now.saturating_duration_since(at),
            Self::Gone => Duration::MAX,
        }
    }
}

/// The beats of the other nodes.
#[derive(Debug)]
pub struct FailureDetector {
    me: NodeId,
    silent_max: Duration,
    /// A longer time without any answer means that nobody could be heard.
    gap: Duration,
    heard: HashMap<NodeId, Heard>,
    heard_at: Option<Instant>,
    /// Since when beats are answered without a gap. Before that, everybody was silent.
    listening_since: Instant,
}

impl FailureDetector {
    /// Takes a node for live while it is silent for less than `silent_max`, as long as beats are answered at least every
    /// `gap`.
    pub fn new(me: NodeId, silent_max: Duration, gap: Duration, now: Instant) -> Self {
        Self { me, silent_max, gap, heard: HashMap::new(), heard_at: None, listening_since: now }
    }

    /// The answer to this node's own beat: the ms since each node's last one, `None` for one that has left.
    pub fn hear(&mut self, beats: impl IntoIterator<Item = (NodeId, Option<u64>)>, now: Instant) {
        if self.heard_at.is_none_or(|last| last + self.gap < now) {
            self.listening_since = now;
        }
        self.heard_at = Some(now);
        let others = beats.into_iter().filter(|(node, _)| *node != self.me);
        self.heard.extend(others.map(|(node, silent_ms)| {
            let beat = |ms| Heard::Beat { silent: Duration::from_millis(ms), at: now };
            (node, silent_ms.map_or(Heard::Gone, beat))
        }));
    }

    /// Whether the node has been silent for so long, while somebody could be heard, that this one looks after its units.
    /// Nodes with higher numbers wait a little longer, so that one of them does it. One that was never heard of begins to
    /// be silent now.
    pub fn is_silent(&mut self, node: NodeId, now: Instant) -> bool {
        let before_me = self.alive(now).filter(|known| *known < self.me).count() as u32;
        self.silence(node, now) >= self.silent_max * (4 + before_me) / 4
    }

    /// How many other nodes live.
    pub fn others_alive(&self, now: Instant) -> u64 {
        self.alive(now).count() as u64
    }

    fn silence(&mut self, node: NodeId, now: Instant) -> Duration {
        let unheard = Heard::Beat { silent: Duration::ZERO, at: now };
        match *self.heard.entry(node).or_insert(unheard) {
            Heard::Gone => Duration::MAX,
            beat => beat.silence(now).min(now.saturating_duration_since(self.listening_since)),
        }
    }

    fn alive(&self, now: Instant) -> impl Iterator<Item = NodeId> {
        let is_alive = move |heard: &Heard| heard.silence(now) < self.silent_max;
        self.heard.iter().filter(move |(_, heard)| is_alive(heard)).map(|(node, _)| *node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn node(number: u16) -> NodeId {
        NodeId::new(number).unwrap()
    }

    fn detector(me: u16, now: Instant) -> FailureDetector {
        FailureDetector::new(node(me), 10 * SECOND, 3 * SECOND, now)
    }

    #[test]
    fn a_silent_node_is_not_alive_and_one_that_left_is_silent_at_once() {
        let start = Instant::now();
        let mut detector = detector(2, start);
        let later = |s| start + s * SECOND;
        for s in 1..=20 {
            let beats = [(node(1), Some(12_000)), (node(2), Some(0)), (node(3), None), (node(4), Some(100))];
            detector.hear(beats, later(s));
        }
        assert_eq!(detector.others_alive(later(20)), 1);
        assert!(detector.is_silent(node(1), later(20)) && detector.is_silent(node(3), later(20)));
        assert!(!detector.is_silent(node(4), later(20)));
    }

    #[test]
    fn the_highest_number_waits_longest() {
        let start = Instant::now();
        let mut detector = detector(2, start);
        for s in 1..=12 {
            detector.hear([(node(1), Some(0)), (node(3), Some(u64::from(s) * 1_000))], start + s * SECOND);
        }
        assert!(!detector.is_silent(node(3), start + 12 * SECOND), "node 1 comes first");
        detector.hear([(node(1), Some(0)), (node(3), Some(14_000))], start + 14 * SECOND);
        assert!(detector.is_silent(node(3), start + 14 * SECOND));
    }

    #[test]
    fn nobody_is_silent_while_nobody_could_be_heard() {
        let start = Instant::now();
        let mut detector = detector(2, start);
        detector.hear([(node(1), Some(0))], start);
        detector.hear([(node(1), Some(60_000))], start + 60 * SECOND);
        assert!(!detector.is_silent(node(1), start + 60 * SECOND));
        for s in 61..=70 {
            detector.hear([(node(1), Some(s * 1_000))], start + s as u32 * SECOND);
        }
        assert!(detector.is_silent(node(1), start + 70 * SECOND));
    }
}
