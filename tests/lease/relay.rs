//! The relay of order events on a real Redis: nothing is lost, doubled or out of order, whoever dies.

use std::sync::Arc;

use crate::server::RedisServer;
use redis::FromRedisValue;
use seckill::ledger::redis::{EventRelay, RedisBooks, RedisLink, RedisSettings, RelaySettings, RelayedEvent};
use seckill::orders::StoreError;

const EVENTS: u64 = 1_000;

/// A store with the events 1 to `EVENTS`.
async fn read(after: u64, limit: usize) -> Result<Vec<RelayedEvent>, StoreError> {
    let events = (after + 1..=EVENTS).take(limit);
    Ok(events.map(|seq| RelayedEvent { seq, json: format!("{{\"seq\":{seq}}}") }).collect())
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
    let mut first = EventRelay::new(Arc::clone(&books), settings(EVENTS * 2), read);
    for _ in 0..4 {
        first.step().await.unwrap();
    }
    let mut second = EventRelay::new(Arc::clone(&books), settings(EVENTS * 2), read);
    for _ in 0..3 {
        second.step().await.unwrap();
        first.step().await.unwrap();
    }
    drop(first);
    finish(&mut second).await;
    assert_eq!(ids(&books).await, expected(1));
}

#[tokio::test]
async fn a_redis_that_lost_its_stream_is_sent_the_events_again() {
    let mut server = RedisServer::start();
    let books = books(&server);
    let mut relay = EventRelay::new(Arc::clone(&books), settings(EVENTS * 2), read);
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
    let mut relay = EventRelay::new(Arc::clone(&books), settings(100), read);
    finish(&mut relay).await;
    let ids = ids(&books).await;
    assert!(ids.len() < 300, "{} events are kept", ids.len());
    assert_eq!(ids.last(), expected(EVENTS).last());
}
