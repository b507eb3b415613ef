//! A sale with a fault in the middle, and everything that must hold during and after it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use testbed::asked;
use testbed::promises::Word;

use super::fixture::Fixture;
use super::monitor::Monitor;
use super::shoppers::Shoppers;

/// Units of the sale in which a fault strikes.
pub const STOCK: u64 = 1_000;
/// So much is sold before it does.
const SOLD_BEFORE: u64 = STOCK / 5;

fn rounds(fixture: &Fixture) -> usize {
    asked("SECKILL_FAULT_ROUNDS").unwrap_or(fixture.rounds)
}

/// Lets `strike` happen in the middle of a sale, as often as this run wants, each time in a new sale. `strike` answers
/// since when there is nothing more to wait for than healing: the fault is over, or lasts.
///
/// # Panics
/// More was sold than there is at some moment, an acknowledged order is missing, the three books disagree, a unit is
/// stranded, or a node does not sell again.
pub fn under_load(name: &str, mut fixture: Fixture, strike: impl Fn(&mut Fixture, usize) -> Instant) {
    for round in 0..rounds(&fixture) {
        one_round(name, &mut fixture, round, &strike);
        fixture.mend();
    }
}

/// The same with a fault that lasts until all is sold, and is over with `end`. Then every node knows how the sale ended,
/// also those that were given up meanwhile.
///
/// # Panics
/// As [`under_load`], or a node does not come back.
pub fn under_load_for_good(
    name: &str,
    mut fixture: Fixture,
    strike: impl Fn(&mut Fixture, usize) -> Instant,
    end: impl Fn(&mut Fixture, usize),
) {
    for round in 0..rounds(&fixture) {
        let sku = one_round(name, &mut fixture, round, &strike);
        end(&mut fixture, round);
        let over = Instant::now();
        fixture.mend();
        let said = fixture.until_all_say_sold_out(&sku, over);
        fixture.until_books_agree(&sku, STOCK);
        println!(
            "{name}, round {round}: at its end all nodes say sold out within {}, books agree within {}; then was logged {:?}",
            ms(said.into_iter().max().unwrap_or_default()),
            ms(over.elapsed()),
            fixture.said(),
        );
    }
}

/// Returns the SKU of the sale.
fn one_round(
    name: &str,
    fixture: &mut Fixture,
    round: usize,
    strike: &impl Fn(&mut Fixture, usize) -> Instant,
) -> String {
    let sku = fixture.sale(STOCK);
    let monitor = Monitor::of(fixture, &sku);
    let shoppers = Shoppers::come(fixture, &sku);
    fixture.eventually("some are sold", || monitor.sold() >= SOLD_BEFORE);

    fixture.said();
    let (lives, epochs) = (fixture.all_lives(), fixture.epochs());
    let struck = Instant::now();
    let over = strike(fixture, round);
    fixture.eventually("every node serves again", || {
        let nodes = 0..fixture.cluster.nodes.len();
        nodes.filter(|node| fixture.serves(*node)).all(|node| shoppers.were_served(node, over))
    });
    let healed = over.elapsed();
    shoppers.keep_everything();
    fixture.eventually("all is sold", || monitor.sold() == STOCK);
    let last_unit = Instant::now();
    let said = fixture.until_all_say_sold_out(&sku, last_unit);
    let mut heard = shoppers.go();
    let agreed = fixture.until_books_agree(&sku, STOCK);

    let orders = fixture.orders(&sku);
    let lost = fixture.lost.take().map_or(0, |lost| heard.forget(lost));
    heard.log.check(&orders);
    let mut holders = HashMap::new();
    for order in orders.iter().filter(|order| order["status"] != "cancelled") {
        let buyer = order["buyer"].as_str().expect("a buyer");
        assert_eq!(holders.insert(buyer, &order["order_id"]), None, "{buyer} has two orders");
    }
    assert_eq!(holders.len() as u64, STOCK);
    assert_eq!(monitor.sold(), STOCK, "and it stays so");
    println!(
        "{name}, round {round}: struck for {}, every node serves {} after, the last unit is sold {} after; then all \
         say sold out within {}, books agree within {}; {} orders acknowledged ({} paid, {} cancelled), {} more when \
         PostgreSQL may have lost them, {} purchases left open, {} looks at the store; answers {:?}; lives {lives}, then \
         {}; {} epochs; logged {:?}",
        ms(over - struck),
        ms(healed),
        ms(last_unit - over),
        ms(said.into_iter().max().unwrap_or_default()),
        ms(agreed),
        heard.log.acknowledged.len(),
        heard.log.count(Word::Paid),
        heard.log.count(Word::Cancelled),
        lost,
        heard.log.unanswered.len(),
        monitor.end(),
        heard.answers,
        fixture.all_lives(),
        fixture.epochs().saturating_sub(epochs),
        fixture.said(),
    );
    sku
}

fn ms(duration: Duration) -> String {
    format!("{} ms", duration.as_millis())
}
