//! The real engine with the example gateway, and a buyer who pays while it is killed.

use serde_json::Value;
use testbed::client::Answer;
use testbed::engine::{Engine, Launch};
use testbed::until;

use crate::example_gateway::{ExampleGateway, Step};

/// Keys of an engine that takes money at `gateway` under this name. Nothing is repeated while a call is stopped, and
/// recovery does not wait.
pub fn keys(name: &str, gateway: &ExampleGateway) -> Vec<(String, String)> {
    let url = gateway.url();
    let long = "60000";
    [
        ("CHECKOUT__GATEWAY__NAME", name),
        ("CHECKOUT__GATEWAY__KIND", "http"),
        ("CHECKOUT__GATEWAY__HTTP__URL", &url),
        ("CHECKOUT__GATEWAY__HTTP__TOKEN", ExampleGateway::TOKEN),
        ("CHECKOUT__GATEWAY__RETRY__TRY_MS", long),
        ("CHECKOUT__GATEWAY__PROCESSING__POLL_MS", "20"),
        ("CHECKOUT__GATEWAY__PROCESSING__POLL_MS_MAX", "50"),
        ("CHECKOUT__RISK__KIND", "http"),
        ("CHECKOUT__RISK__HTTP__URL", &url),
        ("CHECKOUT__RISK__HTTP__TOKEN", ExampleGateway::TOKEN),
        ("CHECKOUT__RISK__RETRY__TRY_MS", long),
        ("CHECKOUT__TRY_WITHIN_MS", long),
        ("CHECKOUT__SETTLE_WITHIN_MS", long),
        ("CHECKOUT__WAIT_MS", long),
        ("CHECKOUT__RECOVERY__BACKOFF_MS", "20"),
        ("CHECKOUT__RECOVERY__BACKOFF_MS_MAX", "100"),
        ("ADMISSION__BUYER_RATE_PER_S", "0"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .to_vec()
}

/// The same keys as they are asked for.
pub fn as_pairs(keys: &[(String, String)]) -> Vec<(&str, &str)> {
    keys.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

/// Buys one of `test/{sku}`; the order's number.
pub fn buy(engine: &Engine, sku: &str, buyer: &str) -> String {
    let bought = engine.buy(sku, buyer);
    assert_eq!(bought.status, 201, "{}", bought.body);
    bought.member("order_id")
}

/// Pays for the order.
pub fn pay(engine: &Engine, buyer: &str, order: &str) -> Answer {
    engine.ask("POST", &format!("/orders/{order}/checkout"), buyer, "", r#"{"payment_method":"card"}"#)
}

/// The status of the order.
pub fn status(engine: &Engine, buyer: &str, order: &str) -> String {
    engine.ask("GET", &format!("/orders/{order}"), buyer, "", "").member("status")
}

/// Waits until the order has this status.
pub fn until_status(engine: &Engine, buyer: &str, order: &str, wanted: &str) {
    until(&format!("order {order} is {wanted}"), || status(engine, buyer, order) == wanted);
}

/// What the engine says of its health.
pub fn health(engine: &Engine) -> Value {
    engine.admin("GET", "/healthz", "").json()
}

/// The buyer pays; the engine is killed when the payment has come to this step.
pub fn kill_at(engine: Engine, gateway: &ExampleGateway, step: Step, buyer: &str, order: &str) -> Launch {
    let stopped = gateway.stop_at(step);
    let (edge, path) = (engine.edge(), format!("/orders/{order}/checkout"));
    std::thread::scope(|scope| {
        let paying = scope.spawn(move || {
            let mut client = testbed::crowd::BuyerClient::at(edge);
            client.ask("POST", &path, buyer, "", r#"{"payment_method":"card"}"#)
        });
        stopped.reached();
        if matches!(step, Step::Assess) {
            // Hold and question are under way at the same time: either may come first.
            until("the money is held", || !gateway.keys_of(order).is_empty());
        }
        let launch = engine.kill();
        assert_eq!(paying.join().unwrap(), None, "nothing is told before it is durable");
        launch
    })
}
