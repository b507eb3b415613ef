//! A sale with a fault in the middle, and everything that must hold during and after it.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use testbed::promises::Word;

use super::fixture::Fixture;
use super::monitor::Monitor;
use super::shoppers::Shoppers;

const STOCK: u64 = 1_000;
/// So much is sold before a fault strikes.
const SOLD_BEFORE: u64 = STOCK / 5;
/// How often a fault strikes in the short form.
const ROUNDS: usize = 2;

fn rounds() -> usize {
    let set = std::env::var("SECKILL_FAULT_ROUNDS").ok();
    set.map_or(ROUNDS, |rounds| rounds.parse().expect("SECKILL_FAULT_ROUNDS is a number"))
}

/// Lets `strike` happen in the middle of a sale, as often as this run wants, each time in a new sale. `strike` answers
/// since when there is nothing more to wait for than healing: the fault is over, or lasts.
///
/// # Panics
/// More was sold than there is at some moment, an acknowledged order is missing, the three books disagree, a unit is
/// stranded, or a node does not sell again.
pub fn under_load(name: &str, mut fixture: Fixture, strike: impl Fn(&mut Fixture, usize) -> Instant) {
    for round in 0..rounds() {
        let sku = fixture.sale(STOCK);
        let monitor = Monitor::of(&fixture, &sku);
        let shoppers = Shoppers::come(&fixture, &sku);
        fixture.eventually("some are sold", || monitor.sold() >= SOLD_BEFORE);

        let struck = Instant::now();
        let over = strike(&mut fixture, round);
        let is_up = |node: &usize| fixture.cluster.nodes[*node].engine.is_some();
        fixture.eventually("every node serves again", || {
            (0..fixture.cluster.nodes.len()).filter(is_up).all(|node| shoppers.were_served(node, over))
        });
        let healed = over.elapsed();
        shoppers.keep_everything();
        fixture.eventually("all is sold", || monitor.sold() == STOCK);
        let last_unit = Instant::now();
        let said = fixture.until_all_say_sold_out(&sku, last_unit);
        let heard = shoppers.go();
        let agreed = fixture.until_books_agree(&sku, STOCK);

        let orders = fixture.orders(&sku);
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
             say sold out within {}, books agree within {}; {} orders acknowledged ({} paid, {} cancelled), {} purchases \
             left open, {} looks at the store; answers {:?}",
            ms(over - struck),
            ms(healed),
            ms(last_unit - over),
            ms(said.into_iter().max().unwrap_or_default()),
            ms(agreed),
            heard.log.acknowledged.len(),
            heard.log.count(Word::Paid),
            heard.log.count(Word::Cancelled),
            heard.log.unanswered.len(),
            monitor.end(),
            heard.answers,
        );
        fixture.mend();
    }
}

fn ms(duration: Duration) -> String {
    format!("{} ms", duration.as_millis())
}
