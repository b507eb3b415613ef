//! The engine tells how it is, and takes its settings again.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use seckill::admin::{Lifecycle, Question, probe};
use seckill::admission::Intake;
use seckill::telemetry::{Outcome, Path};
use serde_json::{Value, json};
use testbed::PATIENCE;

use super::engine::Engine;

#[tokio::test(flavor = "multi_thread")]
async fn figures_are_told_in_every_format() {
    let engine = Engine::start().await;
    engine.create("s", 2).await;
    engine.buy("s", "ada").await;
    let recorder = engine.telemetry.recorder(0);
    for micros in 1..=100 {
        recorder.record(Path::Seckill, Outcome::SoldOut, micros * 1_000);
    }
    recorder.record(Path::Seckill, Outcome::Won, 5_000_000);
    recorder.record(Path::Order, Outcome::Durable, 7_000_000);
    engine.intervals.append(&engine.telemetry, Duration::from_secs(1));
    engine.get_json("/api/v1/campaigns/c/s/audit").await;

    let stats = engine.get_json("/api/v1/stats").await;
    assert_eq!(stats["node"], 3);
    let seckill = &stats["paths"]["seckill"];
    assert_eq!(seckill["count"], 101);
    for figure in ["mean_us", "p50_us", "p90_us", "p99_us", "p999_us", "max_us"] {
        assert!(seckill[figure].as_f64().unwrap() > 0.0, "{figure}");
    }
    // A few slow wins are not hidden by many quick refusals.
    assert!(seckill["p50_us"].as_f64().unwrap() < 60.0);
    assert!(seckill["outcomes"]["won"]["p50_us"].as_f64().unwrap() >= 5_000.0);
    assert_eq!(seckill["recent"]["per_s"], 101.0);
    assert_eq!(stats["paths"]["checkout"]["count"], 0);
    assert_eq!((&stats["outcomes"]["sold-out"], &stats["outcomes"]["paid"]), (&json!(100), &json!(0)));
    assert_eq!((&stats["queue"]["depth"], &stats["queue"]["capacity"]), (&json!(0), &json!(100)));
    assert_eq!(stats["checkout"]["gateway"]["breaker"], "closed");
    assert!(stats["writer"]["commit"]["count"].as_u64().unwrap() >= 1);

    let store = &stats["store"];
    let uses = store["opened"].as_u64().unwrap() + store["reused"].as_u64().unwrap();
    assert!(uses > 0 && store["reuse_rate"].is_number() && store["broken"] == 0, "{store}");
    assert!(store["log"]["bytes"].as_u64().unwrap() > 0, "{store}");
    let metrics = engine.get("/metrics").await;
    assert_eq!(metrics.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let metrics = metrics.text().await.unwrap();
    for sample in [
        "seckill_requests_total{path=\"seckill\",code=\"sold-out\"} 100",
        "seckill_request_duration_seconds_bucket{path=\"order\",code=\"durable\",le=\"0.005\"} 0",
        "seckill_request_duration_seconds_bucket{path=\"order\",code=\"durable\",le=\"0.01\"} 1",
        "seckill_sale_remaining_units{tenant=\"default\",campaign=\"c\",sku=\"s\"} 1",
        "seckill_queue_capacity 100",
        "seckill_checkout_ends_total{end=\"paid\"} 0",
        "seckill_checkout_breaker_open{service=\"gateway\"} 0",
        "seckill_store_log_bytes_max 67108864",
        "# TYPE seckill_store_oldest_read_seconds gauge",
        "# TYPE seckill_store_fold_duration_seconds histogram",
        "seckill_store_log_full_total 0",
    ] {
        assert!(metrics.lines().any(|line| line == sample), "no {sample}");
    }

    // Who can keep native histograms asks for protocol buffers.
    let protobuf =
        "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
    let asks =
        engine.request(Method::GET, "/metrics").header("accept", format!("{protobuf},text/plain;q=0.5"));
    let told = asks.send().await.unwrap();
    let told = (told.headers()["content-type"].clone(), told.headers()["vary"].clone());
    assert_eq!(
        (told.0.to_str().unwrap().replace(' ', ""), told.1.to_str().unwrap()),
        (protobuf.to_owned(), "Accept")
    );

    let percentiles = engine.get("/api/v1/latency/seckill.hgrm").await.text().await.unwrap();
    assert!(percentiles.contains("Total count    =          101]"), "{percentiles}");
    let wins = engine.get("/api/v1/latency/seckill.hgrm?code=won").await.text().await.unwrap();
    assert!(wins.contains("Total count    =            1]"), "{wins}");
    for (path, status) in [
        ("seckill.hgrm?code=paid", StatusCode::UNPROCESSABLE_ENTITY),
        ("seckill.hgrm?colour=red", StatusCode::UNPROCESSABLE_ENTITY),
        ("sold.hgrm", StatusCode::NOT_FOUND),
        ("seckill", StatusCode::NOT_FOUND),
    ] {
        assert_eq!(engine.get(&format!("/api/v1/latency/{path}")).await.status(), status, "{path}");
    }
    let log = engine.get("/api/v1/latency.hlog").await.text().await.unwrap();
    assert!(log.contains("Tag=seckill,0.000,1.000,") && log.contains("Tag=order,0.000,1.000,"), "{log}");
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_follows_the_engine() {
    let engine = Engine::start().await;
    let address = engine.admin.strip_prefix("http://").unwrap().parse().unwrap();
    let probed = || tokio::task::spawn_blocking(move || probe(address, false, Question::Ready, PATIENCE));
    assert_eq!(engine.get_json("/livez").await, json!({"status": "alive"}));

    let starting = engine.get("/readyz").await;
    assert_eq!(starting.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(starting.json::<Value>().await.unwrap()["checks"]["lifecycle"], "starting");
    assert!(probed().await.unwrap().unwrap_err().contains("starting"));

    engine.readiness.set(Lifecycle::Running);
    let checks = json!({"lifecycle": "ok", "writer": "ok", "store": "ok"});
    let ready = json!({"status": "ready", "checks": checks, "reasons": {}});
    assert_eq!(engine.get_json("/readyz").await, ready);
    assert_eq!(probed().await.unwrap(), Ok(()));
    let health = engine.get_json("/healthz").await;
    assert_eq!((&health["status"], &health["node"]), (&json!("ok"), &json!(3)));

    engine.admission.queue().set_intake(Intake::Stalled);
    let stalled = engine.get("/readyz").await;
    assert_eq!(stalled.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(stalled.json::<Value>().await.unwrap()["checks"]["writer"], "stalled");
    engine.admission.queue().set_intake(Intake::Open);

    engine.readiness.set(Lifecycle::Draining);
    assert_eq!(engine.get("/readyz").await.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(engine.get("/livez").await.status(), StatusCode::OK);
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reload_tells_what_changed_or_why_not() {
    let engine = Engine::start().await;
    let (status, answer) = engine.send(Method::POST, "/api/v1/config/reload", &Value::Null).await;
    assert_eq!((status, answer), (StatusCode::OK, json!({"status": "reloaded", "changed": ["log.level"]})));
    let (status, answer) = engine.send(Method::POST, "/api/v1/config/reload", &Value::Null).await;
    assert_eq!((status, &answer["code"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("restart-required")));
    assert_eq!(answer["keys"], json!(["node.id"]));
    engine.stop().await;
}
