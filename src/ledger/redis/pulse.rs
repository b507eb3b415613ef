//! Which of the other nodes live, as far as this one has heard. Silence is a reason to ask the store, never evidence.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

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
    fn silence(self) -> Duration {
        match self {
            Self::Beat { silent, at } => silent + at.elapsed(),
            Self::Gone => Duration::MAX,
        }
    }
}

/// The beats of the other nodes.
#[derive(Debug)]
pub struct Pulse {
    silent_max: Duration,
    /// A longer time without any answer means that nobody could be heard.
    gap: Duration,
    heard: HashMap<NodeId, Heard>,
    heard_at: Option<Instant>,
    /// Since when beats are answered without a gap. Before that, everybody was silent.
    listening_since: Instant,
}

impl Pulse {
    /// Takes a node for live while it is silent for less than `silent_max`.
    pub fn new(silent_max: Duration, gap: Duration) -> Self {
        let listening_since = Instant::now();
        Self { silent_max, gap, heard: HashMap::new(), heard_at: None, listening_since }
    }

    /// The answer to this node's own beat: the ms since each node's last one, `None` for one that has left.
    pub fn hear(&mut self, beats: impl Iterator<Item = (NodeId, Option<u64>)>) {
        let at = Instant::now();
        if self.heard_at.is_none_or(|last| last + self.gap < at) {
            self.listening_since = at;
        }
        self.heard_at = Some(at);
        self.heard.extend(beats.map(|(node, silent_ms)| {
            let beat = |ms| Heard::Beat { silent: Duration::from_millis(ms), at };
            (node, silent_ms.map_or(Heard::Gone, beat))
        }));
    }

    /// How long the node has been silent while somebody could be heard. One that was never heard of begins to be silent
    /// now.
    pub fn silence(&mut self, node: NodeId) -> Duration {
        let unheard = Heard::Beat { silent: Duration::ZERO, at: Instant::now() };
        match *self.heard.entry(node).or_insert(unheard) {
            Heard::Gone => Duration::MAX,
            beat => beat.silence().min(self.listening_since.elapsed()),
        }
    }

    /// How many other nodes live.
    pub fn others_alive(&self) -> u64 {
        self.alive().count() as u64
    }

    /// How many nodes with a lower number than `node` live.
    pub fn alive_before(&self, node: NodeId) -> u64 {
        self.alive().filter(|known| *known < node).count() as u64
    }

    fn alive(&self) -> impl Iterator<Item = NodeId> {
        self.heard.iter().filter(|(_, heard)| heard.silence() < self.silent_max).map(|(node, _)| *node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn node(number: u16) -> NodeId {
        NodeId::new(number).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_node_is_not_alive_and_one_that_left_is_silent_at_once() {
        let mut pulse = Pulse::new(10 * SECOND, 3 * SECOND);
        for _ in 0..20 {
            tokio::time::advance(SECOND).await;
            let beats = [(node(1), Some(12_000)), (node(2), Some(100)), (node(3), None)];
            pulse.hear(beats.into_iter());
        }
        assert_eq!((pulse.others_alive(), pulse.alive_before(node(2))), (1, 0));
        assert_eq!(pulse.silence(node(1)), 12 * SECOND);
        assert_eq!(pulse.silence(node(3)), Duration::MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_silent_while_redis_was_away() {
        let mut pulse = Pulse::new(10 * SECOND, 3 * SECOND);
        pulse.hear([(node(1), Some(0))].into_iter());
        tokio::time::advance(60 * SECOND).await;
        pulse.hear([(node(1), Some(60_000))].into_iter());
        assert_eq!(pulse.silence(node(1)), Duration::ZERO);
        tokio::time::advance(SECOND).await;
        pulse.hear([(node(1), Some(61_000))].into_iter());
        assert_eq!(pulse.silence(node(1)), SECOND);
    }
}
