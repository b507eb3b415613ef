//! The failure detector: which of the other nodes live, as far as this one has heard. Silence is a reason to ask the
//! store, never evidence.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use super::rules::{Rule, Rules};
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

/// How one of the two servers answers this node.
#[derive(Clone, Copy, Debug, Default)]
struct Ear {
    /// The last answer.
    last: Option<Instant>,
    /// Since when there was an answer in time, again and again.
    since: Option<Instant>,
}

impl Ear {
    fn hears(&mut self, gap: Duration, now: Instant) {
        if self.last.is_none_or(|last| last + gap < now) {
            self.since = Some(now);
        }
        self.last = Some(now);
    }

    /// Since when it hears without a gap; `None` when it does not hear now.
    fn hears_since(&self, gap: Duration, now: Instant) -> Option<Instant> {
        self.since.filter(|_| self.last.is_some_and(|last| now <= last + gap))
    }
}

/// The beats of the other nodes, and whether this one is in a position to judge.
///
/// A node beats in the ledger's server and sells into the order store. One that either server does not answer may not be
/// heard itself, and takes for silence of the others what is its own deafness: it judges nobody, and counts no silence from
/// before both have answered again. Nor does it count what another server of the ledger has kept, or another clock has measured:
/// after a failover the new master may have missed the last beats of them all, while Redis is split each half knows some nodes
/// as they were, and a clock that is set forward has all of them silent for as long.
///
/// A node that is silent and not dead begins another life whenever one is ended. The silence of that one begins then, or two
/// nodes that cannot hear each other would end one life after the other.
#[derive(Debug)]
pub struct FailureDetector {
    rules: Rules,
    me: NodeId,
    silent_max: Duration,
    /// A longer time without an answer means that nobody could be heard.
    gap: Duration,
    heard: HashMap<NodeId, Heard>,
    /// Nodes that were found silent.
    found: HashSet<NodeId>,
    /// The latest life of each node that is over as far as this one has heard, and when it heard that.
    ended: HashMap<NodeId, (u64, Instant)>,
    /// Whether the next beats are the first that this server, or this clock, tells of.
    is_new: bool,
    /// Who had left by those: it may have come back where another server was asked.
    perhaps_back: HashSet<NodeId>,
    /// This node's own beats, and the answers to them.
    beats: Ear,
    store: Ear,
    /// Whether the store has failed to answer since it last did.
    store_failed: bool,
    began: Instant,
}

impl FailureDetector {
    /// Takes a node for live while it is silent for less than `silent_max`, as long as beats, of which there is one every
    /// `beat`, are answered without a gap.
    pub fn new(rules: Rules, me: NodeId, silent_max: Duration, beat: Duration, now: Instant) -> Self {
        let gap = (3 * beat).max(silent_max / 3);
        let (beats, store) = Default::default();
        Self {
            rules,
            me,
            silent_max,
            gap,
            heard: HashMap::new(),
            found: HashSet::new(),
            ended: HashMap::new(),
            is_new: false,
            perhaps_back: HashSet::new(),
            beats,
            store,
            store_failed: false,
            began: now,
        }
    }

    /// The next beats are those that another server has kept, or another clock measures: what they tell of the time before is
    /// not known to be so.
    pub fn hears_another_server(&mut self) {
        if self.rules.keep(Rule::ListensToOneServer) {
            (self.beats, self.is_new) = (Ear::default(), true);
            self.heard.clear();
            self.found.clear();
            self.perhaps_back.clear();
        }
    }

    /// Whether the server's clock was set since the last beat, if by that clock the last one was so long ago.
    pub fn hears_another_clock(&self, since_own_ms: i64, now: Instant) -> bool {
        let measured = self.beats.last.map(|last| now.saturating_duration_since(last) + self.silent_max / 3);
        match u64::try_from(since_own_ms) {
            Ok(since) => measured.is_some_and(|measured| Duration::from_millis(since) > measured),
            Err(_) => true,
        }
    }

    /// The answer to this node's own beat: the ms since each node's last one, `None` for one that has left.
    pub fn hear(&mut self, beats: impl IntoIterator<Item = (NodeId, Option<u64>)>, now: Instant) {
        self.beats.hears(self.gap, now);
        let is_new = std::mem::take(&mut self.is_new);
        for (node, silent_ms) in beats.into_iter().filter(|(node, _)| *node != self.me) {
            let beat = |ms| Heard::Beat { silent: Duration::from_millis(ms), at: now };
            self.heard.insert(node, silent_ms.map_or(Heard::Gone, beat));
            match silent_ms {
                Some(_) => drop(self.perhaps_back.remove(&node)),
                None if is_new => drop(self.perhaps_back.insert(node)),
                None => {}
            }
        }
    }

    /// The store has answered this node.
    pub fn store_answered(&mut self, now: Instant) {
        self.store.hears(self.gap, now);
        self.store_failed = false;
    }

    /// The store was asked and did not answer.
    pub fn store_failed(&mut self) {
        self.store_failed = true;
    }

