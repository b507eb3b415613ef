//! Databases as older engines leave them, and engines of the version before that go on beside a new one.

use seckill::domain::{
    EpochMs, NodeId, OrderAction, OrderId, OrderStatus, PaymentJournal, RefundEnd, RefundRequest, RefundStep,
    Restock, RoomFailure, RoomMarks, RoomMode, RoomMove, RoomSeed, RoomTerms, SaleId, StockEdit,
};
use seckill::orders::postgres::Exclusivity;
use seckill::orders::{
    Applied, Batch, ChangeReceipt, DeadlineStep, EventKind, Grace, LeaseStore, Receipt, RoomReader,
    RoomWriter, StoreReader, StoreWriter, WantedShare,
};
use testbed::servers::postgres::Postgres;

use super::node::{NOW, Node, PAY_BEFORE, settings, stock};
use crate::waiting_rooms::joined;

/// The scripts of the versions.
const VERSIONS: [&[&str]; 18] = [
    &[
        include_str!("../../../src/orders/postgres/schema/1_tables.sql"),
        include_str!("../../../src/orders/postgres/schema/1_commit_batch.sql"),
    ],
    &[include_str!("../../../src/orders/postgres/schema/2_sharing.sql")],
    &[
        include_str!("../../../src/orders/postgres/schema/3_payments.sql"),
        include_str!("../../../src/orders/postgres/schema/3_commit_batch.sql"),
    ],
    &[include_str!("../../../src/orders/postgres/schema/4_deadlines.sql")],
    &[include_str!("../../../src/orders/postgres/schema/5_marks.sql")],
    &[include_str!("../../../src/orders/postgres/schema/6_trail.sql")],
    &[include_str!("../../../src/orders/postgres/schema/7_pauses.sql")],
    &[
        include_str!("../../../src/orders/postgres/schema/8_events.sql"),
        include_str!("../../../src/orders/postgres/schema/8_commit_batch.sql"),
    ],
    &[include_str!("../../../src/orders/postgres/schema/9_history.sql")],
    &[
        include_str!("../../../src/orders/postgres/schema/10_shares.sql"),
        include_str!("../../../src/orders/postgres/schema/10_commit_batch.sql"),
    ],
    &[include_str!("../../../src/orders/postgres/schema/11_retirement.sql")],
    &[
        include_str!("../../../src/orders/postgres/schema/12_refunds.sql"),
        include_str!("../../../src/orders/postgres/schema/12_commit_batch.sql"),
    ],
    &[include_str!("../../../src/orders/postgres/schema/13_waiting_rooms.sql")],
    &[include_str!("../../../src/orders/postgres/schema/14_shared_retirement.sql")],
    &[include_str!("../../../src/orders/postgres/schema/15_node_figures.sql")],
    &[
        include_str!("../../../src/orders/postgres/schema/16_archived_refunds.sql"),
        include_str!("../../../src/orders/postgres/schema/16_commit_batch.sql"),
    ],
    &[include_str!("../../../src/orders/postgres/schema/17_webhooks.sql")],
    &[include_str!("../../../src/orders/postgres/schema/18_beacons.sql")],
];

/// The address of a new database whose tables an engine of that version has made, with a sale `old` of 10 units, and its name.
pub fn database_of_version(postgres: &Postgres, version: usize) -> (String, String) {
    let url = postgres.new_database();
    let database = url.rsplit('/').next().unwrap().to_owned();
    let mut sql = "CREATE SCHEMA seckill; SET search_path = seckill; \
                   CREATE TABLE version (version integer PRIMARY KEY);"
        .to_owned();
    for (number, scripts) in (1..).zip(VERSIONS).take(version) {
        scripts.iter().for_each(|script| sql.push_str(script));
        sql.push_str(&format!("INSERT INTO version VALUES ({number});"));
        // Each by itself: a command takes 128 KiB.
        postgres.query(&database, &sql);
        sql = "SET search_path = seckill;".to_owned();
    }
    sql.push_str(
        "INSERT INTO sales (tenant, campaign, sku, title, price_cents, currency, per_buyer_limit, starts_at_ms, \
         ends_at_ms, pay_within_s, paused, total) \
         VALUES ('default', 'drop', 'old', 'Old', 500, 'EUR', 5, 0, 9000000000000, 60, false, 10)",
    );
    postgres.query(&database, &sql);
    (url, database)
}

/// An engine of version 9, 10 or 18, as far as the database sees it.
struct OldEngine<'a> {
    postgres: &'a Postgres,
    database: &'a str,
    batches: u64,
    /// What its version gives `commit_batch` beside the rest.
    last_parameter: &'static str,
}

