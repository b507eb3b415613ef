//! A search server that keeps to the documented rules of the interfaces that it stands for, and refuses whoever does not: of
//! Elasticsearch and OpenSearch (`_bulk`, external versions, aliases), or of MeiliSearch (tasks in a queue, primary keys).

mod elastic;
mod meili;
mod wire;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use elastic::Elastic;
use meili::Meili;
pub use wire::{Reply, Request};

/// The key that a server of these tests asks for.
pub const KEY: &str = "a-key-of-the-search-server";

/// What a server is like inside.
trait Kind: Send {
    /// Answers a request.
    fn answer(&mut self, request: &Request) -> Reply;
    /// Everything under the name that shops search in.
    fn documents(&self) -> BTreeMap<String, Value>;
    /// All indices that there are, by their own names.
    fn indices(&self) -> Vec<String>;
    /// From now on this says which documents are not taken.
    fn judge(&mut self, judge: Judge);
}

/// Says with which status a document is not taken, if it is not. Of MeiliSearch's kind all documents of its task are not.
type Judge = Box<dyn FnMut(&Value) -> Option<u16> + Send>;

/// Who answers in the server's place, if anybody.
type Trouble = Box<dyn FnMut(&Request) -> Option<Reply> + Send>;

struct Desk {
    kind: Mutex<Box<dyn Kind>>,
    trouble: Mutex<Trouble>,
    requests: Mutex<Vec<Request>>,
    bytes_max: Mutex<usize>,
    is_away: AtomicBool,
    is_over: AtomicBool,
}

fn held<T: ?Sized>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A server on a real socket. Dropped, it listens no more.
pub struct SearchServer {
    name: &'static str,
    address: SocketAddr,
    desk: Arc<Desk>,
}

impl fmt::Debug for SearchServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SearchServer").field("name", &self.name).field("address", &self.address).finish()
    }
}

impl SearchServer {
    /// One of Elasticsearch's kind.
    pub fn elastic() -> Self {
        Self::start("elasticsearch", Box::new(Elastic::default()))
    }

    /// One of MeiliSearch's kind.
    pub fn meili() -> Self {
        Self::start("meilisearch", Box::new(Meili::default()))
    }

