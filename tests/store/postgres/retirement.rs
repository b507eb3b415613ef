//! Sales that end, in PostgreSQL: what is refused, that nobody sells of one that has ended, and that no order is lost or seen
//! twice while orders move.

use std::time::Instant;

use seckill::domain::{
    OrderAction, OrderId, OrderStatus, RefundEnd, RefundRequest, RefundStep, Restock, SaleEdit, SaleId,
};
use seckill::orders::postgres::{Exclusivity, PostgresSettings};
use seckill::orders::{
    Act, ActKind, Actor, Applied, Batch, Deadlines, Ending, LeaseStore, OrderFilter, Receipt, Recovered,
    Retirement, RetirementReceipt, StoreReader, StoreWriter, TenantSales, Transition, WantedOrders,
    WantedShare,
};
use serde_json::Value;
use testbed::PATIENCE;
use testbed::servers::postgres::Postgres;
use testbed::servers::proxy::Proxy;

use super::gate;
use super::node::{NOW, Node, change, changed, key, settings};

pub const ORDERS: usize = 300;
/// Orders that are looked at in one step.
pub const STEP: usize = 64;

fn retirement(sale: SaleId, ending: Ending, id: i64) -> Retirement {
    let text = str::to_owned;
    let actor = Actor { who: text("ann"), role: text("admin"), address: text("::1"), request_id: text("r") };
    let kind = match ending {
        Ending::Archive { .. } => ActKind::CampaignArchived,
        Ending::Delete => ActKind::CampaignDeleted,
    };
    let (from, to, object) = (Value::Null, Value::Null, text("drop/a"));
    let act = Act { id, at: NOW, actor, tenant: None, kind, object, from, to, reason: Some(text("over")) };
    Retirement { sale, ending, if_version: None, act }
}

pub fn archive(node: &mut Node, sale: SaleId, paid: u32) -> RetirementReceipt {
    let id = i64::from(sale.0) * 1_000 + i64::from(paid);
    node.writer.retire_sale(&retirement(sale, Ending::Archive { paid }, id)).unwrap()
}

pub fn delete(node: &mut Node, sale: SaleId) -> RetirementReceipt {
    node.writer.retire_sale(&retirement(sale, Ending::Delete, i64::from(sale.0))).unwrap()
}

pub fn end(node: &mut Node, sale: SaleId) {
    let over = SaleEdit { ends_at: Some(NOW), ..SaleEdit::default() };
    changed(node.writer.change_sale(&change(sale, over, 0)).unwrap());
}

fn steps(orders: &[OrderId], actions: &[OrderAction]) -> Batch {
    let step = |order: &OrderId, action: &OrderAction| Transition {
        payment_attempt: (*action == OrderAction::ConfirmPayment).then_some(1),
        ..Transition::plain(*order, *action, NOW)
    };
    let transitions = orders.iter().flat_map(|order| actions.iter().map(move |action| step(order, action)));
    Batch { transitions: transitions.collect(), ..Batch::default() }
}

pub fn committed(receipt: Receipt) -> Vec<Applied> {
    match receipt {
        Receipt::Committed { applied, refused } if refused.is_empty() => applied,
        other => panic!("{other:?}"),
    }
}

/// A sale that is over, of which every third order was given up and the others are paid; and how many those are. Orders of
/// another sale stand among them.
pub fn sale_that_is_over(node: &mut Node) -> (SaleId, SaleId, Vec<OrderId>, u32) {
    let (sale, other) = (node.sale("a", 1_000, 2), node.sale("b", 1_000, 2));
    let mut placed = Vec::new();
    for number in 0..ORDERS {
        placed.push(node.order(sale, &format!("buyer-{number}"), 1, None));
        if number % 100 == 0 {
            placed.push(node.order(other, &format!("buyer-{number}"), 1, None));
        }
    }
    let orders: Vec<OrderId> =
        placed.iter().filter(|order| order.sale == sale).map(|order| order.id).collect();
    assert!(node.place(placed).is_empty());
    let (mut given_up, mut paid) = (Vec::new(), Vec::new());
    for (number, order) in orders.iter().enumerate() {
        if number % 3 == 0 { given_up.push(*order) } else { paid.push(*order) }
    }
    committed(node.writer.commit(&steps(&given_up, &[OrderAction::Cancel])).unwrap());
    committed(node.writer.commit(&steps(&paid, &[OrderAction::BeginPayment])).unwrap());
    committed(node.writer.commit(&steps(&paid, &[OrderAction::ConfirmPayment])).unwrap());
    end(node, sale);
    (sale, other, orders, paid.len() as u32)
}

