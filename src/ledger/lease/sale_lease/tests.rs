mod silent;

use std::time::{Duration, Instant};

use super::super::book::{Book, BookReply, Movement, NodeAccount, ServerId, Verdict};
use super::super::detector::FailureDetector;
use super::super::effects::{Act, Effects, Terms, View};
use super::super::errand::{Answer, Ask};
use super::super::node_life::NodeLife;
use super::super::rules::Rules;
use super::SaleLease;
use crate::domain::{KnownNode, NodeId, SaleUnits, Share};

const TERMS: Terms = Terms {
    lease_divisor: 2,
    lease_units_max: 100,
    low_water_percent: 50,
    tail_pause: Duration::from_millis(100),
    compare_every: Duration::from_secs(1),
    rebuild_patience: Duration::from_secs(2),
};

/// One node that has joined a sale of 20 units in epoch 1, with its clock and its memory.
struct Bench {
    lease: SaleLease,
    detector: FailureDetector,
    now: Instant,
    view: View,
    store: SaleUnits,
    book: Book,
    reply: BookReply,
    /// What the store can give this node in all.
    share_max: u64,
    effects: Effects,
}

impl Bench {
    fn joined() -> Self {
        let (me, now) = (NodeId::new(1).unwrap(), Instant::now());
        let life = NodeLife::new(Rules::sound(), me, 1);
        let mut bench = Self {
            lease: SaleLease::new(TERMS, life, now),
            detector: FailureDetector::new(
                Rules::sound(),
                me,
                Duration::from_secs(10),
                Duration::from_secs(1),
                now,
            ),
            now,
            view: View {
                on_sale: 0,
                in_flight: 0,
                is_wanted: false,
                more_may_come: true,
                per_buyer_limit: 1,
                others_alive: 1,
                followed_until: None,
                is_cut_off: false,
                rest: Duration::from_secs(1_000),
                lot: false,
            },
            store: SaleUnits { epoch: 1, total: 20, revision: 1, ..SaleUnits::default() },
            book: Book { epoch: 1, total: 20, revision: 1, ..Book::default() },
            reply: BookReply {
                verdict: Verdict::Ok,
                server: ServerId::default(),
                epoch: 1,
                incarnation: 1,
                granted: 0,
                handed_back: 0,
                settled: 0,
                available: 20,
                leased: 0,
                awaited: 0,
                starving: 0,
            },
            share_max: 20,
            effects: Effects::default(),
        };
        assert_eq!(bench.look(), ["units", "register"]);
        bench.reply.granted = 5;
        bench.book.accounts.insert(me, NodeAccount { incarnation: 1, granted: 5, ..NodeAccount::default() });
        assert_eq!(bench.look(), ["lease", "share", "units", "book", "settle"]);
        assert_eq!(bench.effects.put_on_sale, 5);
        bench.view.on_sale = 5;
        bench
    }

    fn pass(&mut self, ms: u64) {
        self.now += Duration::from_millis(ms);
    }

    fn rests(&self) -> bool {
        self.lease.rests(self.now, self.view.on_sale, self.view.is_wanted)
    }

