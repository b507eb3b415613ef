//! The real engine, as its users start it: the binary, with a store of its own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use super::client::{Answer, Client};

/// A running `seckill serve`; killed when dropped.
pub struct Engine {
    process: Child,
    edge: SocketAddr,
    admin: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Engine {
    /// Starts it with `keys`, each an environment variable without the prefix, and waits until it sells.
    pub fn start(keys: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_seckill"))
            .args(["--edge-listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir"])
            .arg(folder.path())
            .envs(keys.iter().map(|(key, value)| (format!("SECKILL__{key}"), value)))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        // Log lines may come first.
        let welcome = lines.by_ref().map(Result::unwrap).find(|line| line.contains("sells on http://"));
        let welcome = welcome.expect("the engine says where it sells");
        // The rest is read to its end, so that the engine never waits for somebody to read it.
        std::thread::spawn(move || lines.for_each(drop));
        let address = |part: &str| part.split([',', ' ']).next().unwrap().parse().unwrap();
        let mut parts = welcome.split("http://").skip(1).map(address);
        let (edge, admin) = (parts.next().unwrap(), parts.next().unwrap());
        Self { process, edge, admin, _folder: folder }
    }

    /// Where buyers ask.
    pub fn edge(&self) -> SocketAddr {
        self.edge
    }

    /// Makes a sale; `terms` are members of the JSON body beside those that must be there.
    pub fn sale(&self, sku: &str, stock: u32, terms: &str) {
        let body = format!(
            r#"{{"campaign":"test","sku":"{sku}","price_cents":1999,"stock":{stock},"title":"A test"{terms}}}"#
        );
        let answer =
            request(self.admin, "POST", "/api/v1/campaigns", "Content-Type: application/json\r\n", &body);
        assert_eq!(answer.status, 201, "{}", answer.body);
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

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// One request on a connection of its own.
pub fn request(addr: SocketAddr, method: &str, path: &str, lines: &str, body: &str) -> Answer {
    let sent = format!(
        "{method} {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{lines}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    Client::connect(addr).send(sent).answer().expect("an answer")
}
