//! Named tokens: who they are, what each role may do and see, and how a browser signs in.

use std::time::{Duration, Instant};

use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use seckill::admin::{AdminSettings, AdminToken, Role};
use serde_json::{Value, json};
use testbed::PATIENCE;

use super::engine::Engine;

/// Who asks, in these tests: a name, a role and a tenant.
pub const PEOPLE: [(&str, Role, Option<&str>); 6] = [
    ("eye", Role::Viewer, None),
    ("ops", Role::Operator, None),
    ("root", Role::Admin, None),
    ("eye-one", Role::Viewer, Some("one")),
    ("ops-one", Role::Operator, Some("one")),
    ("root-one", Role::Admin, Some("one")),
];

/// What one of them signs in with.
pub fn token(name: &str) -> String {
    format!("the-token-of-{name}-0123456789")
}

/// An engine that knows them all.
pub async fn start() -> Engine {
    let named = |(name, role, tenant): (&str, Role, Option<&str>)| AdminToken {
        name: name.into(),
        role,
        tenant: tenant.map(str::to_owned),
        token: token(name).as_str().into(),
    };
    let tokens = PEOPLE.into_iter().map(named).collect();
    Engine::start_with(AdminSettings { tokens, ..AdminSettings::default() }).await
}

/// A request of one of them.
pub fn asked(
    engine: &Engine,
    name: &str,
    method: Method,
    path: &str,
    tenant: Option<&str>,
) -> RequestBuilder {
    let request = engine.request(method, path).bearer_auth(token(name));
    match tenant {
        Some(tenant) => request.header("x-tenant-id", tenant),
        None => request,
    }
}

