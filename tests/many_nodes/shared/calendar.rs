//! M5, M4 on several nodes: the database's calendar counts, and what is granted on one node holds on all.

use testbed::calendar::FakeCalendar;
use testbed::engine::Engine;

use super::fixture::{Fixture, known_to_all, until};
use super::refusals::told;

fn time(text: &str) -> jiff::Timestamp {
    text.parse().unwrap_or_else(|_| panic!("{text}"))
}

fn pay_before(engine: &Engine, order: &str) -> jiff::Timestamp {
    time(&engine.ask("GET", &format!("/orders/{order}"), "ann", "", "").member("pay_before"))
}

#[test]
fn m5_a_node_whose_clock_is_two_hours_off_lives_by_the_databases_calendar() {
    let fixture = Fixture::open();
    let calendar = FakeCalendar::new();
    calendar.set(7_200);
    let off = fixture.launch(1, &[("CLOCK__TICK_MS", "20")]).with_environment(calendar.environment()).start();
    let right = fixture.start(2);
    right.sale("phone", 10, "");
    let in_an_hour = format!("{:.3}", jiff::Timestamp::now() + jiff::SignedDuration::from_mins(60));
    right.sale("later", 10, &format!(r#","starts_at":"{in_an_hour}""#));
    known_to_all(&[&off, &right], "phone");
    known_to_all(&[&off, &right], "later");
    assert_eq!(off.sale_state("later")["state"], "upcoming");
    assert_eq!(off.buy("later", "ann").member("code"), "sale-not-started");
    let mut order = None;
    until("the node has units", || {
        let answer = off.buy("phone", "ann");
        order = (answer.status == 201).then(|| answer.json());
        order.is_some()
    });
    let order = order.unwrap();
    let created = time(order["created_at"].as_str().unwrap());
    assert!((created - jiff::Timestamp::now()).total(jiff::Unit::Minute).unwrap().abs() < 5.0, "{created}");
    until("it is told", || {
        let clock = &off.admin("GET", "/healthz", "").json()["clock"];
        clock["agreed"] == true && clock["system_off_ms"].as_i64().is_some_and(|ms| ms > 7_000_000)
    });

    // The calendar of the machine is set right: nothing changes.
    calendar.set(0);
    until("it is told", || {
        let clock = &off.admin("GET", "/healthz", "").json()["clock"];
        clock["system_off_ms"].as_i64().is_some_and(|ms| ms.abs() < 60_000)
    });
    let id = order["order_id"].as_str().unwrap();
    assert_eq!(off.ask("GET", &format!("/orders/{id}"), "ann", "", "").member("status"), "pre_pay");
    assert_eq!(off.sale_state("later")["state"], "upcoming");
}

#[test]
fn n5_a_node_whose_clock_is_off_takes_payments_and_expires_nothing_that_it_inherits() {
    for ahead_s in [7_200, -7_200] {
        let fixture = Fixture::open();
        let calendar = FakeCalendar::new();
        calendar.set(ahead_s);
        let quick = [("POSTGRES__BEAT_MS", "100"), ("POSTGRES__SILENT_MS_MAX", "1000")];
        let right = fixture.launch(1, &quick).start();
        let off = fixture.launch(2, &quick).with_environment(calendar.environment()).start();
        right.sale("phone", 10, r#","pay_within_s":1800"#);
        known_to_all(&[&right, &off], "phone");
        let bought = |engine: &Engine, buyer: &str| {
            let mut order = String::new();
            until("the node has units", || {
                let answer = engine.buy("phone", buyer);
                order = answer.member("order_id");
                answer.status == 201
            });
            order
        };
        let (there, here) = (bought(&right, "ann"), bought(&off, "bob"));
        let _killed = right.kill();
        until("it looks after the orders of the other node", || {
            told(&off, "the open orders of silent nodes are looked after here") == 1
        });
        until("whoever would expire them has looked", || {
            let metrics = off.admin("GET", "/metrics", "").body;
            metrics.contains("\nseckill_orders_waiting 2\n")
        });
        assert_eq!(told(&off, "this machine's calendar is not the database's"), 1, "once");
        for (order, buyer) in [(&there, "ann"), (&here, "bob")] {
            assert_eq!(
                off.ask("GET", &format!("/orders/{order}"), buyer, "", "").member("status"),
                "pre_pay"
            );
            let path = format!("/orders/{order}/checkout");
            let paid = off.ask("POST", &path, buyer, "", r#"{"payment_method":"card"}"#);
            assert_eq!(paid.member("status"), "paid", "{ahead_s}: {}", paid.body);
        }
        calendar.set(0);
        until("its end is told", || {
            told(&off, "this machine's calendar agrees with the database's again") == 1
        });
    }
}

#[test]
fn m4_time_that_is_given_on_one_node_holds_on_every_node() {
    let fixture = Fixture::open();
    let one = fixture.launch(1, &[("CHECKOUT__EXPIRY__ALIVE_MS", "100")]).start();
    let two = fixture.launch(2, &[("CHECKOUT__EXPIRY__ALIVE_MS", "100")]).start();
    one.sale("phone", 10, "");
    known_to_all(&[&one, &two], "phone");
    let mut order = String::new();
    until("the node has units", || {
        let answer = one.buy("phone", "ann");
        order = answer.member("order_id");
        answer.status == 201
    });
    let promised = pay_before(&one, &order);
    let given = two.admin("POST", "/api/v1/campaigns/test/phone/extend", r#"{"by_s":600}"#);
    assert_eq!(given.status, 200, "{}", given.body);
    let wanted = promised + jiff::SignedDuration::from_secs(600);
    assert_eq!(pay_before(&two, &order), wanted);
    until("the other node knows", || pay_before(&one, &order) == wanted);

    let latest = wanted + jiff::SignedDuration::from_secs(600);
    let path = format!("/api/v1/orders/{order}/extend");
    let moved = two.admin("POST", &path, &format!(r#"{{"pay_before":"{latest:.3}"}}"#));
    assert_eq!(moved.status, 200, "{}", moved.body);
    assert_eq!(pay_before(&one, &order), latest);
    until("both are told", || {
        let events = one.admin("GET", "/api/v1/events?limit=1000", "").body;
        events.lines().filter(|line| line.contains("order.extended")).count() == 2
    });
    let paid =
        one.ask("POST", &format!("/orders/{order}/checkout"), "ann", "", r#"{"payment_method":"card"}"#);
    assert_eq!(paid.member("status"), "paid", "{}", paid.body);
}