fn recovered(node: &Node) -> Recovered {
    Recovered::read(&node.reader, node.id, 1, &Deadlines::default(), &Default::default()).unwrap()
}

#[test]
fn o9_orders_of_an_archived_sale_are_found_all_the_same_while_they_move_and_after() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let database = url.rsplit('/').next().unwrap();
    let mut node = Node::open(1, &url);
    let (sale, other, orders, paid) = sale_that_is_over(&mut node);
    // A buyer's row without an order, as a purchase leaves it that comes to nothing.
    postgres.query(database, &format!("INSERT INTO seckill.buyers VALUES ({}, 'nobody', 0, '{{}}')", sale.0));
    let filter = OrderFilter { sale: Some(sale), ..OrderFilter::default() };
    let (tenant, campaign, sku) = ("default".to_owned(), None, Some("a".to_owned()));
    let by_name =
        OrderFilter { sales: Some(TenantSales { tenant, campaign, sku }), ..OrderFilter::default() };
    let through = *orders.last().unwrap();
    let exported = |node: &Node| node.reader.complete_orders(&filter, None, 10_000, through).unwrap();
    let (before, audit, events) = (exported(&node), node.reader.audit(sale).unwrap(), node.events());
    let every = node.reader.orders_after(None, None, 10_000).unwrap();
    assert!(
        matches!(archive(&mut node, sale, paid), RetirementReceipt::Done(kept) if kept.archived_at == Some(NOW))
    );
    let is_as_before = |node: &Node| {
        assert_eq!(exported(node), before);
        assert_eq!(node.reader.complete_orders(&by_name, None, 10_000, through).unwrap(), before);
        assert_eq!(node.reader.audit(sale).unwrap(), audit);
        assert_eq!(node.events(), events);
        assert_eq!(node.reader.orders_after(None, None, 10_000).unwrap(), every);
        let looked_up = node.reader.orders(&orders).unwrap();
        assert!(looked_up.iter().all(Option::is_some));
        assert_eq!(node.reader.sales().unwrap().iter().map(|sale| sale.id).collect::<Vec<_>>(), [other]);
        let archived = node.reader.archived_sale(&key("a")).unwrap();
        assert_eq!(archived.map(|found| (found.id, found.sold)), Some((sale, paid)));
        let start = recovered(node);
        assert_eq!((start.newest, start.archived), (Some(through), vec![key("a")]));
    };
    is_as_before(&node);
    assert_eq!(node.writer.move_archived(STEP).unwrap(), STEP);
    is_as_before(&node);
    // A start in between knows the buyers of those that have yet to move, and sells nothing.
    let start = recovered(&node);
    assert_eq!(start.leaving, [sale]);
    let live = start.sales.iter().find(|live| live.id == sale).unwrap();
    let last = format!("buyer-{}", ORDERS - 1);
    assert_eq!((live.remaining(), live.state.claims().orders_of(&last).len()), (0, 1));
    while node.writer.move_archived(STEP).unwrap() > 0 {
        is_as_before(&node);
    }
    is_as_before(&node);

    let rows = |table: &str| postgres.query(database, &format!("SELECT count(*) FROM seckill.{table}"));
    assert_eq!((rows("orders"), rows("archived_orders")), ("3".into(), ORDERS.to_string()));
    assert_eq!(rows(&format!("buyers WHERE sale_id = {}", sale.0)), "0");
    let start = recovered(&node);
    assert_eq!((start.sales.len(), start.orders, start.leaving), (1, 3, vec![]));
    let found = |buyer: &str, sku: Option<&str>, before: Option<OrderId>| {
        let wanted = WantedOrders {
            tenant: "default".into(),
            buyer: buyer.into(),
            campaign: None,
            sku: sku.map(str::to_owned),
            before,
            limit: 10,
        };
        node.reader.archived_orders_of(&wanted).unwrap()
    };
    assert_eq!(found("buyer-7", None, None), [(orders[7], sale)]);
    assert_eq!(found("buyer-7", Some("b"), None), []);
    assert_eq!(found("buyer-7", Some("a"), Some(orders[7])), []);
    assert_eq!(found("nobody", None, None), []);
}