async fn ask(
    engine: &Engine,
    name: &str,
    (method, path, body): (Method, &str, Value),
    tenant: Option<&str>,
) -> (StatusCode, Value) {
    let answer = asked(engine, name, method, path, tenant).body(body.to_string()).send().await.unwrap();
    let (status, text) = (answer.status(), answer.text().await.unwrap());
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_acts_does_so_for_the_tenants_of_the_token() {
    let engine = start().await;
    let sale = |sku: &str| json!({"campaign": "c", "sku": sku, "price_cents": 5, "stock": 3});
    for tenant in ["one", "two"] {
        let made = ask(&engine, "root", (Method::POST, "/api/v1/campaigns", sale("s")), Some(tenant)).await;
        assert_eq!(made.0, StatusCode::CREATED, "{}", made.1);
    }
    let (reason, all) = (json!({"reason": "a test"}), json!({"reason": "a test", "all": true}));
    // What an operator may, and whether it is about all tenants.
    let acts = [
        (Method::PATCH, "/api/v1/campaigns/c/s", json!({"title": "t"}), false),
        (Method::POST, "/api/v1/campaigns/c/s/pause", reason.clone(), false),
        (Method::POST, "/api/v1/campaigns/c/s/resume", reason.clone(), false),
        (Method::POST, "/api/v1/stop", reason.clone(), false),
        (Method::POST, "/api/v1/go", reason, false),
        (Method::POST, "/api/v1/stop", all.clone(), true),
        (Method::POST, "/api/v1/go", all, true),
    ];
    for (method, path, body, is_of_all) in &acts {
        for (name, role, own) in PEOPLE {
            for tenant in ["one", "two"] {
                let request = (method.clone(), *path, body.clone());
                let (status, answer) = ask(&engine, name, request, Some(tenant)).await;
                let is_foreign = own.is_some_and(|own| *is_of_all || own != tenant);
                let expected = match () {
                    () if role < Role::Operator => (StatusCode::FORBIDDEN, Some("role-too-low")),
                    () if is_foreign => (StatusCode::FORBIDDEN, Some("foreign-tenant")),
                    () => (StatusCode::OK, None),
                };
                let what = format!("{name} {method} {path} {body} for {tenant}: {answer}");
                assert_eq!((status, answer["code"].as_str()), expected, "{what}");
            }
        }
    }
    // Without a word, it is their own tenant's.
    let (_, listed) = ask(&engine, "eye-one", (Method::GET, "/api/v1/campaigns", json!({})), None).await;
    assert_eq!(listed["campaigns"].as_array().unwrap().len(), 1);
    let (_, page) = ask(&engine, "eye-one", (Method::GET, "/", json!({})), None).await;
    assert!(page.as_str().unwrap().contains("s of one") && !page.as_str().unwrap().contains("s of two"));
    let (_, page) = ask(&engine, "eye", (Method::GET, "/", json!({})), None).await;
    assert!(page.as_str().unwrap().contains("s of one") && page.as_str().unwrap().contains("s of two"));
    engine.stop().await;
}

/// The entries that a token sees.
async fn trail(engine: &Engine, name: &str, tenant: Option<&str>) -> Vec<Value> {
    let answer = asked(engine, name, Method::GET, "/api/v1/trail?limit=1000", tenant).send().await.unwrap();
    let text = answer.text().await.unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trail_names_who_acted_who_was_refused_and_who_was_not_known() {
    let engine = start().await;
    let sale = json!({"campaign": "c", "sku": "s", "price_cents": 5, "stock": 3});
    let create = |sale: &Value| (Method::POST, "/api/v1/campaigns", sale.clone());
    assert_eq!(ask(&engine, "ops-one", create(&sale), None).await.0, StatusCode::CREATED);
    assert_eq!(ask(&engine, "eye-one", create(&sale), None).await.0, StatusCode::FORBIDDEN);
    for _ in 0..25 {
        assert_eq!(ask(&engine, "eye", create(&sale), None).await.0, StatusCode::FORBIDDEN);
    }
    let wrong = || engine.request(Method::GET, "/api/v1/stats").bearer_auth("wrong-wrong-wrong-wrong");
    let mut statuses = Vec::new();
    for _ in 0..25 {
        statuses.push(wrong().send().await.unwrap().status());
    }
    assert_eq!(statuses[0], StatusCode::UNAUTHORIZED);
    assert_eq!(statuses[24], StatusCode::TOO_MANY_REQUESTS);
    let (status, _) = ask(&engine, "eye", (Method::GET, "/api/v1/stats", json!({})), None).await;
    assert_eq!(status, StatusCode::OK, "a token that is right is heard all the same");

    // What is refused is told beside the answer.
    let told = tokio::time::timeout(PATIENCE, async {
        loop {
            let entries = trail(&engine, "root", Some("one")).await;
            if entries.len() >= 4 {
                return entries;
            }
        }
    });
    let told = told.await.expect("all is told");
    let mut said: Vec<_> = told
        .iter()
        .map(|entry| ["act", "who", "role", "object"].map(|name| entry[name].as_str().unwrap().to_owned()))
        .collect();
    said.sort();
    let said: Vec<_> = said.iter().map(|entry| entry.each_ref().map(String::as_str)).collect();
    assert_eq!(
        said,
        [
            ["act.refused", "eye", "viewer", "POST /api/v1/campaigns"],
            ["act.refused", "eye-one", "viewer", "POST /api/v1/campaigns"],
            ["campaign.created", "ops-one", "operator", "c/s"],
            ["sign-in.refused", "", "", "sign-in"],
        ]
    );
    let own: Vec<_> = trail(&engine, "eye-one", None).await;
    assert!(own.iter().all(|entry| entry["tenant"] == "one") && own.len() == 2, "{own:?}");
    engine.stop().await;
}

/// Its clock stands still while it passes the time of refused attempts: one thread.
#[tokio::test]
async fn who_is_refused_again_and_again_is_told_once_and_then_counted() {
    let engine = start().await;
    for _ in 0..30 {
        let (status, _) =
            ask(&engine, "eye-one", (Method::POST, "/api/v1/stop", json!({"reason": "r"})), None).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
    }
    let give_up_at = Instant::now() + PATIENCE;
    let told = loop {
        let told = engine.desk.trail_after("one", 0, 100).await.unwrap();
        if told.len() > 1 {
            break told;
        }
        assert!(Instant::now() < give_up_at, "they are counted: {told:?}");
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(61)).await;
        tokio::time::resume();
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let said: Vec<_> = told.iter().map(|entry| (entry.object.as_str(), entry.to.clone())).collect();
    assert_eq!(said, [("POST /api/v1/stop", Value::Null), ("POST /api/v1/stop", json!({"more": 29}))]);
    for entry in &told {
        assert_eq!((entry.kind.as_str(), entry.actor.who.as_str()), ("act.refused", "eye-one"));
        assert_eq!(entry.tenant.as_deref(), Some("one"));
    }
    engine.stop().await;
}

/// A browser: it follows no redirection here, and sends what a page of the engine would.
pub struct Browser<'a> {
    engine: &'a Engine,
    http: Client,
    cookie: Option<String>,
}

impl<'a> Browser<'a> {
    /// Nobody has signed in yet.
    pub fn open(engine: &'a Engine) -> Self {
        let http = Client::builder().timeout(PATIENCE).redirect(Policy::none()).build().unwrap();
        Self { engine, http, cookie: None }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.engine.admin));
        let request = request.header("accept", "text/html,*/*").header("sec-fetch-site", "same-origin");
        match &self.cookie {
            Some(cookie) => request.header("cookie", cookie),
            None => request,
        }
    }

    pub async fn post(&mut self, path: &str, form: &str) -> StatusCode {
        self.answer(path, form).await.0
    }

    /// The status, and what the page says.
    pub async fn answer(&mut self, path: &str, form: &str) -> (StatusCode, String) {
        let request = self.request(Method::POST, path).header("origin", &self.engine.admin);
        let answer = request.body(form.to_owned()).send().await.unwrap();
        if let Some(set) = answer.headers().get("set-cookie") {
            let set = set.to_str().unwrap();
            assert!(set.contains("HttpOnly; SameSite=Strict"), "{set}");
            let (pair, rest) = set.split_once(';').unwrap();
            self.cookie = (!rest.contains("Max-Age=0")).then(|| pair.to_owned());
        }
        (answer.status(), answer.text().await.unwrap())
    }

    pub async fn page(&self, path: &str) -> (StatusCode, String) {
        let answer = self.request(Method::GET, path).send().await.unwrap();
        (answer.status(), answer.text().await.unwrap())
    }

    async fn home(&self) -> (StatusCode, String) {
        let answer = self.request(Method::GET, "/").send().await.unwrap();
        assert!(answer.headers()["content-security-policy"].to_str().unwrap().contains("form-action 'self'"));
        (answer.status(), answer.text().await.unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_signs_in_and_out() {
    let engine = start().await;
    let mut browser = Browser::open(&engine);
    let (status, page) = browser.home().await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(page.contains("name=\"token\"") && !page.contains("Sign out"), "{page}");
    assert_eq!(browser.post("/sign-in", "token=wrong").await, StatusCode::UNAUTHORIZED);
    assert!(browser.cookie.is_none());

    let form = format!("token=+{}+", token("ops"));
    assert_eq!(browser.post("/sign-in", &form).await, StatusCode::SEE_OTHER);
    let (status, page) = browser.home().await;
    let sale = json!({"campaign": "c", "sku": "s", "price_cents": 5, "stock": 3});
    let made = ask(&engine, "ops", (Method::POST, "/api/v1/campaigns", sale), None).await;
    assert_eq!((status, made.0), (StatusCode::OK, StatusCode::CREATED));
    assert!(page.contains("ops (operator)"), "{page}");
    assert_eq!(browser.post("/api/v1/stop", r#"{"reason":"a test"}"#).await, StatusCode::OK);
    // The cookie alone is no act: another site's page, or a request that names none.
    let acts = |origin: Option<&'static str>| {
        let request = browser.request(Method::POST, "/api/v1/go").body(r#"{"reason":"a test"}"#);
        let request = origin.map_or_else(
            || request.try_clone().unwrap(),
            |origin| request.try_clone().unwrap().header("origin", origin),
        );
        async { request.send().await.unwrap().status() }
    };
    assert_eq!(acts(None).await, StatusCode::FORBIDDEN);
    assert_eq!(acts(Some("http://elsewhere.example")).await, StatusCode::FORBIDDEN);
    assert_eq!(engine.admission.board().sales().stops().tenants.len(), 1, "it is still stopped");

    let stolen = browser.cookie.clone();
    assert_eq!(browser.post("/sign-out", "").await, StatusCode::SEE_OTHER);
    assert!(browser.cookie.is_none());
    browser.cookie = stolen;
    assert_eq!(browser.home().await.0, StatusCode::UNAUTHORIZED, "a copy of the cookie is over, too");
    engine.stop().await;
}
