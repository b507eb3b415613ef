//! Sales that end, in the embedded store: what is refused, and that nothing is lost or seen twice while orders move.

use seckill::domain::{
    BuyerId, EpochMs, NodeId, OrderAction, OrderId, OrderStatus, RefundEnd, RefundRequest, RefundStep,
    Restock, SaleId,
};
use seckill::orders::sqlite::SqliteSettings;
use seckill::orders::{
    Act, ActKind, Actor, Applied, Batch, Deadlines, Ending, OrderFilter, Receipt, Recovered, Retirement,
    RetirementReceipt, StoreReader, StoreWriter, TenantSales, Transition, WantedOrders,
};
use serde_json::Value;

use crate::log::{Shop, make_sale, order};
use crate::sqlite::open_store;

const ORDERS: u64 = 600;

pub fn act(kind: ActKind, at: i64) -> Act {
    let text = str::to_owned;
    let actor = Actor { who: text("ann"), role: text("admin"), address: text("::1"), request_id: text("r") };
    let (from, to, object) = (Value::Null, Value::Null, text("c/phone"));
    Act { id: 1, at: EpochMs(at), actor, tenant: None, kind, object, from, to, reason: Some(text("over")) }
}

fn archive(shop: &mut Shop, sale: SaleId, paid: u32, at: i64) -> RetirementReceipt {
    let act = act(ActKind::CampaignArchived, at);
    let retirement = Retirement { sale, ending: Ending::Archive { paid }, if_version: None, act };
    shop.writer.retire_sale(&retirement).unwrap()
}

fn delete(shop: &mut Shop, sale: SaleId) -> RetirementReceipt {
    let act = act(ActKind::CampaignDeleted, 100);
    let retirement = Retirement { sale, ending: Ending::Delete, if_version: None, act };
    shop.writer.retire_sale(&retirement).unwrap()
}

fn steps(number: u64, actions: &[OrderAction]) -> Vec<Transition> {
    let id = OrderId::from_number(number).unwrap();
    let step = |action: &OrderAction| Transition {
        payment_attempt: (*action == OrderAction::ConfirmPayment).then_some(1),
        ..Transition::plain(id, *action, EpochMs(11))
    };
    actions.iter().map(step).collect()
}

/// A sale of which every third order was given up and the others are paid.
fn shop_that_is_over() -> (Shop, u32) {
    let mut shop = Shop::open(16_384);
    shop.sell(shop.sale, ORDERS).unwrap();
    let transitions = (1..=ORDERS).flat_map(|number| match number % 3 {
        0 => steps(number, &[OrderAction::Cancel]),
        _ => steps(number, &[OrderAction::BeginPayment, OrderAction::ConfirmPayment]),
    });
    shop.commit(Batch { transitions: transitions.collect(), ..Batch::default() }).unwrap();
    (shop, (ORDERS - ORDERS / 3) as u32)
}

