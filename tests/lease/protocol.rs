//! The ledger's protocol, checked exhaustively in small instances: every order of every step, with every pair of faults.
//!
//! What is checked is the crate's own machine of a node, against the protocol of `lua/` and of the store as plain Rust;
//! `scripts` holds the scripts themselves against the same book.
//! `SECKILL_MODEL=long cargo test --release --test lease protocol` looks at larger instances.

use std::collections::BTreeSet;
use std::time::Instant;

use crate::book::Count;
use crate::breaks::Break;
use crate::explore::explore;
use crate::world::{Begins, Faults, Instance, Property};
use seckill::ledger::lease::Rule;

/// The short form looks at no fewer.
const STATES_MIN: usize = 1_000_000;

/// Each fault alone, by name.
const FAULTS: [(&str, Faults); 11] = {
    const NONE: Faults = Faults {
        crash: 0,
        lost_reply: 0,
        late: 0,
        rollback: 0,
        flush: 0,
        false_suspicion: 0,
        expiry: 0,
        restore: 0,
        refusal: 0,
        cut: 0,
        wrong_book: 0,
        rest: 0,
    };
    [
        ("crash", Faults { crash: 1, ..NONE }),
        ("lost reply", Faults { lost_reply: 1, ..NONE }),
        ("late message", Faults { late: 1, ..NONE }),
        ("rollback", Faults { rollback: 1, ..NONE }),
        ("flush", Faults { flush: 1, ..NONE }),
        ("false suspicion", Faults { false_suspicion: 1, ..NONE }),
        ("expiry", Faults { expiry: 1, ..NONE }),
        ("restore", Faults { restore: 1, ..NONE }),
        ("refused writes", Faults { refusal: 1, ..NONE }),
        ("line to the store", Faults { cut: 1, ..NONE }),
        (REST, Faults { rest: 1, ..NONE }),
    ]
};
/// No fault either: the sale rests at a node.
const REST: &str = "rest";
/// What no sound protocol lets happen; its repair is a matter of its own.
const WRONG_BOOK: &str = "wrong book";
/// No fault, but a beginning: a sale that has just been made, and a neighbour that has just died.
const FIRST_BOOK: &str = "first book";

fn both(a: Faults, b: Faults) -> Faults {
    Faults {
        crash: a.crash + b.crash,
        lost_reply: a.lost_reply + b.lost_reply,
        late: a.late + b.late,
        rollback: a.rollback + b.rollback,
        flush: a.flush + b.flush,
        false_suspicion: a.false_suspicion + b.false_suspicion,
        expiry: a.expiry + b.expiry,
        restore: a.restore + b.restore,
        refusal: a.refusal + b.refusal,
        cut: a.cut + b.cut,
        wrong_book: a.wrong_book + b.wrong_book,
        rest: a.rest + b.rest,
    }
}

/// Explores every pair of faults (a fault twice, too); panics with the history that breaks a property.
fn every_pair(total: Count, granted_max: Count) -> usize {
    let mut states = 0;
    for (i, (first, a)) in FAULTS.into_iter().enumerate() {
        for (second, b) in FAULTS.into_iter().skip(i) {
            let started = Instant::now();
            let faults = both(a, b);
            let begins = Begins::Open;
            let instance = Instance { total, granted_max, faults, begins, reads_apart: false, broken: None };
            let explored = explore(&instance, None);
            if let Some((property, history)) = explored.found {
                panic!("{total} units, {first} and {second}: {property:?} is broken by {history:#?}");
            }
            println!(
                "{total} units, {first} and {second}: {} states, {:?}",
                explored.states,
                started.elapsed()
            );
            states += explored.states;
        }
    }
    states
}

fn long() -> bool {
    std::env::var("SECKILL_MODEL").is_ok_and(|size| size == "long")
}

#[test]
fn every_pair_of_faults_leaves_the_stock_whole() {
    let mut states = every_pair(1, 2);
    if long() {
        states += every_pair(1, 3) + every_pair(2, 4);
    }
    println!("{states} states in all");
    assert!(states > STATES_MIN, "only {states} states: the instance has become too small to tell anything");
}

