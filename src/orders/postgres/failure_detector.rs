//! Failure detector: which nodes live, and who looks after the orders of one that does not.
//!
//! A node lives as long as its beats in the store grow. When they have not grown for a while in which this node itself has
//! beaten and watched without a gap, the node is silent, and its heir is the first living node after it in the order of numbers, from the last
//! back to the first. Whoever holds another for silent by mistake does no harm: steps are conditional, and payments are
//! the gateway's to decide. (A refund of the other one that is under way costs it its life, see [`Follower`](super::Follower).) An
//! heir that falls silent is followed by the next.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::domain::NodeId;

/// What a node has left in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The node.
    pub node: NodeId,
    /// The last number of a life of it.
    pub life: i64,
    /// Its signs of life so far.
    pub beats: i64,
    /// Grows with every batch that it commits.
    pub batches: i64,
}

#[derive(Debug)]
struct Known {
    beats: i64,
    heard_at: Instant,
    /// [`Heartbeat::batches`] when this node took over what that one looked after.
    inherited_at: Option<i64>,
}

/// The nodes of a shared store as one of them sees them.
#[derive(Debug)]
pub struct FailureDetector {
    me: NodeId,
    silent_after: Duration,
    /// After a longer time without an own beat that was taken, nobody's silence counts: the store may have been frozen.
    gap: Duration,
    observed_at: Option<Instant>,
    known: HashMap<NodeId, Known>,
}

impl FailureDetector {
    /// Holds nobody for silent yet. This node beats every `beat`.
    pub fn new(me: NodeId, silent_after: Duration, beat: Duration) -> Self {
        let gap = (3 * beat).max(silent_after / 3);
        Self { me, silent_after, gap, observed_at: None, known: HashMap::new() }
    }

    /// Takes in the heartbeats of all nodes, with which this one's own was answered at `now`, and names those whose orders this node must take over: it is their heir,
    /// and they have committed something since it did so last, if it ever did.
    pub fn observe(&mut self, heartbeats: &[Heartbeat], now: Instant) -> Vec<Heartbeat> {
        if self.observed_at.replace(now).is_some_and(|last| last + self.gap < now) {
            self.restart(now);
        }
        for heartbeat in heartbeats {
            let fresh = Known { beats: heartbeat.beats, heard_at: now, inherited_at: None };
            let known = self.known.entry(heartbeat.node).or_insert(fresh);
            if known.beats != heartbeat.beats {
                (known.beats, known.heard_at) = (heartbeat.beats, now);
            }
        }
        let lives = |node: NodeId| {
            node == self.me
                || self.known.get(&node).is_some_and(|known| now - known.heard_at < self.silent_after)
        };
        let others = heartbeats.iter().map(|heartbeat| heartbeat.node).filter(|node| lives(*node));
        let living: Vec<NodeId> = others.chain([self.me]).collect();
        let heir_of = |node: NodeId| {
            let after = living.iter().filter(|other| **other > node).min();
            after.or(living.iter().min()).copied()
        };
        let is_new = |heartbeat: &Heartbeat| {
            self.known.get(&heartbeat.node).is_none_or(|known| known.inherited_at != Some(heartbeat.batches))
        };
        let silent = heartbeats.iter().filter(|heartbeat| !lives(heartbeat.node));
        silent
            .filter(|heartbeat| heir_of(heartbeat.node) == Some(self.me) && is_new(heartbeat))
            .copied()
            .collect()
    }

    /// Everything that the node had left behind by this heartbeat is looked after here now.
    pub fn inherited(&mut self, heartbeat: Heartbeat) {
        if let Some(known) = self.known.get_mut(&heartbeat.node) {
            known.inherited_at = Some(heartbeat.batches);
        }
    }