#[test]
fn o5_what_has_moved_and_what_has_not_is_found_all_the_same_also_after_a_crash() {
    let (mut shop, paid) = shop_that_is_over();
    let other = make_sale(&mut shop.writer, "watch");
    shop.sell(other, 3).unwrap();
    let sale = shop.sale;
    let filter = OrderFilter { sale: Some(sale), ..OrderFilter::default() };
    let (tenant, campaign, sku) = ("default".to_owned(), None, Some("phone".to_owned()));
    let by_name =
        OrderFilter { sales: Some(TenantSales { tenant, campaign, sku }), ..OrderFilter::default() };
    let through = OrderId::from_number(shop.last).unwrap();
    let before = shop.reader.complete_orders(&filter, None, 10_000, through).unwrap();
    let audit = shop.reader.audit(sale).unwrap();
    let events = shop.reader.events_after(0, 10_000).unwrap();
    assert!(
        matches!(archive(&mut shop, sale, paid, 100), RetirementReceipt::Done(kept) if kept.archived_at == Some(EpochMs(100)))
    );
    let is_as_before = |shop: &Shop| {
        assert_eq!(shop.reader.complete_orders(&filter, None, 10_000, through).unwrap(), before);
        assert_eq!(shop.reader.complete_orders(&by_name, None, 10_000, through).unwrap(), before);
        assert_eq!(shop.reader.audit(sale).unwrap(), audit);
        assert_eq!(shop.reader.events_after(0, 10_000).unwrap(), events);
        for number in [1, 200, ORDERS] {
            let id = OrderId::from_number(number).unwrap();
            assert!(shop.reader.order(id).unwrap().is_some(), "{number}");
        }
        let everything = shop.reader.orders_after(None, None, 10_000).unwrap();
        assert_eq!(everything.len() as u64, shop.last);
        assert!(everything.is_sorted_by_key(|order| order.placed.id));
        assert_eq!(shop.reader.sales().unwrap().len(), 1);
        assert_eq!(shop.reader.archived_sales("default").unwrap().len(), 1);
    };
    is_as_before(&shop);
    assert_eq!(shop.writer.move_archived(256).unwrap(), 256);
    is_as_before(&shop);
    // What a kill leaves is what the files hold while the store is still open.
    let copy = tempfile::TempDir::new().unwrap();
    for name in ["orders.sqlite", "orders.sqlite-wal"] {
        std::fs::copy(shop.folder.path().join(name), copy.path().join(name)).unwrap();
    }
    let (writer, reader) = open_store(copy.path(), &SqliteSettings::default());
    let mut shop = Shop { folder: copy, writer, reader, ..shop };
    is_as_before(&shop);
    assert_eq!(shop.writer.move_archived(256).unwrap(), 256);
    assert_eq!(shop.writer.move_archived(256).unwrap(), (ORDERS - 512) as usize);
    assert_eq!(shop.writer.move_archived(256).unwrap(), 1, "and now it is said that all have");
    assert_eq!(shop.writer.move_archived(256).unwrap(), 0);
    is_as_before(&shop);

    // A start reads what is live.
    let read = Default::default();
    let node = NodeId::new(0).unwrap();
    let recovered = Recovered::read(&shop.reader, node, 1, &Deadlines::default(), &read).unwrap();
    assert_eq!((recovered.sales.len(), recovered.orders), (1, 3));
    assert_eq!((recovered.leaving.len(), recovered.archived.len()), (0, 1));
    assert_eq!(recovered.newest.map(OrderId::number), Some(shop.last));
    // The buyer's orders are found without anybody's memory.
    let wanted = |buyer: &str, sku: Option<&str>| WantedOrders {
        tenant: "default".into(),
        buyer: buyer.into(),
        campaign: None,
        sku: sku.map(str::to_owned),
        before: None,
        limit: 10,
    };
    let found = |buyer: &str, sku: Option<&str>| shop.reader.archived_orders_of(&wanted(buyer, sku)).unwrap();
    assert_eq!(found("buyer-7", None), [(OrderId::from_number(7).unwrap(), sale)]);
    assert_eq!((found("buyer-7", Some("watch")), found("buyer-601", None)), (vec![], vec![]));
}

#[test]
fn o5_a_start_in_between_knows_the_buyers_whose_orders_have_yet_to_move_and_sells_nothing() {
    let (mut shop, paid) = shop_that_is_over();
    let sale = shop.sale;
    archive(&mut shop, sale, paid, 100);
    assert_eq!(shop.writer.move_archived(256).unwrap(), 256);
    let (node, read) = (NodeId::new(0).unwrap(), Default::default());
    let recovered = Recovered::read(&shop.reader, node, 1, &Deadlines::default(), &read).unwrap();
    assert_eq!((recovered.leaving, recovered.orders), (vec![sale], ORDERS - 256));
    let live = &recovered.sales[0];
    let known = |number: u64| live.state.claims().orders_of(&format!("buyer-{number}")).len();
    assert_eq!((live.remaining(), known(1), known(ORDERS)), (0, 0, 1));
}

#[test]
fn o5_thousands_of_sales_that_nobody_bought_of_are_archived_at_once() {
    let mut shop = Shop::open(16_384);
    let sales: Vec<SaleId> = (0..2_000).map(|n| make_sale(&mut shop.writer, &format!("sku-{n}"))).collect();
    for &sale in &sales {
        assert!(matches!(archive(&mut shop, sale, 0, 100), RetirementReceipt::Done(_)));
    }
    let mut steps = 0;
    while shop.writer.move_archived(256).unwrap() > 0 {
        steps += 1;
    }
    assert_eq!((steps, shop.reader.archived_sales("default").unwrap().len()), (2_000, 2_000));
}

