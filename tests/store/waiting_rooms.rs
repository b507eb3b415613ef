//! Waiting rooms in both stores: registrations are counted once and read in order, marks never fall, and the secret of the passes
//! stays.

use std::sync::Arc;

use rusqlite::Connection;
use seckill::admission::{LiveSale, Moment, OrderIds, PassKeys, RoomRules};
use seckill::domain::{
    BeaconSource, BeaconTerms, BeaconValue, BuyerName, DrawMix, EpochMs, Nanos, NodeId, Registration,
    RoomEdit, RoomFailure, RoomMarks, RoomMode, RoomMove, RoomSeed, Sale, SaleEdit, SaleId, SaleLimits,
};
use seckill::orders::sqlite::{SqliteReader, SqliteSettings};
use seckill::orders::{
    Act, ActKind, Actor, ChangeReceipt, Ending, Pipeline, PipelineParts, Retirement, RetirementReceipt,
    RoomReader, RoomWriter, SaleAct, SaleChange, StoreReader, StoreWriter, WriterSettings,
};
use serde_json::{Map, Value};
use tempfile::TempDir;
use testbed::PATIENCE;
use testbed::older_store::TO_VERSION_11;
use testbed::servers::postgres::Postgres;

use crate::log::{Shop, make_sale};
use crate::postgres::node::Node;
use crate::sqlite::open_store;

fn who(number: u8) -> [u8; 16] {
    [number; 16]
}

/// The registration of somebody at a moment.
pub fn joined(sale: SaleId, at: i64, number: u8) -> Registration {
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
        mix: None,
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
    // By a clock that is behind, or in the same millisecond: the marks were higher later.
    let behind = [61, 62].map(|admitted| RoomMarks { admitted, ..higher });
    writer.move_room(&moved(2_500, behind[0])).unwrap();
    writer.move_room(&moved(3_001, behind[1])).unwrap();
    let with_count = |marks| RoomMarks { registered: counted, ..marks };
    let expected = [
        moved(1_000, with_count(first)),
        moved(2_000, with_count(RoomMarks { rate_per_s: 90, ..first })),
        moved(3_000, with_count(higher)),
        moved(3_001, with_count(behind[0])),
        moved(3_002, with_count(behind[1])),
    ];
    assert_eq!(reader.room_moves(sale, EpochMs(0), 10).unwrap(), expected);
    assert_eq!(reader.room_moves(sale, EpochMs(1_000), 1).unwrap(), expected[1..2]);
    assert_eq!(reader.room_marks(&[never, sale]).unwrap(), [(sale, with_count(behind[1]))]);
}

