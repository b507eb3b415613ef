//! A steady load, in which whatever comes also goes.

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use testbed::client::request;
use testbed::crowd::BuyerClient;

const CLIENTS: u32 = 4;
/// Buyers of one client, who come again and again.
const BUYERS: u64 = 2_000;
/// From one small sale to the next.
const SALE_EVERY: Duration = Duration::from_secs(60);
const SALE_UNITS: u32 = 50;
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// What became of it.
#[derive(Debug, Default)]
pub struct Told {
    /// Purchases that won.
    pub bought: u64,
    /// Clicks that were refused.
    pub refused: u64,
    /// Sales that were sold, paid, ended and archived.
    pub archived: u64,
    /// Why this was no steady load.
    pub problem: Option<String>,
}

#[derive(Debug, Default)]
struct Shared {
    is_over: AtomicBool,
    bought: AtomicU64,
    refused: AtomicU64,
    archived: AtomicU64,
}

/// The running load.
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Result<(), String>>>,
}

impl Load {
    /// Starts so many rounds a second.
    pub fn start(edge: SocketAddr, admin: SocketAddr, rate: NonZeroU64) -> Self {
        let shared = Arc::new(Shared::default());
        make_sale(admin, "steady", 100_000).expect("a sale");
        make_sale(admin, "gone", 1).expect("a sale");
        BuyerClient::at(edge).buy("gone", "first", 1, None).expect("an answer");
        let period = Duration::from_secs_f64(f64::from(CLIENTS) / rate.get() as f64);
        let mut threads: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || buy_and_cancel(&shared, edge, client, period))
            })
            .collect();
        let sales = Arc::clone(&shared);
        threads.push(std::thread::spawn(move || sell_small_sales(&sales, edge, admin)));
        Self { shared, threads }
    }

    /// Ends it.
    pub fn end(self) -> Told {
        self.shared.is_over.store(true, Relaxed);
        let ended = self
            .threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err("a client panicked".into())));
        let ended: Vec<_> = ended.collect();
        Told {
            bought: self.shared.bought.load(Relaxed),
            refused: self.shared.refused.load(Relaxed),
            archived: self.shared.archived.load(Relaxed),
            problem: ended.into_iter().find_map(Result::err),
        }
    }
}

fn make_sale(admin: SocketAddr, sku: &str, stock: u32) -> Result<(), String> {
    let body = format!(
        r#"{{"campaign":"test","sku":"{sku}","price_cents":1999,"stock":{stock},"pay_within_s":60,"title":"Soak"}}"#
    );
    act(admin, "/api/v1/campaigns", &body, 201)
}

fn act(admin: SocketAddr, path: &str, body: &str, expected: u16) -> Result<(), String> {
    let answer = request(admin, "POST", path, "Content-Type: application/json\r\n", body);
    if answer.status == expected { Ok(()) } else { Err(format!("{path}: {} {}", answer.status, answer.body)) }
}

/// Round by round, each at its time.
fn buy_and_cancel(shared: &Shared, edge: SocketAddr, client: u32, period: Duration) -> Result<(), String> {
    let mut buyers = BuyerClient::at(edge);
    let began = Instant::now();
    for round in 0_u64.. {
        let due = period.mul_f64(round as f64);
        std::thread::sleep(due.saturating_sub(began.elapsed()));
        if shared.is_over.load(Relaxed) {
            break;
        }
        let buyer = format!("b-{client}-{}", round % BUYERS);
        let lost = || "the engine closed a connection without an answer".to_owned();
        let bought = buyers.buy("steady", &buyer, 1, None).ok_or_else(lost)?;
        match bought.status {
            201 | 202 => {
                shared.bought.fetch_add(1, Relaxed);
                buyers.look_up(&buyer, &bought.order_id).ok_or_else(lost)?;
                buyers.cancel(&buyer, &bought.order_id).ok_or_else(lost)?;
            }
            _ => _ = shared.refused.fetch_add(1, Relaxed),
        }
        buyers.buy("gone", &buyer, 1, None).ok_or_else(lost)?;
        shared.refused.fetch_add(1, Relaxed);
    }
    Ok(())
}

/// Sale after sale, each from its making to the archive.
fn sell_small_sales(shared: &Shared, edge: SocketAddr, admin: SocketAddr) -> Result<(), String> {
    let began = Instant::now();
    for number in 0_u32.. {
        while began.elapsed() < SALE_EVERY * number {
            if shared.is_over.load(Relaxed) {
                return Ok(());
            }
            std::thread::sleep(LOOK_PAUSE);
        }
        let sku = format!("small-{number}");
        make_sale(admin, &sku, SALE_UNITS)?;
        let mut buyers = BuyerClient::at(edge);
        for unit in 0..SALE_UNITS {
            let buyer = format!("payer-{unit}");
            let order = buyers.buy(&sku, &buyer, 1, None).ok_or("no answer to a purchase")?;
            while buyers.pay(&buyer, &order.order_id).ok_or("no answer to a payment")?.status != 200 {
                if shared.is_over.load(Relaxed) {
                    return Ok(());
                }
                // The simulated bank declines now and then.
                std::thread::sleep(LOOK_PAUSE);
            }
        }
        for word in ["end", "archive"] {
            act(admin, &format!("/api/v1/campaigns/test/{sku}/{word}"), r#"{"reason":"sold"}"#, 200)?;
        }
        shared.archived.fetch_add(1, Relaxed);
    }
    Ok(())
}