#[test]
fn o5_the_newest_number_is_known_when_all_sales_are_archived() {
    let (mut shop, paid) = shop_that_is_over();
    let sale = shop.sale;
    archive(&mut shop, sale, paid, 100);
    while shop.writer.move_archived(100).unwrap() > 0 {}
    let (node, read) = (NodeId::new(0).unwrap(), Default::default());
    let recovered = Recovered::read(&shop.reader, node, 1, &Deadlines::default(), &read).unwrap();
    assert_eq!((recovered.sales.len(), recovered.orders), (0, 0));
    assert_eq!(recovered.newest.map(OrderId::number), Some(ORDERS));
}

#[test]
fn o5_a_sale_with_something_open_is_not_archived_and_an_archived_one_sells_nothing() {
    let (mut shop, paid) = shop_that_is_over();
    let sale = shop.sale;
    assert_eq!(archive(&mut shop, sale, paid, 0), RetirementReceipt::NotOver(EpochMs(1)));
    assert_eq!(archive(&mut shop, sale, paid - 1, 100), RetirementReceipt::Moved);
    // An order that came between the count and the archiving.
    shop.sell(sale, 1).unwrap();
    assert_eq!(archive(&mut shop, sale, paid, 100), RetirementReceipt::Moved);
    let last = shop.last;
    shop.commit(Batch { transitions: steps(last, &[OrderAction::Cancel]), ..Batch::default() }).unwrap();
    assert!(matches!(archive(&mut shop, sale, paid, 100), RetirementReceipt::Done(_)));
    assert_eq!(archive(&mut shop, sale, paid, 100), RetirementReceipt::Archived);
    assert_eq!(delete(&mut shop, sale), RetirementReceipt::Archived);
    let late = Batch { placed: vec![order(sale, last + 1)], ..Batch::default() };
    assert_eq!(shop.writer.commit(&late).unwrap(), Receipt::Oversold(vec![sale]));
    while shop.writer.move_archived(100).unwrap() > 0 {}
    let Receipt::Committed { applied, .. } = shop
        .writer
        .commit(&Batch { transitions: steps(1, &[OrderAction::Cancel]), ..Batch::default() })
        .unwrap()
    else {
        panic!("it is committed");
    };
    assert!(matches!(&applied[..], [Applied::Refused(order)] if order.status == OrderStatus::Paid));
    let told = shop.reader.trail_after("default", 0, 9).unwrap();
    assert_eq!(told.iter().filter(|entry| entry.kind == "campaign.archived").count(), 1, "{told:?}");
}

fn refund(number: u64, action: OrderAction, step: RefundStep) -> Transition {
    let id = OrderId::from_number(number).unwrap();
    Transition { refund: Some(Box::new(step)), ..Transition::plain(id, action, EpochMs(12)) }
}

fn begin_refund(number: u64) -> Transition {
    let request = RefundRequest { number: None, amount: None, restock: Restock::All };
    refund(number, OrderAction::BeginRefund, RefundStep::New { request, reason: "broken".into() })
}

fn end_refund(number: u64, action: OrderAction) -> Transition {
    refund(number, action, RefundStep::End(RefundEnd { number: 1, why: None, only_in_life: None }))
}

#[test]
fn o5_refunds_stay_with_archived_orders_and_none_is_under_way_or_begins() {
    let (mut shop, paid) = shop_that_is_over();
    let sale = shop.sale;
    let refunds = [begin_refund(1), end_refund(1, OrderAction::ConfirmRefund), begin_refund(2)];
    shop.commit(Batch { transitions: refunds.into(), ..Batch::default() }).unwrap();
    assert_eq!(archive(&mut shop, sale, paid - 1, 100), RetirementReceipt::RefundsOpen(1));
    let end = vec![end_refund(2, OrderAction::AbortRefund)];
    shop.commit(Batch { transitions: end, ..Batch::default() }).unwrap();
    let order = |shop: &Shop, number| shop.reader.order(OrderId::from_number(number).unwrap()).unwrap();
    let before = [1, 2].map(|number| order(&shop, number));
    let audit = shop.reader.audit(sale).unwrap().unwrap();
    assert_eq!((audit.refunded, audit.paid), (1, u64::from(paid) - 1));
    assert!(matches!(archive(&mut shop, sale, paid - 1, 100), RetirementReceipt::Done(_)));
    loop {
        let late = Batch { transitions: vec![begin_refund(2), begin_refund(ORDERS - 1)], ..Batch::default() };
        let Receipt::Committed { applied, .. } = shop.writer.commit(&late).unwrap() else {
            panic!("it is committed")
        };
        assert!(applied.iter().all(|applied| matches!(applied, Applied::Refused(_))), "{applied:?}");
        if shop.writer.move_archived(100).unwrap() == 0 {
            break;
        }
    }
    assert_eq!([1, 2].map(|number| order(&shop, number)), before);
    assert_eq!(shop.reader.refunds(OrderId::from_number(1).unwrap()).unwrap().len(), 1);
    assert_eq!(shop.reader.audit(sale).unwrap(), Some(audit));
}