    /// Whether the store was asked, and has not answered this node for so long that the others shall have what it holds.
    pub fn is_cut_off(&self, now: Instant) -> bool {
        self.store_failed && now >= self.cut_off_from()
    }

    /// From when on that is so, if the store is asked and answers nothing before.
    pub fn cut_off_from(&self) -> Instant {
        self.store.last.unwrap_or(self.began) + self.silent_max
    }

    /// Whether the node has been silent in this life for so long, while somebody could be heard, that this one looks after
    /// its units. Nodes with higher numbers wait a little longer, so that one of them does it. One that was never heard of
    /// begins to be silent now.
    pub fn is_silent(&mut self, node: NodeId, life: u64, now: Instant) -> bool {
        let is_later = |&(over, _): &(u64, Instant)| over < life && self.rules.keep(Rule::NewLifeNewSilence);
        let began = self.ended.get(&node).copied().filter(is_later).map(|(_, at)| at);
        self.is_silent_since(node, began, now)
    }

    /// The life of the node is over: this one has ended it, or hears so now.
    pub fn has_ended(&mut self, node: NodeId, life: u64, now: Instant) {
        if self.ended.get(&node).is_none_or(|&(known, _)| known < life) {
            self.ended.insert(node, (life, now));
            // It may have looked dead before as well: what it holds is looked for when this grace is over.
            self.found.remove(&node);
        }
    }

    /// As [`Self::is_silent`], of a life that began then, if that is known.
    fn is_silent_since(&mut self, node: NodeId, began: Option<Instant>, now: Instant) -> bool {
        let Some(since) = self.listens_since(now) else { return false };
        let before_me = self.alive(now).filter(|known| *known < self.me).count() as u32;
        let lived = began.map_or(Duration::MAX, |began| now.saturating_duration_since(began));
        self.silence(node, since, now).min(lived) >= self.silent_max * (4 + before_me) / 4
    }

    /// Whether a node has fallen silent since this was last asked, in the life that followed its last end. One that has left has
    /// not: it holds nothing, unless it may have come back since.
    pub fn has_found_silent(&mut self, now: Instant) -> bool {
        let heard: Vec<_> = self.heard.iter().map(|(node, heard)| (*node, *heard)).collect();
        let mut is_news = false;
        for (node, heard) in heard {
            if heard.silence(now) < self.silent_max {
                self.found.remove(&node);
                continue;
            }
            let began = self.ended.get(&node).map(|&(_, at)| at);
            let is_held = matches!(heard, Heard::Beat { .. }) || self.perhaps_back.contains(&node);
            if is_held && self.is_silent_since(node, began, now) {
                is_news |= self.found.insert(node);
            }
        }
        is_news
    }

    /// How many other nodes live.
    pub fn others_alive(&self, now: Instant) -> u64 {
        self.alive(now).count() as u64
    }

    /// Since when others could be heard without a gap; `None` when they cannot be heard now.
    fn listens_since(&self, now: Instant) -> Option<Instant> {
        if !self.rules.keep(Rule::JudgesOnlyWhileHeard) {
            return Some(self.beats.since.unwrap_or(now));
        }
        Some(self.beats.hears_since(self.gap, now)?.max(self.store.hears_since(self.gap, now)?))
    }

