//! A rolling restart behind a real balancer: every request has an answer.
//!
//! `cargo xtask rolling` is the long form, on the release binary at a rate.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use testbed::client::Client;
use testbed::servers::haproxy::Haproxy;
use testbed::watched::WatchedEngine;
use testbed::{asked, until};

/// Buyers at once; half of them keep their connections.
const BUYERS: u64 = 16;
/// Purchases between two stops.
const PURCHASES: u64 = 400;

#[test]
fn o3_a_rolling_restart_behind_haproxy_leaves_no_request_unanswered() {
    let rounds: usize = asked("SECKILL_ROLLING_ROUNDS").unwrap_or(1);
    let rate_per_s: Option<u64> = asked("SECKILL_ROLLING_RATE_PER_S");
    let purchases = rate_per_s.map_or(PURCHASES, |rate| rate * 5);
    let keys = [("EDGE__LAME_DUCK_MS", "3000")];
    let mut engines = [WatchedEngine::prepare(), WatchedEngine::prepare()];
    for engine in &mut engines {
        engine.start("", &keys);
        engine.sale("phone", 100_000_000, "");
    }
    let proxy = Haproxy::start(&[0, 1].map(|n: usize| (engines[n].edge, engines[n].admin)));
    let load = Load::default();
    std::thread::scope(|scope| {
        for buyer in 0..BUYERS {
            let (load, address) = (&load, proxy.address());
            scope.spawn(move || load.buy(address, buyer, rate_per_s));
        }
        // Also when an assertion fails, so that the others end.
        let _over = Over(&load);
        load.wait_for_more(purchases);
        for number in (0..engines.len()).cycle().take(rounds * engines.len()) {
            let engine = &mut engines[number];
            engine.signal(Signal::TERM);
            assert_eq!(engine.wait_for_end().code(), Some(0), "{}", engine.log_text());
            load.wait_for_more(purchases);
            engine.start("", &keys);
            proxy.wait_until_up(number);
            load.wait_for_more(purchases);
        }
    });
    let (answered, wrong) = (load.answered.into_inner(), load.wrong.into_inner().unwrap());
    println!("{answered} purchases answered, {} not", wrong.len());
    assert!(wrong.is_empty(), "of {answered} purchases: {wrong:?}");
}

/// Buyers who click until they are told to stop.
#[derive(Default)]
struct Load {
    is_over: AtomicBool,
    answered: AtomicU64,
    /// Buyer, click, and the status if there was one.
    wrong: Mutex<Vec<(u64, u64, Option<u16>)>>,
}

struct Over<'a>(&'a Load);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Relaxed);
    }
}

impl Load {
    /// Clicks at the buyer's share of the rate, or as fast as answers come.
    fn buy(&self, address: SocketAddr, buyer: u64, rate_per_s: Option<u64>) {
        let (begun, mut kept) = (Instant::now(), None);
        for click in 0.. {
            if self.is_over.load(Ordering::Relaxed) {
                return;
            }
            if let Some(rate) = rate_per_s {
                let due = Duration::from_secs_f64((click * BUYERS + buyer) as f64 / rate as f64);
                std::thread::sleep(due.saturating_sub(begun.elapsed()));
            }
            let mut client =
                kept.take().filter(|_| buyer.is_multiple_of(2)).unwrap_or_else(|| Client::connect(address));
            let answer = client
                .send(format!(
                    "POST /seckill/test/phone HTTP/1.1\r\nHost: h\r\nX-User-ID: b-{buyer}-{click}\r\n\
                     Content-Length: 0\r\n\r\n"
                ))
                .answer();
            match answer.as_ref().map(|answer| answer.status) {
                Some(201) => {
                    self.answered.fetch_add(1, Ordering::Relaxed);
                }
                status => self.wrong.lock().unwrap().push((buyer, click, status)),
            }
            if answer.is_some_and(|answer| answer.field("connection") != Some("close")) {
                kept = Some(client);
            }
        }
    }

    fn wait_for_more(&self, purchases: u64) {
        let enough = self.answered.load(Ordering::Relaxed) + purchases;
        until("served", || self.answered.load(Ordering::Relaxed) >= enough);
    }
}
