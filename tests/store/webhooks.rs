//! Webhooks over both stores: what is kept of an endpoint and by whom, and deliveries whose hours and days are simulated.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use seckill::admission::OrderIds;
use seckill::domain::{EpochMs, NodeId};
use seckill::orders::{
    Act, ActKind, Actor, Envelope, LogCursor, LogEnds, OrderDesk, Pipeline, PipelineParts, StoreReader,
    StoreWriter, ToldLog, WebhookAct, WebhookChange, WebhookHealth, WebhookReader, WebhookRow, WebhookSave,
    WebhookState, WebhookStep, WebhookWriter, WriterSettings,
};
use seckill::webhooks::{
    Transport, WebhookAnswer, WebhookEndpoint, WebhookRequest, WebhookSettings, Webhooks,
};
use serde_json::{Value, json};
use standardwebhooks::Webhook;
use testbed::PATIENCE;
use testbed::servers::postgres::Postgres;
use tokio::time::Instant;

use crate::log::{Shop, make_sale};
use crate::postgres::node::{Node, number_events};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const HOUR: Duration = Duration::from_secs(3_600);
const MINUTE: Duration = Duration::from_secs(60);
const SECONDS: Duration = Duration::from_secs(5);

fn act(id: i64, kind: ActKind) -> Act {
    let text = str::to_owned;
    let actor =
        Actor { who: text("ann"), role: text("operator"), address: text("::1"), request_id: text("r") };
    let (from, to) = (Value::Null, Value::Null);
    let (object, reason) = (text("erp"), Some(text("why")));
    Act { id, at: EpochMs(5), actor, tenant: None, kind, object, from, to, reason }
}

fn row(reader: &impl WebhookReader, name: &str) -> WebhookRow {
    reader.webhooks().unwrap().0.into_iter().find(|row| row.name == name).expect("it was entered")
}

fn full_state() -> WebhookState {
    WebhookState {
        orders: LogCursor { through: 7, held: BTreeMap::from([("default:c/phone".into(), 3)]) },
        sales: LogCursor { through: 1, held: BTreeMap::new() },
        health: WebhookHealth {
            failing_since: Some(EpochMs(10)),
            failures: 4,
            last_failure: Some((EpochMs(11), "HTTP status 500".into())),
            last_delivery: Some(EpochMs(9)),
            next_try: Some(EpochMs(20)),
        },
        disabled: None,
    }
}