fn check_terms(writer: &mut dyn StoreWriter, reader: &dyn StoreReader, sale: SaleId) {
    let edit = RoomEdit {
        mode: Some(RoomMode::Fifo),
        opens_at: Some(Some(EpochMs(-5))),
        rate_per_s: Some(Some(9)),
        grace_s: Some(60),
        on_failure: Some(RoomFailure::Hold),
        beacon: Some(Some(BeaconTerms { source: BeaconSource::Nist, round: 1 << 52, wait_s: 0 })),
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

fn act(id: i64, kind: ActKind, at: i64) -> Act {
    let text = str::to_owned;
    let actor = Actor { who: text("ann"), role: text("admin"), address: text("::1"), request_id: text("r") };
    let (from, to, object) = (Value::Null, Value::Null, text("c/room"));
    Act { id, at: EpochMs(at), actor, tenant: None, kind, object, from, to, reason: Some(text("a test")) }
}

/// What a draw is mixed with is decided once, and told once.
fn check_mix(writer: &mut dyn StoreWriter, reader: &dyn StoreReader, sale: SaleId, drawn: SaleId) {
    let value = DrawMix::Beacon(BeaconValue::new(&[7; 32]).unwrap());
    let told = || {
        let told = reader.trail_after("default", 0, 100).unwrap();
        told.iter().filter(|entry| entry.kind == "campaign.beacon").count()
    };
    let mixed = |sale| reader.room_marks(&[sale]).unwrap().first().and_then(|(_, marks)| marks.mix);
    // The same act twice, as after an answer that was lost; and another one, which comes too late.
    for (id, mix) in [(11, value), (11, value), (12, DrawMix::Plain)] {
        let decided = writer.decide_mix(sale, &mix, Some(&act(id, ActKind::CampaignBeacon, 9))).unwrap();
        assert_eq!((decided, mixed(sale), told()), (Some(value), Some(value), 1));
    }
    assert_eq!(mixed(drawn), None);
    let made = writer.decide_mix(drawn, &value, Some(&act(13, ActKind::CampaignBeacon, 9))).unwrap();
    assert_eq!((made, mixed(drawn), told()), (None, None, 1), "the draw was made before");
    // What nobody gave in time is told nowhere.
    let marks = RoomMarks { registered: 1, ..RoomMarks::default() };
    assert_eq!(reader.room_marks(&[sale]).unwrap()[0].1, RoomMarks { mix: Some(value), ..marks });
}

const NOTHING: RoomEdit = RoomEdit {
    mode: None,
    opens_at: None,
    rate_per_s: None,
    grace_s: None,
    on_failure: None,
    beacon: None,
    new_seed: RoomSeed([3; 16]),
};

/// What an operator's change comes to at a moment: the sale from now on, or the field that refuses it.
fn changed(
    writer: &mut dyn StoreWriter,
    sale: SaleId,
    edit: SaleEdit,
    at: i64,
) -> Result<Sale, &'static str> {
    let act = Some(SaleAct { act: act(at, ActKind::CampaignChanged, at), show: |_| Map::new() });
    let limits = SaleLimits::default();
    let change = SaleChange { sale, edit, limits, if_version: None, withdrawn: 0, act };
    match writer.change_sale(&change).unwrap() {
        ChangeReceipt::Changed { sale, .. } => Ok(sale),
        ChangeReceipt::Invalid(error) => Err(error.field),
        other => panic!("{other:?}"),
    }
}

/// Nobody chooses a round once registration has closed.
fn check_closed_beacon(writer: &mut dyn StoreWriter, sale: SaleId) {
    let mut change = |beacon, at| {
        let room = RoomEdit { mode: Some(RoomMode::Draw), beacon: Some(beacon), ..NOTHING };
        let (starts_at, ends_at) = (Some(EpochMs(1_000)), Some(EpochMs(2_000)));
        let edit = SaleEdit { room: Some(room), starts_at, ends_at, ..SaleEdit::default() };
        changed(writer, sale, edit, at).map(|sale| sale.terms.room.unwrap().beacon)
    };
    let round = |round| Some(BeaconTerms { source: BeaconSource::Nist, round, wait_s: 5 });
    // The act that moves the start is before that start, or the sale began at 0.
    assert_eq!(change(None, -2), Ok(None));
    assert_eq!(change(round(1), 998), Ok(round(1)));
    assert_eq!(change(round(2), 999), Ok(round(2)));
    assert_eq!(change(round(2), 1_000), Ok(round(2)), "the same is no change");
    assert_eq!((change(round(3), 1_001), change(None, 1_002)), (Err("queue.beacon"), Err("queue.beacon")));
    // Nor by way of another mode, or of another start, at once or one after the other, paused or not.
    let mut change = |edit| changed(writer, sale, edit, 1_003).map(|sale| sale.terms.paused);
    let none = SaleEdit::default;
    assert_eq!(change(SaleEdit { paused: Some(true), ..none() }), Ok(true), "it can be stopped all the same");
    let (fifo, later) = (RoomEdit { mode: Some(RoomMode::Fifo), ..NOTHING }, Some(EpochMs(1_500)));
    assert_eq!(change(SaleEdit { room: Some(fifo), starts_at: later, ..none() }), Err("queue.mode"));
    assert_eq!(change(SaleEdit { room: Some(fifo), ..none() }), Err("queue.mode"));
    let off = RoomEdit { mode: Some(RoomMode::Off), ..NOTHING };
    assert_eq!(change(SaleEdit { room: Some(off), ..none() }), Err("queue.mode"));
    assert_eq!(change(SaleEdit { starts_at: later, ..none() }), Err("starts_at"));
    let faster = RoomEdit { rate_per_s: Some(Some(9)), ..NOTHING };
    assert_eq!(change(SaleEdit { room: Some(faster), ..none() }), Ok(true));
    assert_eq!(change(SaleEdit { ended_at: Some(EpochMs(1_003)), ..none() }), Ok(true), "and ended");
}

/// Where the draw is made its beacon stays, also at a sale whose start was moved since.
fn check_drawn_beacon(writer: &mut dyn StoreWriter, sale: SaleId) {
    let round = Some(BeaconTerms { source: BeaconSource::Nist, round: 1, wait_s: 5 });
    let draw = RoomEdit { mode: Some(RoomMode::Draw), beacon: Some(round), ..NOTHING };
    let (starts_at, ends_at) = (Some(EpochMs(1_000)), Some(EpochMs(2_000)));
    let edit = SaleEdit { room: Some(draw), starts_at, ends_at, ..SaleEdit::default() };
    changed(writer, sale, edit, -2).unwrap();
    let marks = RoomMarks { drawn_at: Some(EpochMs(900)), ..RoomMarks::default() };
    writer.move_room(&RoomMove { sale, at: EpochMs(900), marks }).unwrap();
    let other = RoomEdit { beacon: Some(None), ..NOTHING };
    for (edit, field) in
        [(other, "queue.beacon"), (RoomEdit { mode: Some(RoomMode::Off), ..NOTHING }, "queue.mode")]
    {
        let edit = SaleEdit { room: Some(edit), ..SaleEdit::default() };
        assert_eq!(changed(writer, sale, edit, 950).unwrap_err(), field);
    }
}

/// Who was admitted by arrival is not counted among the drawn: a room that admits so does not begin to draw.
fn check_late_draw(writer: &mut dyn StoreWriter, sale: SaleId) {
    let mut change = |mode, starts_at, at| {
        let room = RoomEdit { mode: Some(mode), ..NOTHING };
        let (starts_at, ends_at) = (Some(EpochMs(starts_at)), Some(EpochMs(20_000)));
        let edit = SaleEdit { room: Some(room), starts_at, ends_at, ..SaleEdit::default() };
        changed(writer, sale, edit, at).map(|sale| sale.terms.room.unwrap().mode)
    };
    // The sale began at 0, and has no room yet.
    assert_eq!(change(RoomMode::Draw, 1_000, 1_000), Err("queue.mode"));
    assert_eq!(change(RoomMode::Fifo, 1_000, 500), Ok(RoomMode::Fifo));
    assert_eq!(change(RoomMode::Draw, 1_000, 999), Ok(RoomMode::Draw));
    assert_eq!(change(RoomMode::Fifo, 1_000, 1_001), Ok(RoomMode::Fifo));
    assert_eq!(change(RoomMode::Draw, 1_000, 1_001), Err("queue.mode"));
    assert_eq!(change(RoomMode::Draw, 9_000, 1_001), Ok(RoomMode::Draw), "registration begins anew");
    assert_eq!(change(RoomMode::Fifo, 9_000, 1_001), Ok(RoomMode::Fifo));
    let marks = RoomMarks { fifo_mark: EpochMs(1_500), admitted: 5, ..RoomMarks::default() };
    writer.move_room(&RoomMove { sale, at: EpochMs(2_000), marks }).unwrap();
    let mut change = |mode, at| {
        let edit = SaleEdit { room: Some(RoomEdit { mode: Some(mode), ..NOTHING }), ..SaleEdit::default() };
        changed(writer, sale, edit, at).map(|sale| sale.terms.room.unwrap().mode)
    };
    assert_eq!(change(RoomMode::Draw, 3_000), Err("queue.mode"), "five were admitted by arrival");
    assert_eq!(change(RoomMode::Off, 3_001), Ok(RoomMode::Off));
}

/// Whoever has registered was told of a draw to come: it is not moved behind the registration.
fn check_early_draw(writer: &mut dyn StoreWriter, sale: SaleId) {
    let mut change = |mode, opens_at, starts_at, at| {
        let room = RoomEdit { mode: Some(mode), opens_at: Some(opens_at), ..NOTHING };
        let (starts_at, ends_at) = (Some(EpochMs(starts_at)), Some(EpochMs(9_000)));
        let edit = SaleEdit { room: Some(room), starts_at, ends_at, ..SaleEdit::default() };
        changed(writer, sale, edit, at).map(|sale| sale.terms.starts_at.0)
    };
    assert_eq!(change(RoomMode::Draw, Some(EpochMs(300)), 1_000, -2), Ok(1_000));
    assert_eq!(change(RoomMode::Draw, Some(EpochMs(200)), 800, 299), Ok(800), "nobody has registered");
    assert_eq!(change(RoomMode::Draw, None, 700, 500), Ok(700));
    assert_eq!(change(RoomMode::Fifo, None, 600, 500), Ok(600));
    assert_eq!(change(RoomMode::Draw, None, 600, 550), Ok(600), "who registered by arrival is drawn, too");
    assert_eq!(change(RoomMode::Draw, None, 100, 560), Ok(560));
    assert_eq!(change(RoomMode::Draw, None, 100, 570), Ok(560), "it has begun");
}

/// Of a deleted sale nothing is kept, and nothing is written any more; of others everything is.
fn check_forgetting(writer: &mut dyn StoreWriter, reader: &dyn StoreReader, [gone, kept]: [SaleId; 2]) {
    for sale in [gone, kept] {
        let batch: Vec<Registration> = (0..25).map(|n| joined(sale, n, 1)).collect();
        writer.register(&batch).unwrap();
        for at in 1..=3 {
            let marks = RoomMarks { admitted: at, ..RoomMarks::default() };
            writer.move_room(&RoomMove { sale, at: EpochMs(at as i64), marks }).unwrap();
        }
    }
    assert_eq!(writer.forget_rooms(10).unwrap(), 0, "nothing of those that there are");
    let act = act(99, ActKind::CampaignDeleted, 100);
    let deletion = Retirement { sale: gone, ending: Ending::Delete, if_version: None, act };
    assert!(matches!(writer.retire_sale(&deletion).unwrap(), RetirementReceipt::Done(_)));
    writer.register(&[joined(gone, 99, 9), joined(kept, 99, 9), joined(gone, 98, 9)]).unwrap();
    assert_eq!(reader.registrations(gone, None, 100).unwrap().len(), 25, "who comes late");
    let steps: Vec<usize> = (0..6).map(|_| writer.forget_rooms(10).unwrap()).collect();
    assert_eq!(steps, [10, 10, 5, 3, 1, 0]);
    assert_eq!(reader.registrations(gone, None, 100).unwrap(), []);
    assert_eq!(reader.room_moves(gone, EpochMs(0), 100).unwrap(), []);
    assert_eq!(reader.room_marks(&[gone]).unwrap(), []);
    assert_eq!(reader.registrations(kept, None, 100).unwrap().len(), 26);
    assert_eq!(reader.room_moves(kept, EpochMs(0), 100).unwrap().len(), 3);
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
    check_mix(writer, &*reader, two, *sale);
    check_closed_beacon(writer, never);
    let names = ["gone", "kept", "late", "drawn", "early"];
    let [gone, kept, late, drawn, early] = names.map(|sku| make_sale(writer, sku));
    check_late_draw(writer, late);
    check_early_draw(writer, early);
    check_drawn_beacon(writer, drawn);
    check_forgetting(writer, &*reader, [gone, kept]);
    let secret = reader.pass_secret().unwrap();
    assert_eq!((secret.len(), reader.pass_secret().unwrap()), (32, secret.clone()));
    assert_ne!(Shop::open(16_384).reader.pass_secret().unwrap(), secret, "each store has its own");
}

#[test]
fn the_embedded_store_keeps_a_room_of_the_version_before_rooms_had_beacons() {
    let mut shop = Shop::open(16_384);
    let sale = shop.sale;
    let draw = RoomEdit { mode: Some(RoomMode::Draw), rate_per_s: Some(Some(9)), ..NOTHING };
    let (starts_at, ends_at) = (Some(EpochMs(1_000)), Some(EpochMs(2_000)));
    let edit = SaleEdit { room: Some(draw), starts_at, ends_at, ..SaleEdit::default() };
    changed(&mut shop.writer, sale, edit, -2).unwrap();
    shop.writer.register(&[joined(sale, 20, 1), joined(sale, 30, 2)]).unwrap();
    let marks = RoomMarks {
        draw_mark: 1 << 52,
        drawn_at: Some(EpochMs(1_000)),
        drawn: 2,
        admitted: 1,
        ..RoomMarks::default()
    };
    shop.writer.move_room(&RoomMove { sale, at: EpochMs(1_100), marks }).unwrap();
    let known = |reader: &SqliteReader| {
        (
            reader.sale(sale).unwrap().unwrap().terms,
            reader.room_marks(&[sale]).unwrap(),
            reader.registrations(sale, None, 10).unwrap(),
            reader.room_moves(sale, EpochMs(0), 10).unwrap(),
            reader.pass_secret().unwrap(),
        )
    };
    let before = known(&shop.reader);
    assert_eq!(before.1, [(sale, RoomMarks { registered: 2, ..marks })]);

    let Shop { folder, writer, reader, .. } = shop;
    let stranger = Connection::open(folder.path().join("orders.sqlite")).unwrap();
    stranger.execute_batch(TO_VERSION_11).unwrap();
    drop((stranger, reader));
    Box::new(writer).close().unwrap();
    let (mut writer, reader) = open_store(folder.path(), &SqliteSettings::default());
    assert!(known(&reader) == before);
    writer.register(&[joined(sale, 30, 2), joined(sale, 40, 3)]).unwrap();
    assert_eq!(registered(&reader, sale), 3);
}

#[test]
fn postgres_keeps_the_rooms_and_its_nodes_agree() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let mut node = Node::open(1, &url);
    let names = ["a", "b", "never", "gone", "kept", "late", "drawn", "early"];
    let sales = names.map(|name| node.sale(name, 10, 5));
    let other = Node::open(2, &url);
    check_registrations(&mut *node.writer, &other.reader, [sales[0], sales[1]]);
    check_marks(&mut *node.writer, &other.reader, sales[0], sales[2]);
    check_terms(&mut *node.writer, &other.reader, sales[1]);
    check_mix(&mut *node.writer, &other.reader, sales[1], sales[0]);
    check_closed_beacon(&mut *node.writer, sales[2]);
    check_late_draw(&mut *node.writer, sales[5]);
    check_drawn_beacon(&mut *node.writer, sales[6]);
    check_early_draw(&mut *node.writer, sales[7]);
    check_forgetting(&mut *node.writer, &other.reader, [sales[3], sales[4]]);
    assert_eq!(node.reader.pass_secret().unwrap(), other.reader.pass_secret().unwrap());
}

