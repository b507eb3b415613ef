//! What becomes of nodes that are silent.

use super::super::super::book::NodeAccount;
use super::Bench;
use crate::domain::NodeId;

#[test]
fn n1_who_is_found_silent_is_heard_once_more_before_it_is_fenced() {
    let mut bench = Bench::joined();
    let other = NodeId::new(2).unwrap();
    bench.book.accounts.insert(other, NodeAccount { incarnation: 4, granted: 3, ..NodeAccount::default() });
    for second in 0..=20 {
        bench.detector.hear([(other, Some(second * 1_000))], bench.now);
        bench.detector.store_answered(bench.now);
        bench.pass(1_000);
    }
    assert_eq!(bench.look()[2..], ["settle", "beat", "fence", "units", "release", "reclaim"]);
    assert_eq!(bench.effects.reclaimed, Some(other));
    bench.pass(20_000);
    assert!(!bench.look().contains(&"beat"), "whoever has not heard anybody for so long judges nobody");
}

#[test]
fn n6_the_life_after_one_that_was_ended_is_silent_anew() {
    let mut bench = Bench::joined();
    let other = NodeId::new(2).unwrap();
    let mut silent_s = 0;
    // The node is silent, second by second, and looked for when it is found to be; after how many it is fenced.
    let mut fenced_after = |life| {
        let account = NodeAccount { incarnation: life, granted: 3, ..NodeAccount::default() };
        bench.book.accounts.insert(other, account);
        for second in 0..60 {
            bench.detector.hear([(other, Some(silent_s * 1_000))], bench.now);
            bench.detector.store_answered(bench.now);
            if bench.detector.has_found_silent(bench.now) {
                bench.lease.wake(bench.now);
            }
            let asked = if bench.rests() { Vec::new() } else { bench.look() };
            silent_s += 1;
            bench.pass(1_000);
            if asked.contains(&"fence") {
                return Some(second);
            }
        }
        None
    };
    assert_eq!(fenced_after(4), Some(10));
    // It lives where it cannot be heard, and has joined again.
    assert!(fenced_after(6).is_some_and(|seconds| (9..=11).contains(&seconds)));
    assert_eq!(fenced_after(7), Some(0), "the number after the end of a life is nobody's");
}