/// What both stores must do; the logs have 5 events of orders, and no act.
fn check_rows(writer: &mut dyn StoreWriter, reader: &impl WebhookReader) {
    let names = || vec!["erp".to_owned(), "crm".to_owned()];
    assert!(writer.step_webhooks(&WebhookStep::Enter(names())).unwrap());
    assert_eq!(reader.webhooks().unwrap().1, LogEnds { orders: 5, sales: 0 });
    let entered = row(reader, "erp");
    let begin = LogCursor { through: 5, held: BTreeMap::new() };
    assert_eq!((&entered.state.orders, entered.state.sales.through, entered.generation), (&begin, 0, 0));

    writer.step_webhooks(&WebhookStep::Claim { owner: 77, names: names() }).unwrap();
    let claimed = row(reader, "erp");
    assert_eq!((claimed.owner, claimed.generation), (77, 1));
    let save = |owner, generation, state: &WebhookState, act| {
        let (name, state) = ("erp".to_owned(), state.clone());
        WebhookStep::Save(vec![WebhookSave { name, owner, generation, state, act }])
    };
    assert!(writer.step_webhooks(&save(77, 1, &full_state(), None)).unwrap());
    assert_eq!(row(reader, "erp").state, full_state());
    assert_eq!(row(reader, "crm").state.orders, begin, "and no other");
    // Entered again it stays where it is.
    writer.step_webhooks(&WebhookStep::Enter(names())).unwrap();
    assert_eq!(row(reader, "erp").state, full_state());
    // Whoever claimed before, or knows nothing of an act, writes nothing.
    let stale = WebhookState::default();
    assert!(!writer.step_webhooks(&save(78, 1, &stale, None)).unwrap());
    assert!(!writer.step_webhooks(&save(77, 0, &stale, None)).unwrap());
    assert_eq!(row(reader, "erp").state, full_state());

    let change = WebhookChange::Replay { log: ToldLog::Orders, after: 2, skip_held: false };
    let replay = WebhookAct { name: "erp".into(), change, act: act(1, ActKind::WebhookReplayed) };
    assert!(writer.step_webhooks(&WebhookStep::Act(Box::new(replay.clone()))).unwrap());
    let replayed = row(reader, "erp");
    assert_eq!(replayed.state.orders, LogCursor { through: 2, held: BTreeMap::new() });
    assert_eq!((replayed.owner, replayed.generation), (77, 2));
    assert!(!writer.step_webhooks(&save(77, 1, &full_state(), None)).unwrap(), "the act came between");
    let unknown = WebhookAct { name: "nobody".into(), ..replay };
    assert!(!writer.step_webhooks(&WebhookStep::Act(Box::new(unknown))).unwrap());

    // Given up: with its entry, and what was left to be written before is not kept any more.
    let disabled = WebhookState { disabled: Some((EpochMs(30), "it is gone".into())), ..full_state() };
    let told = act(2, ActKind::WebhookDisabled);
    assert!(writer.step_webhooks(&save(77, 2, &disabled, Some(told))).unwrap());
    assert!(!writer.step_webhooks(&save(77, 2, &full_state(), None)).unwrap());
    assert_eq!((row(reader, "erp").state, row(reader, "erp").generation), (disabled, 3));
    let acts = reader.all_acts_after(0, 10).unwrap();
    let kinds: Vec<_> = acts.iter().map(|entry| entry.kind.as_str()).collect();
    assert_eq!(kinds, ["webhook.replayed", "webhook.disabled"]);
    assert_eq!(acts[0].to, json!({ "log": "orders", "through": 2 }));
    assert_eq!(reader.webhooks().unwrap().1.sales, acts[1].seq);
    assert_eq!(reader.all_acts_after(acts[0].seq, 10).unwrap().len(), 1);
}

#[test]
fn w7_what_is_kept_of_an_endpoint_is_kept_by_who_claimed_it_last() {
    let mut shop = Shop::open(16_384);
    shop.sell(shop.sale, 5).unwrap();
    check_rows(&mut shop.writer, &shop.reader);

    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let mut node = Node::open(1, &url);
    let sale = node.sale("a", 10, 1);
    for number in 0..5 {
        node.buy(sale, &format!("buyer-{number}"), None).unwrap();
    }
    number_events(&url);
    check_rows(&mut *node.writer, &node.reader);
}

/// A delivery as the receiver sees it.
#[derive(Clone, Debug)]
struct Seen {
    at: Duration,
    id: String,
    sku: String,
    seq: u64,
    is_taken: bool,
}

/// A receiver without a socket that takes nothing until a moment of simulated time, and verifies with the standard's library.
struct Shelf {
    opened: Instant,
    down_for: Duration,
    seen: Mutex<Vec<Seen>>,
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shelf")
    }
}

impl Transport for Shelf {
    fn post(
        &self,
        request: WebhookRequest,
    ) -> std::pin::Pin<Box<dyn Future<Output = Result<WebhookAnswer, String>> + Send + '_>> {
        Box::pin(async move {
            let verifier = Webhook::new(SECRET).unwrap();
            verifier.verify(request.body.as_bytes(), &request.headers).expect("it is rightly signed");
            let at = self.opened.elapsed();
            let is_taken = at >= self.down_for;
            let event: Value = serde_json::from_str(&request.body).unwrap();
            self.seen.lock().unwrap().push(Seen {
                at,
                id: request.headers["webhook-id"].to_str().unwrap().to_owned(),
                sku: event["data"]["sku"].as_str().unwrap().to_owned(),
                seq: event["data"]["seq"].as_u64().unwrap(),
                is_taken,
            });
            if !is_taken {
                return Err("connection refused".into());
            }
            Ok(WebhookAnswer { status: 200, retry_after: None })
        })
    }
}

