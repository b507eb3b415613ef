//! What is the adapter's own: schema, settings, pool, text.

use seckill::domain::{
    NodeId, OrderAction, OrderStatus, PaymentDirection, PaymentJournal, PaymentKeyForm, PaymentNote, Rate,
    SaleEdit, StockEdit,
};
use seckill::orders::postgres::{self, Exclusivity, PostgresSettings};
use seckill::orders::{
    Applied, Batch, ChangeReceipt, Deadlines, Fault, Receipt, Recovered, StoreReader, StoreWriter, Transition,
};
use testbed::servers::postgres::Postgres;
use testbed::until;

use super::node::{NOW, Node, PAY_BEFORE, change, changed, key, settings, stock, stored, terms};

#[test]
fn engines_that_start_at_once_on_an_empty_database_all_start() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    std::thread::scope(|scope| {
        let starts: Vec<_> = (1..=4)
            .map(|node| {
                scope.spawn({
                    let url = &url;
                    move || Node::open(node, url)
                })
            })
            .collect();
        starts.into_iter().for_each(|start| drop(start.join().unwrap()));
    });
}

#[test]
fn data_of_a_newer_engine_are_left_alone() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    drop(Node::open(1, &url));
    let database = url.rsplit('/').next().unwrap();
    postgres.query(database, "INSERT INTO seckill.version VALUES (1000)");
    let error = Node::try_open(1, &url).err().expect("a newer engine's data");
    assert!(error.kind == Fault::Fatal && error.message.contains("newer engine"), "{error}");
}

#[test]
fn a_wrong_address_is_told_apart_from_a_server_that_is_away() {
    let postgres = Postgres::shared();
    let open = |url: String| {
        postgres::open(&settings(&url), NodeId::new(1).unwrap(), 1, Exclusivity::Alone).unwrap_err()
    };
    let wrong = open("postgre//nowhere".into());
    assert!(wrong.kind == Fault::Fatal && wrong.message.contains("postgres.url"), "{wrong}");
    let no_database = open(postgres.url_at(postgres.address(), "nowhere"));
    assert!(no_database.kind == Fault::Fatal && no_database.message.contains("nowhere"), "{no_database}");
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(open(postgres.url_at(closed, "postgres")).kind, Fault::Transient);
}

#[test]
fn an_order_above_the_total_leaves_nothing_of_its_batch_and_is_kept_as_rejected() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let mut node = Node::open(1, &url);
    let (scarce, plenty) = (node.sale("a", 2, 9), node.sale("b", 9, 9));
    let placed = vec![node.order(scarce, "ann", 3, Some("k")), node.order(plenty, "ann", 1, None)];
    let batch = Batch { placed, ..Batch::default() };
    assert_eq!(node.writer.commit(&batch).unwrap(), Receipt::Oversold(vec![scarce]));
    assert_eq!(node.reader.orders_after(None, None, 10).unwrap(), []);
    let [over, kept] = <[_; 2]>::try_from(batch.placed).unwrap();
    let batch = Batch { placed: vec![kept], rejected: vec![over.clone()], ..Batch::default() };
    assert!(matches!(node.writer.commit(&batch).unwrap(), Receipt::Committed { .. }));
    assert_eq!(node.reader.order(over.id).unwrap().unwrap().status, OrderStatus::Rejected);
    assert_eq!((node.sold(scarce), node.sold(plenty)), (0, 1));
    // Neither the limit nor the key remembers what was never made.
    node.buy(scarce, "ann", Some("k")).unwrap();
    assert_eq!(node.events().len(), 2);
}

#[test]
fn text_that_the_database_cannot_keep_is_made_keepable() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let mut node = Node::open(1, &url);
    let sale = node.sale("a", 10, 1);
    let odd = SaleEdit {
        title: Some("ab\u{10ffff}'\"\\".into()),
        rate_per_s: Some(Some(5)),
        burst: Some(Some(7)),
        stock: Some(StockEdit::By(2)),
        ..SaleEdit::default()
    };
    let changed = changed(node.writer.change_sale(&change(sale, odd, 0)).unwrap());
    assert_eq!(changed.terms.title, "ab\u{10ffff}'\"\\");
    assert_eq!((changed.total, changed.terms.rate), (12, Some(Rate { per_s: 5, burst: 7 })));
    assert_eq!(stored(&node, sale), changed);
    let order = node.buy(sale, "a'\"\\b", Some("'\"\\")).unwrap();
    let payment_method = Some("card\0".to_owned());
    let begin = Transition { payment_method, ..Transition::plain(order, OrderAction::BeginPayment, NOW) };
    let batch = Batch { transitions: vec![begin], ..Batch::default() };
    assert!(matches!(node.writer.commit(&batch).unwrap(), Receipt::Committed { .. }));
    let stored = node.reader.order(order).unwrap().unwrap();
    assert_eq!(stored.payment_method.as_deref(), Some("card\u{fffd}"));
    assert_eq!(stored.placed.buyer.as_str(), "a'\"\\b");
}

