//! Who can hear whom, and for how long: the crate's own failure detector on two nodes, second by second, while a fault, or
//! two at once, begin and end at any time. The protocol's model knows no time and takes every suspicion for possible; here
//! it is shown which there are.

use std::time::{Duration, Instant};

use seckill::domain::NodeId;
use seckill::ledger::lease::{FailureDetector, NodeLife, Rule, Rules};

const NODES: usize = 2;
/// After so many seconds without a beat a node is silent.
const SILENT_S: u64 = 6;
/// What lasts no longer passes unnoticed: a missed beat or two.
const SLACK_S: u64 = SILENT_S / 2;
/// How long a history is: a fault, and time enough to find a dead node after it.
const HISTORY_S: u64 = 40;
/// Nodes with a lower number wait less; any node has found a dead one after so long.
const FOUND_S: u64 = 2 * SILENT_S;

/// What goes wrong for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Redis answers reads, and takes no beat.
    RedisRefuses,
    /// Nobody is answered by the store, and whoever asks it waits.
    StoreHangs,
    /// The node's calls do not reach Redis.
    CutFromRedis(usize),
    /// The node's calls do not reach the store.
    CutFromStore(usize),
    /// The node does nothing.
    Stands(usize),
    /// Redis lost all beats at the beginning.
    Forgets,
    /// At the beginning a replica took over that had missed the last beats.
    FailsOver,
    /// The node asks a master of before, which knows what it knew at the beginning.
    Misled(usize),
    /// At the beginning the clock of Redis is set forward, or back.
    ClockIsSet(i64),
}

const FAULTS: [Fault; 14] = [
    Fault::RedisRefuses,
    Fault::StoreHangs,
    Fault::CutFromRedis(0),
    Fault::CutFromRedis(1),
    Fault::CutFromStore(0),
    Fault::CutFromStore(1),
    Fault::Stands(0),
    Fault::Stands(1),
    Fault::Forgets,
    Fault::FailsOver,
    Fault::Misled(0),
    Fault::Misled(1),
    Fault::ClockIsSet(LAG_S as i64),
    Fault::ClockIsSet(-(HISTORY_S as i64)),
];

/// So many seconds of beats a replica has missed.
const LAG_S: u64 = SILENT_S + 2;

/// A fault from one second to another, the last one not included.
#[derive(Clone, Copy, Debug)]
struct Episode {
    fault: Fault,
    from: u64,
    to: u64,
}

/// One node judged another one silent.
#[derive(Clone, Copy, Debug)]
struct Judgement {
    at: u64,
    judge: usize,
    accused: usize,
}

/// When each node last beat, as one server keeps it.
type Beats = [Option<i64>; NODES];

/// A Redis, and what it was a while ago.
#[derive(Default)]
struct Server {
    /// Another one with every failover.
    id: u64,
    beats: Beats,
    past: Vec<Beats>,
    /// How far its clock is ahead, in seconds.
    ahead: i64,
}

/// The life of a node, which another one may have ended.
#[derive(Clone, Copy)]
struct Life {
    number: u64,
    is_over: bool,
}

fn node(n: usize) -> NodeId {
    NodeId::new(n as u16).unwrap()
}

