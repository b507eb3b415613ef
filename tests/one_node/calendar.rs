//! M5: a wall clock that steps. The real engine on a calendar that the test sets.

use testbed::calendar::FakeCalendar;
use testbed::engine::{Engine, Launch};
use testbed::until;

const BUYERS: usize = 20;
const HOUR_S: i64 = 3_600;

fn start(calendar: &FakeCalendar, settle_ms: &str) -> Engine {
    let keys =
        [("CLOCK__SETTLE_MS", settle_ms), ("CLOCK__TICK_MS", "20"), ("CHECKOUT__EXPIRY__TICK_MS", "10")];
    Launch::new(&keys).with_environment(calendar.environment()).start()
}

fn in_minutes(minutes: i64) -> String {
    let at = jiff::Timestamp::now() + jiff::SignedDuration::from_mins(minutes);
    format!("{at:.3}")
}

/// Twenty orders with 15 minutes to pay, a sale that opens in half an hour, one that ends then.
fn open_sales(engine: &Engine) -> Vec<String> {
    engine.sale("phone", 100, "");
    engine.sale("later", 5, &format!(r#","starts_at":"{}""#, in_minutes(30)));
    engine.sale("ending", 5, &format!(r#","ends_at":"{}""#, in_minutes(30)));
    (0..BUYERS).map(|n| engine.buy("phone", &format!("b{n}")).member("order_id")).collect()
}

fn is_agreed(engine: &Engine) -> bool {
    engine.admin("GET", "/healthz", "").json()["clock"]["agreed"] == true
}

/// An order that nobody pays expires: so expiry has had its turn.
fn expiry_works(engine: &Engine, sku: &str) {
    engine.sale(sku, 1, r#","pay_within_s":1"#);
    let order = engine.buy(sku, "probe").member("order_id");
    until("the probe expires", || {
        engine.ask("GET", &format!("/orders/{order}"), "probe", "", "").member("status") == "expired"
    });
}

fn nothing_happened(engine: &Engine, orders: &[String]) {
    for (n, order) in orders.iter().enumerate() {
        let status =
            engine.ask("GET", &format!("/orders/{order}"), &format!("b{n}"), "", "").member("status");
        assert_eq!(status, "pre_pay");
    }
    assert_eq!(engine.sale_state("later")["state"], "upcoming");
    assert_eq!(engine.sale_state("ending")["state"], "open");
    assert_eq!(engine.buy("later", "early").member("code"), "sale-not-started");
}

fn steps(engine: &Engine) -> u64 {
    engine.admin("GET", "/healthz", "").json()["clock"]["steps"].as_u64().unwrap()
}

#[test]
fn m5_a_calendar_that_steps_by_an_hour_and_back_expires_nothing_and_opens_nothing() {
    let calendar = FakeCalendar::new();
    let engine = start(&calendar, "3600000");
    let orders = open_sales(&engine);
    for (n, off_s) in [HOUR_S, -HOUR_S].into_iter().enumerate() {
        calendar.set(off_s);
        until("the step is noticed", || !is_agreed(&engine));
        let health = engine.admin("GET", "/healthz", "").json();
        assert_eq!(health["status"], "degraded");
        let off_ms = health["clock"]["off_ms"].as_i64().unwrap();
        assert!((off_ms - off_s * 1_000).abs() < 60_000, "{off_ms}");
        nothing_happened(&engine, &orders);
        let metrics = engine.admin("GET", "/metrics", "").body;
        assert!(metrics.contains("seckill_clock_agreed 0"), "{metrics}");
        // A new buyer is served, by the engine's own calendar.
        let order = engine.buy("phone", &format!("new{n}"));
        assert_eq!(order.status, 201);
        let created: jiff::Timestamp = order.member("created_at").parse().unwrap();
        assert!((created - jiff::Timestamp::now()).get_minutes().abs() < 5, "{created}");

        calendar.set(0);
        until("the calendar is agreed again", || is_agreed(&engine));
        expiry_works(&engine, &format!("probe{n}"));
        nothing_happened(&engine, &orders);
        assert_eq!(steps(&engine), n as u64 + 1);
    }
    let log = std::fs::read_to_string(engine.launch().folder().join("log")).unwrap();
    assert_eq!(log.matches("the system's calendar has stepped").count(), 2, "{log}");
    assert_eq!(log.matches("agrees with the engine's again").count(), 2, "{log}");
}

#[test]
fn m5_a_calendar_that_is_set_for_good_is_taken_when_it_has_settled_and_nobody_loses_time() {
    let calendar = FakeCalendar::new();
    let engine = start(&calendar, "1000");
    let orders = open_sales(&engine);
    let pay_before = || -> jiff::Timestamp {
        let order = engine.ask("GET", &format!("/orders/{}", orders[0]), "b0", "", "");
        order.member("pay_before").parse().unwrap()
    };
    let before = pay_before();
    calendar.set(HOUR_S);
    until("the step is noticed", || steps(&engine) == 1);
    until("the calendar is taken", || is_agreed(&engine));
    let moved = pay_before().as_millisecond() - before.as_millisecond();
    assert!((3_590_000..3_610_000).contains(&moved), "{moved}");
    expiry_works(&engine, "probe");
    for (n, order) in orders.iter().enumerate() {
        let status =
            engine.ask("GET", &format!("/orders/{order}"), &format!("b{n}"), "", "").member("status");
        assert_eq!(status, "pre_pay");
    }
    assert_eq!(engine.sale_state("later")["state"], "open", "by the calendar that was set");

    // Back: whoever waits has at least the time that was left.
    calendar.set(0);
    until("the step is noticed", || steps(&engine) == 2);
    until("the calendar is taken", || is_agreed(&engine));
    assert!(pay_before() >= before);
    expiry_works(&engine, "probe2");
}

#[test]
fn m4_time_in_which_no_engine_lived_does_not_count_and_is_told() {
    let calendar = FakeCalendar::new();
    let engine = start(&calendar, "3600000");
    let orders = open_sales(&engine);
    let launch = engine.kill();
    // As if it had been down for an hour: every deadline has passed.
    calendar.set(HOUR_S);
    let engine = launch.start();
    expiry_works(&engine, "probe");
    for (n, id) in orders.iter().enumerate() {
        let order = engine.ask("GET", &format!("/orders/{id}"), &format!("b{n}"), "", "");
        assert_eq!(order.member("status"), "pre_pay");
    }
    until("all of them are told", || {
        let events = engine.admin("GET", "/api/v1/events?campaign=test&sku=phone&limit=1000", "").body;
        events.lines().filter(|line| line.contains("order.extended")).count() == BUYERS
    });
    let paid = engine.ask(
        "POST",
        &format!("/orders/{}/checkout", orders[0]),
        "b0",
        "",
        r#"{"payment_method":"card"}"#,
    );
    assert_eq!(paid.member("status"), "paid");
}