    /// Looks once, answers everything, and names what was asked.
    fn look(&mut self) -> Vec<&'static str> {
        let rests = self.rests();
        self.effects = Effects::default();
        self.lease.look();
        let mut asked = Vec::new();
        while let Some(act) = self.lease.next(self.now, &self.view, &mut self.effects) {
            let (name, answer) = match act {
                Act::TakeOffSale(units) => {
                    self.view.on_sale -= units;
                    self.lease.took_off_sale(units, &mut self.effects);
                    continue;
                }
                Act::Ask(Ask::Units) => ("units", Answer::Units(self.store.clone())),
                Act::Ask(Ask::Book) => ("book", Answer::Book(self.book.clone())),
                Act::Ask(Ask::Incarnations) => {
                    let node = NodeId::new(1).unwrap();
                    let known = KnownNode { node, incarnation: 1, may_live: true };
                    ("incarnations", Answer::Incarnations(vec![known]))
                }
                Act::Ask(Ask::EndEpoch(seen)) => ("end epoch", Answer::Epoch(seen + 1)),
                Act::Ask(Ask::Open(_)) => ("open", Answer::Reply(self.reply.clone())),
                Act::Ask(Ask::Beat(node, life)) => {
                    ("beat", Answer::Silent(self.detector.is_silent(node, life, self.now)))
                }
                Act::Ask(Ask::Fence(_, life)) => ("fence", Answer::Fenced(Some(life + 1))),
                Act::Ask(Ask::Share { incarnation, units, .. }) => {
                    let granted = units.min(self.share_max);
                    let node = NodeId::new(1).unwrap();
                    self.store.shares = vec![Share { node, life: incarnation, granted }];
                    ("share", Answer::Share(Some(granted)))
                }
                Act::Ask(Ask::Release { .. }) => ("release", Answer::Released),
                Act::Ask(Ask::Move(_, movement)) => (name(movement), Answer::Reply(self.reply.clone())),
            };
            asked.push(name);
            self.lease.heard(answer, self.now, &self.view, &mut self.detector, &mut self.effects);
        }
        assert!(!rests || (asked.is_empty() && self.effects == Effects::default()), "{asked:?}");
        asked
    }
}

fn name(movement: Movement) -> &'static str {
    match movement {
        Movement::Register => "register",
        Movement::Lease { .. } => "lease",
        Movement::HandBack { .. } => "hand back",
        Movement::Settle { .. } => "settle",
        Movement::Return { .. } => "return",
        Movement::Resize { .. } => "resize",
        Movement::Reclaim { .. } => "reclaim",
        Movement::Announce { .. } => "announce",
    }
}

#[test]
fn a_sale_where_nothing_happens_rests_and_is_compared_now_and_then() {
    let mut bench = Bench::joined();
    assert_eq!(bench.look(), [""; 0], "it sees what it was lent");
    let compared_at = bench.now + TERMS.compare_every;
    for _ in 0..9 {
        bench.pass(100);
        assert!(bench.rests());
        assert_eq!(bench.lease.rests_until(bench.now), compared_at);
        assert_eq!(bench.look(), [""; 0]);
        assert_eq!(bench.effects, Effects::default());
    }
    bench.pass(100);
    assert!(!bench.rests());
    assert_eq!(bench.look(), COMPARES);
    assert!(bench.rests());
}

const COMPARES: [&str; 3] = ["units", "book", "settle"];

/// A sale whose books were found to agree.
fn resting() -> Bench {
    let mut bench = Bench::joined();
    bench.look();
    bench.pass(1_000);
    assert_eq!(bench.look(), COMPARES);
    bench
}

#[test]
fn n2_a_sale_whose_books_agree_rests_until_something_happens_to_it() {
    let mut bench = resting();
    let rests_until = bench.now + bench.view.rest;
    bench.pass(500_000);
    assert!(bench.rests());
    assert_eq!(bench.lease.rests_until(bench.now), rests_until);
    bench.lease.stir(bench.now);
    assert!(bench.rests(), "there is no hurry");
    bench.pass(1_000);
    assert_eq!(bench.look(), COMPARES);
    bench.pass(500_000);
    assert!(bench.rests());
    bench.lease.wake(bench.now);
    assert_eq!(bench.look(), COMPARES, "at once");
}

