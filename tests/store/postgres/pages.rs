//! The statements that pages give to operators of PostgreSQL, as they paste them.

use seckill::domain::{Cents, OrderAction, OrderId, RefundEnd, RefundRequest, RefundStep, Restock, SaleId};
use seckill::orders::{Applied, StoreReader};
use testbed::pages::{blocks, in_code, read};
use testbed::servers::postgres::Postgres;

use super::node::Node;

/// The statements of a page's blocks.
fn statements(page: &str) -> Vec<String> {
    let statements = blocks(page, "sql").into_iter().flat_map(|block| block.split(';')).map(str::trim);
    statements.filter(|statement| !statement.is_empty()).map(str::to_owned).collect()
}

/// A paid order of so many units.
fn paid(node: &mut Node, sale: SaleId, buyer: &str, units: u32) -> OrderId {
    let order = node.order(sale, buyer, units, None);
    let id = order.id;
    assert!(node.place(vec![order]).is_empty());
    for action in [OrderAction::BeginPayment, OrderAction::ConfirmPayment] {
        done(node.step(id, action));
    }
    id
}

fn begin(node: &mut Node, order: OrderId, cents: Option<u64>, restock: Restock) {
    let request = RefundRequest { number: None, amount: cents.map(Cents), restock };
    let step = RefundStep::New { request, reason: "broken".into() };
    done(node.refund(order, OrderAction::BeginRefund, step));
}

fn give_back(node: &mut Node, order: OrderId, cents: Option<u64>, restock: Restock) {
    begin(node, order, cents, restock);
    let end = RefundEnd { number: 1, why: None, only_in_life: None };
    done(node.refund(order, OrderAction::ConfirmRefund, RefundStep::End(end)));
}

#[track_caller]
fn done(applied: Applied) {
    assert!(matches!(applied, Applied::Done(_)), "{applied:?}");
}

#[test]
fn what_is_asked_of_a_restored_database_finds_what_is_wrong_and_nothing_else() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let database = url.rsplit('/').next().unwrap();
    let mut node = Node::open(1, &url);
    let sale = node.sale("a", 40, 9);
    node.buy(sale, "waits", None).unwrap();
    let paying = node.buy(sale, "pays", None).unwrap();
    done(node.step(paying, OrderAction::BeginPayment));
    let left = node.buy(sale, "leaves", None).unwrap();
    done(node.step(left, OrderAction::Cancel));
    paid(&mut node, sale, "has-paid", 2);
    for (buyer, cents, restock) in [
        ("all", None, Restock::Units(0)),
        ("all-and-units", None, Restock::All),
        ("part", Some(300), Restock::Units(0)),
        ("part-and-unit", Some(300), Restock::Units(1)),
    ] {
        let order = paid(&mut node, sale, buyer, 3);
        give_back(&mut node, order, cents, restock);
    }
    let order = paid(&mut node, sale, "not-yet", 2);
    begin(&mut node, order, None, Restock::All);

    let asked = statements(&read("src/orders/BACKUP.md"));
    let [orders, totals] = &asked[..] else { panic!("two statements: {asked:?}") };
    let found = || [orders, totals].map(|asked| postgres.query(database, asked));
    // Waiting and paying, paid, what the four have, about to be given back.
    assert_eq!(node.sold(sale), 2 + 2 + (3 + 3 + 2) + 2);
    assert_eq!(found(), ["", ""], "nothing is wrong");

    postgres.query(database, "UPDATE seckill.orders SET status = 5 WHERE buyer = 'has-paid'");
    assert_eq!(found(), [format!("{}|14|12", sale.0), String::new()], "units of an order that is gone");
    postgres.query(database, "UPDATE seckill.orders SET status = 3 WHERE buyer = 'has-paid'");
    // The database itself refuses it.
    postgres.query(
        database,
        "ALTER TABLE seckill.sales DISABLE TRIGGER USER; UPDATE seckill.sales SET total = 13",
    );
    assert_eq!(found(), [String::new(), format!("{}|13", sale.0)], "more than there is");
}

#[test]
fn what_the_page_of_several_nodes_says_can_be_run() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let database = url.rsplit('/').next().unwrap();
    let identity = Node::open(1, &url).reader.identity().unwrap();
    let page = read("src/ledger/NODES.md");
    // What is granted is sold with in many_nodes/shared/abilities.rs.
    let run = statements(&page).into_iter().filter(|statement| !statement.starts_with("GRANT "));
    let told: Vec<_> = run.map(|statement| postgres.query(database, &statement)).collect();
    assert!(told.len() > 4 && told.iter().any(|rows| rows.contains("archived_orders|")), "{told:?}");

    let changes: Vec<_> = in_code(&page).filter(|code| code.starts_with("UPDATE ")).collect();
    let [change] = changes[..] else { panic!("one statement in a sentence: {changes:?}") };
    postgres.query(database, change);
    assert_ne!(Node::open(1, &url).reader.identity().unwrap(), identity, "a copy is another database");
}
