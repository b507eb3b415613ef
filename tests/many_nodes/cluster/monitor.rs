//! Looks into the store all the time, past the engines: at no moment is more sold than there is.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use seckill::domain::OrderStatus;
use tokio_postgres::{Client, NoTls};

use super::fixture::Fixture;

const PAUSE: Duration = Duration::from_millis(25);
/// A server that is away or frozen is asked again.
const ANSWER_MAX: Duration = Duration::from_secs(3);

#[derive(Default)]
struct Seen {
    sold: AtomicU64,
    looks: AtomicU64,
    over: AtomicBool,
    broken: Mutex<Option<String>>,
}

/// A running monitor of one sale.
pub struct Monitor {
    seen: Arc<Seen>,
    thread: Option<JoinHandle<()>>,
}

impl Monitor {
    /// Begins to look.
    pub fn of(fixture: &Fixture, sku: &str) -> Self {
        let url = Arc::clone(&fixture.database_url);
        let (seen, sku) = (Arc::new(Seen::default()), sku.to_owned());
        let look = Arc::clone(&seen);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(look_until_over(&url, &sku, &look));
        });
        Self { seen, thread: Some(thread) }
    }

    /// Units sold when it last looked.
    pub fn sold(&self) -> u64 {
        assert_eq!(*self.seen.broken.lock().unwrap_or_else(PoisonError::into_inner), None);
        self.seen.sold.load(Ordering::SeqCst)
    }

    /// Ends it. Returns how often it looked.
    ///
    /// # Panics
    /// It saw more sold than there is.
    pub fn end(mut self) -> u64 {
        self.seen.over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        self.sold();
        self.seen.looks.load(Ordering::SeqCst)
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.seen.over.store(true, Ordering::SeqCst);
    }
}

async fn look_until_over(url: &Mutex<String>, sku: &str, seen: &Seen) {
    while !seen.over.load(Ordering::SeqCst) {
        let url = url.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let connected = tokio::time::timeout(ANSWER_MAX, tokio_postgres::connect(&url, NoTls)).await;
        if let Ok(Ok((client, connection))) = connected {
            let carried = tokio::spawn(connection);
            look_while_it_answers(&client, sku, seen).await;
            carried.abort();
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Sums the orders anew each time: the guard's own figure is what is being checked.
async fn look_while_it_answers(client: &Client, sku: &str, seen: &Seen) {
    let holding: Vec<i16> = OrderStatus::ALL
        .iter()
        .filter(|status| status.holds_units())
        .map(|status| status.code().into())
        .collect();
    let sql = "SELECT (SELECT coalesce(sum(h.sold - h.returned), 0)::bigint FROM seckill.shares h \
               WHERE h.sale_id = s.sale_id), s.total::bigint, coalesce((SELECT sum(o.quantity - o.restocked) FROM seckill.orders o \
               WHERE o.sale_id = s.sale_id AND o.status = ANY($2)), 0)::bigint \
               FROM seckill.sales s WHERE s.sku = $1";
    while !seen.over.load(Ordering::SeqCst) {
        let Ok(Ok(row)) = tokio::time::timeout(ANSWER_MAX, client.query_one(sql, &[&sku, &holding])).await
        else {
            return;
        };
        let (sold, total, of_orders): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
        if sold > total || of_orders != sold {
            let broken = format!("{sold} sold of {total}, and orders of {of_orders} units");
            *seen.broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(broken);
        }
        seen.sold.store(of_orders.unsigned_abs(), Ordering::SeqCst);
        seen.looks.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(PAUSE).await;
    }
}