#[test]
fn o9_a_sale_with_something_open_is_not_archived_and_nobody_sells_of_an_archived_one() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let database = url.rsplit('/').next().unwrap();
    let mut node = Node::open(1, &url);
    let (sale, other, orders, paid) = sale_that_is_over(&mut node);
    assert!(matches!(archive(&mut node, other, 0), RetirementReceipt::NotOver(_)));
    assert_eq!(archive(&mut node, sale, paid - 1), RetirementReceipt::Moved);
    assert_eq!(delete(&mut node, sale), RetirementReceipt::HasOrders);
    // An order that came between the count and the archiving.
    let late = node.buy(sale, "late", None).unwrap();
    assert_eq!(archive(&mut node, sale, paid), RetirementReceipt::Moved);
    committed(node.writer.commit(&steps(&[late], &[OrderAction::Cancel])).unwrap());
    assert!(matches!(archive(&mut node, sale, paid), RetirementReceipt::Done(_)));
    assert_eq!(archive(&mut node, sale, paid + 1), RetirementReceipt::Archived);
    assert_eq!(delete(&mut node, sale), RetirementReceipt::Archived);

    let oversold = |node: &mut Node| {
        let placed = vec![node.order(sale, "too-late", 1, None)];
        assert_eq!(
            node.writer.commit(&Batch { placed, ..Batch::default() }).unwrap(),
            Receipt::Oversold(vec![sale])
        );
    };
    oversold(&mut node);
    // Nor of a share that another engine asks for, nor as one of the version before asks.
    let mut shared = Node::open_as(2, &settings(&url), Exclusivity::Shared).unwrap();
    let life = shared.lease_store.incarnation();
    let wanted = WantedShare { sale, life, turn: 1, units: 5 };
    assert_eq!(shared.lease_store.set_share(wanted).unwrap(), Some(0));
    oversold(&mut shared);
    let as_before =
        format!("SET search_path = seckill; SELECT take_share({}, 1::smallint, 1, 1, 1::smallint)", sale.0);
    assert_eq!(postgres.query(database, &as_before), "f");
    assert_eq!(
        shared.writer.retire_sale(&retirement(other, Ending::Delete, 77)).unwrap(),
        RetirementReceipt::HasOrders
    );

    while node.writer.move_archived(STEP).unwrap() > 0 {}
    let cancelled = committed(node.writer.commit(&steps(&orders[1..2], &[OrderAction::Cancel])).unwrap());
    assert!(matches!(&cancelled[..], [Applied::Refused(order)] if order.status == OrderStatus::Paid));
    let again = SaleEdit { paused: Some(true), ..SaleEdit::default() };
    let receipt = node.writer.change_sale(&change(sale, again, 0)).unwrap();
    assert_eq!(receipt, seckill::orders::ChangeReceipt::Archived);
    let told = node.reader.trail_after("default", 0, 9).unwrap();
    assert_eq!(told.iter().filter(|entry| entry.kind == "campaign.archived").count(), 1, "{told:?}");
}

#[test]
fn o9_a_deleted_sale_frees_its_name_and_never_its_number() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let mut node = Node::open(1, &url);
    let (refused, empty) = (node.sale("a", 1, 1), node.sale("b", 5, 1));
    // One that was only ever refused is an order, too.
    let rejected = vec![node.order(refused, "ann", 1, None)];
    committed(node.writer.commit(&Batch { rejected, ..Batch::default() }).unwrap());
    assert_eq!(delete(&mut node, refused), RetirementReceipt::HasOrders);
    assert!(matches!(delete(&mut node, empty), RetirementReceipt::Done(_)));
    assert_eq!(node.reader.sale(empty).unwrap(), None);
    let again = node.sale("b", 5, 1);
    assert_ne!(again, empty);
    assert_eq!(archive(&mut node, empty, 0), RetirementReceipt::Unknown);
    let placed = vec![node.order(empty, "ann", 1, None)];
    assert_eq!(
        node.writer.commit(&Batch { placed, ..Batch::default() }).unwrap(),
        Receipt::Oversold(vec![empty])
    );
    assert_eq!(recovered(&node).sales.len(), 2);
    assert_eq!(node.writer.move_archived(STEP).unwrap(), 0);
    node.buy(again, "ann", None).unwrap();
}

