//! Many buyers at once, each told something.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::client::{Answer, Client};

/// A connection on which buyers ask, opened anew when the engine has closed it.
#[derive(Debug)]
pub struct BuyerClient {
    edge: SocketAddr,
    client: Option<Client>,
}

/// What a buyer was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuyerAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The code of a refusal; empty otherwise.
    pub code: String,
    /// The order it speaks of; empty if none.
    pub order_id: String,
    /// The status of the order; empty if none.
    pub order_status: String,
    /// Seconds to wait before asking again, if it may help.
    pub retry_after_s: Option<u64>,
}

impl From<&Answer> for BuyerAnswer {
    fn from(answer: &Answer) -> Self {
        let body = answer.json();
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        // A refusal's own `status` is a number.
        Self {
            status: answer.status,
            code: text("code"),
            order_id: text("order_id"),
            order_status: text("status"),
            retry_after_s: answer.field("retry-after").and_then(|seconds| seconds.parse().ok()),
        }
    }
}

impl BuyerClient {
    /// A client of the engine at this address; connects when it is first used.
    pub fn at(edge: SocketAddr) -> Self {
        Self { edge, client: None }
    }

    /// Asks and waits. `None` when the engine ended before it answered.
    pub fn ask(
        &mut self,
        method: &str,
        path: &str,
        buyer: &str,
        lines: &str,
        body: &str,
    ) -> Option<BuyerAnswer> {
        if self.client.is_none() {
            self.client = Client::try_connect(self.edge).ok();
        }
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: h\r\nX-User-ID: {buyer}\r\n{lines}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let answer = self.client.as_mut()?.send(request).answer();
        if answer.as_ref().is_none_or(|answer| answer.field("connection") == Some("close")) {
            self.client = None;
        }
        answer.as_ref().map(BuyerAnswer::from)
    }

    /// Buys units of `test/{sku}`.
    pub fn buy(&mut self, sku: &str, buyer: &str, quantity: u32, key: Option<&str>) -> Option<BuyerAnswer> {
        let lines = key.map_or(String::new(), |key| format!("Idempotency-Key: {key}\r\n"));
        let body = format!(r#"{{"quantity":{quantity}}}"#);
        self.ask("POST", &format!("/seckill/test/{sku}"), buyer, &lines, &body)
    }

    /// Pays for an order.
    pub fn pay(&mut self, buyer: &str, order_id: &str) -> Option<BuyerAnswer> {
        let path = format!("/orders/{order_id}/checkout");
        self.ask("POST", &path, buyer, "", r#"{"payment_method":"card"}"#)
    }

    /// Looks an order up.
    pub fn look_up(&mut self, buyer: &str, order_id: &str) -> Option<BuyerAnswer> {
        self.ask("GET", &format!("/orders/{order_id}"), buyer, "", "")
    }

    /// Gives an order up.
    pub fn cancel(&mut self, buyer: &str, order_id: &str) -> Option<BuyerAnswer> {
        self.ask("DELETE", &format!("/orders/{order_id}"), buyer, "", "")
    }
}

/// Says that it is over when it is dropped, also by a panic: whoever goes on until then ends, and who waits for them with it.
#[derive(Debug)]
pub struct Over<'a>(pub &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Does all `jobs` with this many clients, or whatever `open` opens: each takes the next job when it has done one, so that
/// jobs that stand side by side are done at the same time. Returns the results in no order.
///
/// # Panics
/// `work` does.
pub fn crowd<B, J: Sync, T: Send>(
    clients: usize,
    open: impl Fn() -> B + Sync,
    jobs: &[J],
    work: impl Fn(&mut B, &J) -> T + Sync,
) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let as_a_client = || {
        let mut client = open();
        let mut done = Vec::new();
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            done.push(work(&mut client, job));
        }
        done
    };
    std::thread::scope(|scope| {
        let spawn = |_| {
            let thread = std::thread::Builder::new().stack_size(512 * 1024);
            thread.spawn_scoped(scope, as_a_client).expect("a thread for each connection")
        };
        let clients: Vec<_> = (0..clients).map(spawn).collect();
        clients.into_iter().flat_map(|client| client.join().expect("no buyer panics")).collect()
    })
}
