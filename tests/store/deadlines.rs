//! What moves deadlines, in either store: what is granted counts from the moment at which it is durable.

use seckill::domain::{EpochMs, NewOrder, OrderAction, OrderStatus};
use seckill::orders::sqlite::SqliteSettings;
use seckill::orders::{Applied, Batch, DeadlineStep, Grace, Receipt, StoreWriter, Transition};

use crate::log::{make_sale, order};
use crate::sqlite::open_store;

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

#[test]
fn m4_the_embedded_store_expires_no_order_in_time_that_was_just_given() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, _reader) = open_store(folder.path(), &SqliteSettings::default());
    let order = order(make_sale(&mut writer, "phone"), 1);
    writer.commit(&Batch { placed: vec![order.clone()], ..Batch::default() }).unwrap();
    an_order_does_not_expire_in_time_that_memory_has_not_heard_of(&mut writer, &order);
}