fn give_back(number: u64) -> Transition {
    let request = RefundRequest { number: None, amount: None, restock: Restock::Units(0) };
    refund(number, OrderAction::BeginRefund, RefundStep::New { request, reason: "broken".into() })
}

#[test]
fn o5_what_an_archived_order_has_paid_is_given_back_whether_it_has_moved_or_not_and_no_unit_comes_back() {
    let (mut shop, paid) = shop_that_is_over();
    let sale = shop.sale;
    assert!(matches!(archive(&mut shop, sale, paid, 100), RetirementReceipt::Done(_)));
    assert_eq!(shop.writer.move_archived(256).unwrap(), 256);
    let audit = shop.reader.audit(sale).unwrap().unwrap();
    // The first one has moved, the other one has yet to.
    let both = [2, ORDERS - 1];
    let take = |shop: &mut Shop, step: &dyn Fn(u64) -> Transition, status: OrderStatus| {
        let transitions = both.iter().map(|number| step(*number)).collect();
        let Receipt::Committed { applied, .. } =
            shop.writer.commit(&Batch { transitions, ..Batch::default() }).unwrap()
        else {
            panic!("it is committed");
        };
        let is_so = |applied: &Applied| matches!(applied, Applied::Done(order) if order.status == status);
        assert!(applied.iter().all(is_so), "{applied:?}");
    };
    let unfinished = |shop: &Shop| {
        let (node, read) = (NodeId::new(0).unwrap(), Default::default());
        let recovered = Recovered::read(&shop.reader, node, 1, &Deadlines::default(), &read).unwrap();
        assert_eq!(recovered.paying_at.values().sum::<u64>(), 2);
        recovered.unfinished.iter().map(|order| order.placed.id.number()).collect::<Vec<_>>()
    };
    take(&mut shop, &give_back, OrderStatus::Refunding);
    assert_eq!(unfinished(&shop), both, "a start goes on with both");
    // They move while it is under way.
    while shop.writer.move_archived(256).unwrap() > 0 {}
    assert_eq!(unfinished(&shop), both);
    take(&mut shop, &|number| end_refund(number, OrderAction::ConfirmRefund), OrderStatus::Refunded);
    let after = shop.reader.audit(sale).unwrap().unwrap();
    assert_eq!((after.refunded, after.paid, after.sold_by_guard), (2, audit.paid, audit.sold_by_guard));
    assert_eq!(shop.reader.refunds(OrderId::from_number(2).unwrap()).unwrap().len(), 1);
    let events = shop.reader.events_after(0, 10_000).unwrap();
    assert_eq!(events.iter().filter(|event| event.refund.is_some()).count(), 2);
    let too_much = "UPDATE archived_orders SET refunded_cents = amount_cents + 1 WHERE order_id = 2";
    let stranger = rusqlite::Connection::open(shop.folder.path().join("orders.sqlite")).unwrap();
    assert!(stranger.execute(too_much, []).is_err());
}

#[test]
fn o5_a_deleted_sale_frees_its_name_and_never_its_number() {
    let mut shop = Shop::open(16_384);
    let sale = shop.sale;
    shop.sell(sale, 1).unwrap();
    assert_eq!(delete(&mut shop, sale), RetirementReceipt::HasOrders);
    let empty = make_sale(&mut shop.writer, "watch");
    assert!(matches!(delete(&mut shop, empty), RetirementReceipt::Done(_)));
    assert_eq!(delete(&mut shop, empty), RetirementReceipt::Unknown);
    assert!(shop.reader.sale(empty).unwrap().is_none());
    let again = make_sale(&mut shop.writer, "watch");
    assert!(again > empty, "{again:?} after {empty:?}");
    let late = Batch { placed: vec![order(empty, 9)], ..Batch::default() };
    assert_eq!(shop.writer.commit(&late).unwrap(), Receipt::Oversold(vec![empty]));
    assert_eq!(
        BuyerId::new("buyer-1").unwrap().as_str(),
        shop.reader.orders_after(Some(sale), None, 9).unwrap()[0].placed.buyer.as_str()
    );
}
