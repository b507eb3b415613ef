//! Sales that end while several engines sell: one of them decides, all of them know, and whatever dies between two steps the
//! others go on with the next.

use rustix::process::Signal;
use seckill::domain::OrderStatus;
use testbed::client::Answer;
use testbed::engine::Engine;
use testbed::servers::process;
use testbed::servers::proxy::Mode;

use super::fixture::{Fixture, known_to_all, sell_out, until};

const REASON: &str = r#"{"reason":"it is over"}"#;
/// What an engine writes down when it archives `phone` and deletes `book`: as if it had died right afterwards.
const ENDED_BY_WHO_DIED: &str = "\
    UPDATE seckill.shares SET granted = sold WHERE granted > sold; \
    UPDATE seckill.sales SET retired = 1, retired_at_ms = ends_at_ms, moved_through = 0 WHERE sku = 'phone'; \
    UPDATE seckill.sales SET retired = 2, retired_at_ms = 0, sku = sku || '/' || sale_id WHERE sku = 'book'";

fn told(answer: &Answer) -> (u16, String) {
    (answer.status, answer.member("code"))
}

pub(super) fn act(engine: &Engine, sku: &str, what: &str) -> Answer {
    engine.admin("POST", &format!("/api/v1/campaigns/test/{sku}/{what}"), REASON)
}

fn delete(engine: &Engine, sku: &str) -> Answer {
    engine.admin("DELETE", &format!("/api/v1/campaigns/test/{sku}"), "")
}