fn settings(disable_after: Duration) -> WebhookSettings {
    let endpoint = WebhookEndpoint {
        name: "erp".into(),
        url: "https://erp.example/hooks".into(),
        secrets: vec![SECRET.into()],
        events: vec!["order.*".into()],
        tenant: None,
        campaign: None,
        sku: None,
        envelope: Envelope::CloudEvents,
        allow_http: false,
    };
    // Looks are rare: an hour has thousands of them.
    WebhookSettings {
        endpoints: vec![endpoint],
        idle_ms: 5_000,
        save_ms: 5_000,
        disable_after_s: disable_after.as_secs(),
        ..WebhookSettings::default()
    }
}

/// Delivers what the store has, with the clock of the tasks simulated, until everything is taken or the endpoint is given up. The
/// receiver is down for so long at first, and time moves in such steps.
fn deliver(
    writer: Box<dyn StoreWriter>,
    reader: Arc<dyn StoreReader>,
    settings: &WebhookSettings,
    (down_for, step): (Duration, Duration),
    events: usize,
) -> (Vec<Seen>, WebhookState, Duration) {
    let store = reader.identity().unwrap();
    let ids = OrderIds::after(NodeId::new(1).unwrap(), None);
    let parts = PipelineParts::new(vec![writer], Arc::clone(&reader), ids, WriterSettings::default());
    let Pipeline { desk, writers, .. } = Pipeline::new(parts);
    let writers: Vec<_> =
        writers.into_iter().map(|writer| std::thread::spawn(move || writer.run())).collect();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let (seen, took) = runtime.block_on(deliver_here(&desk, store, settings, (down_for, step), events));
    drop(runtime);
    let state = reader.webhooks().unwrap().0.remove(0).state;
    assert!(desk.stop(PATIENCE));
    writers.into_iter().for_each(|writer| writer.join().unwrap().unwrap());
    (seen, state, took)
}

async fn deliver_here(
    desk: &OrderDesk,
    store: seckill::domain::StoreIdentity,
    settings: &WebhookSettings,
    (down_for, step): (Duration, Duration),
    events: usize,
) -> (Vec<Seen>, Duration) {
    let opened = Instant::now();
    let shelf = Arc::new(Shelf { opened, down_for, seen: Mutex::default() });
    let transport = Arc::clone(&shelf) as Arc<dyn Transport>;
    let webhooks = Webhooks::new(settings, desk.clone(), store, transport).unwrap();
    let running = tokio::spawn(webhooks.clone().run(None));
    // Time moves only where it is moved here, and only when the store has done what it was asked for: however slow the disk
    // is, an hour is an hour.
    let (over, is_over) = std::sync::mpsc::channel::<()>();
    let holding = tokio::task::spawn_blocking(move || is_over.recv());
    loop {
        tokio::time::advance(step).await;
        for _ in 0..3 {
            tokio::task::yield_now().await;
            desk.step_webhooks(WebhookStep::Enter(Vec::new())).await.unwrap();
            desk.webhooks().await.unwrap();
        }
        let taken: HashSet<String> = {
            let seen = shelf.seen.lock().unwrap();
            seen.iter().filter(|it| it.is_taken).map(|it| it.id.clone()).collect()
        };
        let is_disabled = webhooks.seen().rows.iter().any(|row| row.state.disabled.is_some());
        if taken.len() == events || is_disabled {
            break;
        }
        assert!(opened.elapsed() < 240 * HOUR, "{} of {events} were taken", taken.len());
    }
    webhooks.leave().await;
    running.await.unwrap();
    drop(over);
    holding.await.unwrap().unwrap_err();
    let seen = shelf.seen.lock().unwrap().clone();
    (seen, opened.elapsed())
}

/// Each event was taken, each sale's in order.
fn check_taken(seen: &[Seen], events: usize) {
    let mut known = HashSet::new();
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    for it in seen.iter().filter(|it| it.is_taken && known.insert(&it.id)) {
        let before = last.insert(&it.sku, it.seq).unwrap_or(0);
        assert!(before < it.seq, "{it:?} came after {before}");
    }
    assert_eq!(known.len(), events);
}

