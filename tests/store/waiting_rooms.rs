//! Waiting rooms in both stores: registrations are counted once and read in order, marks never fall, and the secret of the passes
//! stays.

use seckill::domain::{
    EpochMs, Registration, RoomEdit, RoomFailure, RoomMarks, RoomMode, RoomMove, RoomSeed, SaleEdit, SaleId,
    SaleLimits,
};
use seckill::orders::{ChangeReceipt, RoomReader, SaleChange, StoreReader, StoreWriter};
use testbed::servers::postgres::Postgres;

use crate::log::{Shop, make_sale};
use crate::postgres::node::Node;

fn who(number: u8) -> [u8; 16] {
    [number; 16]
}

fn joined(sale: SaleId, at: i64, number: u8) -> Registration {
    Registration { sale, joined_at: EpochMs(at), who: who(number) }
}

fn registered(reader: &impl RoomReader, sale: SaleId) -> u64 {
    reader.room_marks(&[sale]).unwrap().first().map_or(0, |(_, marks)| marks.registered)
}

fn check_registrations(writer: &mut dyn StoreWriter, reader: &impl RoomReader, sales: [SaleId; 2]) {
    let [one, two] = sales;
    let batch = [joined(one, 20, 2), joined(two, 5, 1), joined(one, 10, 9), joined(one, 20, 1)];
    writer.register(&batch).unwrap();
    // As after an answer that was lost, and with one more.
    writer.register(&[&batch[..], &[joined(one, 30, 1)]].concat()).unwrap();
    assert_eq!((registered(reader, one), registered(reader, two)), (4, 1));
    let all = [joined(one, 10, 9), joined(one, 20, 1), joined(one, 20, 2), joined(one, 30, 1)];
    assert_eq!(reader.registrations(one, None, 10).unwrap(), all);
    assert_eq!(reader.registrations(one, None, 2).unwrap(), all[..2]);
    for (place, last) in all.iter().enumerate() {
        let behind = reader.registrations(one, Some((last.joined_at, last.who)), 10).unwrap();
        assert_eq!(behind, all[place + 1..]);
    }
    // Whoever joined at this moment or later.
    let from = Some((EpochMs(19), [u8::MAX; 16]));
    assert_eq!(reader.registrations(one, from, 10).unwrap(), all[1..]);
}

fn check_marks(writer: &mut dyn StoreWriter, reader: &impl RoomReader, sale: SaleId, never: SaleId) {
    let first = RoomMarks {
        draw_mark: 1 << 52,
        fifo_mark: EpochMs(0),
        drawn_at: Some(EpochMs(7)),
        drawn: 50,
        admitted: 25,
        registered: 0,
        rate_per_s: 100,
        absent_permille: 0,
    };
    let counted = registered(reader, sale);
    let moved = |at, marks| RoomMove { sale, at: EpochMs(at), marks };
    writer.move_room(&moved(1_000, first)).unwrap();
    let lower = RoomMarks {
        draw_mark: 5,
        drawn_at: Some(EpochMs(9)),
        drawn: 1,
        admitted: 24,
        rate_per_s: 90,
        ..first
    };
    writer.move_room(&moved(2_000, lower)).unwrap();
    let higher =
        RoomMarks { draw_mark: RoomMarks::PRIORITY_END, fifo_mark: EpochMs(70), admitted: 60, ..first };
    for _ in 0..2 {
        writer.move_room(&moved(3_000, higher)).unwrap();
    }
    let with_count = |marks| RoomMarks { registered: counted, ..marks };
    let expected = [
        moved(1_000, with_count(first)),
        moved(2_000, with_count(RoomMarks { rate_per_s: 90, ..first })),
        moved(3_000, with_count(higher)),
    ];
    assert_eq!(reader.room_moves(sale, EpochMs(0), 10).unwrap(), expected);
    assert_eq!(reader.room_moves(sale, EpochMs(1_000), 1).unwrap(), expected[1..2]);
    assert_eq!(reader.room_marks(&[never, sale]).unwrap(), [(sale, with_count(higher))]);
}

fn check_terms(writer: &mut dyn StoreWriter, reader: &dyn StoreReader, sale: SaleId) {
    let edit = RoomEdit {
        mode: Some(RoomMode::Fifo),
        opens_at: Some(Some(EpochMs(-5))),
        rate_per_s: Some(Some(9)),
        grace_s: Some(60),
        on_failure: Some(RoomFailure::Hold),
        new_seed: RoomSeed([3; 16]),
    };
    let mut change = |room: RoomEdit| {
        let (edit, limits) = (SaleEdit { room: Some(room), ..SaleEdit::default() }, SaleLimits::default());
        let change = SaleChange { sale, edit, limits, if_version: None, withdrawn: 0, act: None };
        match writer.change_sale(&change).unwrap() {
            ChangeReceipt::Changed { sale, .. } => sale.terms.room,
            other => panic!("{other:?}"),
        }
    };
    let stored = || reader.sale(sale).unwrap().unwrap().terms.room;
    let made = change(edit);
    assert_eq!((made, stored()), (Some(edit.apply(None).unwrap()), made));
    let off =
        RoomEdit { mode: Some(RoomMode::Off), opens_at: Some(None), new_seed: RoomSeed([4; 16]), ..edit };
    assert_eq!(change(off), Some(off.apply(made.as_ref()).unwrap()));
    assert_eq!(stored().unwrap().seed, RoomSeed([3; 16]));
}

#[test]
fn the_embedded_store_keeps_the_rooms() {
    let mut shop = Shop::open(16_384);
    let two = make_sale(&mut shop.writer, "watch");
    let never = make_sale(&mut shop.writer, "never");
    let Shop { writer, reader, sale, .. } = &mut shop;
    check_registrations(writer, &*reader, [*sale, two]);
    check_marks(writer, &*reader, *sale, never);
    check_terms(writer, &*reader, two);
    let secret = reader.pass_secret().unwrap();
    assert_eq!((secret.len(), reader.pass_secret().unwrap()), (32, secret.clone()));
    assert_ne!(Shop::open(16_384).reader.pass_secret().unwrap(), secret, "each store has its own");
}

#[test]
fn postgres_keeps_the_rooms_and_its_nodes_agree() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let mut node = Node::open(1, &url);
    let sales = ["a", "b", "never"].map(|name| node.sale(name, 10, 5));
    let other = Node::open(2, &url);
    check_registrations(&mut *node.writer, &other.reader, [sales[0], sales[1]]);
    check_marks(&mut *node.writer, &other.reader, sales[0], sales[2]);
    check_terms(&mut *node.writer, &other.reader, sales[1]);
    assert_eq!(node.reader.pass_secret().unwrap(), other.reader.pass_secret().unwrap());
}