#[test]
fn n2_a_sale_whose_books_do_not_agree_is_compared_until_they_do() {
    let other = NodeId::new(2).unwrap();
    let account = NodeAccount { granted: 3, settled: 3, ..NodeAccount::default() };
    let amiss: [fn(&mut Bench, NodeId, NodeAccount); 6] = [
        |bench, _, _| bench.store.returned = 1,
        |bench, _, _| bench.store.revision = 2,
        |bench, _, _| bench.view.in_flight = 1,
        |bench, _, _| bench.view.on_sale = 4,
        |bench, _, _| bench.book.lost = true,
        |bench, other, account| {
            bench.book.accounts.insert(other, NodeAccount { awaited: true, ..account });
        },
    ];
    for (place, amiss) in amiss.into_iter().enumerate() {
        let mut bench = resting();
        amiss(&mut bench, other, account);
        bench.lease.wake(bench.now);
        bench.look();
        bench.pass(1_000);
        assert!(!bench.rests(), "{place}");
        assert_eq!(bench.look()[..2], COMPARES[..2], "{place}");
    }
    // What somebody else sold and has not settled is his to settle, unless he has died.
    let mut bench = resting();
    bench.book.accounts.insert(other, NodeAccount { settled: 2, ..account });
    bench.store.settled.push((other, 3));
    bench.lease.wake(bench.now);
    for _ in 0..=10 {
        assert_eq!(bench.look(), COMPARES);
        bench.pass(1_000);
    }
    assert!(bench.rests());
}

#[test]
fn n2_whoever_needs_the_others_calls_them() {
    let mut bench = resting();
    (bench.view.on_sale, bench.view.is_wanted) = (0, true);
    bench.reply.granted = 8;
    bench.look();
    assert_eq!((bench.effects.leased, bench.effects.calls_others), (3, false));
    (bench.reply.available, bench.reply.leased) = (0, 13);
    bench.pass(100);
    bench.look();
    assert!(bench.effects.calls_others, "they have what is wanted here");
    bench.reply.leased = 0;
    bench.pass(100);
    bench.look();
    assert!(!bench.effects.calls_others, "all is sold");
    (bench.reply.verdict, bench.reply.awaited) = (Verdict::Rebuilding, 1);
    bench.pass(200);
    bench.look();
    assert!(bench.effects.calls_others, "they have to say what they hold");
}

#[test]
fn n2_a_lease_that_came_late_is_made_good_when_the_books_are_compared() {
    let mut bench = resting();
    let account = NodeAccount { incarnation: 1, granted: 7, ..NodeAccount::default() };
    bench.book.accounts.insert(NodeId::new(1).unwrap(), account);
    bench.reply.granted = 7;
    bench.lease.wake(bench.now);
    assert_eq!(bench.look(), COMPARES);
    assert_eq!(bench.look(), ["share"]);
    assert_eq!(bench.effects.put_on_sale, 2);
}

#[test]
fn a_sale_that_rests_is_woken_by_buyers_operators_and_units_that_come_back() {
    let wakes: [fn(&mut Bench); 4] = [
        |bench| bench.view.on_sale -= 1,
        |bench| bench.view.is_wanted = true,
        |bench| assert!(bench.lease.withdraw(1, bench.now)),
        |bench| bench.lease.units_came_back(bench.now),
    ];
    for wake in wakes {
        let mut bench = Bench::joined();
        bench.look();
        assert!(bench.rests());
        wake(&mut bench);
        assert!(!bench.rests());
    }
}

#[test]
fn a_click_on_a_sale_that_is_over_wakes_it_once() {
    let mut bench = Bench::joined();
    (bench.view.on_sale, bench.view.more_may_come, bench.view.is_wanted) = (0, false, true);
    (bench.reply.available, bench.reply.granted) = (0, 5);
    bench.look();
    bench.pass(1_000);
    assert_eq!(bench.look(), ["units", "book", "settle"]);
    assert!(bench.effects.demand_heard);
    bench.view.is_wanted = false;
    bench.pass(999);
    assert!(bench.rests());
}

#[test]
fn stock_that_runs_low_is_filled_up_while_there_is_more() {
    let mut bench = Bench::joined();
    bench.view.on_sale = 2;
    bench.reply.granted = 9;
    assert_eq!(bench.look(), ["lease", "share"]);
    assert_eq!((bench.effects.put_on_sale, bench.effects.leased), (4, 4));
    bench.view.on_sale = 1;
    bench.reply.available = 0;
    bench.reply.leased = 4;
    assert_eq!(bench.look(), ["lease"], "it has yet to hear that there is no more");
    bench.pass(200);
    assert_eq!(bench.look(), [""; 0]);
}

