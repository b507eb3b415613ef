//! A book that says more than there is: by whatever mistake, the store bounds it, and it is put right.

use testbed::engine::Engine;

use super::fixture::{Fixture, known_to_all, sell_out, until};

#[test]
fn n6_a_book_that_is_wrong_by_20_units_is_counted_anew_and_costs_no_life_and_no_other_sale() {
    let fixture = Fixture::open();
    let engines = [fixture.start(1), fixture.start(2), fixture.start(3)];
    let all: Vec<&Engine> = engines.iter().collect();
    for (sku, stock) in [("phone", 300), ("book", 600)] {
        engines[0].sale(sku, stock, "");
        known_to_all(&all, sku);
    }
    for (number, engine) in engines.iter().enumerate() {
        until("the node has units", || engine.buy("phone", &format!("early-{number}")).status == 201);
    }
    let lives = fixture.lives();
    // As if so many units had been handed back that are on sale at the first node.
    let book = fixture.redis.command("KEYS seckill:*:{default:test:phone}:book");
    fixture.redis.command(&format!("HINCRBY {} h:1 20", book.trim()));

    let (phones, books) = std::thread::scope(|scope| {
        let books = scope.spawn(|| sell_out(&all, "book").len());
        (engines.len() + sell_out(&all, "phone").len(), books.join().unwrap())
    });
    assert_eq!((phones, books), (300, 600), "every unit once, and the other sale sells on");
    for sku in ["phone", "book"] {
        for engine in &engines {
            engine.audit(sku);
        }
    }
    assert_eq!(fixture.lives(), lives, "no life was used");
    let epochs = |sku: &str| -> u64 {
        let epoch = fixture.query(&format!("SELECT epoch FROM seckill.sales WHERE sku = '{sku}'"));
        epoch.parse().unwrap()
    };
    assert!(epochs("phone") <= epochs("book") + 12, "epochs {} and {}", epochs("phone"), epochs("book"));
}