#[test]
fn a_registration_that_the_store_did_not_take_is_the_next_to_be_written() {
    let folder = TempDir::new().unwrap();
    let (mut store, reader) = open_store(folder.path(), &SqliteSettings::default());
    let id = make_sale(&mut store, "phone");
    let mut sale = reader.sale(id).unwrap().unwrap();
    let fifo = RoomEdit { mode: Some(RoomMode::Fifo), ..NOTHING };
    (sale.terms.room, sale.terms.ends_at) = (Some(fifo.apply(None).unwrap()), EpochMs(i64::MAX));
    let reader = Arc::new(reader);
    let settings = WriterSettings { steps_max: 1, ..WriterSettings::default() };
    let ids = OrderIds::after(NodeId::new(0).unwrap(), None);
    let parts =
        PipelineParts::new(vec![Box::new(store)], Arc::clone(&reader) as Arc<dyn StoreReader>, ids, settings);
    let Pipeline { admission, desk, mut writers } = Pipeline::new(parts);
    let keys = PassKeys::new([&b"a secret that is long enough"[..]]);
    admission.rooms().set_rules(RoomRules { keys, ..RoomRules::default() });
    let now = Moment { wall: EpochMs(7), mono: Nanos(1) };
    admission.register(&LiveSale::open(sale, 1), BuyerName::new("ann").unwrap(), None, now).unwrap();

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        // Nobody works yet, and the one place for what waits is taken.
        let asking = desk.clone();
        let first = tokio::spawn(async move { asking.forget_rooms(1).await });
        tokio::task::yield_now().await;
        assert!(desk.write_registrations().await.unwrap_err().is_transient());
        let writer = writers.remove(0);
        let writer = std::thread::spawn(move || writer.run());
        assert_eq!(first.await.unwrap().unwrap(), 0);
        assert_eq!(desk.write_registrations().await.unwrap(), 1);
        assert_eq!(desk.write_registrations().await.unwrap(), 0);
        assert_eq!(reader.registrations(id, None, 10).unwrap()[0].joined_at, now.wall);
        assert!(desk.stop(PATIENCE), "the writer stops");
        writer.join().unwrap().unwrap();
    });
}
