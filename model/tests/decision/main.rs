//! Every interleaving of the small concurrent pieces of admission, explored by loom:
//! `cargo test --workspace --features model/explored --test decision`.
//!
//! Each model is a handful of threads with one or two steps each, so that it can be explored to its end. Where that
//! takes too long the number of preemptions is bounded; bugs of this kind need few.

mod purchase;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use loom::thread;
use seckill::admission::{
    Accepted, Admission, BuyerRates, ClaimGuard, ClaimRequest, Claims, LiveSale, Moment, OrderIds,
    PriorClaim, Purchase, Queue, Resolution, SaleState, Stock, TakenUnits, Ticket, TokenBucket,
};
use seckill::domain::{
    BuyerName, Cents, Currency, EpochMs, Nanos, NodeId, Offer, OrderId, Rate, Refusal, Rejection, SaleId,
    SaleKey, SaleTerms, Units,
};

/// Explores the model to its end.
fn explore(model: impl Fn() + Send + Sync + 'static) {
    loom::model::Builder::new().check(model);
}

/// Explores the model with at most this many preemptions.
fn explore_preempting(at_most: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(at_most);
    builder.check(model);
}

/// Runs `work` on a thread of the model with a handle of its own to `shared`.
fn on_thread<S: Send + Sync + 'static, T: 'static>(
    shared: &Arc<S>,
    work: impl FnOnce(&S) -> T + 'static,
) -> thread::JoinHandle<T> {
    let shared = Arc::clone(shared);
    thread::spawn(move || work(&shared))
}

fn taken(stock: &Stock, home: usize, quantity: Units) -> Units {
    stock.take(home, quantity).map_or(0, TakenUnits::keep)
}

mod stock {
    use super::*;

    #[test]
    fn the_last_unit_is_sold_once() {
        explore(|| {
            let stock = Arc::new(Stock::new(2, 1));
            let other = on_thread(&stock, |stock| taken(stock, 1, 1));
            let sold = taken(&stock, 0, 1) + other.join().unwrap();
            assert_eq!((sold, stock.remaining()), (1, 0));
        });
    }

    #[test]
    fn units_given_back_are_on_sale_again() {
        explore_preempting(3, || {
            let stock = Arc::new(Stock::new(2, 2));
            let gives_back = on_thread(&stock, |stock| drop(stock.take(1, 1)));
            let adds = on_thread(&stock, |stock| stock.add(1, 1));
            let sold = taken(&stock, 0, 2);
            gives_back.join().unwrap();
            adds.join().unwrap();
            assert_eq!(sold + stock.remaining(), 3);
            assert!(stock.may_have(0, 3 - sold));
            assert_eq!(taken(&stock, 0, 3 - sold), 3 - sold, "what is on sale at rest can be bought");
        });
    }

    #[test]
    fn nobody_hears_sold_out_while_a_unit_moves_between_shards() {
        explore_preempting(4, || {
            // At every moment until the buyer has its unit, one or two are on sale. It looks into shard 1, then 0, and
            // then gathers from 0 and 1: the unit moves there and back.
            let stock = Arc::new(Stock::new(2, 1));
            let mover = on_thread(&stock, |stock| {
                stock.add(1, 1);
                let there = taken(stock, 0, 1);
                stock.add(0, 1);
                there + taken(stock, 1, 1)
            });
            assert_eq!(taken(&stock, 1, 1), 1);
            assert_eq!((mover.join().unwrap(), stock.remaining()), (2, 0));
        });
    }

    #[test]
    fn a_look_never_misses_a_unit_that_moves_between_shards() {
        explore(|| {
            let stock = Arc::new(Stock::new(2, 0));
            stock.add(1, 1);
            let mover = on_thread(&stock, |stock| {
                stock.add(0, 1);
                taken(stock, 1, 1)
            });
            assert!(stock.may_have(0, 1));
            assert_eq!((mover.join().unwrap(), stock.remaining()), (1, 1));
        });
    }

    #[test]
    fn two_who_gather_do_not_starve_each_other() {
        explore_preempting(3, || {
            let stock = Arc::new(Stock::new(2, 3));
            let other = on_thread(&stock, |stock| taken(stock, 1, 3));
            let sold = taken(&stock, 0, 3) + other.join().unwrap();
            assert_eq!((sold, stock.remaining()), (3, 0), "one of them finds all three");
        });
    }

