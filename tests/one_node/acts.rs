//! What an operator has stopped or paused stays so, whatever becomes of the engine.

use testbed::engine::Launch;
use testbed::until;

#[test]
fn a_pause_ends_by_itself_and_a_stop_does_not_also_after_a_kill() {
    let launch = Launch::new(&[]);
    let engine = launch.start();
    for sku in ["short", "long"] {
        engine.sale(sku, 10, "");
    }
    let act = |engine: &testbed::engine::Engine, path: &str, body: &str| {
        let answer = engine.admin("POST", &format!("/api/v1/{path}"), body);
        assert_eq!(answer.status, 200, "{}", answer.body);
    };
    act(&engine, "campaigns/test/short/pause", r#"{"reason":"a look at it","for_s":2}"#);
    act(&engine, "campaigns/test/long/pause", r#"{"reason":"a long look","for_s":86400}"#);
    act(&engine, "stop", r#"{"reason":"all of it"}"#);
    engine.kill();
    let engine = launch.start();
    let refused = |sku: &str, buyer: &str| {
        let answer = engine.buy(sku, buyer);
        (answer.status, answer.member("code"))
    };
    let paused = (409, "sale-paused".to_owned());
    assert_eq!((refused("short", "ann"), refused("long", "ann")), (paused.clone(), paused.clone()));
    act(&engine, "go", r#"{"reason":"go on"}"#);
    until("the short pause is over", || engine.buy("short", "bob").status == 201);
    assert_eq!(refused("long", "bob"), paused);
    let trail = engine.admin("GET", "/api/v1/trail", "").body;
    assert_eq!(trail.lines().count(), 6, "two made, two paused, a stop, a go: {trail}");
}
