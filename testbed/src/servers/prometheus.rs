//! A Prometheus of one's own.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::process::{Child, Command};

use serde_json::Value;
use tempfile::TempDir;

use super::process::{free_address, kill, listens, log_end, spawn_quietly};
use crate::client::request;
use crate::until;

/// A running server that keeps native histograms; ended with the value.
#[derive(Debug)]
pub struct Prometheus {
    process: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl Prometheus {
    /// Starts one with this configuration; `files` (name and text) lie beside it.
    ///
    /// # Panics
    /// It is not installed, or does not take the configuration.
    pub fn start(config: &str, files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files.iter().chain([&("prometheus.yml", config)]) {
            fs::write(folder.path().join(name), text).expect("its files");
        }
        let log = folder.path().join("log");
        for _ in 0..20 {
            let address = free_address();
            let mut command = Command::new("prometheus");
            command
                .current_dir(folder.path())
                .arg("--config.file=prometheus.yml")
                .arg("--storage.tsdb.path=data")
                .arg("--enable-feature=native-histograms")
                .arg(format!("--web.listen-address={address}"));
            let mut process = spawn_quietly(&mut command, &log);
            if listens(&mut process, address) {
                let is_ready = || request(address, "GET", "/-/ready", "", "").status == 200;
                until("Prometheus has read what it keeps", is_ready);
                return Self { process, address, _folder: folder };
            }
            kill(&mut process);
        }
        panic!("Prometheus does not start: {}", log_end(&log));
    }

    /// Asks its API, such as `/api/v1/rules`; what stands under `data`.
    ///
    /// # Panics
    /// It does not answer as asked.
    pub fn ask(&self, path: &str) -> Value {
        let answer = request(self.address, "GET", path, "", "");
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.json()["data"].clone()
    }

    /// What an expression comes to now: each series with its labels and its value.
    ///
    /// # Panics
    /// It is no expression.
    pub fn query(&self, expression: &str) -> Vec<(Value, f64)> {
        let found = self.ask(&format!("/api/v1/query?query={}", escaped(expression)));
        let series = found["result"].as_array().expect("an instant vector").iter();
        let value = |series: &Value| series["value"][1].as_str().and_then(|value| value.parse().ok());
        series.map(|series| (series["metric"].clone(), value(series).unwrap_or(f64::NAN))).collect()
    }

    /// The value of an expression that has one series; `None` before there is one.
    pub fn value(&self, expression: &str) -> Option<f64> {
        self.query(expression).first().map(|(_, value)| *value)
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        kill(&mut self.process);
    }
}

/// As part of a query.
fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut escaped, byte| {
        let _ = match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => write!(escaped, "{}", char::from(byte)),
            _ => write!(escaped, "%{byte:02X}"),
        };
        escaped
    })
}