    #[test]
    fn who_gathers_in_vain_hides_no_unit_from_others() {
        explore_preempting(3, || {
            let stock = Arc::new(Stock::new(2, 2));
            let in_vain = on_thread(&stock, |stock| taken(stock, 0, 3));
            assert!(stock.may_have(1, 1), "the units in the gatherer's hand come back");
            assert_eq!(taken(&stock, 1, 1), 1);
            assert_eq!((in_vain.join().unwrap(), stock.remaining()), (0, 1));
        });
    }

    #[test]
    fn single_units_and_quantities_sell_no_more_than_there_is() {
        explore_preempting(2, || {
            let stock = Arc::new(Stock::new(2, 2));
            let pair = on_thread(&stock, |stock| taken(stock, 0, 2));
            let single = on_thread(&stock, |stock| taken(stock, 1, 1));
            let sold = taken(&stock, 0, 1) + pair.join().unwrap() + single.join().unwrap();
            assert_eq!((sold, stock.remaining()), (2, 0));
        });
    }

    #[test]
    fn draining_neither_loses_nor_doubles_a_unit() {
        explore_preempting(3, || {
            let stock = Arc::new(Stock::new(2, 2));
            let taker = on_thread(&stock, |stock| taken(stock, 1, 2));
            let adder = on_thread(&stock, |stock| stock.add(0, 1));
            let drained = stock.drain();
            let sold = taker.join().unwrap();
            adder.join().unwrap();
            assert_eq!(drained + sold + stock.remaining(), 3);
        });
    }
}

mod claims {
    use super::*;

    const NOBODY_PANICS: &str = "no thread of the model panics";