impl<'a> OldEngine<'a> {
    fn start(postgres: &'a Postgres, database: &'a str) -> Self {
        postgres.query(
            database,
            "INSERT INTO seckill.nodes (node, incarnation, settled_through) VALUES (1, 1, 0); \
             INSERT INTO seckill.writers (node, writer, last_batch, burned) VALUES (1, 0, 0, true)",
        );
        Self { postgres, database, batches: 0, last_parameter: "" }
    }

    /// Sells a unit to its own buyer.
    fn sells(&mut self) -> OrderId {
        let order = OrderId::from_tick(self.batches + 1, NodeId::new(1).unwrap());
        let placed = format!(
            "1, ARRAY[1], ARRAY[{}]::bigint[], ARRAY[1], ARRAY['old-{}'], ARRAY[1], ARRAY[500]::bigint[], \
             ARRAY[0]::bigint[], ARRAY[9000000000000]::bigint[], ARRAY[NULL]::text[], ARRAY[{}]::smallint[]",
            order.number(),
            self.batches,
            OrderStatus::PrePay.code()
        );
        self.commits(&placed, &["'{}'"; 14].join(", "), &["'{}'"; 3].join(", "));
        order
    }

    fn gives_up(&mut self, order: OrderId) {
        self.ends(order, OrderStatus::Cancelled, EventKind::Cancelled, EpochMs(0), "");
    }

    /// Has an order expire at a moment, as one of version 18 that has decided so by what it has read. Whether the database agrees.
    fn expires(&mut self, order: OrderId, at: EpochMs) -> bool {
        // It knows refunds.
        let more =
            ", ARRAY[0], ARRAY[0], ARRAY[0]::bigint[], ARRAY[0], ARRAY[0]::bigint[], ARRAY[0], ARRAY[0]";
        let expires = || self.ends(order, OrderStatus::Expired, EventKind::Expired, at, more);
        let Err(refused) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(expires)) else {
            return true;
        };
        let words = refused.downcast_ref::<String>().unwrap();
        assert!(words.contains("time was granted meanwhile"), "{words}");
        false
    }

    fn ends(&mut self, order: OrderId, is: OrderStatus, kind: EventKind, at: EpochMs, more: &str) {
        let [was, is] = [OrderStatus::PrePay, is].map(|status| status.code());
        let step = format!(
            "ARRAY[{order}]::bigint[], ARRAY[{was}]::smallint[], ARRAY[0], ARRAY[{is}]::smallint[], ARRAY[0], \
             ARRAY[NULL]::bigint[], ARRAY[NULL]::text[], ARRAY[0]::smallint[], ARRAY[NULL]::text[], \
             ARRAY[NULL]::text[], ARRAY[0]::smallint[], ARRAY[0]::smallint[], ARRAY[NULL]::text[], ARRAY[true]{more}",
            order = order.number()
        );
        let event = format!(
            "ARRAY[{}]::bigint[], ARRAY[{}]::smallint[], ARRAY[{}]::bigint[]",
            order.number(),
            kind.code(),
            at.0
        );
        self.commits(&format!("0, {}", ["'{}'"; 10].join(", ")), &step, &event);
    }

    fn commits(&mut self, placed: &str, steps: &str, events: &str) {
        self.batches += 1;
        let sql = format!(
            "SET search_path = seckill; SELECT refused FROM commit_batch(1::smallint, 1::bigint, 0::smallint, \
             {}::bigint, {placed}, {steps}, {events}, '{{}}', '{{}}', '{{}}', '{{}}', '{{}}'{})",
            self.batches, self.last_parameter
        );
        assert_eq!(self.postgres.query(self.database, &sql), "{}");
    }

    /// Is refused another one, because nothing is left.
    fn is_sold_out(&mut self) {
        let sells = std::panic::AssertUnwindSafe(|| self.sells());
        let refused = std::panic::catch_unwind(sells).unwrap_err();
        let words = refused.downcast_ref::<String>().unwrap();
        assert!(words.contains("than there is for this node"), "{words}");
    }
}