/// The faults and the property with which a break is found.
fn where_found(broken: Break) -> (&'static [&'static str], Property) {
    use Property::{
        AlwaysHeals, NeverEndsTheLiving, NeverOverLeased, NeverOversold, NeverRefused, NeverUnacknowledged,
    };
    match broken {
        Break::Node(rules) => match rules[0] {
            Rule::SharesBeforeSelling => (&[], NeverRefused),
            Rule::ReleasesShares => (&["crash"], AlwaysHeals),
            Rule::OpensWithIncarnations | Rule::ReclaimsInItsEpoch => {
                (&["rollback", "crash"], NeverOverLeased)
            }
            Rule::NamesWhoMaySell => (&["flush"], NeverOverLeased),
            Rule::BeatsBeforeFencing => (&["refused writes"], NeverEndsTheLiving),
            Rule::EndsTheLifeSeen => (&["crash"], NeverEndsTheLiving),
            Rule::FirstBookWaitsForNobody => (&[FIRST_BOOK], AlwaysHeals),
            Rule::FallsSilentWhenCutOff => (&["line to the store"], AlwaysHeals),
            Rule::RecountsWhenRefused => (&[WRONG_BOOK], AlwaysHeals),
            Rule::CallsTheOthers => (&[REST], AlwaysHeals),
            Rule::JudgesOnlyWhileHeard | Rule::ListensToOneServer | Rule::NewLifeNewSilence => {
                unreachable!("a matter of time, which is not looked at here")
            }
            Rule::FencesTheSilent => (&["false suspicion"], NeverOverLeased),
            Rule::CountsAfterFencing => (&["false suspicion"], NeverOverLeased),
            Rule::KeepsWhatWasSold => (&["crash"], NeverOverLeased),
            Rule::HandsBackOffSale => (&["lost reply"], NeverOverLeased),
            Rule::DropsStockAtEnd => (&["false suspicion"], NeverOverLeased),
            Rule::ReclaimsFromTheSilent => (&["crash"], AlwaysHeals),
            Rule::OpensWhatWasLeft => (&["flush", "crash"], AlwaysHeals),
        },
        Break::IgnoresIncarnation => (&["late message", "crash"], NeverOverLeased),
        Break::IgnoresEpoch => (&["late message", "flush"], NeverOverLeased),
        Break::TrustsAnyServer => (&["rollback"], NeverOverLeased),
        Break::TrustsAnyServerWithoutGuard => (&["rollback"], NeverOversold),
        Break::SellsWithoutShare => (&["rollback"], NeverOversold),
        Break::MergesByAdding => (&["late message"], NeverOverLeased),
        Break::ReturnsByAdding => (&["late message", "expiry"], NeverOverLeased),
        Break::IgnoresTurns => (&["late message", "flush"], NeverRefused),
        Break::OpensWithoutAll => (&["flush"], NeverOverLeased),
        Break::SharesEpochs => (&["flush", "flush", "late message"], AlwaysHeals),
        Break::NoFence => (&["false suspicion"], NeverOverLeased),
        Break::KeepsIncarnation => (&["late message", "crash"], NeverOverLeased),
        Break::ReturnsTwice => (&["expiry"], NeverOverLeased),
        Break::AcknowledgesFirst => (&["crash"], NeverUnacknowledged),
        Break::KeepsItsTimeline => (&["expiry", "restore"], NeverOverLeased),
    }
}

/// Units, and grants to a node, with which each break is found.
const SMALLEST: (Count, Count) = (1, 1);

/// Finds the break in the smallest instance with these faults.
fn finds(broken: Break, names: &[&str], property: Property) {
    let started = Instant::now();
    let explored = explore(&smallest(names, Some(broken)), Some(property));
    let Some((_, history)) = explored.found else {
        panic!("{broken:?} was not found in {} states with {names:?}", explored.states);
    };
    println!(
        "{broken:?}, {names:?}: {property:?} breaks after {} steps, {} states, {:?}: {history:?}",
        history.len(),
        explored.states,
        started.elapsed()
    );
}

/// Whether the sound protocol holds in the same instance.
fn holds(names: &[&str]) {
    let started = Instant::now();
    let explored = explore(&smallest(names, None), None);
    if let Some((property, history)) = explored.found {
        panic!("{names:?}: {property:?} is broken without a deliberate break by {history:#?}");
    }
    println!("{names:?}: all is well in {} states, {:?}", explored.states, started.elapsed());
}

fn smallest(names: &[&str], broken: Option<Break>) -> Instance {
    let fault = |wanted: &str| match wanted {
        WRONG_BOOK => Faults { wrong_book: 1, ..Faults::default() },
        FIRST_BOOK => Faults::default(),
        _ => FAULTS.into_iter().find(|(name, _)| *name == wanted).unwrap().1,
    };
    let faults = names.iter().fold(Faults::default(), |sum, name| both(sum, fault(name)));
    let (total, granted_max) = SMALLEST;
    let begins = if names.contains(&FIRST_BOOK) { Begins::FirstBookAlone } else { Begins::Open };
    Instance { total, granted_max, faults, begins, reads_apart: false, broken }
}

#[test]
fn n11_a_first_book_that_waits_for_nobody_lends_nothing_twice() {
    for names in [
        ["flush", "late message"],
        ["rollback", "late message"],
        ["crash", "late message"],
        ["lost reply", "late message"],
        ["false suspicion", "crash"],
        ["line to the store", "flush"],
    ] {
        let instance = Instance { begins: Begins::FirstBook, ..smallest(&names, None) };
        let explored = explore(&instance, None);
        if let Some((property, history)) = explored.found {
            panic!("{names:?}: {property:?} is broken by {history:#?}");
        }
        println!("first book, {names:?}: {} states", explored.states);
    }
}

#[test]
fn a_book_is_opened_right_whatever_happens_between_the_readings_for_it() {
    for names in [["flush", "false suspicion"], ["flush", "crash"], ["rollback", "false suspicion"]] {
        let instance = Instance { reads_apart: true, ..smallest(&names, None) };
        let explored = explore(&instance, None);
        if let Some((property, history)) = explored.found {
            panic!("{names:?}: {property:?} is broken by {history:#?}");
        }
        println!("read apart, {names:?}: {} states", explored.states);
    }
}

#[test]
fn n6_a_book_that_is_wrong_is_counted_anew_and_nothing_is_oversold_meanwhile() {
    for names in [&[WRONG_BOOK][..], &[WRONG_BOOK, "crash"], &[WRONG_BOOK, "lost reply"]] {
        let instance = Instance { granted_max: 2, ..smallest(names, None) };
        let explored = explore(&instance, None);
        if let Some((property, history)) = explored.found {
            panic!("{names:?}: {property:?} is broken by {history:#?}");
        }
        println!("{names:?}: {} states", explored.states);
    }
}

#[test]
fn every_deliberate_break_is_found() {
    let mut instances = BTreeSet::new();
    for broken in Break::ALL {
        let (names, property) = where_found(broken);
        finds(broken, names, property);
        instances.insert(names);
    }
    if long() {
        let names: &[_] = &["flush", "flush", "lost reply", "late message"];
        finds(Break::SharesEpochs, names, Property::NeverOverLeased);
        instances.insert(names);
    }
    // What is found must come of the break, and not of the faults.
    instances.into_iter().for_each(holds);
}