/// Buys a phone and pays for it. The order's number.
fn bought_and_paid(engine: &Engine, buyer: &str) -> String {
    let mut order = String::new();
    until("it is bought", || {
        let answer = engine.buy("phone", buyer);
        order = answer.member("order_id");
        matches!(answer.status, 201 | 409)
    });
    let path = format!("/orders/{order}/checkout");
    until("it is paid", || {
        engine.ask("POST", &path, buyer, "", r#"{"payment_method":"card"}"#).status == 200
    });
    order
}

fn ended_at_all(engines: &[&Engine], sku: &str) {
    assert_eq!(act(engines[0], sku, "end").status, 200);
    until("all know", || engines.iter().all(|engine| engine.sale_state(sku)["state"] == "ended"));
}

/// Its orders are kept apart, and Redis has no book of it.
pub(super) fn nothing_is_left_of(fixture: &Fixture, sku: &str) {
    until("its orders have moved", || {
        fixture.query("SELECT count(*) FROM seckill.sales WHERE moved_through IS NOT NULL") == "0"
    });
    // What is refused late is written down late.
    let refused = OrderStatus::Rejected.code();
    let orders = format!(
        "SELECT count(*) FROM seckill.orders JOIN seckill.sales USING (sale_id) WHERE sku = '{sku}' AND status <> {refused}"
    );
    assert_eq!(fixture.query(&orders), "0");
    let book = format!("KEYS seckill:*:{{default:test:{sku}}}:book");
    until("its book is forgotten", || fixture.redis.command(&book).trim().is_empty());
    until("that is written down", || {
        fixture.query("SELECT count(*) FROM seckill.sales WHERE retired > 0 AND has_book") == "0"
    });
}

/// The phone is archived, and these are the orders of its buyers.
fn is_found_at(engine: &Engine, orders: &[(&str, &String)]) {
    for (buyer, order) in orders {
        let found = engine.ask("GET", &format!("/orders/{order}"), buyer, "", "");
        assert_eq!((found.status, found.member("status")), (200, "paid".into()), "{}", found.body);
        assert!(engine.ask("GET", "/orders", buyer, "", "").body.contains(order.as_str()), "{buyer}");
        let again = engine.buy("phone", buyer);
        assert_eq!((told(&again).1, &again.member("order_id")), ("already-purchased".into(), *order));
    }
    assert_eq!(told(&engine.buy("phone", "late")), (410, "sale-ended".into()));
    assert_eq!(engine.sale_state("phone")["state"], "ended");
    let audit = engine.read("/api/v1/campaigns/test/phone/audit").json();
    assert_eq!((&audit["paid"], &audit["conserved"]), (&orders.len().into(), &true.into()), "{audit}");
    assert_eq!(engine.orders("phone", "").len(), orders.len());
    assert_eq!(told(&act(engine, "phone", "archive")), (409, "campaign-archived".into()));
}

#[test]
fn o9_what_one_of_several_engines_archives_has_ended_on_all_and_is_found_on_all() {
    let fixture = Fixture::open();
    let (one, two) = (fixture.start(1), fixture.start(2));
    one.sale("phone", 10, "");
    one.sale("watch", 10, "");
    known_to_all(&[&one, &two], "watch");
    let (anns, bobs) = (bought_and_paid(&one, "ann"), bought_and_paid(&two, "bob"));
    assert_eq!(told(&act(&two, "phone", "archive")), (409, "campaign-not-over".into()));
    ended_at_all(&[&one, &two], "phone");
    let archived = act(&two, "phone", "archive");
    assert_eq!((archived.status, archived.member("state")), (200, "archived".into()), "{}", archived.body);
    nothing_is_left_of(&fixture, "phone");
    let orders = [("ann", &anns), ("bob", &bobs)];
    [&one, &two].iter().for_each(|engine| {
        until("it knows", || told(&act(engine, "phone", "archive")).1 == "campaign-archived");
        is_found_at(engine, &orders);
    });
    assert_eq!(fixture.query("SELECT count(*) FROM seckill.trail WHERE act = 'campaign.archived'"), "1");
    // The others sell on, and whoever starts later reads the same.
    until("they sell what is live", || two.buy("watch", "ann").status == 201);
    let (one, three) = (one.kill().start(), fixture.start(3));
    [&one, &three].iter().for_each(|engine| is_found_at(engine, &orders));
    nothing_is_left_of(&fixture, "phone");
}

#[test]
fn o9_a_deleted_sale_frees_its_name_on_every_node_and_its_late_words_mean_nothing_to_the_next_one() {
    let fixture = Fixture::open();
    let (one, two) = (fixture.start(1), fixture.start(2));
    for round in 0..3 {
        one.sale("phone", 1_000, "");
        known_to_all(&[&one, &two], "phone");
        let lent = "SELECT count(*) FROM seckill.shares JOIN seckill.sales USING (sale_id) \
                    WHERE sku = 'phone' AND granted > 0";
        until("both are lent units", || fixture.query(lent) == "2");
        let gone = delete(if round % 2 == 0 { &two } else { &one }, "phone");
        assert_eq!(gone.status, 204, "{}", gone.body);
        until("no node has it", || {
            [&one, &two].iter().all(|engine| told(&engine.buy("phone", "ann")).0 == 404)
        });
    }
    assert_eq!(told(&delete(&two, "phone")).0, 404);
    nothing_is_left_of(&fixture, "phone");
    one.sale("phone", 30, "");
    known_to_all(&[&one, &two], "phone");
    assert_eq!(sell_out(&[&one, &two], "phone").len(), 30);
    assert_eq!(told(&delete(&two, "phone")), (409, "campaign-has-orders".into()));
    let audit = two.audit("phone");
    assert_eq!((audit.total, audit.held, audit.available + audit.leased), (30, 30, 0));
    for engine in [&one, &two] {
        assert!(!engine.log().contains("ledger-lent-too-much"), "{}", engine.log());
    }
}

#[test]
fn o9_whatever_dies_between_the_steps_of_an_end_the_others_go_on_with_the_next() {
    let fixture = Fixture::open();
    let (one, two) = (fixture.start(1), fixture.start(2));
    one.sale("phone", 10, "");
    one.sale("book", 10, "");
    known_to_all(&[&one, &two], "book");
    let anns = bought_and_paid(&one, "ann");
    until("both have a book", || fixture.redis.command("KEYS *:book").lines().count() == 2);
    ended_at_all(&[&one, &two], "phone");
    // Who decided it died right after its commit, and never comes back.
    fixture.query(ENDED_BY_WHO_DIED);
    nothing_is_left_of(&fixture, "phone");
    nothing_is_left_of(&fixture, "book");
    for engine in [&one, &two] {
        is_found_at(engine, &[("ann", &anns)]);
        until("it is off the board", || engine.sale_state("book")["code"] == "unknown-sale");
    }
}

#[test]
fn o9_when_all_die_between_the_steps_of_an_end_the_next_start_goes_on() {
    let fixture = Fixture::open();
    let (one, two) = (fixture.start(1), fixture.start(2));
    one.sale("phone", 10, "");
    one.sale("book", 10, "");
    known_to_all(&[&one, &two], "book");
    let anns = bought_and_paid(&one, "ann");
    until("both have a book", || fixture.redis.command("KEYS *:book").lines().count() == 2);
    ended_at_all(&[&one, &two], "phone");
    let (_one, two) = (one.kill(), two.kill());
    fixture.query(ENDED_BY_WHO_DIED);
    let two = two.start();
    nothing_is_left_of(&fixture, "phone");
    nothing_is_left_of(&fixture, "book");
    is_found_at(&two, &[("ann", &anns)]);
    // The name is free again.
    two.sale("book", 5, "");
    assert_eq!(sell_out(&[&two], "book").len(), 5);
}

#[test]
fn o9_a_node_that_hung_while_sales_ended_comes_back_to_that() {
    let fixture = Fixture::open();
    let (one, two) = (fixture.start(1), fixture.start(2));
    for sku in ["phone", "book", "watch"] {
        one.sale(sku, 10, "");
        known_to_all(&[&one, &two], sku);
    }
    let bobs = bought_and_paid(&two, "bob");
    ended_at_all(&[&one, &two], "phone");
    process::signal(two.pid(), Signal::STOP);
    until("it is archived", || {
        let (status, code) = told(&act(&one, "phone", "archive"));
        status == 200 || code == "campaign-archived"
    });
    assert_eq!(delete(&one, "book").status, 204);
    one.sale("book", 7, "");
    nothing_is_left_of(&fixture, "phone");
    process::signal(two.pid(), Signal::CONT);
    until("it knows", || told(&act(&two, "phone", "archive")).1 == "campaign-archived");
    is_found_at(&two, &[("bob", &bobs)]);
    until("it knows the new one", || {
        two.admin("GET", "/api/v1/campaigns/test/book", "").json()["stock"] == 7
    });
    assert_eq!(sell_out(&[&one, &two], "book").len(), 7);
    until("it sells", || two.buy("watch", "ann").status == 201);
    nothing_is_left_of(&fixture, "phone");
}

#[test]
fn o9_an_order_that_is_late_for_the_end_of_its_sale_is_refused() {
    let fixture = Fixture::open();
    let (line, url) = fixture.line_to_postgres();
    let one = fixture.start(1);
    let two = fixture.launch(2, &[("POSTGRES__URL", &url), ("EDGE__ACK_WAIT_MS", "200")]).start();
    one.sale("phone", 10, "");
    known_to_all(&[&one, &two], "phone");
    bought_and_paid(&two, "bob");
    line.set(Mode::HoldRequests);
    let late = two.buy("phone", "ann");
    assert_eq!(late.status, 202, "{}", late.body);
    assert_eq!(act(&one, "phone", "end").status, 200);
    until("it is archived", || told(&act(&one, "phone", "archive")).1 != "orders-open");
    line.set(Mode::Pass);
    let order = format!("/orders/{}", late.member("order_id"));
    until("it is known what became of it", || {
        let found = two.ask("GET", &order, "ann", "", "");
        found.status == 404 || found.member("status") == "rejected"
    });
    nothing_is_left_of(&fixture, "phone");
    let audit = one.audit("phone");
    assert_eq!((audit.paid, audit.held, audit.leased), (1, 0, 0));
    until("all know", || told(&two.buy("phone", "carl")) == (410, "sale-ended".into()));
}

#[test]
fn o9_sales_end_by_themselves_once_whichever_engine_comes_first() {
    let fixture = Fixture::open();
    let soon = [("LEDGER__ARCHIVE_AFTER_S", "1")];
    let (one, two) = (fixture.launch(1, &soon).start(), fixture.launch(2, &soon).start());
    one.sale("phone", 10, "");
    known_to_all(&[&one, &two], "phone");
    let anns = bought_and_paid(&two, "ann");
    ended_at_all(&[&one, &two], "phone");
    let archived = "SELECT count(*) FROM seckill.sales WHERE retired = 1";
    until("it is archived", || fixture.query(archived) == "1");
    nothing_is_left_of(&fixture, "phone");
    [&one, &two].iter().for_each(|engine| is_found_at(engine, &[("ann", &anns)]));
    assert_eq!(fixture.query("SELECT count(*) FROM seckill.trail WHERE act = 'campaign.archived'"), "1");
}

#[test]
fn o9_no_sale_ends_while_an_engine_lives_that_does_not_know_it() {
    let fixture = Fixture::open();
    let one = fixture.start(1);
    one.sale("phone", 10, "");
    one.sale("book", 10, "");
    ended_at_all(&[&one], "phone");
    fixture.query("INSERT INTO seckill.nodes (node, incarnation, settled_through) VALUES (9, 1, 0)");
    for refused in [act(&one, "phone", "archive"), delete(&one, "book")] {
        assert_eq!(told(&refused), (409, "older-engines".into()), "{}", refused.body);
    }
    assert_eq!(one.sale_state("phone")["state"], "ended");
    fixture.query("UPDATE seckill.nodes SET settled_through = NULL WHERE node = 9");
    assert_eq!((act(&one, "phone", "archive").status, delete(&one, "book").status), (200, 204));
    nothing_is_left_of(&fixture, "phone");
}
