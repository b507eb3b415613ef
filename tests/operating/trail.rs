//! The trail tells who did what, when and why, and nobody changes it.

use reqwest::{Method, StatusCode};
use seckill::admin::AdminSettings;
use seckill::domain::OrderAction;
use serde_json::{Value, json};

use super::engine::Engine;

/// The entries, without what differs from run to run.
async fn told(engine: &Engine, path: &str) -> Vec<(String, String, Value, Value, Value)> {
    let entries = engine.lines(path).await;
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap().to_owned();
    let part = |entry: Value| {
        let [from, to, reason] = ["from", "to", "reason"].map(|name| entry[name].clone());
        (text(&entry, "act"), text(&entry, "object"), from, to, reason)
    };
    entries.into_iter().map(part).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_act_is_told_with_what_it_changed() {
    let engine = Engine::start().await;
    engine.create("s", 10).await;
    let path = "/api/v1/campaigns/c/s";
    let body = json!({"stock_delta": 5, "price_cents": 300, "reason": "second delivery"});
    assert_eq!(engine.send(Method::PATCH, path, &body).await.0, StatusCode::OK);
    let order = engine.buy("s", "ada").await;
    let later = json!({"by_s": 60, "reason": "the bank was away"});
    assert_eq!(engine.send(Method::POST, &format!("{path}/extend"), &later).await.0, StatusCode::OK);
    let of_order = format!("/api/v1/orders/{order}");
    let shown = engine.desk.order(order).await.unwrap().unwrap();
    let far = json!({"pay_before": "2090-01-01T00:00:00Z"});
    let too_far = engine.send(Method::POST, &format!("{of_order}/extend"), &far).await;
    assert_eq!(too_far.0, StatusCode::UNPROCESSABLE_ENTITY, "what is refused is not done and not told");
    engine.step(order, OrderAction::BeginPayment).await;
    let paid = json!({"outcome": "paid", "reason": "seen on the account"});
    let settled = engine.send(Method::POST, &format!("{of_order}/settle"), &paid).await;
    assert_eq!(settled.0, StatusCode::OK, "{}", settled.1);
    assert_eq!(engine.send(Method::POST, "/api/v1/config/reload", &json!({})).await.0, StatusCode::OK);

    let entries = told(&engine, "/api/v1/trail").await;
    let acts: Vec<_> = entries.iter().map(|entry| (entry.0.as_str(), entry.1.as_str())).collect();
    let number = shown.placed.id.to_string();
    let expected = [
        ("campaign.created", "c/s"),
        ("campaign.changed", "c/s"),
        ("campaign.extended", "c/s"),
        ("order.settled", number.as_str()),
        ("config.reloaded", "config"),
    ];
    assert_eq!(acts, expected);
    assert_eq!((&entries[0].2, &entries[0].3["stock"]), (&Value::Null, &json!(10)));
    let changed = (json!({"stock": 10, "price_cents": 250}), json!({"stock": 15, "price_cents": 300}));
    assert_eq!((entries[1].2.clone(), entries[1].3.clone()), changed);
    assert_eq!(entries[1].4, json!("second delivery"));
    assert_eq!(entries[2].3, json!({"by_s": 60}));
    assert_eq!(
        (entries[3].2.clone(), entries[3].3.clone()),
        (json!({"status": "paying"}), json!({"status": "paid"}))
    );
    assert_eq!(entries[4].3, json!({"changed": ["log.level"]}));
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trail_names_who_asked_and_is_each_tenants_own() {
    let token = "t0ken-t0ken-t0ken";
    let engine = Engine::start_with(AdminSettings { token: token.into(), ..AdminSettings::default() }).await;
    let ask = |method, path: &str, tenant: &str, body: Value| {
        let request = engine.request(method, path).bearer_auth(token).header("x-tenant-id", tenant);
        let request = request.header("x-request-id", "desk-7").body(body.to_string());
        async { request.send().await.unwrap() }
    };
    let sale = json!({"campaign": "c", "sku": "s", "price_cents": 5, "stock": 1});
    for tenant in ["one", "two"] {
        let made = ask(Method::POST, "/api/v1/campaigns", tenant, sale.clone()).await;
        assert_eq!(made.status(), StatusCode::CREATED);
    }
    for title in ["a", "b", "c"] {
        let body = json!({"title": title});
        let changed = ask(Method::PATCH, "/api/v1/campaigns/c/s", "one", body).await;
        assert_eq!(changed.status(), StatusCode::OK);
    }
    let mut path = "/api/v1/trail?limit=3".to_owned();
    let mut entries = Vec::<Value>::new();
    loop {
        let page = ask(Method::GET, &path, "one", json!({})).await;
        let next = page.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
        let text = page.text().await.unwrap();
        entries.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
        let Some(next) = next else { break };
        next.strip_prefix('<').unwrap().split('>').next().unwrap().clone_into(&mut path);
    }
    assert_eq!(entries.len(), 4, "the other tenant's are not among them: {entries:?}");
    for entry in &entries {
        let said = ["who", "role", "address", "request_id", "tenant", "object"].map(|name| &entry[name]);
        assert_eq!(said, ["admin", "admin", "127.0.0.1", "desk-7", "one", "c/s"]);
    }
    assert!(entries.is_sorted_by_key(|entry| entry["seq"].as_u64()));
    for (query, field) in
        [("limit=0", "limit"), ("limit=5000", "limit"), ("after=x", "after"), ("x=1", "query")]
    {
        let wrong = ask(Method::GET, &format!("/api/v1/trail?{query}"), "one", json!({})).await;
        assert_eq!(wrong.status(), StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(wrong.json::<Value>().await.unwrap()["field"], field);
    }
    engine.stop().await;
}