#[test]
fn half_of_what_is_left_goes_to_those_who_starve() {
    let mut bench = Bench::joined();
    (bench.reply.available, bench.reply.leased, bench.reply.starving) = (0, 5, 1);
    bench.pass(1_000);
    assert_eq!(bench.look(), ["units", "book", "settle", "share", "hand back"]);
    assert_eq!((bench.view.on_sale, bench.effects.handed_back), (2, 3));
}

#[test]
fn a_lost_book_is_opened_at_once_and_one_that_was_left_behind_after_a_while() {
    let mut bench = Bench::joined();
    bench.reply.verdict = Verdict::Lost;
    bench.pass(1_000);
    assert_eq!(bench.look(), ["units", "book", "settle", "end epoch", "incarnations", "units", "open"]);
    assert!(bench.effects.is_rebuilt);

    let mut bench = Bench::joined();
    bench.store.epoch = 2;
    for _ in 0..2 {
        bench.pass(1_000);
        assert_eq!(
            bench.look(),
            ["units", "book", "settle"],
            "whoever ended the epoch may be about to open it"
        );
    }
    bench.pass(1_000);
    assert_eq!(bench.look(), ["units", "book", "settle", "end epoch", "incarnations", "units", "open"]);
}

#[test]
fn who_is_told_of_a_newer_book_announces_before_anything_else() {
    let mut bench = Bench::joined();
    (bench.reply.verdict, bench.reply.epoch, bench.store.epoch) = (Verdict::OldEpoch, 2, 2);
    bench.pass(1_000);
    assert_eq!(bench.look(), ["units", "book", "settle", "units", "announce"]);
    bench.pass(100);
    bench.view.is_wanted = true;
    assert_eq!(bench.look(), ["lease", "units", "announce"], "a book that began since has yet another epoch");
}

#[test]
fn n7_a_book_that_is_newer_than_the_store_is_opened_above_it() {
    let mut bench = Bench::joined();
    (bench.reply.verdict, bench.reply.epoch) = (Verdict::OldEpoch, 7);
    bench.pass(1_000);
    let opens = ["units", "end epoch", "incarnations", "units", "open"];
    assert_eq!(bench.look(), [&["units", "book", "settle"], &opens[..]].concat());
    assert!(bench.effects.is_rebuilt);
    // A node that has yet to join finds it so as well.
    let life = NodeLife::new(Rules::sound(), NodeId::new(1).unwrap(), 2);
    bench.lease.begin_life(life, bench.now);
    assert_eq!(bench.look(), [&["units", "register"], &opens[..]].concat());
}

#[test]
fn a_call_that_nobody_answers_ends_the_look() {
    let mut bench = Bench::joined();
    bench.pass(1_000);
    bench.lease.look();
    assert_eq!(bench.lease.next(bench.now, &bench.view, &mut bench.effects), Some(Act::Ask(Ask::Units)));
    bench.lease.unheard(bench.now, &mut bench.effects);
    assert_eq!(bench.lease.next(bench.now, &bench.view, &mut bench.effects), None);
}

#[test]
fn n4_a_node_that_is_cut_off_from_the_store_has_nothing_on_sale_and_asks_for_nothing() {
    let mut bench = Bench::joined();
    bench.look();
    bench.view.is_cut_off = true;
    bench.pass(1_000);
    assert_eq!(bench.look(), [""; 0], "its share covers them as long as the store is not told");
    assert_eq!((bench.view.on_sale, bench.effects.handed_back), (0, 5));
    bench.view.is_wanted = true;
    bench.pass(1_000);
    assert_eq!(bench.look(), [""; 0], "nothing that it could sell, and nothing that it could read");
    bench.view.is_cut_off = false;
    bench.reply.granted = 9;
    let account = NodeAccount { incarnation: 1, granted: 9, handed_back: 5, ..NodeAccount::default() };
    bench.book.accounts.insert(NodeId::new(1).unwrap(), account);
    assert_eq!(bench.look(), ["share", "hand back", "lease", "share", "units", "book", "settle"]);
    assert_eq!(bench.effects.put_on_sale, 4, "it goes on");
}