#[test]
fn o9_an_end_whose_answer_was_lost_is_found_and_told_once() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let database = url.rsplit('/').next().unwrap();
    let proxy = Proxy::to(postgres.address());
    let patient = PostgresSettings {
        statement_wait_ms: 60_000,
        ..settings(&postgres.url_at(proxy.address(), database))
    };
    let mut node = Node::open_with(1, &patient).unwrap();
    let (kept, gone) = (node.sale("a", 10, 1), node.sale("b", 10, 1));
    end(&mut node, kept);
    gate::build(&postgres, database);
    for (sale, ending) in [(kept, Ending::Archive { paid: 0 }), (gone, Ending::Delete)] {
        let wanted = retirement(sale, ending, i64::from(sale.0));
        let lost = gate::losing_the_answer(&postgres, database, &proxy, || node.writer.retire_sale(&wanted));
        assert!(lost.unwrap_err().is_transient());
        let give_up_at = Instant::now() + PATIENCE;
        let found = loop {
            match node.writer.retire_sale(&wanted) {
                Err(error) => assert!(error.is_transient() && Instant::now() < give_up_at, "{error}"),
                Ok(found) => break found,
            }
        };
        assert!(matches!(found, RetirementReceipt::Done(done) if done.id == sale));
        // Somebody else's wish comes too late.
        let other = node.writer.retire_sale(&retirement(sale, ending, 999)).unwrap();
        assert!(matches!(other, RetirementReceipt::Archived | RetirementReceipt::Unknown), "{other:?}");
    }
    assert_eq!(node.reader.trail_after("default", 0, 9).unwrap().len(), 2);
}

