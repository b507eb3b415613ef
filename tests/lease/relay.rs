//! The relay of order events on a real Redis: nothing is lost, doubled or out of order, whoever dies.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::server::RedisServer;
use redis::FromRedisValue;
use seckill::domain::StoreIdentity;
use seckill::ledger::redis::{
    EventRelay, RedisBooks, RedisLink, RedisSettings, RelayError, RelayParts, RelaySettings, RelayedEvent,
};
use seckill::orders::{StoreError, StoreHistory, StoreMark};
use testbed::PATIENCE;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

const EVENTS: u64 = 1_000;
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// A store with the events 1 to `EVENTS`.
async fn read(after: u64, limit: usize) -> Result<Vec<RelayedEvent>, StoreError> {
    let events = (after + 1..=EVENTS).take(limit);
    Ok(events.map(|seq| event(seq, "ann")).collect())
}

/// The event with this number, about this buyer's order.
fn event(seq: u64, buyer: &str) -> RelayedEvent {
    let json = format!(r#"{{"seq":{seq},"type":"order.created","order_id":"{buyer}-{seq}"}}"#);
    RelayedEvent { seq, json: Some(json) }
}

/// The store with this identity.
fn store(identity: u8) -> StoreHistory {
    StoreHistory {
        identity: StoreIdentity::from_bytes(&[identity; 16]).unwrap(),
        timeline: 1,
        own_names: true,
        mark: StoreMark { last_event: EVENTS, last_change: 1, decisions: 1 },
    }
}

fn parts(books: &Arc<RedisBooks>, settings: RelaySettings) -> RelayParts {
    RelayParts {
        books: Arc::clone(books),
        settings,
        store: store(1),
        concerns: Arc::default(),
        sent: watch::Sender::default(),
    }
}

fn books(server: &RedisServer) -> Arc<RedisBooks> {
    let settings = RedisSettings {
        url: server.url().as_str().into(),
        answer_ms_max: 5_000,
        reconnect_pause_ms: 0,
        ..RedisSettings::default()
    };
    Arc::new(RedisBooks::new(RedisLink::new(&settings).unwrap()))
}

async fn ids(books: &RedisBooks) -> Vec<String> {
    let mut range = redis::cmd("XRANGE");
    range.arg("seckill:events").arg("-").arg("+");
    let entries = books.link().send(&range).await.unwrap().unwrap();
    let entries = Vec::<(String, Vec<String>)>::from_redis_value(entries).unwrap();
    entries.into_iter().map(|(id, _)| id).collect()
}

fn expected(from: u64) -> Vec<String> {
    (from..=EVENTS).map(|seq| format!("{seq}-0")).collect()
}

fn settings(stream_events_max: u64) -> RelaySettings {
    RelaySettings { stream_events_max, batch_events_max: 70, ..RelaySettings::default() }
}

/// Steps until there is nothing left to send, whatever fails on the way.
async fn finish<R, F>(relay: &mut EventRelay<R>)
where
    R: Fn(u64, usize) -> F + Send,
    F: Future<Output = Result<Vec<RelayedEvent>, StoreError>> + Send,
{
    for _ in 0..200 {
        if matches!(relay.step().await, Ok(0)) && matches!(relay.step().await, Ok(0)) {
            return;
        }
    }
    panic!("the relay does not come to an end");
}

#[tokio::test]
async fn relays_that_die_or_work_together_leave_each_event_once_and_in_order() {
    let server = RedisServer::start();
    let books = books(&server);
    let mut first = EventRelay::new(parts(&books, settings(EVENTS * 2)), read);
    for _ in 0..4 {
        first.step().await.unwrap();
    }
    let (sent, told) = watch::channel(None);
    let mut second = EventRelay::new(RelayParts { sent, ..parts(&books, settings(EVENTS * 2)) }, read);
    for _ in 0..3 {
        second.step().await.unwrap();
        first.step().await.unwrap();
    }
    drop(first);
    finish(&mut second).await;
    assert_eq!(ids(&books).await, expected(1));
    assert_eq!(*told.borrow(), Some(EVENTS), "it tells how far it has come");
}

#[tokio::test]
async fn a_relay_that_rests_is_woken_by_the_next_event() {
    let server = RedisServer::start();
    let books = books(&server);
    // How many events there are, and how often was looked for them.
    let [there, looks] = [(); 2].map(|()| Arc::new(AtomicU64::new(0)));
    let read = {
        let (there, looks) = (Arc::clone(&there), Arc::clone(&looks));
        move |after, limit| {
            looks.fetch_add(1, Ordering::SeqCst);
            let events = (after + 1..=there.load(Ordering::SeqCst)).take(limit);
            let events = events.map(|seq| event(seq, "ann")).collect();
            async { Ok(events) }
        }
    };
    // Its rest lasts longer than the test waits.
    let settings = RelaySettings { idle_ms: 600_000, ..settings(EVENTS * 2) };
    let (_elected, elected) = watch::channel(true);
    let (seen, newest) = watch::channel(0);
    tokio::spawn(EventRelay::new(parts(&books, settings), read).run(elected, newest));
    let looked = async {
        while looks.load(Ordering::SeqCst) == 0 {
            sleep(LOOK_AGAIN).await
        }
    };
    timeout(PATIENCE, looked).await.expect("it looks when it begins");
    there.store(5, Ordering::SeqCst);
    seen.send(5).unwrap();
    let sent = async {
        while ids(&books).await.len() < 5 {
            sleep(LOOK_AGAIN).await
        }
    };
    timeout(PATIENCE, sent).await.expect("it looks again at once");
    assert_eq!(ids(&books).await, expected(1)[..5]);
}

#[tokio::test]
async fn a_redis_that_lost_its_stream_is_sent_the_events_again() {
    let mut server = RedisServer::start();
    let books = books(&server);
    let mut relay = EventRelay::new(parts(&books, settings(EVENTS * 2)), read);
    for _ in 0..5 {
        relay.step().await.unwrap();
    }
    server.restart(false);
    finish(&mut relay).await;
    assert_eq!(ids(&books).await, expected(1));
}

#[tokio::test]
async fn the_stream_is_bounded() {
    let server = RedisServer::start();
    let books = books(&server);
    let mut relay = EventRelay::new(parts(&books, settings(100)), read);
    finish(&mut relay).await;
    let ids = ids(&books).await;
    assert!(ids.len() < 300, "{} events are kept", ids.len());
    assert_eq!(ids.last(), expected(EVENTS).last());
}

/// The buyers whose orders the stream tells of.
async fn buyers(books: &RedisBooks) -> Vec<String> {
    let mut range = redis::cmd("XRANGE");
    range.arg("seckill:events").arg("-").arg("+");
    let entries = books.link().send(&range).await.unwrap().unwrap();
    let entries = Vec::<(String, Vec<String>)>::from_redis_value(entries).unwrap();
    let json =
        entries.iter().map(|(_, fields)| serde_json::from_str::<serde_json::Value>(&fields[1]).unwrap());
    json.map(|event| event["order_id"].as_str().unwrap().split('-').next().unwrap().to_owned()).collect()
}

/// A store in which bob's orders begin after event `shared`, and `last` is the last event.
fn another_past(
    shared: u64,
    last: u64,
) -> impl Fn(u64, usize) -> std::future::Ready<Result<Vec<RelayedEvent>, StoreError>> + Send {
    move |after, limit| {
        let events = (after + 1..=last).take(limit);
        let buyer = |seq| if seq <= shared { "ann" } else { "bob" };
        std::future::ready(Ok(events.map(|seq| event(seq, buyer(seq))).collect()))
    }
}

#[tokio::test]
async fn n7_a_store_that_went_back_fills_its_stream_anew() {
    let server = RedisServer::start();
    let books = books(&server);
    // Shorter than the stream; as long by now; longer.
    for (shared, last) in [(700, 800), (800, 1_000), (600, 1_200)] {
        let mut before = EventRelay::new(parts(&books, settings(EVENTS * 2)), read);
        finish(&mut before).await;
        assert_eq!(buyers(&books).await, vec!["ann"; 1_000]);
        let mut after = EventRelay::new(parts(&books, settings(EVENTS * 2)), another_past(shared, last));
        finish(&mut after).await;
        let expected = [vec!["ann"; shared as usize], vec!["bob"; (last - shared) as usize]].concat();
        assert_eq!(buyers(&books).await, expected, "{shared} {last}");
        server.command("DEL seckill:events");
    }
    // One that runs on while the store goes back notices as well.
    let mut relay = EventRelay::new(parts(&books, settings(EVENTS * 2)), {
        let has_gone_back = AtomicBool::new(false);
        move |after, limit| {
            has_gone_back.fetch_or(after > 500, Ordering::SeqCst);
            let has_gone_back = has_gone_back.load(Ordering::SeqCst);
            let (shared, last) = if has_gone_back { (100, 400) } else { (EVENTS, EVENTS) };
            another_past(shared, last)(after, limit)
        }
    });
    for _ in 0..20 {
        relay.step().await.unwrap();
    }
    assert_eq!(buyers(&books).await, [vec!["ann"; 100], vec!["bob"; 300]].concat());
}

#[tokio::test]
async fn n15_the_stream_of_a_store_that_sells_is_left_to_it_and_that_of_another_is_cleared() {
    let server = RedisServer::start();
    let books = books(&server);
    books.tell_store(&store(1)).await.unwrap();
    let mut first = EventRelay::new(parts(&books, settings(EVENTS * 2)), read);
    finish(&mut first).await;
    let others = RelayParts { store: store(2), ..parts(&books, settings(EVENTS * 2)) };
    let mut second = EventRelay::new(others.clone(), another_past(0, 50));
    assert!(matches!(second.step().await, Err(RelayError::OtherStore)));
    let said = others.concerns.all();
    assert!(said[0].0 == "stream-of-another-store" && said[0].1.contains("relay.stream"), "{said:?}");
    assert_eq!(ids(&books).await, expected(1), "nothing was touched");

    // It has said nothing of itself for long.
    server.command(&format!("HSET seckill:{{stores}} {}:at 1", store(1).identity));
    finish(&mut second).await;
    assert_eq!(buyers(&books).await, vec!["bob"; 50]);
    assert_eq!(others.concerns.all(), []);
}

#[tokio::test]
async fn n15_of_two_stores_that_found_the_stream_empty_one_has_it() {
    let server = RedisServer::start();
    let books = books(&server);
    let have_events = AtomicBool::new(false);
    let read_later = |after, limit| {
        let last = if have_events.load(Ordering::SeqCst) { EVENTS } else { 0 };
        another_past(EVENTS, last)(after, limit)
    };
    let [mut first, mut second] = [1, 2].map(|identity| {
        let parts = RelayParts { store: store(identity), ..parts(&books, settings(EVENTS * 2)) };
        EventRelay::new(parts, read_later)
    });
    for identity in [1, 2] {
        books.tell_store(&store(identity)).await.unwrap();
    }
    // Each has seen that nobody has the stream.
    assert!(matches!((first.step().await, second.step().await), (Ok(0), Ok(0))));
    have_events.store(true, Ordering::SeqCst);
    first.step().await.unwrap();
    for _ in 0..3 {
        assert!(matches!(second.step().await, Err(RelayError::OtherStore)));
    }
    finish(&mut first).await;
    assert_eq!(ids(&books).await, expected(1), "nothing was deleted");
}
