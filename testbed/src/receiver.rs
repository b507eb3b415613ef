//! Somebody who receives webhooks and verifies them with the standard's own library, as an integrator would.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use standardwebhooks::Webhook;

/// The secret that deliveries to a receiver are signed with, unless a test says otherwise.
pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A delivery as it came in.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Its id: the same however often the event is told.
    pub id: String,
    /// Its header fields.
    pub headers: HeaderMap,
    /// What was posted, as it was.
    pub text: String,
    /// The event itself, out of its envelope if it has one.
    pub event: Value,
    /// What it was answered.
    pub status: u16,
}

impl Delivery {
    /// Whether the standard's library takes it with this secret.
    ///
    /// # Panics
    /// It is no secret.
    pub fn is_signed_with(&self, secret: &str) -> bool {
        let webhook = Webhook::new(secret).expect("a secret");
        webhook.verify(self.text.as_bytes(), &self.headers).is_ok()
    }

    /// The number of the event in its log.
    ///
    /// # Panics
    /// It has none.
    pub fn seq(&self) -> u64 {
        self.event["seq"].as_u64().unwrap_or_else(|| panic!("no seq: {}", self.text))
    }

    /// The SKU of the event's sale.
    pub fn sku(&self) -> &str {
        self.event["sku"].as_str().unwrap_or_default()
    }

    /// The type of the event.
    pub fn kind(&self) -> &str {
        self.event["type"].as_str().unwrap_or_default()
    }
}

/// What a delivery is answered.
type Answer = Box<dyn Fn(&Delivery) -> u16 + Send>;

struct Desk {
    deliveries: Mutex<Vec<Delivery>>,
    answer: Mutex<Answer>,
    is_over: AtomicBool,
}

impl Desk {
    fn deliveries(&self) -> MutexGuard<'_, Vec<Delivery>> {
        self.deliveries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A receiver on a real socket. Dropped, it listens no more.
pub struct Receiver {
    address: SocketAddr,
    desk: Arc<Desk>,
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Receiver {
    /// One that takes whatever is rightly signed, and answers 401 to the rest.
    ///
    /// # Panics
    /// There is no free port.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let answer: Answer = Box::new(|_| 204);
        let desk = Arc::new(Desk {
            deliveries: Mutex::default(),
            answer: Mutex::new(answer),
            is_over: AtomicBool::new(false),
        });
        let serving = Arc::clone(&desk);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if serving.is_over.load(Ordering::SeqCst) {
                    break;
                }
                let desk = Arc::clone(&serving);
                std::thread::spawn(move || serve(&desk, stream));
            }
        });
        Self { address, desk }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}/hooks/of-the-shop", self.address)
    }

    /// From now on deliveries are answered so; 0 closes the connection instead.
    pub fn answer(&self, answer: impl Fn(&Delivery) -> u16 + Send + 'static) {
        *self.desk.answer.lock().unwrap_or_else(PoisonError::into_inner) = Box::new(answer);
    }

    /// All deliveries so far, also those that were refused.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.desk.deliveries().clone()
    }

    /// The deliveries that were taken, each where it came first.
    pub fn taken(&self) -> Vec<Delivery> {
        let mut known = HashSet::new();
        let deliveries = self.deliveries();
        let taken = deliveries.into_iter().filter(|it| (200..300).contains(&it.status));
        taken.filter(|it| known.insert(it.id.clone())).collect()
    }

    /// How many different events were taken.
    pub fn count(&self) -> usize {
        let deliveries = self.desk.deliveries();
        let taken = deliveries.iter().filter(|it| (200..300).contains(&it.status));
        taken.map(|it| it.id.as_str()).collect::<HashSet<_>>().len()
    }

    /// Forgets what came so far.
    pub fn forget(&self) {
        self.desk.deliveries().clear();
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.desk.is_over.store(true, Ordering::SeqCst);
        // Wakes whoever waits for the next connection.
        let _ = TcpStream::connect(self.address);
    }
}

/// The deliveries of orders' events came in order for each sale, each where it came first.
///
/// # Panics
/// They did not.
pub fn check_order(taken: &[Delivery]) {
    let mut last: BTreeMap<(&str, bool), u64> = BTreeMap::new();
    for delivery in taken {
        let of_orders = delivery.kind().starts_with("order.");
        let before = last.insert((delivery.sku(), of_orders), delivery.seq()).unwrap_or(0);
        assert!(before < delivery.seq(), "{} came after {before}: {}", delivery.seq(), delivery.text);
    }
}

fn serve(desk: &Desk, stream: TcpStream) {
    let Ok(mut answers) = stream.try_clone() else { return };
    let mut reader = BufReader::new(stream);
    while let Some(mut delivery) = read(&mut reader) {
        if desk.is_over.load(Ordering::SeqCst) {
            return;
        }
        let status = if delivery.is_signed_with(SECRET) {
            desk.answer.lock().unwrap_or_else(PoisonError::into_inner)(&delivery)
        } else {
            401
        };
        delivery.status = status;
        desk.deliveries().push(delivery);
        let sent = match status {
            0 => return,
            status => write!(answers, "HTTP/1.1 {status} Told\r\nContent-Length: 0\r\n\r\n"),
        };
        if sent.is_err() {
            return;
        }
    }
}

/// The next request; `None` when the connection is over.
fn read(reader: &mut BufReader<TcpStream>) -> Option<Delivery> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    assert!(line.starts_with("POST /hooks/of-the-shop HTTP/1.1"), "{line:?}");
    let mut headers = HeaderMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        let name = HeaderName::try_from(name).expect("a name");
        headers.insert(name, HeaderValue::try_from(value.trim()).expect("a value"));
    }
    let length = headers.get("content-length")?.to_str().ok()?.parse().ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let text = String::from_utf8(body).expect("JSON");
    let told: Value = serde_json::from_str(&text).expect("JSON");
    let event = told.get("data").unwrap_or(&told).clone();
    let id = headers.get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
    Some(Delivery { id, headers, text, event, status: 0 })
}