#[test]
fn n16_an_engine_of_the_version_before_sells_on_beside_a_new_one_within_what_the_shares_leave() {
    let postgres = Postgres::shared();
    let (url, database) = database_of_version(&postgres, 9);
    let mut old = OldEngine::start(&postgres, &database);
    old.sells();
    let given_up = old.sells();
    old.gives_up(given_up);
    old.sells();

    let mut new = Node::open_as(2, &settings(&url), Exclusivity::Shared).unwrap();
    let sale = SaleId(1);
    assert_eq!(new.sold(sale), 2);
    let life = new.lease_store.incarnation();
    let shared =
        |new: &Node, units| new.lease_store.set_share(WantedShare { sale, life, turn: 0, units }).unwrap();
    assert_eq!(shared(&new, 20), Some(8), "all that is not sold");
    old.is_sold_out();
    assert_eq!(shared(&new, 6), Some(6));
    let last = old.sells();
    old.sells();
    old.is_sold_out();
    for n in 0..6 {
        new.buy(sale, &format!("new-{n}"), None).unwrap();
    }
    let over = new.order(sale, "late", 1, None);
    let over = new.writer.commit(&Batch { placed: vec![over], ..Batch::default() }).unwrap();
    assert_eq!(over, Receipt::Oversold(vec![sale]));
    assert_eq!(new.sold(sale), 10);
    // What the one gives back the other may be lent.
    old.gives_up(last);
    assert_eq!(shared(&new, 7), Some(7));
    new.buy(sale, "late", None).unwrap();
    assert_eq!(new.sold(sale), 10);
    // The old one read these from the beginning, and reads them still.
    let of_one = postgres.query(&database, "SELECT units FROM seckill.settled WHERE node = 1");
    assert_eq!(of_one, "5");
    let events = new.events();
    assert!(events.iter().map(|event| event.seq).eq(1..=14));
    let below = new.writer.change_sale(&stock(sale, StockEdit::To(9), 0)).unwrap();
    assert_eq!(below, ChangeReceipt::BelowSold(10));
}

#[test]
fn m4_no_order_of_an_engine_of_the_version_before_expires_whose_deadline_was_moved() {
    let postgres = Postgres::shared();
    let (url, database) = database_of_version(&postgres, 18);
    let mut old = OldEngine { last_parameter: ", 0::smallint", ..OldEngine::start(&postgres, &database) };
    let mut new = Node::open_as(2, &settings(&url), Exclusivity::Shared).unwrap();
    let (sale, life) = (SaleId(1), new.lease_store.incarnation());
    new.lease_store.set_share(WantedShare { sale, life, turn: 0, units: 4 }).unwrap();
    let orders = ["ann", "bob", "cid", "dan"].map(|buyer| new.buy(sale, buyer, None).unwrap());
    let mut expires_first_at = |order: OrderId, after_ms: i64| {
        let at = PAY_BEFORE.plus_ms(after_ms);
        let expires = [-1, 0].map(|ms| old.expires(order, at.plus_ms(ms)));
        assert_eq!(expires, [false, true], "{after_ms}");
        assert_eq!(new.reader.order(order).unwrap().unwrap().status, OrderStatus::Expired);
    };
    expires_first_at(orders[0], 0);
    // What became durable after the old one had read, and was answered.
    let pay_before = PAY_BEFORE.plus_ms(700);
    let extension = DeadlineStep::Extend { order: orders[1], pay_before, at: NOW };
    assert!(new.writer.move_deadlines(&extension, None).unwrap().is_done());
    expires_first_at(orders[1], 700);
    let last_moment = PAY_BEFORE.plus_ms(-1);
    let gift = Grace::gift(Some(sale), last_moment, 1_000, "sorry".into());
    new.writer.move_deadlines(&DeadlineStep::Grant(gift), None).unwrap();
    expires_first_at(orders[2], 1_000);
    // Two nodes noted it, and neither is the whole of it.
    for (from, until) in [(-300, 200), (-200, 400)] {
        let outage = Grace::outage(PAY_BEFORE.plus_ms(from), PAY_BEFORE.plus_ms(until), "nobody could pay");
        new.writer.move_deadlines(&DeadlineStep::Grant(outage), None).unwrap();
    }
    expires_first_at(orders[3], 1_700);
    assert_eq!(new.sold(sale), 0);
}

#[test]
fn m1_an_older_database_gets_an_identity_and_payments_that_are_under_way_keep_the_form_of_their_keys() {
    let postgres = Postgres::shared();
    let (url, database) = database_of_version(&postgres, 2);
    let id = OrderId::from_tick(OrderId::tick_at(NOW), NodeId::new(1).unwrap());
    postgres.query(
        &database,
        &format!(
            "SET search_path = seckill; \
             INSERT INTO orders (order_id, amount_cents, created_at_ms, pay_before_ms, sale_id, quantity, \
             payment_attempt, status, step_node, buyer) VALUES ({number}, 500, 0, 0, 1, 1, 1, {paying}, 1, 'ann'); \
             INSERT INTO buyers VALUES (1, 'ann', 1, ARRAY[{number}]::bigint[]); \
             INSERT INTO settled VALUES (1, 1, 1); UPDATE sales SET sold = 1",
            number = id.number(),
            paying = OrderStatus::Paying.code()
        ),
    );
    let node = Node::open(1, &url);
    assert_eq!(node.reader.order(id).unwrap().unwrap().payment, PaymentJournal::default());
    assert_eq!(node.sold(SaleId(1)), 1);
    let identity = node.reader.identity().unwrap();
    assert_eq!(Node::open(2, &url).reader.identity().unwrap(), identity, "made once");
}