#[test]
fn sales_have_names_of_their_own_and_keep_what_they_sold() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let mut node = Node::open(1, &url);
    let sale = node.sale("a", 10, 5);
    assert_eq!(node.writer.create_sale(&key("a"), &terms(5), 10, None).unwrap(), None);
    for buyer in ["ann", "bob", "cid"] {
        node.buy(sale, buyer, None).unwrap();
    }
    let below = node.writer.change_sale(&stock(sale, StockEdit::To(2), 8)).unwrap();
    assert_eq!(below, ChangeReceipt::BelowSold(3));
    let not_yet = node.writer.change_sale(&stock(sale, StockEdit::To(3), 6)).unwrap();
    assert_eq!(not_yet, ChangeReceipt::Withdraw { units: 7, total: 10 });
    let lower = changed(node.writer.change_sale(&stock(sale, StockEdit::To(3), 7)).unwrap());
    assert_eq!((lower.total, lower.sold), (3, 3));
    assert_eq!(node.writer.units_of(sale).unwrap(), (3, 3));
    let nowhere = stock(seckill::domain::SaleId(sale.0 + 1), StockEdit::To(9), 0);
    assert_eq!(node.writer.change_sale(&nowhere).unwrap(), ChangeReceipt::Unknown);
}

#[test]
fn an_order_goes_its_way_over_several_nodes() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let (mut one, mut two) = (Node::open(1, &url), Node::open(2, &url));
    let sale = one.sale("a", 10, 1);
    let order = one.buy(sale, "ann", None).unwrap();
    let done = |applied: Applied| match applied {
        Applied::Done(order) => (order.status, order.payment_attempt),
        other => panic!("{other:?}"),
    };
    assert_eq!(done(two.step(order, OrderAction::BeginPayment)), (OrderStatus::Paying, 1));
    assert!(matches!(one.step(order, OrderAction::Cancel), Applied::Refused(_)));
    assert_eq!(done(two.step(order, OrderAction::AbortPayment)), (OrderStatus::PrePay, 1));
    assert_eq!(done(one.step(order, OrderAction::BeginPayment)), (OrderStatus::Paying, 2));
    // What the other node hears late of its own payment does not end this one.
    for late in [OrderAction::AbortPayment, OrderAction::ConfirmPayment] {
        for attempt in [Some(1), Some(3), None] {
            assert!(matches!(two.step_of(order, late, attempt), Applied::Refused(_)));
        }
    }
    assert_eq!(done(one.step(order, OrderAction::ConfirmPayment)), (OrderStatus::Paid, 2));
    assert!(matches!(two.step(order, OrderAction::Expire), Applied::Refused(_)));
    assert_eq!(one.reader.order(order).unwrap().unwrap().paid_at, Some(NOW));
    let unknown = one.order(sale, "nobody", 1, None).id;
    assert_eq!(one.step(unknown, OrderAction::Cancel), Applied::UnknownOrder);
    let audit = one.reader.audit(sale).unwrap().unwrap();
    assert_eq!((audit.paid, audit.held, audit.durable_orders), (1, 0, 1));
}

#[test]
fn a_start_finds_everything_and_looks_after_what_is_its_own() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let (mut one, mut two) = (Node::open(1, &url), Node::open(2, &url));
    let sale = one.sale("a", 10, 1);
    let waiting = one.buy(sale, "ann", None).unwrap();
    let paying = one.buy(sale, "bob", None).unwrap();
    two.buy(sale, "cid", None).unwrap();
    two.step(paying, OrderAction::BeginPayment);
    assert_eq!(one.events().len(), 3);
    let read = |node: &Node| {
        let deadlines = Deadlines::default();
        let recovered = Recovered::read(&node.reader, node.id, 2, &deadlines, &Default::default()).unwrap();
        let unfinished: Vec<_> = recovered.unfinished.iter().map(|order| order.placed.id).collect();
        assert_eq!((recovered.orders, recovered.last_event), (3, 3));
        assert_eq!(recovered.sales[0].state.claims().buyers(), 3);
        assert_eq!(recovered.sales[0].remaining(), 7);
        (deadlines.take_due(PAY_BEFORE, 10), unfinished)
    };
    assert_eq!(read(&one), (vec![waiting], vec![]));
    let (due, unfinished) = read(&two);
    assert_eq!((due.len(), unfinished), (1, vec![paying]));
}