    /// This node could not look for a while: nobody's silence counts from before.
    pub fn restart(&mut self, now: Instant) {
        self.observed_at = Some(now);
        for known in self.known.values_mut() {
            known.heard_at = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u16) -> NodeId {
        NodeId::new(number).unwrap()
    }

    fn heartbeats(beats: &[(u16, i64, i64)]) -> Vec<Heartbeat> {
        beats
            .iter()
            .map(|&(number, beats, batches)| Heartbeat { node: node(number), life: 1, beats, batches })
            .collect()
    }

    fn heirs_of(me: u16, silent: &[u16], all: &[u16]) -> Vec<u16> {
        let mut detector = FailureDetector::new(node(me), Duration::from_secs(10), Duration::from_secs(4));
        let start = Instant::now();
        let first: Vec<_> = all.iter().map(|&number| (number, 1, 5)).collect();
        assert_eq!(detector.observe(&heartbeats(&first), start), [], "nobody is silent from the start");
        let later: Vec<_> =
            all.iter().map(|&number| (number, 1 + i64::from(!silent.contains(&number)), 5)).collect();
        let named = detector.observe(&heartbeats(&later), start + Duration::from_secs(10));
        named.into_iter().map(|heartbeat| heartbeat.node.number()).collect()
    }

    #[test]
    fn each_silent_node_has_one_heir() {
        for (silent, heirs) in [
            (vec![1], vec![(2, vec![1]), (3, vec![]), (7, vec![])]),
            (vec![7], vec![(1, vec![7]), (2, vec![]), (3, vec![])]),
            (vec![1, 2], vec![(3, vec![1, 2]), (7, vec![])]),
            (vec![2, 7], vec![(1, vec![7]), (3, vec![2])]),
            (vec![1, 2, 3], vec![(7, vec![1, 2, 3])]),
        ] {
            for (me, named) in heirs {
                assert_eq!(heirs_of(me, &silent, &[1, 2, 3, 7]), named, "{me} when {silent:?} are silent");
            }
        }
    }

    #[test]
    fn what_a_silent_node_left_is_taken_over_once_and_again_only_if_it_did_something_since() {
        let mut detector = FailureDetector::new(node(2), Duration::from_secs(10), Duration::from_secs(4));
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        detector.observe(&heartbeats(&[(1, 4, 9), (2, 1, 1)]), start);
        let left = heartbeats(&[(1, 4, 9)]);
        assert_eq!(detector.observe(&left, at(10)), left);
        assert_eq!(detector.observe(&left, at(11)), left, "until it is done");
        detector.inherited(left[0]);
        assert_eq!(detector.observe(&left, at(12)), []);
        let more = heartbeats(&[(1, 4, 10)]);
        assert_eq!(detector.observe(&more, at(13)), more);
        assert_eq!(detector.observe(&heartbeats(&[(1, 5, 11)]), at(14)), [], "it is back");
    }

    #[test]
    fn n1_the_silence_of_a_store_that_was_frozen_does_not_count() {
        let mut detector = FailureDetector::new(node(2), Duration::from_secs(10), Duration::from_secs(1));
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let left = heartbeats(&[(1, 4, 9), (2, 1, 1)]);
        detector.observe(&left, start);
        assert_eq!(detector.observe(&left, at(12)), [], "nobody could beat meanwhile");
        for s in 13..22 {
            assert_eq!(detector.observe(&left, at(s)), []);
        }
        assert_eq!(detector.observe(&left, at(22)), left[..1]);
    }

    #[test]
    fn silence_that_nobody_watched_does_not_count() {
        let mut detector = FailureDetector::new(node(2), Duration::from_secs(10), Duration::from_secs(4));
        let start = Instant::now();
        let left = heartbeats(&[(1, 4, 9)]);
        detector.observe(&left, start);
        detector.restart(start + Duration::from_secs(60));
        assert_eq!(detector.observe(&left, start + Duration::from_secs(69)), []);
        assert_eq!(detector.observe(&left, start + Duration::from_secs(70)), left);
    }
}
