//! Which nodes live, and who looks after the orders of one that does not.
//!
//! A node lives as long as its beats in the store grow. When they have not grown for a while that this node itself has
//! watched, the node is silent, and its heir is the first living node after it in the order of numbers, from the last
//! back to the first. Whoever holds another for silent by mistake does no harm: steps are conditional, and payments are
//! the gateway's to decide. An heir that falls silent is followed by the next.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::domain::NodeId;

/// What a node has left in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sign {
    /// The node.
    pub node: NodeId,
    /// Its signs of life so far.
    pub beats: i64,
    /// Grows with every batch that it commits.
    pub batches: i64,
}

#[derive(Debug)]
struct Known {
    beats: i64,
    heard_at: Instant,
    /// [`Sign::batches`] when this node took over what that one looked after.
    inherited_at: Option<i64>,
}

/// The nodes of a shared store as one of them sees them.
#[derive(Debug)]
pub struct Neighbours {
    me: NodeId,
    silent_after: Duration,
    known: HashMap<NodeId, Known>,
}

impl Neighbours {
    /// Holds nobody for silent yet.
    pub fn new(me: NodeId, silent_after: Duration) -> Self {
        Self { me, silent_after, known: HashMap::new() }
    }

    /// Takes in the signs of all nodes at `now`, and names those whose orders this node must take over: it is their heir,
    /// and they have committed something since it did so last, if it ever did.
    pub fn hear(&mut self, signs: &[Sign], now: Instant) -> Vec<Sign> {
        for sign in signs {
            let fresh = Known { beats: sign.beats, heard_at: now, inherited_at: None };
            let known = self.known.entry(sign.node).or_insert(fresh);
            if known.beats != sign.beats {
                (known.beats, known.heard_at) = (sign.beats, now);
            }
        }
        let lives = |node: NodeId| {
            node == self.me
                || self.known.get(&node).is_some_and(|known| now - known.heard_at < self.silent_after)
        };
        let others = signs.iter().map(|sign| sign.node).filter(|node| lives(*node));
        let living: Vec<NodeId> = others.chain([self.me]).collect();
        let heir_of = |node: NodeId| {
            let after = living.iter().filter(|other| **other > node).min();
            after.or(living.iter().min()).copied()
        };
        let is_new = |sign: &Sign| {
            self.known.get(&sign.node).is_none_or(|known| known.inherited_at != Some(sign.batches))
        };
        let silent = signs.iter().filter(|sign| !lives(sign.node));
        silent.filter(|sign| heir_of(sign.node) == Some(self.me) && is_new(sign)).copied().collect()
    }

    /// Everything that the node had left behind by this sign is looked after here now.
    pub fn inherited(&mut self, sign: Sign) {
        if let Some(known) = self.known.get_mut(&sign.node) {
            known.inherited_at = Some(sign.batches);
        }
    }

    /// This node could not look for a while: nobody's silence counts from before.
    pub fn watched_anew(&mut self, now: Instant) {
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

    fn signs(beats: &[(u16, i64, i64)]) -> Vec<Sign> {
        beats.iter().map(|&(number, beats, batches)| Sign { node: node(number), beats, batches }).collect()
    }

    fn heirs_of(me: u16, silent: &[u16], all: &[u16]) -> Vec<u16> {
        let mut neighbours = Neighbours::new(node(me), Duration::from_secs(10));
        let start = Instant::now();
        let first: Vec<_> = all.iter().map(|&number| (number, 1, 5)).collect();
        assert_eq!(neighbours.hear(&signs(&first), start), [], "nobody is silent from the start");
        let later: Vec<_> =
            all.iter().map(|&number| (number, 1 + i64::from(!silent.contains(&number)), 5)).collect();
        let named = neighbours.hear(&signs(&later), start + Duration::from_secs(10));
        named.into_iter().map(|sign| sign.node.number()).collect()
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
        let mut neighbours = Neighbours::new(node(2), Duration::from_secs(10));
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        neighbours.hear(&signs(&[(1, 4, 9), (2, 1, 1)]), start);
        let left = signs(&[(1, 4, 9)]);
        assert_eq!(neighbours.hear(&left, at(10)), left);
        assert_eq!(neighbours.hear(&left, at(11)), left, "until it is done");
        neighbours.inherited(left[0]);
        assert_eq!(neighbours.hear(&left, at(12)), []);
        let more = signs(&[(1, 4, 10)]);
        assert_eq!(neighbours.hear(&more, at(13)), more);
        assert_eq!(neighbours.hear(&signs(&[(1, 5, 11)]), at(14)), [], "it is back");
    }

    #[test]
    fn silence_that_nobody_watched_does_not_count() {
        let mut neighbours = Neighbours::new(node(2), Duration::from_secs(10));
        let start = Instant::now();
        let left = signs(&[(1, 4, 9)]);
        neighbours.hear(&left, start);
        neighbours.watched_anew(start + Duration::from_secs(60));
        assert_eq!(neighbours.hear(&left, start + Duration::from_secs(69)), []);
        assert_eq!(neighbours.hear(&left, start + Duration::from_secs(70)), left);
    }
}