#[test]
fn refunds_begin_when_no_engine_is_left_that_does_not_know_them() {
    let postgres = Postgres::shared();
    let (url, database) = database_of_version(&postgres, 10);
    let mut old = OldEngine { last_parameter: ", 1::smallint", ..OldEngine::start(&postgres, &database) };
    old.sells();
    let mut new = Node::open_as(2, &settings(&url), Exclusivity::Shared).unwrap();
    let sale = SaleId(1);
    let (order, given_up) = (old.sells(), old.sells());
    old.gives_up(given_up);
    assert_eq!(new.sold(sale), 2, "the old one sells on");
    for action in [OrderAction::BeginPayment, OrderAction::ConfirmPayment] {
        assert!(matches!(new.step(order, action), Applied::Done(_)));
    }
    let request = RefundRequest { number: None, amount: None, restock: Restock::All };
    let refund = || RefundStep::New { request, reason: "broken".into() };
    assert!(matches!(new.refund(order, OrderAction::BeginRefund, refund()), Applied::Refused(_)));
    postgres.query(&database, "UPDATE seckill.nodes SET settled_through = NULL WHERE node = 1");
    assert!(matches!(new.refund(order, OrderAction::BeginRefund, refund()), Applied::Done(_)));
    let end = RefundStep::End(RefundEnd { number: 1, why: None, only_in_life: None });
    let Applied::Done(refunded) = new.refund(order, OrderAction::ConfirmRefund, end) else {
        panic!("it is made")
    };
    assert_eq!((refunded.status, refunded.units_held()), (OrderStatus::Refunded, 0));
    assert_eq!(new.sold(sale), 1);
    let held = postgres.query(&database, "SELECT units, orders FROM seckill.buyers WHERE buyer = 'old-1'");
    assert_eq!(held, "0|{}", "its buyer may buy again");
}

/// The marks of a drawn room as engines of version 17 read them.
const MARKS_OF_17: &str =
    "draw_mark, fifo_mark_ms, drawn_at_ms, drawn, admitted, registered, rate_per_s, absent_permille";

/// An engine of version 17 that has people wait for sale 1, as far as the database sees it.
struct OldRoom<'a> {
    postgres: &'a Postgres,
    database: &'a str,
}

impl OldRoom<'_> {
    fn runs(&self, sql: &str) -> String {
        self.postgres.query(self.database, &format!("SET search_path = seckill; {sql}"))
    }

    fn registers(&self, at: i64, number: u8) {
        self.runs(&format!(
            "WITH new AS ( \
                 INSERT INTO registrations (sale_id, joined_at_ms, who) \
                 SELECT * FROM unnest(ARRAY[1], ARRAY[{at}]::bigint[], ARRAY[decode(repeat('{number:02x}', 16), 'hex')]) \
                 ON CONFLICT DO NOTHING RETURNING sale_id \
             ) \
             INSERT INTO waiting_rooms AS r (sale_id, registered) \
             SELECT sale_id, count(*) FROM new GROUP BY sale_id ORDER BY sale_id \
             ON CONFLICT (sale_id) DO UPDATE SET registered = r.registered + excluded.registered"
        ));
    }

    fn moves(&self, at: i64, marks: &RoomMarks) {
        let RoomMarks {
            draw_mark, fifo_mark, drawn_at, drawn, admitted, rate_per_s, absent_permille, ..
        } = marks;
        let (fifo_mark, drawn_at) = (fifo_mark.0, drawn_at.expect("it is drawn").0);
        self.runs(&format!(
            "WITH moved AS ( \
                 INSERT INTO waiting_rooms AS r (sale_id, draw_mark, fifo_mark_ms, drawn_at_ms, drawn, admitted, rate_per_s, \
                                                 absent_permille) \
                 VALUES (1, {draw_mark}, {fifo_mark}, {drawn_at}, {drawn}, {admitted}, {rate_per_s}, {absent_permille}) \
                 ON CONFLICT (sale_id) DO UPDATE SET draw_mark = greatest(r.draw_mark, excluded.draw_mark), \
                     fifo_mark_ms = greatest(r.fifo_mark_ms, excluded.fifo_mark_ms), \
                     drawn_at_ms = coalesce(r.drawn_at_ms, excluded.drawn_at_ms), \
                     drawn = greatest(r.drawn, excluded.drawn), admitted = greatest(r.admitted, excluded.admitted), \
                     rate_per_s = excluded.rate_per_s, absent_permille = excluded.absent_permille \
                 RETURNING sale_id, {MARKS_OF_17} \
             ) \
             INSERT INTO room_moves (sale_id, {MARKS_OF_17}, at_ms) \
             SELECT *, {at}::bigint FROM moved ON CONFLICT DO NOTHING"
        ));
    }

    fn reads(&self) -> String {
        self.runs(&format!("SELECT {MARKS_OF_17} FROM waiting_rooms WHERE sale_id = ANY (ARRAY[1])"))
    }
}

