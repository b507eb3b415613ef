//! The real engine, as its users start it: the binary, with a store of its own.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::client::{Answer, request, try_request};
use crate::servers::engine::{EngineProcess, PATIENT, binary, variables};
use crate::servers::process;
use crate::{PATIENCE, described, until};

/// How an engine is started.
#[derive(Clone, Debug)]
pub struct Launch {
    folder: Arc<TempDir>,
    keys: Vec<(String, String)>,
    environment: Vec<(String, String)>,
    file_kib_max: Option<u32>,
    /// Of the edge and of the admin plane.
    addresses: [SocketAddr; 2],
}

impl Launch {
    /// On an empty store, with `keys`, each an environment variable without the prefix. Winners wait for their commit, unless
    /// a key says otherwise.
    ///
    /// # Panics
    /// There is no place for its folder.
    pub fn new(keys: &[(&str, &str)]) -> Self {
        let keys = keys.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let addresses = [([127, 0, 0, 1], 0).into(); 2];
        Self { folder, keys, environment: Vec::new(), file_kib_max: None, addresses }
    }

    /// The same with its orders in this folder, which may hold some.
    pub fn on(self, folder: TempDir) -> Self {
        Self { folder: Arc::new(folder), ..self }
    }

    /// The same on addresses that are its own from now on: an engine that starts over, or is started again, is found there.
    pub fn with_addresses_of_its_own(self) -> Self {
        Self { addresses: [process::free_address(), process::free_address()], ..self }
    }

    /// Where it answers buyers and operators, once they are its own.
    pub fn addresses(&self) -> [SocketAddr; 2] {
        self.addresses
    }

    /// The same with these variables beside the engine's own.
    pub fn with_environment(self, environment: Vec<(String, String)>) -> Self {
        Self { environment, ..self }
    }

    /// The folder of the orders.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The same, on a disk where no file can grow above this size.
    pub fn with_file_kib_max(self, kib: u32) -> Self {
        Self { file_kib_max: Some(kib), ..self }
    }

    /// The same store, with other keys.
    pub fn with(&self, keys: &[(&str, &str)]) -> Self {
        let keys = keys.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
        Self { keys, ..self.clone() }
    }

    /// Starts it where it must refuse to start; answers with its exit code and what it says.
    ///
    /// # Panics
    /// It starts.
    pub fn start_refused(&self) -> (Option<i32>, String) {
        let mut command = Command::new(binary());
        command.envs(variables(&self.keys));
        command.args(["--edge-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir"]);
        let said = self.folder().join("refused.log");
        command.arg(self.folder()).stdout(Stdio::null()).stderr(File::create(&said).expect("a file"));
        let mut process = process::spawn(&mut command);
        let ended = process::wait_for_end(&mut process);
        if ended.is_none() {
            process::kill(&mut process);
            panic!("the engine starts, and should not");
        }
        (ended.and_then(|status| status.code()), std::fs::read_to_string(said).expect("what it said"))
    }