#[test]
fn o9_of_a_purchase_and_the_end_of_its_sale_only_one_comes_about() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let (mut one, mut two) = (Node::open(1, &url), Node::open(2, &url));
    let (mut ended, mut sold) = (0, 0);
    for round in 0..40 {
        let sale = one.sale(&format!("sku-{round}"), 10, 1);
        end(&mut one, sale);
        let batch = Batch { placed: vec![two.order(sale, "ann", 1, None)], ..Batch::default() };
        let (receipt, bought) = std::thread::scope(|scope| {
            let buying = scope.spawn(|| two.writer.commit(&batch).unwrap());
            let receipt = if round % 2 == 0 { archive(&mut one, sale, 0) } else { delete(&mut one, sale) };
            (receipt, buying.join().unwrap())
        });
        match (receipt, bought) {
            (RetirementReceipt::Done(_), Receipt::Oversold(_)) => ended += 1,
            (RetirementReceipt::Moved | RetirementReceipt::HasOrders, Receipt::Committed { .. }) => sold += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(ended + sold, 40);
}

fn refund(order: OrderId, action: OrderAction, step: RefundStep) -> Batch {
    let step = Transition { refund: Some(Box::new(step)), ..Transition::plain(order, action, NOW) };
    Batch { transitions: vec![step], ..Batch::default() }
}

fn give_back(order: OrderId) -> Batch {
    let request = RefundRequest { number: None, amount: None, restock: Restock::Units(0) };
    refund(order, OrderAction::BeginRefund, RefundStep::New { request, reason: "broken".into() })
}

#[test]
fn o9_what_an_archived_order_has_paid_is_given_back_whether_it_has_moved_or_not_and_no_unit_comes_back() {
    let mut node = Node::open(1, &Postgres::shared().new_database());
    let (sale, _, orders, paid) = sale_that_is_over(&mut node);
    assert!(matches!(archive(&mut node, sale, paid), RetirementReceipt::Done(_)));
    assert_eq!(node.writer.move_archived(STEP).unwrap(), STEP);
    let audit = node.reader.audit(sale).unwrap().unwrap();
    // The first one has moved, the other one has yet to.
    let both = [orders[1], orders[ORDERS - 1]];
    let unfinished = |node: &Node| {
        let start = recovered(node);
        assert_eq!(start.paying_at.values().sum::<u64>(), 2);
        start.unfinished.iter().map(|order| order.placed.id).collect::<Vec<_>>()
    };
    for order in both {
        let begun = committed(node.writer.commit(&give_back(order)).unwrap());
        assert!(
            matches!(&begun[..], [Applied::Done(order)] if order.status == OrderStatus::Refunding),
            "{begun:?}"
        );
    }
    assert_eq!(unfinished(&node), both, "a start goes on with both");
    // They move while it is under way.
    while node.writer.move_archived(STEP).unwrap() > 0 {}
    assert_eq!(unfinished(&node), both);
    for order in both {
        let ended = committed(node.writer.commit(&end_refund(order, OrderAction::ConfirmRefund)).unwrap());
        assert!(
            matches!(&ended[..], [Applied::Done(order)] if order.status == OrderStatus::Refunded),
            "{ended:?}"
        );
    }
    let after = node.reader.audit(sale).unwrap().unwrap();
    assert_eq!((after.refunded, after.paid, after.sold_by_guard), (2, audit.paid, audit.sold_by_guard));
    assert_eq!(node.reader.refunds(both[0]).unwrap().len(), 1);
    assert_eq!(node.events().iter().filter(|event| event.refund.is_some()).count(), 2);
    let again = committed(node.writer.commit(&give_back(both[0])).unwrap());
    assert!(matches!(&again[..], [Applied::Refused(_)]), "{again:?}");
}

fn begin_refund(order: OrderId) -> Batch {
    let request = RefundRequest { number: None, amount: None, restock: Restock::All };
    refund(order, OrderAction::BeginRefund, RefundStep::New { request, reason: "broken".into() })
}

fn end_refund(order: OrderId, action: OrderAction) -> Batch {
    refund(order, action, RefundStep::End(RefundEnd { number: 1, why: None, only_in_life: None }))
}

#[test]
fn o9_refunds_stay_with_archived_orders_and_none_is_under_way_or_begins() {
    let mut node = Node::open(1, &Postgres::shared().new_database());
    let (sale, _, orders, paid) = sale_that_is_over(&mut node);
    let (first, second) = (orders[1], orders[2]);
    let batches = [begin_refund(first), end_refund(first, OrderAction::ConfirmRefund), begin_refund(second)];
    for batch in batches {
        assert!(matches!(committed(node.writer.commit(&batch).unwrap())[..], [Applied::Done(_)]));
    }
    assert_eq!(archive(&mut node, sale, paid - 1), RetirementReceipt::RefundsOpen(1));
    committed(node.writer.commit(&end_refund(second, OrderAction::AbortRefund)).unwrap());
    let kept = |node: &Node| [first, second].map(|order| node.reader.order(order).unwrap());
    let (before, audit) = (kept(&node), node.reader.audit(sale).unwrap().unwrap());
    assert_eq!((audit.refunded, audit.paid), (1, u64::from(paid) - 1));
    assert!(matches!(archive(&mut node, sale, paid - 1), RetirementReceipt::Done(_)));
    loop {
        let late = committed(node.writer.commit(&begin_refund(second)).unwrap());
        assert!(matches!(&late[..], [Applied::Refused(_)]), "{late:?}");
        if node.writer.move_archived(STEP).unwrap() == 0 {
            break;
        }
    }
    assert_eq!(kept(&node), before);
    assert_eq!(node.reader.refunds(first).unwrap().len(), 1);
    assert_eq!(node.reader.audit(sale).unwrap(), Some(audit));
}

/// As a batch holds it that takes a share: two that begin refunds and take shares of one sale would wait for each other.
#[test]
fn a_refund_begins_while_somebody_takes_a_share_of_its_sale() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let mut node = Node::open(1, &url);
    let (_, _, orders, _) = sale_that_is_over(&mut node);
    let hold = "SELECT FROM seckill.sales FOR NO KEY UPDATE";
    let begun = gate::holding(&postgres, url.rsplit('/').next().unwrap(), hold, |_| {
        committed(node.writer.commit(&begin_refund(orders[1])).unwrap())
    });
    assert!(matches!(&begun[..], [Applied::Done(_)]), "{begun:?}");
}