    fn request(quantity: Units, per_buyer_limit: Units) -> ClaimRequest<'static> {
        let buyer = BuyerName::new("ann").unwrap();
        let offer = Offer { quantity, ..Offer::default() };
        ClaimRequest { buyer, offer, idempotency_key: None, per_buyer_limit, releases_max: u32::MAX }
    }

    fn id(number: u64) -> OrderId {
        OrderId::from_number(number).unwrap()
    }

    /// Claims and keeps, as a purchase that succeeds; 0 when refused.
    fn kept(claims: &Claims, order: u64, quantity: Units, limit: Units) -> Units {
        match claims.claim(&request(quantity, limit), id(order)) {
            Ok(claim) => {
                let _ticket = ClaimGuard::keep(claim);
                quantity
            }
            Err(_) => 0,
        }
    }

    /// The buyer's units, found out from outside: the largest quantity that is still allowed tells.
    fn units_claimed(claims: &Claims, limit: Units) -> Units {
        let free = (1..=limit).rev().find(|&quantity| claims.prior(&request(quantity, limit)).is_ok());
        limit - free.unwrap_or(0)
    }

    #[test]
    fn two_clicks_at_once_are_one_order() {
        explore(|| {
            let claims = Arc::new(Claims::default());
            let other = on_thread(&claims, |claims| kept(claims, 2, 1, 1));
            let first = kept(&claims, 1, 1, 1);
            assert_eq!(first + other.join().expect(NOBODY_PANICS), 1);
        });
    }

    #[test]
    fn quantities_at_once_stay_within_the_limit() {
        explore(|| {
            let claims = Arc::new(Claims::default());
            let pair = on_thread(&claims, |claims| kept(claims, 2, 2, 3));
            let single = on_thread(&claims, |claims| kept(claims, 3, 1, 3));
            let sum = kept(&claims, 1, 2, 3) + pair.join().unwrap() + single.join().unwrap();
            assert_eq!(sum, 3, "one pair and the single fit");
            assert_eq!(units_claimed(&claims, 3), 3);
        });
    }

    #[test]
    fn who_waits_on_a_claim_that_is_given_back_hears_of_it() {
        explore(|| {
            let claims = Arc::new(Claims::default());
            let given_back =
                on_thread(&claims, |claims| drop(claims.claim(&request(1, 1), id(1)).map_err(|_| ())));
            let ticket = match claims.claim(&request(1, 1), id(2)) {
                Ok(claim) => claim.keep(),
                Err(PriorClaim::InFlight(order)) => {
                    assert_eq!(order.order_id, id(1));
                    order.ticket
                }
                Err(other) => panic!("a claim in flight is waited for, not {other:?}"),
            };
            given_back.join().unwrap();
            let own = claims.offer_in_flight("ann", id(2)).is_some();
            let told = ticket.resolution();
            assert_eq!(told, if own { None } else { Some(Resolution::Refused) });
            assert_eq!(claims.buyers(), usize::from(own), "no claim is left behind");
        });
    }

    #[test]
    fn an_order_that_becomes_durable_refuses_a_simultaneous_click() {
        explore(|| {
            let claims = Arc::new(Claims::default());
            assert_eq!(kept(&claims, 1, 1, 1), 1);
            let writer = on_thread(&claims, |claims| claims.confirm("ann", id(1)));
            match claims.claim(&request(1, 1), id(2)).map(ClaimGuard::keep) {
                Err(PriorClaim::InFlight(order)) if !order.replay => assert_eq!(order.order_id, id(1)),
                Err(PriorClaim::Rejected(Refusal {
                    rejection: Rejection::AlreadyPurchased { order_id },
                    ..
                })) => {
                    assert_eq!(order_id, id(1));
                }
                other => panic!("{other:?}"),
            }
            writer.join().unwrap();
            assert_eq!(units_claimed(&claims, 1), 1);
        });
    }

    /// Cancel and expiry both end in `release`; the store lets one of them win, a repeat must do no harm.
    #[test]
    fn a_click_during_cancel_and_expiry_is_one_order_and_is_not_lost() {
        explore_preempting(4, || {
            let claims = Arc::new(Claims::default());
            assert_eq!(kept(&claims, 1, 1, 1), 1);
            claims.confirm("ann", id(1));
            let cancel = on_thread(&claims, |claims| claims.release("ann", id(1)));
            let expiry = on_thread(&claims, |claims| claims.release("ann", id(1)));
            let clicked = kept(&claims, 2, 1, 1);
            cancel.join().unwrap();
            expiry.join().unwrap();
            assert_eq!(units_claimed(&claims, 1), clicked, "a new claim survives the release of the old one");
        });
    }

    #[test]
    fn two_clicks_during_a_release_are_one_order() {
        explore_preempting(4, || {
            let claims = Arc::new(Claims::default());
            assert_eq!(kept(&claims, 1, 1, 1), 1);
            claims.confirm("ann", id(1));
            let release = on_thread(&claims, |claims| claims.release("ann", id(1)));
            let other = on_thread(&claims, |claims| kept(claims, 3, 1, 1));
            let clicked = kept(&claims, 2, 1, 1) + other.join().unwrap();
            release.join().unwrap();
            assert!(clicked <= 1);
            assert_eq!(units_claimed(&claims, 1), clicked);
        });
    }

    /// Claims, keeps and confirms an order for one unit.
    fn bought(claims: &Claims, buyer: &'static str, order: u64) {
        let request = ClaimRequest { buyer: BuyerName::new(buyer).unwrap(), ..request(1, 1) };
        let _ticket = claims.claim(&request, id(order)).expect("the buyer has none").keep();
        claims.confirm(buyer, id(order));
    }

    #[test]
    fn a_place_that_another_buyer_takes_is_never_shown_as_the_first_ones() {
        explore(|| {
            let claims = Arc::new(Claims::default());
            bought(&claims, "ann", 1);
            let leaves = on_thread(&claims, |claims| claims.withdraw("ann", id(1)));
            let comes = on_thread(&claims, |claims| bought(claims, "bob", 2));
            let seen = claims.held("ann");
            assert!(seen.is_none_or(|order| order == id(1)), "{seen:?}");
            leaves.join().expect(NOBODY_PANICS);
            comes.join().expect(NOBODY_PANICS);
            assert_eq!((claims.held("ann"), claims.held("bob"), claims.buyers()), (None, Some(id(2)), 1));
        });
    }

    #[test]
    fn who_looks_while_the_map_grows_finds_who_was_there() {
        explore_preempting(3, || {
            let claims = Arc::new(Claims::default());
            for (buyer, order) in [("ann", 1), ("bob", 2), ("cid", 3)] {
                bought(&claims, buyer, order);
            }
            let comes = on_thread(&claims, |claims| bought(claims, "dan", 4));
            for (buyer, order) in [("ann", 1), ("cid", 3)] {
                assert_eq!(claims.held(buyer), Some(id(order)));
            }
            comes.join().expect(NOBODY_PANICS);
            assert_eq!((claims.held("dan"), claims.buyers()), (Some(id(4)), 4));
        });
    }

    #[test]
    fn withdrawing_one_order_leaves_the_buyers_other_claim() {
        explore(|| {
            let claims = Arc::new(Claims::default());
            assert_eq!(kept(&claims, 1, 1, 2), 1);
            let refused = on_thread(&claims, |claims| claims.withdraw("ann", id(1)));
            assert_eq!(kept(&claims, 2, 1, 2), 1);
            refused.join().unwrap();
            assert_eq!(units_claimed(&claims, 2), 1);
        });
    }
}