#[test]
fn a_waiting_room_of_version_17_is_kept_and_engines_of_that_version_go_on_beside_a_new_one() {
    let postgres = Postgres::shared();
    let (url, database) = database_of_version(&postgres, 17);
    let old = OldRoom { postgres: &postgres, database: &database };
    old.runs(
        "INSERT INTO nodes (node, incarnation, settled_through) VALUES (1, 1, 0); \
         UPDATE sales SET room_mode = 2, room_opens_at_ms = 5, room_rate_per_s = 9, room_grace_s = 60, \
             room_holds = true, room_seed = decode(repeat('07', 16), 'hex')",
    );
    let sale = SaleId(1);
    let marks = |admitted: u64, registered: u64| RoomMarks {
        draw_mark: admitted << 40,
        fifo_mark: EpochMs(0),
        drawn_at: Some(EpochMs(100)),
        drawn: 2,
        admitted,
        registered,
        rate_per_s: 9,
        absent_permille: 0,
        mix: None,
    };
    let moved = |at: i64, marks: RoomMarks| RoomMove { sale, at: EpochMs(at), marks };
    old.registers(20, 1);
    old.registers(30, 2);
    old.moves(1_000, &marks(1, 2));
    let secret = old.runs("SELECT encode(secret, 'hex') FROM pass_secret");

    let mut new = Node::open_as(2, &settings(&url), Exclusivity::Shared).unwrap();
    let kept = RoomTerms {
        mode: RoomMode::Draw,
        opens_at: Some(EpochMs(5)),
        rate_per_s: Some(9),
        grace_s: 60,
        on_failure: RoomFailure::Hold,
        seed: RoomSeed([7; 16]),
        beacon: None,
    };
    assert_eq!(new.reader.sale(sale).unwrap().unwrap().terms.room, Some(kept));
    assert_eq!(new.reader.room_marks(&[sale]).unwrap(), [(sale, marks(1, 2))]);
    let registered = [joined(sale, 20, 1), joined(sale, 30, 2)];
    assert_eq!(new.reader.registrations(sale, None, 10).unwrap(), registered);
    assert_eq!(new.reader.room_moves(sale, EpochMs(0), 10).unwrap(), [moved(1_000, marks(1, 2))]);
    let bytes = new.reader.pass_secret().unwrap();
    assert_eq!(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>(), secret);

    // Both count everybody once, and neither takes a mark back that the other one has raised.
    old.registers(40, 3);
    let later = [joined(sale, 40, 3), joined(sale, 50, 4)];
    new.writer.register(&later).unwrap();
    assert_eq!(new.reader.registrations(sale, None, 10).unwrap(), [registered, later].concat());
    old.moves(2_000, &marks(2, 4));
    new.writer.move_room(&moved(2_500, marks(1, 4))).unwrap();
    new.writer.move_room(&moved(3_000, marks(3, 4))).unwrap();
    old.moves(3_500, &marks(2, 4));
    assert_eq!(new.reader.room_marks(&[sale]).unwrap(), [(sale, marks(3, 4))]);
    assert_eq!(old.reads(), format!("{}|0|100|2|3|4|9|0", 3u64 << 40));
    // The old one tells of a move that came to nothing, too.
    let moves = [(1_000, 1, 2), (2_000, 2, 4), (3_000, 3, 4), (3_500, 3, 4)];
    let moves = moves.map(|(at, admitted, registered)| moved(at, marks(admitted, registered)));
    assert_eq!(new.reader.room_moves(sale, EpochMs(0), 10).unwrap(), moves);
}
