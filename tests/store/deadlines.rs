//! What moves deadlines, in either store: what is granted counts from the moment at which it is durable.

use seckill::domain::{EpochMs, NewOrder, OrderAction, OrderStatus, SaleId};
use seckill::orders::sqlite::SqliteSettings;
use seckill::orders::{
    Act, ActKind, Actor, Applied, Batch, DeadlineStep, Grace, Receipt, StoreReader, StoreWriter, Transition,
};
use serde_json::Value;

use crate::log::{make_sale, order};
use crate::sqlite::open_store;

/// An operator's act.
pub fn act(id: i64) -> Act {
    let text = str::to_owned;
    let actor = Actor { who: text("ann"), role: text("admin"), address: text("::1"), request_id: text("r") };
    let (kind, from, to) = (ActKind::CampaignExtended, Value::Null, Value::Null);
    Act { id, at: EpochMs(0), actor, tenant: None, kind, object: text("sale"), from, to, reason: None }
}

/// Asks for an order to expire, of a memory that knows of no grace.
pub fn expire(writer: &mut dyn StoreWriter, order: &NewOrder, at: EpochMs) -> Applied {
    let step = Transition::plain(order.id, OrderAction::Expire, at);
    match writer.commit(&Batch { transitions: vec![step], ..Batch::default() }).unwrap() {
        Receipt::Committed { mut applied, .. } => applied.pop().unwrap(),
        other => panic!("{other:?}"),
    }
}

/// `order` is durable and waits to be paid.
pub fn an_order_does_not_expire_in_time_that_memory_has_not_heard_of(
    writer: &mut dyn StoreWriter,
    order: &NewOrder,
) {
    let gift = Grace::gift(Some(order.sale), order.pay_before.plus_ms(-1), 1_000, "sorry".into());
    writer.move_deadlines(&DeadlineStep::Grant(gift), None).unwrap();
    let refused = expire(writer, order, order.pay_before.plus_ms(999));
    assert!(matches!(&refused, Applied::Refused(kept) if kept.status == OrderStatus::PrePay), "{refused:?}");
    let expired = expire(writer, order, order.pay_before.plus_ms(1_000));
    assert!(matches!(expired, Applied::Done(_)), "{expired:?}");
}

/// No gift was made before.
pub fn gifts_of_one_moment_all_count(writer: &mut dyn StoreWriter, reader: &dyn StoreReader, sale: SaleId) {
    let at = EpochMs(1_000);
    let outage = Grace::outage(at, at.plus_ms(500), "nobody could pay");
    for _ in 0..2 {
        writer.move_deadlines(&DeadlineStep::Grant(outage.clone()), None).unwrap();
    }
    let gift = |sale: SaleId, by_ms: i64| Grace::gift(Some(sale), at, by_ms, "sorry".into());
    let other = SaleId(sale.0 + 1);
    let given = [gift(sale, 10), gift(sale, 10), gift(other, 5), gift(sale, 20)];
    for (id, gift) in (1..).zip(&given) {
        writer.move_deadlines(&DeadlineStep::Grant(gift.clone()), Some(&act(id))).unwrap();
    }
    let mut granted = reader.graces().unwrap();
    granted.sort_by_key(|grace| (grace.until.is_none(), grace.sale, grace.from));
    let moved = |gift: &Grace, ms: i64| Grace { from: at.plus_ms(ms), ..gift.clone() };
    let [first, second, elsewhere, third] = &given;
    assert_eq!(granted, [outage, moved(first, 0), moved(second, 1), moved(third, 2), elsewhere.clone()]);
}

#[test]
fn m4_the_embedded_store_expires_no_order_in_time_that_was_just_given() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, _reader) = open_store(folder.path(), &SqliteSettings::default());
    let order = order(make_sale(&mut writer, "phone"), 1);
    writer.commit(&Batch { placed: vec![order.clone()], ..Batch::default() }).unwrap();
    an_order_does_not_expire_in_time_that_memory_has_not_heard_of(&mut writer, &order);
}

#[test]
fn m4_the_embedded_store_keeps_two_gifts_of_one_moment() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, reader) = open_store(folder.path(), &SqliteSettings::default());
    let sale = make_sale(&mut writer, "phone");
    gifts_of_one_moment_all_count(&mut writer, &reader, sale);
}