#[test]
fn n6_a_refusal_by_the_store_has_the_book_counted_anew_once_and_later_ever_more_rarely() {
    let mut bench = Bench::joined();
    bench.look();
    bench.view.on_sale = 0;
    bench.lease.refused(5, bench.now);
    let anew = ["units", "book", "end epoch", "incarnations", "units", "open"];
    assert_eq!(bench.look()[..8], [&["share", "hand back"][..], &anew[..]].concat());
    assert!(bench.effects.is_rebuilt);
    bench.lease.refused(0, bench.now);
    bench.lease.refused(0, bench.now);
    assert!(!bench.look().contains(&"end epoch"), "it was done just now");
    bench.pass(400);
    assert!(bench.look().contains(&"end epoch"));
    bench.pass(400);
    assert!(!bench.look().contains(&"end epoch"), "it has been done");
}

#[test]
fn n6_what_the_book_lends_above_the_store_goes_back_is_never_on_sale_and_has_the_book_counted_anew() {
    let mut bench = Bench::joined();
    (bench.view.on_sale, bench.reply.granted, bench.share_max) = (2, 9, 6);
    assert_eq!(bench.look(), ["lease", "share"]);
    assert_eq!(bench.effects.put_on_sale, 1);
    bench.view.on_sale = 3;
    let anew = ["hand back", "units", "book", "end epoch", "incarnations", "units", "open"];
    assert_eq!(bench.look(), anew);
    assert_eq!((bench.view.on_sale, bench.effects.put_on_sale), (3, 0));
}

#[test]
fn units_that_an_operator_wants_are_out_of_the_share_before_he_has_them() {
    for gives_up in [true, false] {
        let mut bench = Bench::joined();
        bench.look();
        assert!(bench.lease.withdraw(2, bench.now + TERMS.compare_every));
        assert_eq!(bench.look(), ["share"]);
        assert!(bench.effects.withdrawal_is_complete);
        bench.view.on_sale = 3;
        bench.lease.decide(gives_up);
        if gives_up {
            assert_eq!(bench.look(), ["units", "resize", "hand back"]);
        } else {
            assert_eq!(bench.look(), ["share"]);
            assert_eq!(bench.effects.put_on_sale, 2);
        }
    }
}

#[test]
fn who_asks_in_vain_asks_ever_more_rarely_until_units_come_back() {
    let mut bench = Bench::joined();
    (bench.view.on_sale, bench.view.is_wanted) = (0, true);
    (bench.reply.available, bench.reply.leased, bench.reply.starving) = (0, 4, 2);
    let mut asked = Vec::new();
    for _ in 0..80 {
        asked.extend(bench.look());
        bench.pass(100);
    }
    let times = |name| asked.iter().filter(|asked| **asked == name).count();
    assert!((18..=24).contains(&times("lease")), "{asked:?}");
    assert_eq!(times("settle"), times("book"), "it has nothing to share");
    bench.reply.available = 1;
    bench.lease.units_came_back(bench.now);
    assert_eq!(bench.look(), COMPARES);
    bench.reply.granted = 6;
    bench.pass(10);
    assert_eq!(bench.look(), ["lease", "share"]);
    assert_eq!(bench.effects.put_on_sale, 1);
}

#[test]
fn a_share_that_somebody_else_has_changed_is_written_again() {
    let mut bench = Bench::joined();
    bench.look();
    bench.store.shares[0].granted = 9;
    bench.pass(1_000);
    assert_eq!(bench.look(), ["units", "book", "settle"]);
    assert_eq!(bench.look(), ["share"]);
    assert_eq!((bench.store.shares[0].granted, bench.effects.put_on_sale), (5, 0));
    assert!(bench.rests());
}
