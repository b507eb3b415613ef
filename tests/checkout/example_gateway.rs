//! A payment gateway and a risk service as GATEWAY.md and RISK.md describe them, on a real socket and a runtime of
//! their own. Written against the documents, not against the engine.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

/// What goes wrong with the calls, by their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    Fair,
    /// One call in seven fails with 500 after it took effect, one with 503 before, one is never answered, and one is
    /// told to come back later.
    Foul,
}

#[derive(Default)]
struct Book {
    states: HashMap<String, &'static str>,
    holds: HashMap<String, Value>,
    captures: HashMap<String, usize>,
    calls: u64,
}

struct Desk {
    book: Mutex<Book>,
    weather: Weather,
    token: &'static str,
}

pub struct ExampleGateway {
    desk: Arc<Desk>,
    address: SocketAddr,
    runtime: Option<Runtime>,
}

impl ExampleGateway {
    pub const TOKEN: &'static str = "let-me-in";

    pub fn start(weather: Weather) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let desk = Arc::new(Desk { book: Mutex::default(), weather, token: Self::TOKEN });
        let routes = Router::new()
            .route("/v1/payments/{key}", get(status))
            .route("/v1/payments/{key}/{verb}", post(act))
            .route("/v1/policy", get(policy))
            .route("/v1/assess", post(assess))
            .with_state(Arc::clone(&desk));
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.spawn(async move {
            axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), routes).await.unwrap();
        });
        Self { desk, address, runtime: Some(runtime) }
    }

    pub fn url(&self) -> String {
        format!("http://{}/v1/", self.address)
    }

    pub fn state(&self, key: &str) -> Option<&'static str> {
        self.desk.book.lock().states.get(key).copied()
    }

    /// The body of the hold that took effect.
    pub fn hold(&self, key: &str) -> Option<Value> {
        self.desk.book.lock().holds.get(key).cloned()
    }

    /// How often money was taken under this key.
    pub fn captures(&self, key: &str) -> usize {
        self.desk.book.lock().captures.get(key).copied().unwrap_or(0)
    }
}

impl Drop for ExampleGateway {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

type Reply = (StatusCode, Json<Value>);

fn problem(status: StatusCode) -> Reply {
    (status, Json(json!({"error": status.as_str()})))
}

impl Desk {
    /// Lets the weather at one call: `effect` runs unless the call is lost before.
    async fn serve(&self, headers: &axum::http::HeaderMap, effect: impl FnOnce(&mut Book) -> Reply) -> Reply {
        let bearer = format!("Bearer {}", self.token);
        if headers.get("authorization").is_none_or(|given| given != bearer.as_str()) {
            return problem(StatusCode::UNAUTHORIZED);
        }
        let (number, is_foul) = {
            let mut book = self.book.lock();
            book.calls += 1;
            (book.calls % 7, self.weather == Weather::Foul)
        };
        if is_foul && number == 1 {
            return problem(StatusCode::SERVICE_UNAVAILABLE);
        }
        if is_foul && number == 3 {
            return problem(StatusCode::TOO_MANY_REQUESTS);
        }
        let reply = effect(&mut self.book.lock());
        if is_foul && number == 5 {
            return problem(StatusCode::INTERNAL_SERVER_ERROR);
        }
        if is_foul && number == 6 {
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        reply
    }
}

fn told(book: &Book, key: &str) -> Reply {
    match book.states.get(key) {
        None => (StatusCode::NOT_FOUND, Json(json!({"key": key, "state": "not_found"}))),
        Some(&"declined") => {
            (StatusCode::OK, Json(json!({"key": key, "state": "declined", "reason": "card-stolen"})))
        }
        Some(state) => (StatusCode::OK, Json(json!({"key": key, "state": state}))),
    }
}

async fn status(
    State(desk): State<Arc<Desk>>,
    Path(key): Path<String>,
    headers: axum::http::HeaderMap,
) -> Reply {
    desk.serve(&headers, |book| told(book, &key)).await
}

async fn act(
    State(desk): State<Arc<Desk>>,
    Path((key, verb)): Path<(String, String)>,
    headers: axum::http::HeaderMap,
    body: Option<Json<Value>>,
) -> Reply {
    if headers.get("idempotency-key").is_none_or(|given| given != key.as_str()) {
        return problem(StatusCode::BAD_REQUEST);
    }
    desk.serve(&headers, |book| {
        let state = book.states.get(&key).copied();
        match (verb.as_str(), state, body) {
            ("hold", None, Some(Json(body))) => {
                let is_stolen = body["payment_method"] == "stolen-card";
                book.states.insert(key.clone(), if is_stolen { "declined" } else { "held" });
                book.holds.insert(key.clone(), body);
            }
            ("hold", None, None) => return problem(StatusCode::BAD_REQUEST),
            ("capture", Some("held"), _) => {
                book.states.insert(key.clone(), "captured");
                *book.captures.entry(key.clone()).or_default() += 1;
            }
            ("void", None | Some("held"), _) => {
                book.states.insert(key.clone(), "voided");
            }
            ("hold" | "capture" | "void", _, _) => {}
            _ => return problem(StatusCode::NOT_FOUND),
        }
        told(book, &key)
    })
    .await
}

async fn policy(State(desk): State<Arc<Desk>>, headers: axum::http::HeaderMap) -> Reply {
    let body = json!({"ask_above_cents": 1_000, "denied_buyers": ["mallory"]});
    desk.serve(&headers, |_| (StatusCode::OK, Json(body))).await
}

async fn assess(
    State(desk): State<Arc<Desk>>,
    headers: axum::http::HeaderMap,
    Json(body): Json<Value>,
) -> Reply {
    let verdict = if body["buyer"] == "eve" {
        json!({"verdict": "reject", "reason": "account-too-new"})
    } else {
        json!({"verdict": "approve"})
    };
    desk.serve(&headers, |_| (StatusCode::OK, Json(verdict))).await
}