    fn silence(&mut self, node: NodeId, listens_since: Instant, now: Instant) -> Duration {
        let unheard = Heard::Beat { silent: Duration::ZERO, at: now };
        match *self.heard.entry(node).or_insert(unheard) {
            Heard::Gone if !self.perhaps_back.contains(&node) => Duration::MAX,
            heard => heard.silence(now).min(now.saturating_duration_since(listens_since)),
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

    /// A detector, and its answers from both servers.
    struct Bench(FailureDetector, Instant);

    impl Bench {
        fn of(me: u16) -> Self {
            let now = Instant::now();
            Self(FailureDetector::new(Rules::sound(), node(me), 10 * SECOND, SECOND, now), now)
        }

        fn hear(&mut self, s: u32, beats: &[(u16, Option<u64>)]) {
            let at = self.1 + s * SECOND;
            self.0.hear(beats.iter().map(|&(number, ms)| (node(number), ms)), at);
            self.0.store_answered(at);
        }

        fn is_silent(&mut self, number: u16, s: u32) -> bool {
            self.0.is_silent(node(number), 1, self.1 + s * SECOND)
        }
    }

    #[test]
    fn a_silent_node_is_not_alive_and_one_that_left_is_silent_at_once() {
        let mut bench = Bench::of(2);
        for s in 1..=20 {
            bench.hear(s, &[(1, Some(12_000)), (2, Some(0)), (3, None), (4, Some(100))]);
        }
        assert_eq!(bench.0.others_alive(bench.1 + 20 * SECOND), 1);
        assert!(bench.is_silent(1, 20) && bench.is_silent(3, 20));
        assert!(!bench.is_silent(4, 20));
    }

    #[test]
    fn the_highest_number_waits_longest() {
        let mut bench = Bench::of(2);
        for s in 1..=12 {
            bench.hear(s, &[(1, Some(0)), (3, Some(u64::from(s) * 1_000))]);
        }
        assert!(!bench.is_silent(3, 12), "node 1 comes first");
        bench.hear(14, &[(1, Some(0)), (3, Some(14_000))]);
        assert!(bench.is_silent(3, 14));
    }

    #[test]
    fn nobody_is_silent_while_nobody_could_be_heard() {
        let mut bench = Bench::of(2);
        bench.hear(0, &[(1, Some(0))]);
        bench.hear(60, &[(1, Some(60_000))]);
        assert!(!bench.is_silent(1, 60));
        for s in 61..=70 {
            bench.hear(s, &[(1, Some(u64::from(s) * 1_000))]);
        }
        assert!(bench.is_silent(1, 70));
    }

    #[test]
    fn n6_who_left_may_have_come_back_where_another_server_is_asked() {
        let mut bench = Bench::of(2);
        bench.hear(19, &[(3, Some(0))]);
        bench.hear(20, &[(3, None)]);
        assert!(bench.is_silent(3, 20));
        assert!(!bench.0.has_found_silent(bench.1 + 20 * SECOND), "it holds nothing");
        bench.0.hears_another_server();
        let mut found = Vec::new();
        for s in 21..=40 {
            bench.hear(s, &[(3, None)]);
            assert_eq!(bench.is_silent(3, s), s >= 31, "{s} s");
            if bench.0.has_found_silent(bench.1 + s * SECOND) {
                found.push(s);
            }
        }
        assert_eq!(found, [31], "it may hold units of a life that was not heard of here");
        bench.hear(41, &[(3, Some(0)), (4, Some(0))]);
        bench.hear(42, &[(3, None), (4, None)]);
        assert!(bench.is_silent(3, 42) && bench.is_silent(4, 42), "they left here");
        assert!(!bench.0.has_found_silent(bench.1 + 42 * SECOND));
    }

    #[test]
    fn n6_a_clock_that_is_set_is_told_from_a_pause() {
        let mut bench = Bench::of(2);
        bench.hear(0, &[]);
        let at = |s: u32| bench.1 + s * SECOND;
        let hears_another = |since_s: i64, s: u32| bench.0.hears_another_clock(since_s * 1_000, at(s));
        assert!(!hears_another(1, 1) && !hears_another(60, 60), "the node stood still");
        assert!(hears_another(61, 1) && hears_another(-1, 1));
        // Three beats are the fewest that make a node silent: two seconds must be noticed.
        let mut hasty = FailureDetector::new(Rules::sound(), node(2), 3 * SECOND, SECOND, bench.1);
        hasty.hear([], bench.1);
        assert!(hasty.hears_another_clock(3_000, at(1)) && !hasty.hears_another_clock(2_000, at(1)));
    }

    #[test]
    fn n2_a_node_that_falls_silent_is_found_once_and_again_when_it_was_heard_meanwhile() {
        let mut bench = Bench::of(2);
        let mut found = Vec::new();
        for s in 1..=40 {
            let silent = if s == 25 { 0 } else { u64::from(s % 25) * 1_000 };
            bench.hear(s, &[(1, Some(silent)), (3, None)]);
            if bench.0.has_found_silent(bench.1 + s * SECOND) {
                found.push(s);
            }
        }
        assert_eq!(found, [11, 35], "one that has left holds nothing");
    }

    #[test]
    fn n1_a_node_whose_own_beats_are_not_taken_judges_nobody() {
        let mut bench = Bench::of(2);
        for s in 1..=20 {
            bench.hear(s, &[(1, Some(0)), (3, None)]);
        }
        // Node 1 beats on, as far as it knows: it is this one that is not heard any more.
        for s in 21..=60 {
            bench.0.store_answered(bench.1 + s * SECOND);
            assert!(!bench.is_silent(1, s), "{s} s");
        }
        assert!(!bench.is_silent(3, 60), "nor who left");
        bench.hear(61, &[(1, Some(41_000)), (3, None)]);
        assert!(!bench.is_silent(1, 61), "it may have been as deaf as this one");
        assert!(bench.is_silent(3, 61));
    }

    #[test]
    fn n4_a_node_that_the_store_does_not_answer_judges_nobody_and_is_cut_off_after_a_while() {
        let mut bench = Bench::of(2);
        bench.hear(0, &[(1, Some(0))]);
        for s in 1..=40 {
            let at = bench.1 + s * SECOND;
            bench.0.hear([(node(1), Some(u64::from(s) * 1_000))], at);
            assert!(
                s > 1 || !bench.0.is_cut_off(bench.1 + 60 * SECOND),
                "who has not asked has not missed an answer"
            );
            bench.0.store_failed();
            assert_eq!(bench.0.is_cut_off(at), s >= 10);
            assert!(!bench.is_silent(1, s), "{s} s");
        }
        for s in 41..=51 {
            bench.hear(s, &[(1, Some(u64::from(s) * 1_000))]);
            assert!(!bench.0.is_cut_off(bench.1 + s * SECOND));
            assert_eq!(bench.is_silent(1, s), s == 51, "{s} s");
        }
    }
}