#[test]
fn reads_share_few_connections_and_are_refused_rather_than_kept_waiting() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let patient = PostgresSettings { lock_wait_ms: 600_000, statement_wait_ms: 600_000, ..settings(&url) };
    let mut node = Node::open_with(1, &patient).unwrap();
    let sale = node.sale("a", 10, 1);
    let before = node.reader.pool_figures();
    for _ in 0..20 {
        node.reader.audit(sale).unwrap();
    }
    let after = node.reader.pool_figures();
    assert_eq!((after.opened - before.opened, after.reused - before.reused), (0, 20));
    let database = url.rsplit('/').next().unwrap();
    let count = |what: &str| postgres.query(database, &format!("SELECT count(*) FROM {what}"));
    std::thread::scope(|scope| {
        // Holds the table until there is a gate.
        scope.spawn(|| {
            let hold = "DO $$ BEGIN LOCK TABLE seckill.sales IN ACCESS EXCLUSIVE MODE; \
                        WHILE NOT EXISTS (SELECT FROM pg_class WHERE relname = 'gate') \
                        LOOP PERFORM pg_sleep(0.01); END LOOP; END $$";
            postgres.query(database, hold)
        });
        let held = "pg_locks WHERE relation = 'seckill.sales'::regclass AND granted AND mode = 'AccessExclusiveLock'";
        until("the table is held", || count(held) == "1");
        let reads: Vec<_> = (0..patient.readers).map(|_| scope.spawn(|| node.reader.sales())).collect();
        let waiting = "pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
        until("every connection waits", || count(waiting) == patient.readers.to_string());
        let error = node.reader.sales().unwrap_err();
        assert!(error.is_transient(), "{error}");
        postgres.query(database, "CREATE TABLE gate ()");
        reads.into_iter().for_each(|read| drop(read.join().unwrap().unwrap()));
    });
    let figures = node.reader.pool_figures();
    assert!(figures.waited > 0 && figures.timed_out > 0, "{figures:?}");
    assert_eq!(node.reader.sales().unwrap().len(), 1, "and then they are answered again");
}

#[test]
fn m1_a_database_has_an_identity_and_attempts_of_an_engine_that_knows_no_journal_have_none() {
    let postgres = Postgres::shared();
    let (url, other) = (postgres.new_database(), postgres.new_database());
    let database = url.rsplit('/').next().unwrap().to_owned();
    let mut node = Node::open(1, &url);
    let identity = node.reader.identity().unwrap();
    assert_ne!(identity, Node::open(1, &other).reader.identity().unwrap());
    let sale = node.sale("a", 10, 5);
    let order = node.buy(sale, "ann", None).unwrap();
    let begin = Transition {
        payment_gateway: Some("main".into()),
        ..Transition::plain(order, OrderAction::BeginPayment, NOW)
    };
    node.writer.commit(&Batch { transitions: vec![begin], ..Batch::default() }).unwrap();
    let begun = node.reader.order(order).unwrap().unwrap().payment;
    assert_eq!((begun.gateway.as_deref(), begun.key_form), (Some("main"), PaymentKeyForm::OfStore));
    assert_eq!(Node::open(1, &url).reader.identity().unwrap(), identity, "made once");

    // An engine of before, beside this one, ends the attempt and begins another: the journal is not its.
    postgres.query(&database, "UPDATE seckill.orders SET payment_attempt = payment_attempt + 1");
    let next = node.reader.order(order).unwrap().unwrap();
    assert_eq!((next.payment_attempt, &next.payment), (2, &PaymentJournal::default()));
}

#[test]
fn m3_two_nodes_cannot_decide_one_payment_in_two_directions() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let (mut one, mut two) = (Node::open(1, &url), Node::open(2, &url));
    let sale = one.sale("a", 10, 5);
    let order = one.buy(sale, "ann", None).unwrap();
    one.step(order, OrderAction::BeginPayment);
    let decide = |direction: PaymentDirection| Batch {
        transitions: vec![Transition {
            payment_attempt: Some(1),
            payment_note: Some(PaymentNote::Direction(direction)),
            ..Transition::plain(order, OrderAction::NotePayment, NOW)
        }],
        ..Batch::default()
    };
    let let_go = PaymentDirection::LettingGo { why: "risk".into() };
    let (batches, nodes) = ([decide(PaymentDirection::GoingOn), decide(let_go)], [&mut one, &mut two]);
    let receipts: Vec<Receipt> = std::thread::scope(|scope| {
        let deciding = nodes.into_iter().zip(&batches);
        let deciding: Vec<_> =
            deciding.map(|(node, batch)| scope.spawn(|| node.writer.commit(batch).unwrap())).collect();
        deciding.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let done = |receipt: &&Receipt| matches!(receipt, Receipt::Committed { applied, .. } if matches!(applied[0], Applied::Done(_)));
    assert_eq!(receipts.iter().filter(done).count(), 1, "{receipts:?}");
}