const EVENTS: usize = 1_500;

fn check_an_hour(seen: &[Seen], state: &WebhookState, took: Duration) {
    check_taken(seen, EVENTS);
    let (failed, taken): (Vec<_>, Vec<_>) = seen.iter().partition(|it| !it.is_taken);
    assert_eq!(taken.len(), EVENTS, "each once: nobody died");
    // The pauses grow: an hour is no thousand attempts, and no pause is longer than what has passed by then.
    assert!((5..100).contains(&failed.len()), "{} attempts failed", failed.len());
    assert!(failed.iter().all(|it| it.at < HOUR) && took >= HOUR, "{took:?}");
    assert_eq!(state.orders, LogCursor { through: EVENTS as u64, held: BTreeMap::new() });
    assert_eq!((state.health.failures, state.health.failing_since), (0, None));
    assert_eq!(state.health.last_failure.as_ref().unwrap().1, "connection refused");
}

#[test]
fn w8_after_an_hour_without_a_receiver_everything_arrives_once_and_in_order() {
    let mut shop = Shop::open(16_384);
    shop.writer.step_webhooks(&WebhookStep::Enter(vec!["erp".into()])).unwrap();
    let others = [make_sale(&mut shop.writer, "watch"), make_sale(&mut shop.writer, "ring")];
    for turn in 0..EVENTS as u64 / 50 {
        let sale = [shop.sale, others[0], others[1]][turn as usize % 3];
        shop.sell(sale, 50).unwrap();
    }
    let Shop { folder, writer, reader, .. } = shop;
    let (writer, reader) = (Box::new(writer), Arc::new(reader));
    let (seen, state, took) = deliver(writer, reader, &settings(72 * HOUR), (HOUR, SECONDS), EVENTS);
    check_an_hour(&seen, &state, took);
    drop(folder);

    let postgres = Postgres::shared();
    let url = postgres.new_database();
    let mut node = Node::open(1, &url);
    node.writer.step_webhooks(&WebhookStep::Enter(vec!["erp".into()])).unwrap();
    let sales = ["a", "b", "c"].map(|name| node.sale(name, 10_000, 1));
    for turn in 0..EVENTS / 50 {
        let placed = (0..50).map(|n| node.order(sales[turn % 3], &format!("buyer-{turn}-{n}"), 1, None));
        let placed = placed.collect();
        assert!(node.place(placed).is_empty());
    }
    number_events(&url);
    let Node { writer, reader, .. } = node;
    let (seen, state, took) =
        deliver(writer, Arc::new(reader), &settings(72 * HOUR), (HOUR, SECONDS), EVENTS);
    check_an_hour(&seen, &state, took);
}

#[test]
fn w9_after_three_days_without_a_receiver_it_is_given_up_with_an_entry_and_few_attempts() {
    let mut shop = Shop::open(16_384);
    shop.writer.step_webhooks(&WebhookStep::Enter(vec!["erp".into()])).unwrap();
    shop.sell(shop.sale, 10).unwrap();
    let Shop { folder, writer, reader, .. } = shop;
    let reader = Arc::new(reader);
    let (seen, state, took) =
        deliver(Box::new(writer), Arc::clone(&reader) as _, &settings(72 * HOUR), (1_000 * HOUR, MINUTE), 10);
    assert!(took >= 72 * HOUR, "{took:?}");
    // An hour apart at the most: days are covered by few.
    assert!((72..300).contains(&seen.len()), "{}", seen.len());
    let (_, why) = state.disabled.expect("it was given up");
    assert!(why.contains("webhooks.disable_after_s") && why.contains("connection refused"), "{why}");
    let acts = reader.all_acts_after(0, 10).unwrap();
    assert_eq!(
        (acts.len(), acts[0].kind.as_str(), acts[0].actor.who.as_str()),
        (1, "webhook.disabled", "engine")
    );
    assert_eq!(state.orders.held.values().copied().collect::<Vec<_>>(), [1], "it goes on from there");
    drop(folder);
}
