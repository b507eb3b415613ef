//! Who is heard, and what those are told who are not.

use reqwest::{Client, Method, StatusCode};
use seckill::admin::AdminSettings;
use serde_json::Value;
use testbed::PATIENCE;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::engine::Engine;

#[tokio::test(flavor = "multi_thread")]
async fn with_a_token_only_the_probes_are_open() {
    let engine =
        Engine::start_with(AdminSettings { token: "t0ken-t0ken-t0ken".into(), ..AdminSettings::default() })
            .await;
    let status = |path: &'static str, authorization: Option<&'static str>| {
        let mut request = engine.request(Method::GET, path);
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        async { request.send().await.unwrap().status() }
    };
    for path in ["/livez", "/healthz"] {
        assert_ne!(status(path, None).await, StatusCode::UNAUTHORIZED, "{path}");
    }
    for path in ["/", "/metrics", "/api/v1/stats", "/api/v1/orders", "/api/v1/campaigns", "/nowhere"] {
        assert_eq!(status(path, None).await, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(status(path, Some("Bearer wrong")).await, StatusCode::UNAUTHORIZED, "{path}");
        assert_ne!(status(path, Some("Bearer t0ken-t0ken-t0ken")).await, StatusCode::UNAUTHORIZED, "{path}");
    }
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn o8_without_a_token_the_host_names_this_machine() {
    let settings = AdminSettings { hosts: vec!["admin.internal".into()], ..AdminSettings::default() };
    let engine = Engine::start_with(settings).await;
    for path in ["/livez", "/healthz", "/", "/api/v1/campaigns", "/metrics", "/nowhere"] {
        let answer = engine.request(Method::GET, path).header("host", "evil.example").send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{path}");
        assert_eq!(answer.json::<Value>().await.unwrap()["code"], "foreign-host", "{path}");
    }
    let stop = engine.request(Method::POST, "/api/v1/config/reload").header("host", "evil.example:9090");
    assert_eq!(stop.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    for host in ["localhost", "127.0.0.1:1", "admin.internal:9090"] {
        let answer =
            engine.request(Method::GET, "/api/v1/campaigns").header("host", host).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{host}");
    }
    let far = engine.request(Method::POST, "/api/v1/config/reload").header("sec-fetch-site", "cross-site");
    assert_eq!(far.send().await.unwrap().status(), StatusCode::FORBIDDEN);

    // A balancer's check of HTTP/1.0 need not name a host; no browser sends one like it.
    for (sent, told) in [
        ("GET /readyz HTTP/1.0\r\n\r\n", "503"),
        ("GET /livez HTTP/1.0\r\n\r\n", "200"),
        ("GET /livez HTTP/1.0\r\nHost: evil.example\r\n\r\n", "403"),
        ("GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n", "403"),
    ] {
        let address = engine.admin.strip_prefix("http://").unwrap();
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.write_all(sent.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer.split(' ').nth(1), Some(told), "{sent:?}: {answer}");
    }
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn problems_carry_the_request_id() {
    let engine = Engine::start().await;
    let answer =
        engine.request(Method::GET, "/nowhere").header("x-request-id", "mine-1").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    assert_eq!(answer.headers()["x-request-id"], "mine-1");
    assert_eq!(answer.json::<Value>().await.unwrap()["instance"], "mine-1");

    let answer = engine.request(Method::DELETE, "/api/v1/stats").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
    let made = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(
        (problem["instance"].as_str(), problem["code"].as_str()),
        (Some(&*made), Some("method-not-allowed"))
    );

    let tenant = engine.request(Method::GET, "/api/v1/campaigns").header("x-tenant-id", "a/b");
    assert_eq!(tenant.send().await.unwrap().status(), StatusCode::BAD_REQUEST);
    let foreign =
        engine.request(Method::POST, "/api/v1/config/reload").header("origin", "http://elsewhere.example");
    assert_eq!(foreign.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d3_probes_and_operators_are_answered_beside_300_silent_connections() {
    let engine = Engine::start().await;
    let address = engine.admin.strip_prefix("http://").unwrap().to_owned();
    let mut silent = Vec::new();
    for round in 0..30 {
        for _ in 0..10 {
            silent.push(tokio::net::TcpStream::connect(&address).await.unwrap());
        }
        // On a connection of its own, each.
        let http = Client::builder().timeout(PATIENCE).pool_max_idle_per_host(0).build().unwrap();
        for path in ["/livez", "/api/v1/campaigns"] {
            let answer = http.get(format!("{}{path}", engine.admin)).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK, "{path} in round {round}");
        }
    }
    drop(silent);
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn d3_a_known_connection_has_a_place_of_its_own_and_no_more_than_there_are() {
    let settings = AdminSettings {
        connections_max: 1,
        unknown_connections_max: 4,
        header_read_timeout_ms: 600_000,
        ..AdminSettings::default()
    };
    let engine = Engine::start_with(settings).await;
    let address = engine.admin.strip_prefix("http://").unwrap();
    let mut known = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut ask = async || {
        known.write_all(b"GET /api/v1/campaigns HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"}") {
            assert_ne!(known.read_buf(&mut answer).await.unwrap(), 0, "it was closed");
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"));
    };
    ask().await;
    // It stays open; another one finds no place, but probes do.
    let other = Client::builder().timeout(PATIENCE).build().unwrap();
    let refused = other.get(format!("{}/api/v1/campaigns", engine.admin)).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.json::<Value>().await.unwrap()["code"], "too-many-connections");
    assert_eq!(other.get(format!("{}/livez", engine.admin)).send().await.unwrap().status(), StatusCode::OK);
    for _ in 0..10 {
        drop(tokio::net::TcpStream::connect(address).await.unwrap());
    }
    ask().await;
    engine.stop().await;
}
