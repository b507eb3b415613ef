//! Campaigns are made, shown and changed, and a field that is wrong is named.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::engine::Engine;

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_is_made_listed_and_shown() {
    let engine = Engine::start().await;
    let body = json!({
        "campaign": "summer", "sku": "phone", "title": "A <phone>", "price_cents": 49900, "currency": "EUR",
        "stock": 50, "per_buyer_limit": 2, "starts_at": "2020-01-01T00:00:00Z",
        "ends_at": "2090-01-01T01:00:00+01:00", "pay_within_s": 600, "rate_per_s": 100, "burst": 10,
    });
    let answer =
        engine.request(Method::POST, "/api/v1/campaigns").body(body.to_string()).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    assert_eq!(answer.headers()["location"], "/api/v1/campaigns/summer/phone");
    let etag = answer.headers()["etag"].to_str().unwrap().to_owned();
    let created: Value = answer.json().await.unwrap();
    let expected = json!({
        "tenant": "default", "campaign": "summer", "sku": "phone", "title": "A <phone>", "price_cents": 49900,
        "currency": "EUR", "stock": 50, "per_buyer_limit": 2, "starts_at": "2020-01-01T00:00:00.000Z",
        "ends_at": "2090-01-01T00:00:00.000Z", "pay_within_s": 600, "rate_per_s": 100, "burst": 10,
        "paused": false, "paused_until": null, "queue": {"mode": "off"}, "stopped": false, "state": "open", "sold": 0, "remaining": 50, "etag": etag,
    });
    assert_eq!(created, expected);
    assert_eq!(engine.get_json("/api/v1/campaigns").await, json!({ "campaigns": [expected] }));
    assert_eq!(engine.get_json("/api/v1/campaigns/summer/phone").await, expected);

    let (status, problem) = engine.send(Method::POST, "/api/v1/campaigns", &body).await;
    assert_eq!((status, problem["code"].as_str()), (StatusCode::CONFLICT, Some("campaign-exists")));

    let others = engine.request(Method::GET, "/api/v1/campaigns").header("x-tenant-id", "other");
    let others: Value = others.send().await.unwrap().json().await.unwrap();
    assert_eq!(others, json!({ "campaigns": [] }));
    let page = engine.get("/").await.text().await.unwrap();
    assert!(page.contains("A &lt;phone&gt;") && !page.contains("A <phone>"), "{page}");
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_field_is_named() {
    let engine = Engine::start().await;
    let good = json!({"campaign": "c", "sku": "s", "price_cents": 5, "stock": 7});
    let wrong = [
        ("campaign", json!("a b")),
        ("sku", json!(7)),
        ("price_cents", json!(-1)),
        ("price_cents", Value::Null),
        ("stock", json!(1e12)),
        ("stock", json!("7")),
        ("currency", json!("euro")),
        ("currency", json!("ZZZ")),
        ("currency", json!("XAU")),
        ("per_buyer_limit", json!(0)),
        ("starts_at", json!("tomorrow")),
        ("ends_at", json!("2001-01-01T00:00:00Z")),
        ("pay_within_s", json!(0)),
        ("rate_per_s", json!(0)),
        ("burst", json!(5)),
        ("title", json!("x".repeat(201))),
        ("colour", json!("red")),
    ];
    for (field, value) in wrong {
        let mut body = good.clone();
        body[field] = value;
        let (status, problem) = engine.send(Method::POST, "/api/v1/campaigns", &body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}: {problem}");
        assert_eq!(problem["field"], field, "{problem}");
        assert_eq!(problem["code"], "invalid-field");
    }
    assert_eq!(engine.get_json("/api/v1/campaigns").await, json!({ "campaigns": [] }));

    for body in ["", "[]", "{", "\u{1}"] {
        let request = engine.request(Method::POST, "/api/v1/campaigns").body(body);
        assert_eq!(request.send().await.unwrap().status(), StatusCode::BAD_REQUEST, "{body:?}");
    }
    let large = engine.request(Method::POST, "/api/v1/campaigns").body("x".repeat(100_000));
    assert_eq!(large.send().await.unwrap().status(), StatusCode::PAYLOAD_TOO_LARGE);
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn terms_and_stock_change_while_the_sale_runs() {
    let engine = Engine::start().await;
    engine.create("s", 10).await;
    engine.buy("s", "ada").await;
    let path = "/api/v1/campaigns/c/s";
    let change = json!({
        "stock": 20, "paused": true, "rate_per_s": 5, "title": "New", "price_cents": 9, "per_buyer_limit": 4,
        "pay_within_s": 60, "ends_at": "2090-01-01T00:00:00Z",
    });
    let (status, changed) = engine.send(Method::PATCH, path, &change).await;
    assert_eq!(status, StatusCode::OK, "{changed}");
    assert_eq!((changed["stock"].as_u64(), changed["remaining"].as_u64()), (Some(20), Some(19)));
    assert_eq!((changed["state"].as_str(), changed["burst"].as_u64()), (Some("paused"), Some(5)));
    assert_eq!(engine.get_json(path).await, changed);

    let none = json!({"rate_per_s": null, "ends_at": null, "paused": false});
    let (status, changed) = engine.send(Method::PATCH, path, &none).await;
    assert_eq!(status, StatusCode::OK, "{changed}");
    assert_eq!(
        (&changed["rate_per_s"], &changed["burst"], &changed["ends_at"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    assert_eq!(changed["state"], "open");

    let (status, changed) = engine.send(Method::PATCH, path, &json!({"stock": 1})).await;
    assert_eq!((status, changed["state"].as_str()), (StatusCode::OK, Some("sold_out")));
    let (status, problem) = engine.send(Method::PATCH, path, &json!({"stock": 0})).await;
    assert_eq!((status, problem["code"].as_str()), (StatusCode::CONFLICT, Some("stock-in-use")), "{problem}");
    let refused = [
        ("stock", json!(null)),
        ("currency", json!("EUR")),
        ("starts_at", json!("2091-02-30T00:00:00Z")),
        ("per_buyer_limit", json!(1)),
        ("burst", json!(1)),
    ];
    for (field, value) in refused {
        let (status, problem) = engine.send(Method::PATCH, path, &json!({ field: value })).await;
        assert_eq!(
            (status, problem["field"].as_str()),
            (StatusCode::UNPROCESSABLE_ENTITY, Some(field)),
            "{problem}"
        );
    }
    let (status, problem) = engine.send(Method::PATCH, "/api/v1/campaigns/c/none", &json!({})).await;
    assert_eq!((status, problem["code"].as_str()), (StatusCode::NOT_FOUND, Some("unknown-sale")));
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_at_most_as_many_campaigns_as_may_be() {
    let engine = Engine::start().await;
    for sku in ["a", "b", "c"] {
        engine.create(sku, 1).await;
    }
    let body = json!({"campaign": "c", "sku": "d", "price_cents": 1, "stock": 1});
    let (status, problem) = engine.send(Method::POST, "/api/v1/campaigns", &body).await;
    assert_eq!((status, problem["code"].as_str()), (StatusCode::CONFLICT, Some("too-many-campaigns")));
    engine.stop().await;
}
