//! A Varnish of one's own in front of an engine, as the distribution configures it.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use tempfile::TempDir;

use super::process::{free_address, kill, listens, signal, spawn, wait_for_end};

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
        let folder = TempDir::new().expect("a folder for the cache");
        for _ in 0..20 {
            let address = free_address();
            let mut process = spawn(
                Command::new("varnishd")
                    .args(["-F", "-j", "none", "-s", "malloc,16m", "-a", &address.to_string()])
                    .args(["-b", &backend.to_string(), "-n"])
                    .arg(folder.path().join("work"))
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .stderr(Stdio::null()),
            );
            if listens(&mut process, address) {
                return Self { process, address, _folder: folder };
            }
            kill(&mut process);
        }
        panic!("varnishd does not start; is it installed? `cargo xtask test` installs it");
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
