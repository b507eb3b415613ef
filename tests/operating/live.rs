//! The live feed: the whole picture once a second, the newest for who is slow.

use reqwest::redirect::Policy;
use reqwest::{Client, Method, Response, StatusCode};
use seckill::admin::{AdminSettings, AdminToken, Role};
use seckill::domain::OrderAction;
use serde_json::{Value, json};
use testbed::PATIENCE;
use testbed::snapshot::{said, sale};

use super::engine::Engine;

/// A viewer, and what has come of the event that is not whole yet.
struct Viewer {
    answer: Response,
    rest: String,
}

impl Viewer {
    async fn of(request: reqwest::RequestBuilder) -> Self {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Self { answer, rest: String::new() }
    }

    /// The next snapshot; `None` when the feed has ended.
    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((event, rest)) = self.rest.split_once("\n\n") {
                let field =
                    |name: &str| event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                assert_eq!(field("event"), Some("snapshot"), "{event}");
                let snapshot: Value = serde_json::from_str(field("data").unwrap()).unwrap();
                assert_eq!(field("id").unwrap(), snapshot["seq"].to_string());
                self.rest = rest.to_owned();
                return Some(snapshot);
            }
            let chunk =
                tokio::time::timeout(PATIENCE, self.answer.chunk()).await.expect("it goes on").unwrap()?;
            self.rest.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    async fn until(&mut self, what: &str, mut is_so: impl FnMut(&Value) -> bool) -> Value {
        for _ in 0..PATIENCE.as_secs() {
            let snapshot = self.next().await.expect("it goes on");
            if is_so(&snapshot) {
                return snapshot;
            }
        }
        panic!("never: {what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_sees_what_buyers_do_and_what_the_store_counts() {
    let engine = Engine::start().await;
    engine.create("s", 3).await;
    engine.create("quiet", 5).await;
    let mut viewer = Viewer::of(engine.request(Method::GET, "/api/v1/live")).await;
    let first = viewer.next().await.unwrap();
    assert_eq!((first["seq"].as_u64(), first["node"].as_u64()), (Some(1), Some(3)));
    for name in ["at", "paths", "queue", "store", "commits", "gateway", "nodes", "health"] {
        assert!(!first[name].is_null(), "{name}: {first}");
    }
    for alone in ["ledger", "relay"] {
        assert!(said(&first, alone).starts_with("not used: this engine sells alone"), "{first}");
    }
    viewer.until("the store answers", |seen| said(seen, "store").starts_with("answers; ")).await;
    let bought = engine.buy("s", "ada").await;
    engine.buy("s", "bob").await;
    engine.step(bought, OrderAction::BeginPayment).await;
    engine.step(bought, OrderAction::ConfirmPayment).await;
    let is_counted = |snapshot: &Value| {
        let sale = sale(snapshot, "s");
        (sale["paid"].as_u64(), sale["held"].as_u64()) == (Some(1), Some(1))
    };
    let snapshot = viewer.until("it is counted", is_counted).await;
    let row = sale(&snapshot, "s");
    assert_eq!((row["total"].as_u64(), row["available"].as_u64()), (Some(3), Some(1)));
    assert_eq!((row["state"].as_str(), row["conserved"].as_bool()), (Some("open"), Some(true)));
    assert_eq!(snapshot["sales"][0]["sku"], "s", "where buyers come is first: {snapshot}");
    assert_eq!(sale(&snapshot, "quiet")["arrivals_per_s"], 0.0);
    assert!(snapshot["commits"]["minute"]["count"].as_u64() > Some(0), "{snapshot}");
    assert!(said(&snapshot, "store").contains("commits seen in the last minute, P50 "), "{snapshot}");
    engine.stop().await;
    while viewer.next().await.is_some() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn what_buyers_are_told_is_shown_by_its_code() {
    let engine = Engine::start().await;
    engine.create("s", 1).await;
    let mut viewer = Viewer::of(engine.request(Method::GET, "/api/v1/live")).await;
    viewer.next().await.unwrap();
    engine.buy("s", "ada").await;
    let paused = json!({"reason": "a test"});
    assert_eq!(engine.send(Method::POST, "/api/v1/campaigns/c/s/pause", &paused).await.0, StatusCode::OK);
    engine.refused("s", "bob");
    let mut won = 0.0;
    let told = viewer
        .until("the refusal is shown", |snapshot| {
            won += sale(snapshot, "s")["wins_per_s"].as_f64().unwrap();
            sale(snapshot, "s")["refusals_per_s"]["sale-paused"].as_f64().is_some_and(|rate| rate > 0.0)
        })
        .await;
    assert!(won > 0.0 && sale(&told, "s")["state"] == "paused", "{told}");
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_viewer_sees_that_tenant_and_there_are_only_so_many() {
    let token = "the-token-of-shop-one-0123";
    let tokens = vec![AdminToken {
        name: "shop".into(),
        role: Role::Viewer,
        tenant: Some("one".into()),
        token: token.into(),
    }];
    let root = "the-token-of-all-0123456";
    let settings =
        AdminSettings { tokens, token: root.into(), live_viewers_max: 2, ..AdminSettings::default() };
    let engine = Engine::start_with(settings).await;
    for tenant in ["one", "two"] {
        let body = json!({"campaign": "c", "sku": tenant, "price_cents": 1, "stock": 1});
        let made = engine.request(Method::POST, "/api/v1/campaigns").bearer_auth(root);
        let made = made.header("x-tenant-id", tenant).body(body.to_string()).send().await.unwrap();
        assert_eq!(made.status(), StatusCode::CREATED);
    }
    let watch = |token: &str| engine.request(Method::GET, "/api/v1/live").bearer_auth(token);
    let skus = |snapshot: Value| {
        let sales = snapshot["sales"].as_array().unwrap().clone();
        let mut skus: Vec<_> = sales.iter().map(|sale| sale["sku"].as_str().unwrap().to_owned()).collect();
        skus.sort();
        skus
    };
    let mut shop = Viewer::of(watch(token)).await;
    let mut all = Viewer::of(watch(root)).await;
    assert_eq!(skus(shop.next().await.unwrap()), ["one"]);
    assert_eq!(skus(all.next().await.unwrap()), ["one", "two"]);
    let third = watch(root).send().await.unwrap();
    assert_eq!(third.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(third.json::<Value>().await.unwrap()["code"], "too-many-viewers");
    let foreign = watch(token).header("x-tenant-id", "two").send().await.unwrap();
    assert_eq!(foreign.status(), StatusCode::FORBIDDEN);

    // A place is free again when its viewer is gone.
    drop((shop, all));
    let again = tokio::time::timeout(PATIENCE, async {
        loop {
            let answer = watch(root).header("x-tenant-id", "two").send().await.unwrap();
            if answer.status() == StatusCode::OK {
                return Viewer { answer, rest: String::new() }.next().await.unwrap();
            }
        }
    });
    assert_eq!(skus(again.await.expect("there is a place")), ["two"]);
    engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_ends_with_its_viewers_token_or_session() {
    let (root, eye) = ("the-token-of-all-0123456", "the-token-of-the-eye-0123");
    let only_root = AdminSettings { token: root.into(), ..AdminSettings::default() };
    let named = AdminToken { name: "eye".into(), role: Role::Viewer, tenant: None, token: eye.into() };
    let both = AdminSettings { tokens: vec![named], ..only_root.clone() };
    let engine = Engine::start_with(both).await;
    let http = Client::builder().timeout(PATIENCE).redirect(Policy::none()).build().unwrap();
    let post = async |path: &str, cookie: &str, form: String| {
        let request = http.post(format!("{}{path}", engine.admin)).header("origin", &engine.admin);
        request.header("cookie", cookie).body(form).send().await.unwrap()
    };
    let sign_in = async || {
        let answer = post("/sign-in", "", format!("token={eye}")).await;
        let set = answer.headers()["set-cookie"].to_str().unwrap();
        set.split(';').next().unwrap().to_owned()
    };
    let by_token = |token: &str| engine.request(Method::GET, "/api/v1/live").bearer_auth(token);
    let by_session = |cookie: &str| engine.request(Method::GET, "/api/v1/live").header("cookie", cookie);
    let ends = async |viewer: &mut Viewer| {
        let end = async { while viewer.next().await.is_some() {} };
        tokio::time::timeout(PATIENCE, end).await.expect("it ends");
    };

    let mut of_root = Viewer::of(by_token(root)).await;
    let cookie = sign_in().await;
    let mut signed_out = Viewer::of(by_session(&cookie)).await;
    signed_out.next().await.expect("it is shown");
    assert_eq!(post("/sign-out", &cookie, String::new()).await.status(), StatusCode::SEE_OTHER);
    ends(&mut signed_out).await;

    let mut of_eye = [Viewer::of(by_token(eye)).await, Viewer::of(by_session(&sign_in().await)).await];
    for viewer in &mut of_eye {
        viewer.next().await.expect("it is shown");
    }
    engine.tokens.replace(&only_root);
    for viewer in &mut of_eye {
        ends(viewer).await;
    }
    let newest = Viewer::of(by_token(root)).await.next().await.expect("it is shown");
    let is_newer = |snapshot: &Value| snapshot["seq"].as_u64() >= newest["seq"].as_u64();
    of_root.until("whose token counts is shown more", is_newer).await;
    engine.stop().await;
}