/// Plays a history. Each node beats, asks the store, and judges once a second, in turn. Who was judged has his life ended, and
/// begins another one when he can.
fn play(rules: Rules, episodes: &[Episode]) -> Vec<Judgement> {
    let begin = Instant::now();
    let beat = Duration::from_secs(1);
    let detector = |n| FailureDetector::new(rules, node(n), Duration::from_secs(SILENT_S), beat, begin);
    let mut detectors: [FailureDetector; NODES] = std::array::from_fn(detector);
    let mut lives = [Life { number: 1, is_over: false }; NODES];
    let mut master = Server::default();
    // The master of before, while somebody asks it.
    let mut former: Option<Server> = None;
    // Whom each node asked last.
    let mut asked: [Option<u64>; NODES] = [None; NODES];
    let mut found = Vec::new();
    for at in 0..HISTORY_S {
        let now = begin + Duration::from_secs(at);
        let is = |fault| episodes.iter().any(|e| e.fault == fault && (e.from..e.to).contains(&at));
        let begins = |fault| episodes.iter().any(|e| e.fault == fault && e.from == at);
        master.past.push(master.beats);
        if begins(Fault::Forgets) {
            master.beats = Beats::default();
        }
        for set in episodes.iter().filter(|e| e.from == at) {
            if let Fault::ClockIsSet(by) = set.fault {
                master.ahead += by;
            }
        }
        if begins(Fault::FailsOver) {
            master.beats = master.past[at.saturating_sub(LAG_S) as usize];
            master.id += 1;
        }
        if !(0..NODES).any(|n| is(Fault::Misled(n))) {
            former = None;
        }
        for judge in 0..NODES {
            // Who waits for a store that hangs does nothing else meanwhile.
            if is(Fault::Stands(judge)) || is(Fault::StoreHangs) {
                continue;
            }
            if lives[judge].is_over && !is(Fault::CutFromStore(judge)) {
                lives[judge] = Life { number: lives[judge].number + 2, is_over: false };
            }
            let detector = &mut detectors[judge];
            let beats_now = NodeLife::new(rules, node(judge), 1).beats(detector.is_cut_off(now));
            let reaches_redis = !is(Fault::CutFromRedis(judge)) && !is(Fault::RedisRefuses);
            if reaches_redis && beats_now {
                let (beats, ahead) = (master.beats, master.ahead);
                let server = match is(Fault::Misled(judge)) {
                    // With an id that no master has.
                    true => former.get_or_insert(Server { id: HISTORY_S, beats, ahead, past: Vec::new() }),
                    false => &mut master,
                };
                let clock = at as i64 + server.ahead;
                let earlier = server.beats[judge].replace(clock);
                let is_clock_set = |last| detector.hears_another_clock((clock - last) * 1_000, now);
                if asked[judge].replace(server.id) != Some(server.id) || earlier.is_none_or(is_clock_set) {
                    detector.hears_another_server();
                }
                let known = server.beats.iter_mut().enumerate().filter_map(|(n, last)| {
                    let last = last.as_mut()?;
                    *last = clock.min(*last);
                    Some((node(n), Some((clock - *last) as u64 * 1_000)))
                });
                detector.hear(known, now);
            }
            match is(Fault::CutFromStore(judge)) {
                true => detector.store_failed(),
                false => detector.store_answered(now),
            }
            for accused in (0..NODES).filter(|&n| n != judge) {
                let life = &mut lives[accused];
                if !life.is_over && detector.is_silent(node(accused), life.number, now) {
                    found.push(Judgement { at, judge, accused });
                    detector.has_ended(node(accused), life.number, now);
                    life.is_over = true;
                }
            }
        }
    }
    found
}

/// The first judgement that nothing excuses, or that came too soon after another one of the same node.
fn wrong(judgements: &[Judgement], episodes: &[Episode]) -> Option<Judgement> {
    let is_soon = |judged: &&Judgement| {
        let mut before =
            judgements.iter().filter(|other| (other.judge, other.accused) == (judged.judge, judged.accused));
        before.any(|other| other.at < judged.at && judged.at < other.at + SILENT_S)
    };
    judgements.iter().find(|judged| is_wrong(judged, episodes) || is_soon(judged)).copied()
}

/// A judgement that nothing excuses: the accused beat whenever the others could have, and where they could hear it, or the
/// judge was not heard itself.
fn is_wrong(judged: &Judgement, episodes: &[Episode]) -> bool {
    let Judgement { at, judge, accused } = *judged;
    let is = |fault, second| episodes.iter().any(|e| e.fault == fault && (e.from..e.to).contains(&second));
    let fails = |second: u64| {
        episodes.iter().any(|e| match e.fault {
            Fault::CutFromRedis(n) | Fault::Stands(n) if n == accused => (e.from..e.to).contains(&second),
            // They beat in two places.
            Fault::Misled(n) => is(e.fault, second) && !is(Fault::Misled(1 - n), second),
            // It beats on for a while, and again when the store has answered.
            Fault::CutFromStore(n) if n == accused => (e.from + SLACK_S..e.to + 2).contains(&second),
            _ => false,
        })
    };
    let failed_alone = (at.saturating_sub(SILENT_S + SLACK_S)..=at).filter(|second| fails(*second)).count();
    let was_deaf = episodes.iter().any(|e| {
        let is_deaf = match e.fault {
            Fault::CutFromRedis(n) | Fault::CutFromStore(n) => n == judge,
            Fault::RedisRefuses => true,
            _ => false,
        };
        is_deaf && (e.from + SLACK_S..e.to).contains(&at)
    });
    was_deaf || failed_alone < SLACK_S as usize
}

