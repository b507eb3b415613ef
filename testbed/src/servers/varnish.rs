//! A Varnish of one's own in front of an engine: as the distribution configures it, or with rules.

use std::net::SocketAddr;
use std::process::{Child, Command};

use rustix::process::Signal;
use tempfile::TempDir;

use super::process::{
    free_address, kill, listens, log_end, signal, spawn_quietly, wait_for_end, with_system_programs,
};

/// A running cache; dropping it ends the process.
#[derive(Debug)]
pub struct VarnishServer {
    process: Child,
    address: SocketAddr,
    _folder: TempDir,
}

impl VarnishServer {
    /// Starts one with its built-in rules in front of `backend`, and waits until it answers.
    ///
    /// # Panics
    /// It does not start.
    pub fn start(backend: SocketAddr) -> Self {
        Self::run(TempDir::new().expect("a folder for the cache"), &["-b", &backend.to_string()])
    }

    /// Starts one with these rules and more arguments, and waits until it answers.
    ///
    /// # Panics
    /// It does not start, or does not take the rules.
    pub fn with_rules(rules: &str, arguments: &[&str]) -> Self {
        let folder = TempDir::new().expect("a folder for the cache");
        let file = folder.path().join("rules.vcl");
        std::fs::write(&file, rules).expect("its rules");
        let file = file.to_str().expect("a folder with a name").to_owned();
        Self::run(folder, &[&["-f", &file], arguments].concat())
    }

    fn run(folder: TempDir, arguments: &[&str]) -> Self {
        let log = folder.path().join("log");
        for _ in 0..20 {
            let address = free_address();
            let mut command = Command::new("varnishd");
            with_system_programs(&mut command)
                .args(["-F", "-j", "none", "-s", "malloc,16m", "-a", &address.to_string()])
                .args(arguments)
                .arg("-n")
                .arg(folder.path().join("work"));
            let mut process = spawn_quietly(&mut command, &log);
            if listens(&mut process, address) {
                return Self { process, address, _folder: folder };
            }
            kill(&mut process);
        }
        panic!("varnishd does not start: {}", log_end(&log));
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for VarnishServer {
    fn drop(&mut self) {
        // Its worker is told by its manager, which has to live until then.
        signal(self.process.id(), Signal::TERM);
        if wait_for_end(&mut self.process).is_none() {
            kill(&mut self.process);
        }
    }
}
