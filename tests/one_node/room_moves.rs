//! How the marks of a waiting room move: not where nobody waits, by lot until a draw is over, and however slowly, who is admitted
//! is known.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rusqlite::Connection;
use serde_json::Value;
use testbed::engine::Engine;
use testbed::servers::engine::NO_SIGN_OF_LIFE;
use testbed::{PATIENCE, until};

use crate::waiting_room::{buy, change, document, register, until_admitted, verify};

fn time(shown: &Value) -> Timestamp {
    shown.as_str().unwrap_or_else(|| panic!("{shown} is no time")).parse().unwrap()
}

/// The moves so far, oldest first.
fn moves(engine: &Engine) -> Vec<Value> {
    let exported = engine.read("/api/v1/campaigns/test/phone/marks").body;
    exported.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Waits until so many seconds have passed for the engine.
fn let_pass(engine: &Engine, seconds: i64) {
    let now = || time(&document(engine)["server_time"]);
    let then = now() + SignedDuration::from_secs(seconds);
    until("time passes", || now() >= then);
}

#[test]
fn where_nobody_waits_the_marks_rest_and_who_comes_is_admitted() {
    let engine = Engine::start(&[]);
    engine.sale("phone", 10, r#","queue":{"mode":"fifo","rate_per_s":1000}"#);
    until("the room is open", || !moves(&engine).is_empty());
    let_pass(&engine, 2);
    let pass = register(&engine, "ann", "").member("pass");
    until_admitted(&engine, "ann", &pass);
    let_pass(&engine, 2);
    let moves = moves(&engine);
    for pair in moves.windows(2).filter(|pair| pair[0]["admitted"] == pair[1]["admitted"]) {
        let rested = time(&pair[1]["fifo_mark"]).duration_since(time(&pair[0]["fifo_mark"]));
        assert!(rested >= SignedDuration::from_secs(5), "a move for nobody: {pair:?}");
    }
    assert_eq!(moves.last().unwrap()["admitted"], 1);
}

#[test]
fn who_is_admitted_is_known_while_no_mark_can_be_moved() {
    let engine = Engine::start(&[
        ("WAITING_ROOM__STALE_MS_MAX", "2000"),
        ("SQLITE__LOCK_WAIT_MS", "60000"),
        ("EDGE__ACK_WAIT_MS", "100"),
        NO_SIGN_OF_LIFE,
    ]);
    engine.sale("phone", 100, r#","queue":{"mode":"fifo","rate_per_s":1}"#);
    (0..50).for_each(|n| assert_eq!(register(&engine, &format!("b{n}"), "").status, 201));
    let stranger = Connection::open(engine.launch().folder().join("orders.sqlite")).unwrap();
    stranger.busy_timeout(PATIENCE).unwrap();
    stranger.execute_batch("BEGIN EXCLUSIVE").unwrap();
    // Whoever moves the marks is stuck by now.
    let_pass(&engine, 5);
    let waits = (0..20).any(|n| {
        std::thread::sleep(Duration::from_millis(200));
        engine.buy("phone", &format!("stranger-{n}")).member("reason") == "no-pass"
    });
    assert!(waits, "whoever comes buys without a pass");
    stranger.execute_batch("COMMIT").unwrap();
}

#[test]
fn a_draw_goes_on_by_lot_when_the_mode_is_changed() {
    let engine = Engine::start(&[]);
    let later = Timestamp::now() + SignedDuration::from_hours(1);
    engine.sale("phone", 200, &format!(r#","starts_at":"{later}","queue":{{"mode":"draw","rate_per_s":1}}"#));
    (0..100).for_each(|n| assert_eq!(register(&engine, &format!("b{n}"), "").status, 201));
    until("all are written down", || document(&engine)["registered"] == 100);
    change(&engine, &format!(r#"{{"starts_at":"{}"}}"#, Timestamp::now()));
    until("the first is admitted", || document(&engine)["admitted"].as_u64() >= Some(1));
    change(&engine, r#"{"queue":{"mode":"fifo","rate_per_s":20}}"#);
    until("all are admitted", || {
        let shown = document(&engine);
        let is_over = shown["draw_mark"] == 1u64 << 53;
        let is_told = shown["seed"].is_string() && shown["drawn_at"].is_string();
        assert!(is_over || (shown["fifo_mark"].is_null() && is_told), "{shown}");
        is_over
    });
    let (in_order, said) = verify(&engine);
    assert!(in_order && said.contains("100 of them drawn"), "{said}");
    let again = r#"{"queue":{"mode":"draw"}}"#;
    let refused = engine.admin("PATCH", "/api/v1/campaigns/test/phone", again);
    assert_eq!((refused.status, refused.member("field")), (422, "queue.mode".into()), "{}", refused.body);
}

#[test]
fn whoever_has_registered_is_drawn_however_the_terms_are_changed_before() {
    let engine = Engine::start(&[]);
    let hour = SignedDuration::from_hours(1);
    let (later, earlier) = (Timestamp::now() + hour, Timestamp::now() - hour);
    engine.sale(
        "phone",
        9,
        &format!(r#","starts_at":"{later}","queue":{{"mode":"fifo","rate_per_s":1000}}"#),
    );
    let ann = register(&engine, "ann", "");
    until("she is written down", || document(&engine)["registered"] == 1);
    change(&engine, r#"{"queue":{"mode":"draw"}}"#);
    change(&engine, &format!(r#"{{"starts_at":"{earlier}"}}"#));
    let room = || engine.read("/api/v1/campaigns/test/phone/queue").json();
    until("it is drawn", || room()["drawn_at"].is_string());
    assert!(time(&room()["drawn_at"]) > time(&ann.json()["joined_at"]), "{}", room());
    assert_eq!(room()["drawn"], 1);
    let pass = ann.member("pass");
    until_admitted(&engine, "ann", &pass);
    assert_eq!(buy(&engine, "phone", "ann", &pass).status, 201);
}
