//! The real engine, as its users start it: the binary, with a store of its own.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::client::{Answer, Client};

/// No engine takes this long to start or to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// How an engine is started.
#[derive(Clone)]
pub struct Launch {
    folder: Arc<TempDir>,
    keys: Vec<(String, String)>,
    file_kib_max: Option<u32>,
}

impl Launch {
    /// On an empty store, with `keys`, each an environment variable without the prefix.
    pub fn new(keys: &[(&str, &str)]) -> Self {
        let keys = keys.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
        Self { folder: Arc::new(tempfile::tempdir().unwrap()), keys, file_kib_max: None }
    }

    /// The folder of the orders.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The same, on a disk where no file can grow above this size.
    pub fn with_file_kib_max(self, kib: u32) -> Self {
        Self { file_kib_max: Some(kib), ..self }
    }

    /// Starts it and waits until it sells.
    pub fn start(&self) -> Engine {
        let binary = env!("CARGO_BIN_EXE_seckill");
        let mut command = match self.file_kib_max {
            None => Command::new(binary),
            Some(kib) => {
                // The signal is ignored, so that the write fails as on a full disk. Blocks are of 512 bytes.
                let mut shell = Command::new("sh");
                let limited = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", kib * 2);
                shell.args(["-c", &limited, binary]);
                shell
            }
        };
        let log = File::options().create(true).append(true).open(self.folder().join("log")).unwrap();
        let mut process = command
            .args(["--edge-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir"])
            .arg(self.folder())
            .envs(self.keys.iter().map(|(key, value)| (format!("SECKILL__{key}"), value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        // Log lines may come first.
        let welcome = lines.by_ref().map(Result::unwrap).find(|line| line.contains("sells on http://"));
        let welcome =
            welcome.unwrap_or_else(|| panic!("the engine does not start: {}", log_end(self.folder())));
        // The rest is read to its end, so that the engine never waits for somebody to read it.
        std::thread::spawn(move || lines.for_each(drop));
        let address = |part: &str| part.split([',', ' ']).next().unwrap().parse().unwrap();
        let mut parts = welcome.split("http://").skip(1).map(address);
        let (edge, admin) = (parts.next().unwrap(), parts.next().unwrap());
        let engine = Engine { process, edge, admin, launch: self.clone() };
        assert_eq!(engine.admin("GET", "/readyz", "").status, 200);
        engine
    }
}

fn log_end(folder: &Path) -> String {
    let log = std::fs::read_to_string(folder.join("log")).unwrap_or_default();
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

/// A running `seckill serve`; killed when dropped.
pub struct Engine {
    process: Child,
    edge: SocketAddr,
    admin: SocketAddr,
    launch: Launch,
}

impl Engine {
    /// Starts one on an empty store; see [`Launch::new`].
    pub fn start(keys: &[(&str, &str)]) -> Self {
        Launch::new(keys).start()
    }

    /// How it was started.
    pub fn launch(&self) -> &Launch {
        &self.launch
    }

    /// Ends it by `kill -9` and waits until it is gone.
    pub fn kill(mut self) -> Launch {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.launch.clone()
    }

    /// Ends it by SIGTERM and waits until it has stopped.
    pub fn terminate(mut self) -> (ExitStatus, Launch) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        (self.wait_for_end(), self.launch.clone())
    }

    /// Waits until it has ended by itself.
    pub fn wait_for_end(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "the engine does not end: {}",
                log_end(self.launch.folder())
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Where buyers ask.
    pub fn edge(&self) -> SocketAddr {
        self.edge
    }

    /// Where operators ask.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin
    }

    /// Makes a sale; `terms` are members of the JSON body beside those that must be there.
    pub fn sale(&self, sku: &str, stock: u32, terms: &str) {
        let answer = self.try_sale(sku, stock, terms).expect("an answer");
        assert_eq!(answer.status, 201, "{}", answer.body);
    }

    /// Asks for a sale to be made. `None` when the engine ends before it answers.
    pub fn try_sale(&self, sku: &str, stock: u32, terms: &str) -> Option<Answer> {
        let body = format!(
            r#"{{"campaign":"test","sku":"{sku}","price_cents":1999,"stock":{stock},"title":"A test"{terms}}}"#
        );
        try_request(self.admin, "POST", "/api/v1/campaigns", "Content-Type: application/json\r\n", &body)
    }

    /// Asks the admin plane.
    pub fn admin(&self, method: &str, path: &str, body: &str) -> Answer {
        request(self.admin, method, path, "Content-Type: application/json\r\n", body)
    }

    /// The sale's units, counted in the store; they must add up, and no buyer may be over the limit.
    pub fn audit(&self, sku: &str) -> Audit {
        let answer = self.admin("GET", &format!("/api/v1/campaigns/test/{sku}/audit"), "");
        let audit = answer.json();
        assert_eq!((&audit["conserved"], &audit["buyers_over_limit"]), (&true.into(), &0.into()), "{audit}");
        let units = |name: &str| audit[name].as_u64().unwrap_or_else(|| panic!("{name} in {audit}"));
        let audit = Audit {
            total: units("total"),
            available: units("available"),
            held: units("held"),
            paid: units("paid"),
            durable_orders: units("durable_orders"),
        };
        assert_eq!(audit.available + audit.held + audit.paid, audit.total, "{audit:?}");
        audit
    }

    /// All orders of the sale above `after`, oldest first.
    pub fn orders(&self, sku: &str, after: &str) -> Vec<Value> {
        let (mut orders, mut after) = (Vec::new(), after.to_owned());
        loop {
            let path = format!("/api/v1/orders?campaign=test&sku={sku}&after={after}&limit=10000");
            let answer = self.admin("GET", &path, "");
            assert_eq!(answer.status, 200, "{}", answer.body);
            let page: Vec<Value> =
                answer.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            let Some(last) = page.last() else { return orders };
            after = last["order_id"].as_str().unwrap().to_owned();
            orders.extend(page);
        }
    }

    /// The public state of a sale.
    pub fn sale_state(&self, sku: &str) -> Value {
        request(self.edge, "GET", &format!("/seckill/test/{sku}"), "", "").json()
    }

    /// Asks the edge in the name of a buyer, with more header lines.
    pub fn ask(&self, method: &str, path: &str, buyer: &str, lines: &str, body: &str) -> Answer {
        request(self.edge, method, path, &format!("X-User-ID: {buyer}\r\n{lines}"), body)
    }

    /// Buys one.
    pub fn buy(&self, sku: &str, buyer: &str) -> Answer {
        self.ask("POST", &format!("/seckill/test/{sku}"), buyer, "", "")
    }
}

/// A sale's units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audit {
    pub total: u64,
    pub available: u64,
    pub held: u64,
    pub paid: u64,
    pub durable_orders: u64,
}

impl Drop for Engine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the engine's log ends with:\n{}", log_end(self.launch.folder()));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// One request on a connection of its own.
pub fn request(addr: SocketAddr, method: &str, path: &str, lines: &str, body: &str) -> Answer {
    try_request(addr, method, path, lines, body).expect("an answer")
}

/// One request on a connection of its own. `None` when nobody answers.
pub fn try_request(addr: SocketAddr, method: &str, path: &str, lines: &str, body: &str) -> Option<Answer> {
    let sent = format!(
        "{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{lines}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    Client::try_connect(addr).ok()?.send(sent).answer()
}
