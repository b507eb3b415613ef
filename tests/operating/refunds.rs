//! What was paid is given back: what the API answers, and what feeds, audit and trail say of it.

use reqwest::StatusCode;
use seckill::domain::OrderAction;
use serde_json::{Value, json};

use super::engine::Engine;

#[tokio::test(flavor = "multi_thread")]
async fn a_part_and_the_rest_are_given_back_and_told_everywhere() {
    let engine = Engine::start().await;
    engine.create("s", 10).await;
    let ada = engine.buy("s", "ada").await;
    let refund = format!("/api/v1/orders/{ada}/refund");
    let whole = json!({"reason": "broken", "restock": true});
    let (status, problem) = engine.act(&refund, whole.clone()).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("order-not-paid")));
    for action in [OrderAction::BeginPayment, OrderAction::ConfirmPayment] {
        engine.step(ada, action).await;
    }
    for (body, field) in [
        (json!({"reason": "broken", "amount_cents": 251}), "amount_cents"),
        (json!({"reason": "broken", "amount_cents": 0}), "amount_cents"),
        (json!({"reason": "broken", "restock": 2}), "restock"),
        (json!({"restock": 1}), "reason"),
    ] {
        let (status, problem) = engine.act(&refund, body).await;
        assert_eq!(
            (status, &problem["field"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!(field)),
            "{problem}"
        );
    }

    let part = json!({"reason": "a scratch", "amount_cents": 100, "number": 1});
    for _ in 0..2 {
        let (status, order) = engine.act(&refund, part.clone()).await;
        assert_eq!((status, &order["status"]), (StatusCode::OK, &json!("paid")), "{order}");
        assert_eq!((&order["refunded_cents"], &order["refunds"]), (&json!(100), &json!(1)), "made once");
    }
    let (_, problem) = engine.act(&refund, json!({"reason": "x", "number": 3})).await;
    assert_eq!((&problem["code"], &problem["next"]), (&json!("refund-number"), &json!(2)));
    let (status, order) = engine.act(&refund, whole.clone()).await;
    assert_eq!((status, &order["status"]), (StatusCode::OK, &json!("refunded")), "{order}");
    assert_eq!((&order["refunded_cents"], &order["restocked"]), (&json!(250), &json!(1)));
    let (status, problem) = engine.act(&refund, whole).await;
    assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!("order-refunded")));

    let audit = engine.get_json("/api/v1/campaigns/c/s/audit").await;
    let units = ["available", "held", "paid", "refunded", "refunded_cents", "sold", "conserved"];
    assert_eq!(
        units.map(|name| audit[name].clone()),
        [json!(10), json!(0), json!(0), json!(1), json!(250), json!(0), json!(true)]
    );
    let events = engine.lines("/api/v1/events").await;
    let told: Vec<_> = events
        .iter()
        .filter(|event| event["type"] == "order.refunded")
        .map(|event| {
            ["amount_cents", "refunded_cents", "status", "refund", "restock"].map(|name| event[name].clone())
        })
        .collect();
    assert_eq!(json!(told), json!([[100, 100, "paid", 1, 0], [150, 250, "refunded", 2, 1]]));
    let found = engine.lines("/api/v1/orders?status=refunded").await;
    assert_eq!((found.len(), &found[0]["order_id"]), (1, &json!(ada.to_string())));
    let shown = engine.get_json(&format!("/api/v1/orders/{ada}")).await;
    let history: Vec<_> = shown["refund_history"]
        .as_array()
        .unwrap()
        .iter()
        .map(|refund| ["number", "state", "amount_cents", "reason"].map(|name| refund[name].clone()))
        .collect();
    assert_eq!(json!(history), json!([[1, "made", 100, "a scratch"], [2, "made", 150, "broken"]]));
    let trail: Vec<Value> = engine.lines("/api/v1/trail?after=1").await;
    let acts: Vec<_> = trail
        .iter()
        .map(|entry| ["act", "object", "from", "to", "reason"].map(|name| entry[name].clone()))
        .collect();
    let to = |refund: u32, amount: u32, restock: u32| json!({"status": "refunding", "refund": refund, "amount_cents": amount, "restock": restock});
    assert_eq!(
        json!(acts),
        json!([
            ["order.refunded", ada.to_string(), {"status": "paid"}, to(1, 100, 0), "a scratch"],
            ["order.refunded", ada.to_string(), {"status": "paid"}, to(2, 150, 1), "broken"],
        ])
    );
    let ends = &engine.get_json("/api/v1/stats").await["checkout"]["ends"];
    assert_eq!(ends["refunded"], 2);
    engine.buy("s", "ada").await;
    engine.stop().await;
}
