//! What one node changes about a sale is in force on the others.

use std::sync::Arc;
use std::time::Instant;

use seckill::admission::LiveSale;
use seckill::domain::{Cents, OrderAction, Rejection, Sale, SaleEdit, SalePhase, SaleTerms, StockEdit};
use seckill::orders::postgres::PostgresSettings;
use seckill::orders::{
    Act, ActKind, Actor, Applied, ChangeReceipt, SaleChange, StopChange, StoreReader, StoreWriter, Transition,
};
use serde_json::Value;
use testbed::PATIENCE;
use testbed::servers::postgres::Postgres;
use testbed::servers::proxy::Proxy;
use tokio::runtime::Runtime;

use super::engine::{Engine, SALES_MAX};
use super::gate;
use super::node::{NOW, Node, change, changed, key, settings, terms};
use super::older::database_of_version;

/// Two engines on one database; the second knows nothing yet but the sale it was opened with.
fn two_engines(postgres: &Postgres) -> (Engine, Engine, String) {
    let url = postgres.new_database();
    let (one, mut two) = (Engine::open(1, &url, 10, true), Engine::open(2, &url, 10, true));
    two.catch_up();
    let database = url.rsplit('/').next().unwrap().to_owned();
    (one, two, database)
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    Runtime::new().unwrap().block_on(work)
}

fn make(engine: &Engine, name: &str) -> Sale {
    block_on(engine.desk.create_sale(key(name), terms(1), 5, None)).unwrap().expect("the name is free")
}

fn on_board(engine: &Engine, name: &str) -> Option<Arc<LiveSale>> {
    engine.admission.board().sales().by_name("default", "drop", name).cloned()
}

#[test]
fn a_sale_made_at_one_node_is_on_the_board_of_another_with_nothing_in_stock_yet() {
    let postgres = Postgres::shared();
    let (one, mut two, _) = two_engines(&postgres);
    let made = make(&one, "b");
    assert!(on_board(&two, "b").is_none());
    assert_eq!(two.catch_up(), 1);
    let live = on_board(&two, "b").expect("it is on the board");
    assert_eq!((live.id, &live.terms, live.remaining()), (made.id, &made.terms, 0));
    assert!(live.state.more_may_come(), "its lease agent has not said that nothing is left");
    assert_eq!(two.catch_up(), 0);
    one.stop();
    two.stop();
}

#[test]
fn terms_changed_at_one_node_are_in_force_at_another_and_cost_it_nothing_that_it_holds() {
    let postgres = Postgres::shared();
    let (one, mut two, database) = two_engines(&postgres);
    let bought = two.own("ann");
    two.catch_up();
    let before = two.live();
    let new = SaleTerms { title: "Now with a bow".into(), paused: true, ..before.terms.clone() };
    let edit = SaleEdit {
        title: Some(new.title.clone()),
        paused: Some(true),
        stock: Some(StockEdit::To(12)),
        ..SaleEdit::default()
    };
    changed(block_on(one.desk.change_sale(change(two.sale, edit, 0))).unwrap());
    assert_eq!(two.catch_up(), 1);
    let after = two.live();
    assert_eq!(after.terms, new);
    assert!(Arc::ptr_eq(&before.state, &after.state));
    assert_eq!(two.refusal("ann"), Rejection::AlreadyPurchased { order_id: bought });
    assert_eq!(two.refusal("bob"), Rejection::Paused);
    // An operator at the database's own prompt counts as well.
    postgres.query(&database, "UPDATE seckill.sales SET paused = false");
    assert_eq!(two.catch_up(), 1);
    assert!(!two.live().terms.paused);
    // Selling is no change of the sale.
    two.own("bob");
    let cancel = Transition::plain(bought, OrderAction::Cancel, NOW);
    assert!(matches!(block_on(one.desk.apply(cancel)).unwrap(), Applied::Done(_)));
    assert_eq!(two.catch_up(), 2, "the order and its end, and nothing else");
    one.stop();
    two.stop();
}

#[test]
fn a_full_board_takes_no_more_sales_of_other_nodes_and_goes_on_with_its_own() {
    let postgres = Postgres::shared();
    let (one, mut two, _) = two_engines(&postgres);
    for n in 0..SALES_MAX {
        make(&one, &format!("more-{n}"));
    }
    assert_eq!(two.catch_up(), SALES_MAX);
    assert_eq!(two.admission.board().sales().len(), SALES_MAX);
    assert!(on_board(&two, &format!("more-{}", SALES_MAX - 1)).is_none());
    two.own("ann");
    one.stop();
    two.stop();
}

#[test]
fn an_order_of_a_sale_that_this_node_does_not_know_yet_is_not_said_to_be_unknown() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let mut other = Node::open(3, &url);
    let two = Engine::open(2, &url, 10, true);
    let sale = other.sale("b", 10, 1);
    let order = other.buy(sale, "ann", None).unwrap();
    let of = |buyer: &'static str| block_on(two.desk.order_of("default", buyer, order));
    assert_eq!(of("ann").unwrap().map(|found| found.placed.id), Some(order));
    assert_eq!(of("bob").unwrap(), None, "somebody else's order does not exist");
    two.stop();
}