/// Every fault, from any second, for so long; and pairs of them.
fn every_history(mut look: impl FnMut(&[Episode])) -> usize {
    const LENGTHS: [u64; 5] = [1, 3, 5, 8, HISTORY_S];
    let mut alone = Vec::new();
    for fault in FAULTS {
        for from in [0, 2, 5, 9] {
            alone.extend(LENGTHS.map(|length| Episode { fault, from, to: (from + length).min(HISTORY_S) }));
        }
    }
    let mut histories = 0;
    for (place, first) in alone.iter().enumerate() {
        look(&[*first]);
        histories += 1;
        for second in &alone[place + 1..] {
            look(&[*first, *second]);
            histories += 1;
        }
    }
    histories
}

#[test]
fn n1_nobody_is_judged_by_who_is_not_heard_and_nobody_for_what_befell_all() {
    let histories = every_history(|episodes| {
        let judgements = play(Rules::sound(), episodes);
        assert_eq!(wrong(&judgements, episodes).map(|judged| format!("{judged:?} in {episodes:?}")), None);
    });
    println!("{histories} histories");
}

#[test]
fn n1_a_node_that_is_dead_is_found_once_the_others_hear_again() {
    every_history(|episodes| {
        let is_common = |e: &&Episode| {
            matches!(e.fault, Fault::RedisRefuses | Fault::StoreHangs | Fault::Forgets | Fault::FailsOver)
        };
        let dead = episodes.iter().find(|e| e.fault == Fault::Stands(1) && e.to == HISTORY_S);
        let Some(dead) = dead else { return };
        if episodes.iter().any(|e| e.fault != dead.fault && !is_common(&e)) {
            return;
        }
        let deaf_until = episodes.iter().filter(is_common).map(|e| e.to).max().unwrap_or(0);
        // Whose life was ended before has a silence of its own since then.
        let by = dead.from.max(deaf_until) + FOUND_S;
        if by < HISTORY_S {
            let found = play(Rules::sound(), episodes);
            // Since it last did anything.
            let stands = |second: &u64| {
                episodes.iter().any(|e| e.fault == Fault::Stands(1) && (e.from..e.to).contains(second))
            };
            let since = (0..by).rev().find(|second| !stands(second)).map_or(0, |second| second + 1);
            let is_found = |judged: &Judgement| judged.accused == 1 && (since..=by).contains(&judged.at);
            assert!(found.iter().any(is_found), "{found:?} in {episodes:?}");
        }
    });
}

/// The shortest history in which something goes wrong without the rule.
fn missed(rule: Rule) -> Vec<Episode> {
    let rules = Rules::sound().without(rule);
    let mut found: Option<(Judgement, Vec<Episode>)> = None;
    every_history(|episodes| {
        let is_shorter = found.as_ref().is_none_or(|(_, shortest)| episodes.len() < shortest.len());
        if is_shorter && let Some(judged) = wrong(&play(rules, episodes), episodes) {
            found = Some((judged, episodes.to_vec()));
        }
    });
    let (judged, episodes) = found.expect("a break that is not found");
    println!("{rule:?}: {judged:?} in {episodes:?}");
    episodes
}

#[test]
fn the_rule_to_judge_only_while_heard_is_missed() {
    missed(Rule::JudgesOnlyWhileHeard);
}

#[test]
fn the_rule_to_listen_to_one_server_is_missed() {
    let faults: Vec<_> = missed(Rule::ListensToOneServer).iter().map(|episode| episode.fault).collect();
    assert!(matches!(faults[..], [Fault::FailsOver] | [Fault::ClockIsSet(_)]), "{faults:?}");
}

#[test]
fn the_rule_that_a_new_life_is_silent_anew_is_missed() {
    let faults: Vec<_> = missed(Rule::NewLifeNewSilence).iter().map(|episode| episode.fault).collect();
    assert!(matches!(faults[..], [Fault::Misled(_)] | [Fault::CutFromRedis(_)]), "{faults:?}");
}
