//! What an operator does to sales and orders with one call, and what a buyer then gets.

use reqwest::{Method, StatusCode};
use seckill::domain::{OrderAction, SalePhase};
use serde_json::{Value, json};

use super::engine::{Engine, wall_now};

impl Engine {
    pub async fn act(&self, path: &str, body: Value) -> (StatusCode, Value) {
        self.send(Method::POST, path, &body).await
    }

    /// Where the sale `c/s` is in its life, `after_s` from now.
    fn phase(&self, after_s: i64) -> SalePhase {
        let sale = self.admission.board().sales().by_name("default", "c", "s").cloned().unwrap();
        self.admission.phase(&sale, wall_now().plus_ms(after_s * 1_000))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_is_paused_resumed_and_ended() {
    let engine = Engine::start().await;
    engine.create("s", 10).await;
    let path = "/api/v1/campaigns/c/s";
    let [pause, resume, end] = ["pause", "resume", "end"].map(|act| format!("{path}/{act}"));
    for act in [&pause, &resume, &end] {
        let (status, problem) = engine.act(act, json!({})).await;
        assert_eq!(
            (status, &problem["field"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!("reason")),
            "{act}"
        );
    }
    for for_s in [json!(0), json!(700_000), json!("1")] {
        let (status, problem) = engine.act(&pause, json!({"reason": "x", "for_s": for_s})).await;
        assert_eq!((status, &problem["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("for_s")));
    }
    assert_eq!(engine.phase(0), SalePhase::Open);
    let (status, sale) = engine.act(&pause, json!({"reason": "wrong price"})).await;
    assert_eq!(
        (status, &sale["state"], &sale["paused_until"]),
        (StatusCode::OK, &json!("paused"), &Value::Null)
    );
    assert_eq!((engine.phase(0), engine.phase(1_000_000)), (SalePhase::Paused, SalePhase::Paused));
    let (_, sale) = engine.act(&resume, json!({"reason": "the price is right"})).await;
    assert_eq!((&sale["paused"], engine.phase(0)), (&json!(false), SalePhase::Open));

    // A pause that ends by itself.
    let (_, sale) = engine.act(&pause, json!({"reason": "a look at it", "for_s": 3_600})).await;
    assert!(sale["paused_until"].is_string(), "{sale}");
    assert_eq!((engine.phase(0), engine.phase(3_700)), (SalePhase::Paused, SalePhase::Open));
    // Paused anew by a change, it has no end.
    let (_, sale) = engine.send(Method::PATCH, path, &json!({"paused": true})).await;
    assert_eq!((&sale["paused_until"], engine.phase(3_700)), (&Value::Null, SalePhase::Paused));

    let stale = engine.request(Method::POST, &end).header("if-match", "\"1-0\"");
    let stale = stale.body(json!({"reason": "x"}).to_string()).send().await.unwrap();
    assert_eq!(stale.status(), StatusCode::PRECONDITION_FAILED);
    let current = engine.get(path).await.headers()["etag"].clone();
    let fresh = engine.request(Method::POST, &end).header("if-match", current);
    let ended = fresh.body(json!({"reason": "sold elsewhere"}).to_string()).send().await.unwrap();
    assert_eq!(ended.status(), StatusCode::OK);
    assert_eq!(engine.phase(0), SalePhase::Ended);

    let acts: Vec<_> = engine.lines("/api/v1/trail").await;
    let told: Vec<_> = acts.iter().map(|entry| [&entry["act"], &entry["reason"]]).collect();
    assert_eq!(
        json!(told),
        json!([
            ["campaign.created", null],
            ["campaign.paused", "wrong price"],
            ["campaign.resumed", "the price is right"],
            ["campaign.paused", "a look at it"],
            ["campaign.changed", null],
            ["campaign.ended", "sold elsewhere"],
        ])
    );
    assert_eq!(acts[1]["to"], json!({"paused": true}));
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_looked_up_and_given_up_for_its_buyer() {
    let engine = Engine::start().await;
    engine.create("s", 10).await;
    let (ada, bob) = (engine.buy("s", "ada").await, engine.buy("s", "bob").await);
    let of = |order| format!("/api/v1/orders/{order}");
    let shown = engine.get_json(&of(ada)).await;
    assert_eq!((&shown["buyer"], &shown["status"]), (&json!("ada"), &json!("pre_pay")));
    let other = engine.request(Method::GET, &of(ada)).header("x-tenant-id", "other").send().await.unwrap();
    assert_eq!(other.status(), StatusCode::NOT_FOUND);
    assert_eq!(engine.get("/api/v1/orders/nothing").await.status(), StatusCode::NOT_FOUND);

    let cancel = |order| format!("/api/v1/orders/{order}/cancel");
    let (status, problem) = engine.act(&cancel(ada), json!({})).await;
    assert_eq!((status, &problem["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("reason")));
    let (status, order) = engine.act(&cancel(ada), json!({"reason": "ordered twice"})).await;
    assert_eq!((status, &order["status"]), (StatusCode::OK, &json!("cancelled")), "{order}");
    let sale = engine.get_json("/api/v1/campaigns/c/s").await;
    assert_eq!((&sale["remaining"], &sale["sold"]), (&json!(9), &json!(1)), "its unit is on sale again");
    engine.buy("s", "ada").await;

    for (action, code) in
        [(OrderAction::BeginPayment, "payment-in-progress"), (OrderAction::ConfirmPayment, "order-paid")]
    {
        engine.step(bob, action).await;
        let (status, problem) = engine.act(&cancel(bob), json!({"reason": "x"})).await;
        assert_eq!((status, &problem["code"]), (StatusCode::CONFLICT, &json!(code)));
    }
    let trail = engine.lines("/api/v1/trail?after=1").await;
    assert_eq!(trail.len(), 1, "what was refused is not told: {trail:?}");
    let told = ["act", "object", "from", "to", "reason"].map(|name| trail[0][name].clone());
    let number = ada.to_string();
    let expected = json!([
        "order.cancelled", number, {"status": "pre_pay"}, {"status": "cancelled"}, "ordered twice",
    ]);
    assert_eq!(json!(told), expected);
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_sales_of_a_tenant_or_of_all_are_stopped_at_once_and_are_as_they_were() {
    let engine = Engine::start().await;
    engine.create("s", 10).await;
    engine.create("paused", 10).await;
    let by_itself = json!({"reason": "by itself"});
    engine.act("/api/v1/campaigns/c/paused/pause", by_itself).await;
    let other = json!({"campaign": "c", "sku": "s", "price_cents": 5, "stock": 1});
    let other =
        engine.request(Method::POST, "/api/v1/campaigns").header("x-tenant-id", "b").body(other.to_string());
    assert_eq!(other.send().await.unwrap().status(), StatusCode::CREATED);
    let states = || {
        let sales = engine.admission.board().sales();
        [("default", "s"), ("default", "paused"), ("b", "s")].map(|(tenant, sku)| {
            let sale = sales.by_name(tenant, "c", sku).unwrap();
            engine.admission.phase(sale, wall_now())
        })
    };
    let (open, paused) = (SalePhase::Open, SalePhase::Paused);
    assert_eq!(engine.act("/api/v1/stop", json!({"all": true})).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(states(), [open, paused, open]);
    let (status, now) = engine.act("/api/v1/stop", json!({"reason": "wrong prices"})).await;
    assert_eq!((status, now), (StatusCode::OK, json!({"stopped": true, "by_tenant": true, "by_all": false})));
    assert_eq!(states(), [paused, paused, open]);
    let sale = engine.get_json("/api/v1/campaigns/c/s").await;
    assert_eq!(
        [&sale["paused"], &sale["stopped"], &sale["state"]],
        [&json!(false), &json!(true), &json!("paused")]
    );
    engine.act("/api/v1/stop", json!({"reason": "the bank", "all": true})).await;
    assert_eq!(states(), [paused, paused, paused]);
    // Made while all are stopped, a sale is stopped, too; and a change of a stopped one starts nothing.
    engine.send(Method::PATCH, "/api/v1/campaigns/c/s", &json!({"stock_delta": 1})).await;
    engine.act("/api/v1/go", json!({"reason": "the prices are right"})).await;
    assert_eq!(states(), [paused, paused, paused]);
    assert_eq!(
        engine.get_json("/api/v1/stop").await,
        json!({"stopped": true, "by_tenant": false, "by_all": true})
    );
    engine.act("/api/v1/go", json!({"reason": "the bank is back", "all": true})).await;
    assert_eq!(states(), [open, paused, open]);
    // Who mistypes a name hears that nothing has stopped, and nothing is kept of it.
    for path in ["/api/v1/stop", "/api/v1/go"] {
        let nobody = engine.request(Method::POST, path).header("x-tenant-id", "nobody");
        let answer = nobody.body(json!({"reason": "a slip"}).to_string()).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND);
        assert_eq!(answer.json::<Value>().await.unwrap()["code"], "unknown-tenant", "{path}");
    }
    assert!(engine.admission.board().sales().stops().tenants.is_empty());

    let told: Vec<_> = engine.lines("/api/v1/trail?after=2").await;
    let told: Vec<_> = told.iter().map(|entry| [&entry["act"], &entry["tenant"], &entry["to"]]).collect();
    let (stopped, going) = (json!({"stopped": true}), json!({"stopped": false}));
    let expected = json!([
        ["campaign.paused", "default", {"paused": true}],
        ["sales.stopped", "default", stopped],
        ["sales.stopped", null, stopped],
        ["campaign.changed", "default", {"stock": 11}],
        ["sales.resumed", "default", going],
        ["sales.resumed", null, going],
    ]);
    assert_eq!(json!(told), expected);
    engine.stop().await;
}