    fn start(name: &'static str, kind: Box<dyn Kind>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let trouble: Trouble = Box::new(|_| None);
        let desk = Arc::new(Desk {
            kind: Mutex::new(kind),
            trouble: Mutex::new(trouble),
            requests: Mutex::default(),
            bytes_max: Mutex::new(100 << 20),
            is_away: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
        });
        let serving = Arc::clone(&desk);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if serving.is_over.load(Ordering::SeqCst) {
                    break;
                }
                let desk = Arc::clone(&serving);
                std::thread::spawn(move || wire::serve(stream, |request| desk.answer(name, request)));
            }
        });
        Self { name, address, desk }
    }

    /// Keys of an engine that follows its sales into this server and is quick about it.
    pub fn keys(&self) -> Vec<(&'static str, &'static str)> {
        // As long as the test: an engine is started with borrowed keys.
        let url: &'static str = Box::leak(format!("http://{}", self.address).into_boxed_str());
        vec![
            ("LOG__LEVEL", "info"),
            ("SEARCH__KIND", self.name),
            ("SEARCH__URL", url),
            ("SEARCH__KEY", KEY),
            ("SEARCH__INTERVAL_MS", "50"),
            ("SEARCH__RETRY_MS", "20"),
            ("SEARCH__RETRY_MS_MAX", "200"),
            // Everything is written again after twice that time: when a test is over.
            ("SEARCH__TIMEOUT_MS", "120000"),
            ("ADMISSION__BUYER_RATE_PER_S", "0"),
        ]
    }

    /// From now on this answers requests where it has an answer; status 0 closes the connection instead.
    pub fn trouble(&self, trouble: impl FnMut(&Request) -> Option<Reply> + Send + 'static) {
        *held(&self.desk.trouble) = Box::new(trouble);
    }

    /// From now on this says with which status a document is not taken, if it is not.
    pub fn judge(&self, judge: impl FnMut(&Value) -> Option<u16> + Send + 'static) {
        held(&self.desk.kind).judge(Box::new(judge));
    }

    /// Whether it closes every connection without an answer.
    pub fn set_away(&self, is_away: bool) {
        self.desk.is_away.store(is_away, Ordering::SeqCst);
    }

    /// The longest body that it takes.
    pub fn set_bytes_max(&self, bytes: usize) {
        *held(&self.desk.bytes_max) = bytes;
    }

    /// Everything that is found, by its name there.
    pub fn documents(&self) -> BTreeMap<String, Value> {
        held(&self.desk.kind).documents()
    }

    /// The document of the sale `test/{sku}`, if it is found.
    pub fn sale(&self, sku: &str) -> Option<Value> {
        self.documents().into_values().find(|document| document["sku"] == sku)
    }

    /// Whether that document says so.
    pub fn shows(&self, sku: &str, state: &str, units_left: &str) -> bool {
        self.sale(sku).is_some_and(|it| it["state"] == state && it["units_left"] == units_left)
    }

    /// All indices that there are.
    pub fn indices(&self) -> Vec<String> {
        held(&self.desk.kind).indices()
    }

    /// All requests so far that were answered.
    pub fn requests(&self) -> Vec<Request> {
        held(&self.desk.requests).clone()
    }

    /// Forgets the requests so far.
    pub fn forget(&self) {
        held(&self.desk.requests).clear();
    }

    /// Puts a document there by somebody else.
    ///
    /// # Panics
    /// The server does not take it.
    pub fn put(&self, document: &Value) {
        let action = json!({ "index": { "_id": document["id"] } });
        self.write(&action, document);
    }

    /// The same of a document that has this version there.
    ///
    /// # Panics
    /// The server does not take it.
    pub fn put_version(&self, document: &Value, version: u64) {
        let action = json!({ "_id": document["id"], "version": version, "version_type": "external" });
        self.write(&json!({ "index": action }), document);
    }

    fn write(&self, action: &Value, document: &Value) {
        let (path, text) = match self.name {
            "meilisearch" => ("/indexes/sales/documents", format!("{document}\n")),
            _ => ("/sales/_bulk", format!("{action}\n{document}\n")),
        };
        let request = Request::of("POST", path, "application/x-ndjson", &text);
        let reply = held(&self.desk.kind).answer(&request);
        assert!(reply.status < 300, "{reply:?}");
    }

    /// Nobody has broken a rule so far.
    ///
    /// # Panics
    /// Somebody has.
    pub fn check_rules(&self) {
        let broken: Vec<_> = self.requests().into_iter().filter(|request| request.broken.is_some()).collect();
        assert!(broken.is_empty(), "{broken:#?}");
    }
}

impl Drop for SearchServer {
    fn drop(&mut self) {
        self.desk.is_over.store(true, Ordering::SeqCst);
        // Wakes whoever waits for the next connection.
        let _ = TcpStream::connect(self.address);
    }
}

impl Desk {
    fn answer(&self, name: &str, mut request: Request) -> Reply {
        if self.is_over.load(Ordering::SeqCst) || self.is_away.load(Ordering::SeqCst) {
            return Reply::closed();
        }
        let wanted = if name == "meilisearch" { format!("Bearer {KEY}") } else { format!("ApiKey {KEY}") };
        let reply = if request.header("authorization") != Some(&wanted) {
            Reply::new(403, json!({ "message": "invalid key", "code": "invalid_api_key", "type": "auth" }))
        } else if let Some(reply) = held(&self.trouble)(&request) {
            reply
        } else if request.body.len() > *held(&self.bytes_max) {
            Reply::new(413, Value::Null)
        } else {
            held(&self.kind).answer(&request)
        };
        request.broken.clone_from(&reply.broken);
        held(&self.requests).push(request);
        reply
    }
}