#[test]
fn tables_of_the_first_version_are_brought_up_to_date_with_what_is_in_them() {
    let postgres = Postgres::shared();
    let (url, database) = database_of_version(&postgres, 1);
    let mut two = Engine::open(2, &url, 10, true);
    let mut names: Vec<_> = two.stored_sales().iter().map(|sale| sale.key.sku().to_owned()).collect();
    names.sort_unstable();
    assert_eq!(names, ["a", "old"]);
    two.catch_up();
    postgres.query(&database, "UPDATE seckill.sales SET title = 'New' WHERE sku = 'old'");
    assert_eq!(two.catch_up(), 1);
    assert_eq!(on_board(&two, "old").expect("it has changed").terms.title, "New");
    two.stop();
}

#[test]
fn o1_changes_of_two_nodes_at_one_moment_are_all_kept() {
    let postgres = Postgres::shared();
    let (one, two, _) = two_engines(&postgres);
    let before = one.stored_sales()[0].clone();
    let price = SaleEdit { price: Some(Cents(777)), stock: Some(StockEdit::By(500)), ..SaleEdit::default() };
    let pause = SaleEdit { paused: Some(true), stock: Some(StockEdit::By(500)), ..SaleEdit::default() };
    for _ in 0..20 {
        std::thread::scope(|scope| {
            for (engine, edit) in [(&one, &price), (&two, &pause)] {
                scope.spawn(move || {
                    changed(block_on(engine.desk.change_sale(change(engine.sale, edit.clone(), 0))).unwrap());
                });
            }
        });
    }
    let after = one.stored_sales()[0].clone();
    assert_eq!((after.terms.price, after.terms.paused), (Cents(777), true));
    assert_eq!(after.total, before.total + 20 * 1_000);
    // One version is the base of one change.
    let from = SaleChange { if_version: Some(vec![after.version]), ..change(one.sale, price.clone(), 0) };
    changed(block_on(one.desk.change_sale(from.clone())).unwrap());
    assert!(matches!(block_on(two.desk.change_sale(from)).unwrap(), ChangeReceipt::NotCurrent(_)));
    one.stop();
    two.stop();
}

#[test]
fn o2_a_sale_is_paused_although_nobody_can_look_at_an_order() {
    let postgres = Postgres::shared();
    let (one, two, database) = two_engines(&postgres);
    one.own("ann");
    // From here on every statement that so much as names the orders fails.
    postgres.query(&database, "ALTER TABLE seckill.orders RENAME TO hidden");
    let pause = SaleEdit { paused: Some(true), ..SaleEdit::default() };
    assert!(changed(block_on(two.desk.change_sale(change(two.sale, pause, 0))).unwrap()).terms.paused);
    postgres.query(&database, "ALTER TABLE seckill.hidden RENAME TO orders");
    one.stop();
    two.stop();
}

#[test]
fn o1_a_change_whose_answer_was_lost_is_not_made_twice() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let database = url.rsplit('/').next().unwrap();
    let proxy = Proxy::to(postgres.address());
    let patient = PostgresSettings {
        statement_wait_ms: 60_000,
        ..settings(&postgres.url_at(proxy.address(), database))
    };
    let mut node = Node::open_with(1, &patient).unwrap();
    let sale = node.sale("a", 10, 1);
    gate::build(&postgres, database);
    let add = change(sale, SaleEdit { stock: Some(StockEdit::By(5)), ..SaleEdit::default() }, 0);
    let lost = gate::losing_the_answer(&postgres, database, &proxy, || node.writer.change_sale(&add));
    assert!(lost.unwrap_err().is_transient());
    let mut insist = || {
        let give_up_at = Instant::now() + PATIENCE;
        loop {
            match node.writer.change_sale(&add) {
                Ok(receipt) => return changed(receipt).total,
                Err(error) => assert!(error.is_transient() && Instant::now() < give_up_at, "{error}"),
            }
        }
    };
    assert_eq!(insist(), 15, "the lost answer said 15");
    assert_eq!(insist(), 20, "and the next change is another one");
}

#[test]
fn what_is_stopped_at_one_node_is_stopped_at_another() {
    let postgres = Postgres::shared();
    let (one, mut two, _) = two_engines(&postgres);
    let stop = |is_stopped, id| {
        let text = str::to_owned;
        let actor =
            Actor { who: text("ann"), role: text("admin"), address: text("::1"), request_id: text("r") };
        let act = Act {
            id,
            at: NOW,
            actor,
            tenant: None,
            kind: ActKind::SalesStopped,
            object: text("sales"),
            from: Value::Null,
            to: Value::Null,
            reason: None,
        };
        let change = StopChange { tenant: None, is_stopped, act };
        block_on(one.desk.change_stops(change)).unwrap()
    };
    let phase = |engine: &Engine| engine.admission.phase(&engine.live(), NOW);
    let stopped = stop(true, 1);
    assert!(stopped.all);
    assert_eq!(phase(&two), SalePhase::Open);
    two.catch_up();
    assert_eq!(phase(&two), SalePhase::Paused);
    assert_eq!(two.catch_up(), 0, "it is not read again and again");
    // Old news changes nothing.
    let going = stop(false, 2);
    two.admission.board().set_stops(going);
    two.admission.board().set_stops(stopped);
    assert_eq!(phase(&two), SalePhase::Open);
    // A sale that is made while all are stopped is stopped, too.
    stop(true, 3);
    make(&one, "b");
    two.catch_up();
    assert!(on_board(&two, "b").unwrap().is_stopped);
    let told = two.reader.trail_after("default", 0, 9).unwrap();
    let told: Vec<_> =
        told.iter().map(|entry| (entry.from["stopped"] == true, entry.to["stopped"] == true)).collect();
    assert_eq!(told, [(false, true), (true, false), (false, true)]);
    one.stop();
    two.stop();
}
