//! A payment gateway and a risk service as GATEWAY.md and RISK.md describe them, on a real socket and a runtime of
//! their own. Written against the documents, not against the engine.

use std::collections::HashMap;
use std::future::pending;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use parking_lot::Mutex;
use serde_json::{Value, json};
use testbed::PATIENCE;
use tokio::runtime::{Builder, Runtime};

/// What goes wrong with the calls, by their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    Fair,
    /// One call in seven fails with 500 after it took effect, one with 503 before, one is never answered, and one is
    /// told to come back later.
    Foul,
}

/// A step of an attempt as the services see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A call of the gateway has arrived and nothing is done yet.
    Before(&'static str),
    /// A call of the gateway has taken effect and is not answered yet.
    After(&'static str),
    /// The risk service was asked and has not answered yet.
    Assess,
}

struct Payment {
    state: &'static str,
    /// The body of the hold that took effect.
    hold: Option<Value>,
    captures: usize,
    /// Refunds by number: their state, and the body that made them.
    refunds: HashMap<String, (&'static str, Value)>,
}

#[derive(Default)]
struct Book {
    payments: HashMap<String, Payment>,
    calls: u64,
    /// Questions to the risk service, by order and attempt.
    assessed: HashMap<String, usize>,
    /// The keys of these questions, in their order.
    questions: Vec<String>,
    /// Of the spans that called, by what they called for.
    traceparents: HashMap<String, String>,
    rejects: bool,
    processing: bool,
    /// Whether it has never heard of refunds.
    knows_no_refunds: bool,
    /// Whether it refuses them all.
    refuses_refunds: bool,
    /// What is added to the amounts that are told.
    overstated_cents: u64,
    stop_at: Option<(Step, mpsc::Sender<()>)>,
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
    pub const TOKEN: &'static str = "let-me-in-as-the-engine";

    pub fn start(weather: Weather) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let desk = Arc::new(Desk { book: Mutex::default(), weather, token: Self::TOKEN });
        let routes = Router::new()
            .route("/v1/payments/{key}", get(status))
            .route("/v1/payments/{key}/{verb}", post(act))
            .route("/v1/payments/{key}/refunds/{number}", post(refund))
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
        self.desk.book.lock().payments.get(key).map(|payment| payment.state)
    }

    /// The body of the hold that took effect.
    pub fn hold(&self, key: &str) -> Option<Value> {
        self.desk.book.lock().payments.get(key).and_then(|payment| payment.hold.clone())
    }

    /// How often money was taken under this key.
    pub fn captures(&self, key: &str) -> usize {
        self.desk.book.lock().payments.get(key).map_or(0, |payment| payment.captures)
    }

    /// How often money was taken for the order, under whatever key.
    pub fn captures_for(&self, order: &str) -> usize {
        self.sum(|key, _| key.contains(order))
    }

    /// How often money was taken.
    pub fn captures_in_all(&self) -> usize {
        self.sum(|_, _| true)
    }

    fn sum(&self, counts: impl Fn(&str, &Payment) -> bool) -> usize {
        let book = self.desk.book.lock();
        let counted = book.payments.iter().filter(|(key, payment)| counts(key, payment));
        counted.map(|(_, payment)| payment.captures).sum()
    }

    /// How much was given back of the order's payments, in how many refunds.
    pub fn refunded_of(&self, order: &str) -> (usize, u64) {
        let book = self.desk.book.lock();
        let of_order = book.payments.iter().filter(|(key, _)| key.contains(order));
        let refunds = of_order.flat_map(|(_, payment)| payment.refunds.values());
        let made = refunds.filter(|(state, _)| *state == "refunded");
        made.fold((0, 0), |(count, sum), (_, body)| {
            (count + 1, sum + body["amount_cents"].as_u64().unwrap_or(0))
        })
    }

    /// From now on it has never heard of refunds; or it has.
    pub fn forget_refunds(&self, knows_no_refunds: bool) {
        self.desk.book.lock().knows_no_refunds = knows_no_refunds;
    }

    /// From now on it refuses all refunds; or none.
    pub fn refuse_refunds(&self, refuses: bool) {
        self.desk.book.lock().refuses_refunds = refuses;
    }

    /// The keys of the order's payments.
    pub fn keys_of(&self, order: &str) -> Vec<String> {
        let book = self.desk.book.lock();
        book.payments.keys().filter(|key| key.contains(order)).cloned().collect()
    }

    /// Files a payment under another key, as if it had been made under that.
    pub fn rename(&self, key: &str, to: &str) {
        let mut book = self.desk.book.lock();
        let payment = book.payments.remove(key).expect("a payment of this key");
        book.payments.insert(to.to_owned(), payment);
    }

    /// How often the risk service was asked about this attempt of the order.
    pub fn assessed(&self, order: &str, attempt: u32) -> usize {
        self.desk.book.lock().assessed.get(&format!("{order}-{attempt}")).copied().unwrap_or(0)
    }

    /// The keys that the risk service was asked about.
    pub fn questions(&self) -> Vec<String> {
        self.desk.book.lock().questions.clone()
    }

    /// The latest `traceparent` that came with a call of this kind.
    pub fn traceparent(&self, call: &str) -> Option<String> {
        self.desk.book.lock().traceparents.get(call).cloned()
    }

    /// From now on the risk service rejects every payment it is asked about, or none.
    pub fn reject(&self, rejects: bool) {
        self.desk.book.lock().rejects = rejects;
    }

    /// From now on the gateway works on new payments without deciding them; or it decides them all, as held.
    pub fn process(&self, processing: bool) {
        let mut book = self.desk.book.lock();
        book.processing = processing;
        if !processing {
            let open = book.payments.values_mut().filter(|payment| payment.state == "processing");
            open.for_each(|payment| payment.state = "held");
        }
    }

    /// From now on amounts are told so much too high.
    pub fn overstate(&self, cents: u64) {
        self.desk.book.lock().overstated_cents = cents;
    }

    /// Stops the next call at this step, for good: it is never answered.
    pub fn stop_at(&self, step: Step) -> Stopped {
        let (sender, reached) = mpsc::channel();
        self.desk.book.lock().stop_at = Some((step, sender));
        Stopped(reached)
    }
}

/// A step at which a call will be stopped.
pub struct Stopped(mpsc::Receiver<()>);

impl Stopped {
    /// Waits until a call has come there.
    pub fn reached(self) {
        self.0.recv_timeout(PATIENCE).expect("a call comes to the step");
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

impl Book {
    fn note_caller(&mut self, call: &str, headers: &HeaderMap) {
        let sent = headers.get("traceparent").and_then(|value| value.to_str().ok());
        self.traceparents.extend(sent.map(|sent| (call.to_owned(), sent.to_owned())));
    }

    /// Whether a call stops here.
    fn stops_at(&mut self, step: Step) -> bool {
        let stops = self.stop_at.as_ref().is_some_and(|(at, _)| *at == step);
        if stops && let Some((_, reached)) = self.stop_at.take() {
            // Who asked for it may have lost patience.
            let _ = reached.send(());
        }
        stops
    }
}

impl Desk {
    fn is_known(&self, headers: &HeaderMap) -> bool {
        let bearer = format!("Bearer {}", self.token);
        headers.get("authorization").is_some_and(|given| given == bearer.as_str())
    }

    /// Lets the weather at one call: `effect` runs unless the call is lost before.
    async fn serve(&self, headers: &HeaderMap, effect: impl FnOnce(&mut Book) -> Reply) -> Reply {
        if !self.is_known(headers) {
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
    let Some(Payment { state, hold, .. }) = book.payments.get(key) else {
        return (StatusCode::NOT_FOUND, Json(json!({"key": key, "state": "not_found"})));
    };
    let mut body = json!({"key": key, "state": state});
    if *state == "declined" {
        body["reason"] = "card-stolen".into();
    }
    if let Some(hold) = hold {
        body["amount_cents"] = (hold["amount_cents"].as_u64().unwrap_or(0) + book.overstated_cents).into();
        body["currency"] = hold["currency"].clone();
    }
    (StatusCode::OK, Json(body))
}

async fn status(State(desk): State<Arc<Desk>>, Path(key): Path<String>, headers: HeaderMap) -> Reply {
    desk.serve(&headers, |book| told(book, &key)).await
}

async fn act(
    State(desk): State<Arc<Desk>>,
    Path((key, verb)): Path<(String, String)>,
    headers: HeaderMap,
    body: Option<Json<Value>>,
) -> Reply {
    if headers.get("idempotency-key").is_none_or(|given| given != key.as_str()) {
        return problem(StatusCode::BAD_REQUEST);
    }
    let Some(name) = ["hold", "capture", "void"].into_iter().find(|name| *name == verb) else {
        return problem(StatusCode::NOT_FOUND);
    };
    desk.book.lock().note_caller(name, &headers);
    if desk.book.lock().stops_at(Step::Before(name)) {
        return pending().await;
    }
    let reply = desk.serve(&headers, |book| take_effect(book, &key, name, body.map(|Json(body)| body))).await;
    if desk.book.lock().stops_at(Step::After(name)) {
        return pending().await;
    }
    reply
}

fn take_effect(book: &mut Book, key: &str, verb: &str, body: Option<Value>) -> Reply {
    let processing = book.processing;
    match (verb, book.payments.get_mut(key)) {
        ("hold", known) => {
            let Some(body) = body else { return problem(StatusCode::BAD_REQUEST) };
            match known {
                Some(known) => {
                    let differs = |hold: &Value| {
                        ["order_id", "buyer", "amount_cents", "currency"]
                            .iter()
                            .any(|it| hold[it] != body[it])
                    };
                    if known.hold.as_ref().is_some_and(differs) {
                        return (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({"error": "key-reused"})));
                    }
                }
                None => {
                    let is_stolen = body["payment_method"] == "stolen-card";
                    let state = match (is_stolen, processing) {
                        (true, _) => "declined",
                        (false, true) => "processing",
                        (false, false) => "held",
                    };
                    book.payments.insert(
                        key.to_owned(),
                        Payment { state, hold: Some(body), captures: 0, refunds: HashMap::new() },
                    );
                }
            }
        }
        ("capture", Some(payment)) if payment.state == "held" => {
            payment.state = "captured";
            payment.captures += 1;
        }
        ("void", Some(payment)) if payment.state == "held" => payment.state = "voided",
        ("void", None) => {
            let used_up = Payment { state: "voided", hold: None, captures: 0, refunds: HashMap::new() };
            book.payments.insert(key.to_owned(), used_up);
        }
        _ => {}
    }
    told(book, key)
}

async fn refund(
    State(desk): State<Arc<Desk>>,
    Path((key, number)): Path<(String, String)>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Reply {
    let name = format!("{key}-r{number}");
    if desk.book.lock().knows_no_refunds {
        return problem(StatusCode::NOT_FOUND);
    }
    if headers.get("idempotency-key").is_none_or(|given| given != name.as_str()) {
        return problem(StatusCode::BAD_REQUEST);
    }
    if desk.book.lock().stops_at(Step::Before("refund")) {
        return pending().await;
    }
    let reply = desk.serve(&headers, |book| give_back(book, &key, &number, &name, body)).await;
    if desk.book.lock().stops_at(Step::After("refund")) {
        return pending().await;
    }
    reply
}

fn give_back(book: &mut Book, key: &str, number: &str, name: &str, body: Value) -> Reply {
    let refuses = book.refuses_refunds;
    let Some(payment) = book.payments.get_mut(key) else {
        return (StatusCode::NOT_FOUND, Json(json!({"key": name, "state": "not_found"})));
    };
    let paid = payment.hold.as_ref().and_then(|hold| hold["amount_cents"].as_u64()).unwrap_or(0);
    let cents = |body: &Value| body["amount_cents"].as_u64().unwrap_or(0);
    let given: u64 =
        payment.refunds.values().filter(|(state, _)| *state == "refunded").map(|(_, body)| cents(body)).sum();
    let is_possible = payment.state == "captured" && given + cents(&body) <= paid && !refuses;
    let state = if is_possible { "refunded" } else { "refused" };
    let (state, known) = payment.refunds.entry(number.to_owned()).or_insert((state, body.clone()));
    if known["amount_cents"] != body["amount_cents"] || known["currency"] != body["currency"] {
        return (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({"error": "key-reused"})));
    }
    let mut told = json!({"key": name, "state": state, "amount_cents": body["amount_cents"], "currency": body["currency"]});
    if *state == "refused" {
        told["reason"] = "not-possible-any-more".into();
    }
    (StatusCode::OK, Json(told))
}

async fn policy(State(desk): State<Arc<Desk>>, headers: HeaderMap) -> Reply {
    let body = json!({"ask_above_cents": 1_000, "denied_buyers": ["mallory"]});
    desk.serve(&headers, |_| (StatusCode::OK, Json(body))).await
}

async fn assess(State(desk): State<Arc<Desk>>, headers: HeaderMap, Json(body): Json<Value>) -> Reply {
    let (stops, rejects) = {
        let mut book = desk.book.lock();
        let attempt = format!("{}-{}", body["order_id"].as_str().unwrap_or_default(), body["attempt"]);
        *book.assessed.entry(attempt).or_default() += 1;
        book.note_caller("assess", &headers);
        book.questions.push(body["key"].as_str().unwrap_or_default().to_owned());
        (book.stops_at(Step::Assess), book.rejects)
    };
    if stops {
        return pending().await;
    }
    let verdict = if rejects || body["buyer"] == "eve" {
        json!({"verdict": "reject", "reason": "account-too-new"})
    } else {
        json!({"verdict": "approve"})
    };
    desk.serve(&headers, |_| (StatusCode::OK, Json(verdict))).await
}