mod ticket {
    use super::*;

    /// Wakes a thread of the model.
    struct Bell(loom::sync::Notify);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.notify();
        }
    }

    /// Drives a future to its end; a lost wake-up is a deadlock that loom reports.
    fn block_on<F: Future>(future: F) -> F::Output {
        let bell = Arc::new(Bell(loom::sync::Notify::new()));
        let waker = Waker::from(Arc::clone(&bell));
        let mut context = Context::from_waker(&waker);
        let mut future = pin!(future);
        loop {
            match future.as_mut().poll(&mut context) {
                Poll::Ready(output) => return output,
                Poll::Pending => bell.0.wait(),
            }
        }
    }

    #[test]
    fn everyone_who_waits_hears_the_same_word() {
        explore_preempting(3, || {
            let ticket = Arc::new(Ticket::new(Offer::default()));
            let waiter = on_thread(&ticket, |ticket| block_on(ticket.resolved()));
            let writer = on_thread(&ticket, |ticket| ticket.resolve(Resolution::Durable));
            assert_eq!(block_on(ticket.resolved()), Resolution::Durable);
            assert_eq!(waiter.join().unwrap(), Resolution::Durable);
            writer.join().unwrap();
        });
    }

    #[test]
    fn the_first_word_stands() {
        explore_preempting(3, || {
            let ticket = Arc::new(Ticket::new(Offer::default()));
            let one = on_thread(&ticket, |ticket| ticket.resolve(Resolution::Durable));
            let other = on_thread(&ticket, |ticket| ticket.resolve(Resolution::Refused));
            let heard = block_on(ticket.resolved());
            one.join().unwrap();
            other.join().unwrap();
            assert_eq!(ticket.resolution(), Some(heard));
        });
    }
}

mod rates {
    use super::*;

    const NOW: Nanos = Nanos(7_000_000);

    #[test]
    fn a_bucket_admits_its_burst_and_no_more() {
        explore(|| {
            let bucket = Arc::new(TokenBucket::new(Rate { per_s: 1_000, burst: 2 }));
            let others = [(); 2].map(|()| on_thread(&bucket, |bucket| bucket.take(NOW).is_ok()));
            let mut admitted = u32::from(bucket.take(NOW).is_ok());
            for other in others {
                admitted += u32::from(other.join().unwrap());
            }
            assert_eq!(admitted, 2);
        });
    }

    #[test]
    fn two_first_clicks_of_one_buyer_share_a_bucket() {
        explore_preempting(2, || {
            let rates = Arc::new(BuyerRates::new(Rate { per_s: 10, burst: 1 }, 1));
            let other = on_thread(&rates, |rates| rates.take("t", "ann", NOW).is_ok());
            let first = rates.take("t", "ann", NOW).is_ok();
            assert!(first != other.join().unwrap());
        });
    }

    #[test]
    fn order_numbers_are_given_out_once() {
        explore(|| {
            let ids = Arc::new(OrderIds::after(NodeId::new(1).unwrap(), None));
            let now = EpochMs(1_800_000_000_000);
            let other = on_thread(&ids, move |ids| ids.next(now));
            let (first, second) = (ids.next(now), ids.next(now));
            let other = other.join().unwrap();
            assert!(first < second && other != first && other != second);
        });
    }
}

mod queue {
    use super::*;

    #[test]
    fn places_never_pass_the_capacity_and_all_come_back() {
        explore_preempting(3, || {
            let (queue, _exit) = Queue::bounded(1);
            let queue = Arc::new(queue);
            let enter = |queue: &Queue| match queue.place() {
                Ok(place) => {
                    assert_eq!(queue.depth(), 1, "one place is all there is");
                    drop(place);
                    true
                }
                Err(rejection) => {
                    assert_eq!(rejection, Rejection::Overloaded);
                    false
                }
            };
            let other = on_thread(&queue, enter);
            let entered = enter(&queue);
            assert!(entered | other.join().unwrap(), "somebody gets in");
            assert_eq!(queue.depth(), 0);
        });
    }
}