    /// Starts it and waits until it sells.
    ///
    /// # Panics
    /// It ends instead.
    pub fn start(&self) -> Engine {
        let binary = binary();
        let mut command = match self.file_kib_max {
            None => Command::new(binary),
            Some(kib) => {
                // The signal is ignored, so that the write fails as on a full disk. Blocks are of 512 bytes.
                let mut shell = Command::new("sh");
                let limited = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", kib * 2);
                shell.args(["-c", &limited]).arg(binary);
                shell
            }
        };
        command.envs(PATIENT);
        command.envs(variables(&self.keys));
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let [edge, admin] = self.addresses;
        let process = EngineProcess::start(command, self.folder(), edge, admin);
        let engine = Engine { process, launch: self.clone() };
        // On a busy machine its writer may be late for a moment.
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = engine.admin("GET", "/readyz", "");
            if answer.status == 200 {
                return engine;
            }
            assert!(Instant::now() < deadline, "{} {}", answer.status, answer.body);
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A running `seckill serve`; killed when dropped.
#[derive(Debug)]
pub struct Engine {
    process: EngineProcess,
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
        self.process.kill();
        self.launch.clone()
    }

    /// Ends it by SIGTERM and waits until it has stopped.
    pub fn terminate(mut self) -> (ExitStatus, Launch) {
        self.process.ask_to_stop();
        (self.wait_for_end(), self.launch.clone())
    }

    /// Waits until it has ended by itself.
    pub fn wait_for_end(&mut self) -> ExitStatus {
        self.process.wait_for_end()
    }

    /// Its number among the machine's processes.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// All that it has logged. What it logs beside an answer may not be there yet: see
    /// [`logged`](Self::logged).
    ///
    /// # Panics
    /// It cannot be read.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The first line of its log that has `text` in it. Waits for it: a thread of its own writes the lines, behind the
    /// answers.
    ///
    /// # Panics
    /// There never is one.
    #[track_caller]
    pub fn logged(&self, text: &str) -> String {
        let mut found = None;
        until(&format!("a line of the log with {text:?}"), || {
            let log = self.log();
            let whole = &log[..log.rfind('\n').unwrap_or(0)];
            found = whole.lines().find(|line| line.contains(text)).map(str::to_owned);
            found.is_some()
        });
        found.unwrap_or_default()
    }

    /// Where buyers ask.
    pub fn edge(&self) -> SocketAddr {
        self.process.edge()
    }

    /// Where operators ask.
    pub fn admin_addr(&self) -> SocketAddr {
        self.process.admin()
    }

    /// Makes a sale; `terms` are members of the JSON body beside those that must be there.
    ///
    /// # Panics
    /// It is refused.
    pub fn sale(&self, sku: &str, stock: u32, terms: &str) {
        let answer = self.try_sale(sku, stock, terms).expect("an answer");
        assert_eq!(answer.status, 201, "{}", answer.body);
    }

    /// Asks for a sale to be made. `None` when the engine ends before it answers.
    pub fn try_sale(&self, sku: &str, stock: u32, terms: &str) -> Option<Answer> {
        let body = format!(
            r#"{{"campaign":"test","sku":"{sku}","price_cents":1999,"stock":{stock},"title":"A test"{terms}}}"#
        );
        let path = "/api/v1/campaigns";
        let lines = "Content-Type: application/json\r\n";
        let answer = try_request(self.process.admin(), "POST", path, lines, &body)?;
        described::admin().hold("POST", path, &answer);
        Some(answer)
    }

    /// Asks the admin plane. What it answers has to be described.
    pub fn admin(&self, method: &str, path: &str, body: &str) -> Answer {
        let answer = request(self.process.admin(), method, path, "Content-Type: application/json\r\n", body);
        described::admin().hold(method, path, &answer);
        answer
    }

    /// Asks the admin plane for something, and again while the store is too busy to tell.
    pub fn read(&self, path: &str) -> Answer {
        let answer = read(self.process.admin(), path);
        described::admin().hold("GET", path, &answer);
        answer
    }

    /// The sale's units, counted in the store and the ledger; they must add up, and no buyer may be over the limit.
    ///
    /// # Panics
    /// They do not, or one is.
    pub fn audit(&self, sku: &str) -> Audit {
        let audit = self.read(&format!("/api/v1/campaigns/test/{sku}/audit")).json();
        assert_eq!((&audit["conserved"], &audit["buyers_over_limit"]), (&true.into(), &0.into()), "{audit}");
        let units = |name: &str| audit[name].as_u64().unwrap_or_else(|| panic!("{name} in {audit}"));
        let audit = Audit {
            total: units("total"),
            available: units("available"),
            leased: units("leased"),
            held: units("held"),
            paid: units("paid"),
            durable_orders: units("durable_orders"),
        };
        assert_eq!(audit.available + audit.leased + audit.held + audit.paid, audit.total, "{audit:?}");
        audit
    }

    /// All orders of the sale above `after`, oldest first.
    pub fn orders(&self, sku: &str, after: &str) -> Vec<Value> {
        orders(self.process.admin(), sku, after)
    }

    /// The public state of a sale.
    pub fn sale_state(&self, sku: &str) -> Value {
        self.look(&format!("/seckill/test/{sku}"), "").json()
    }

    /// Asks the edge in nobody's name, with these header lines.
    pub fn look(&self, path: &str, lines: &str) -> Answer {
        let answer = request(self.process.edge(), "GET", path, lines, "");
        described::edge().hold("GET", path, &answer);
        answer
    }

    /// Asks the edge in the name of a buyer, with more header lines. What it answers has to be described.
    pub fn ask(&self, method: &str, path: &str, buyer: &str, lines: &str, body: &str) -> Answer {
        let lines = format!("X-User-ID: {buyer}\r\n{lines}");
        let answer = request(self.process.edge(), method, path, &lines, body);
        described::edge().hold(method, path, &answer);
        answer
    }

    /// Buys one, of an engine that may be starting over: `None` when nobody answers.
    pub fn try_buy(&self, sku: &str, buyer: &str) -> Option<Answer> {
        let lines = format!("X-User-ID: {buyer}\r\n");
        try_request(self.process.edge(), "POST", &format!("/seckill/test/{sku}"), &lines, "")
    }

    /// Buys one.
    pub fn buy(&self, sku: &str, buyer: &str) -> Answer {
        self.ask("POST", &format!("/seckill/test/{sku}"), buyer, "", "")
    }
}

/// A sale's units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audit {
    /// What the sale was made with, and changes since.
    pub total: u64,
    /// In no hands: neither sold nor leased.
    pub available: u64,
    /// Lent to a node and not sold.
    pub leased: u64,
    /// In orders that wait for their payment.
    pub held: u64,
    /// In orders that are paid.
    pub paid: u64,
    /// Orders, not units: how many there are.
    pub durable_orders: u64,
}

/// All orders of the sale `test/{sku}` above `after`, oldest first, as an engine exports them.
///
/// # Panics
/// It does not.
pub fn orders(admin: SocketAddr, sku: &str, after: &str) -> Vec<Value> {
    let mut orders = Vec::new();
    each_order(admin, sku, after, |order| orders.push(order));
    orders
}

/// The same one by one, where there are more than should be in memory at once.
///
/// # Panics
/// The engine does not export them.
pub fn each_order(admin: SocketAddr, sku: &str, after: &str, mut take: impl FnMut(Value)) {
    let mut after = after.to_owned();
    loop {
        let path = format!("/api/v1/orders?campaign=test&sku={sku}&after={after}&limit=10000");
        let answer = read(admin, &path);
        assert_eq!(answer.status, 200, "{}", answer.body);
        let mut is_over = true;
        for line in answer.body.lines() {
            let order: Value = serde_json::from_str(line).unwrap();
            order["order_id"].as_str().unwrap().clone_into(&mut after);
            is_over = false;
            take(order);
        }
        if is_over {
            return;
        }
    }
}

/// Asks an admin plane for something, and again as long as it says that the store is too busy to tell.
///
/// # Panics
/// Nobody answers.
fn read(admin: SocketAddr, path: &str) -> Answer {
    let began = Instant::now();
    loop {
        let answer = request(admin, "GET", path, "", "");
        if answer.status != 503 || began.elapsed() > PATIENCE {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
