//! A Redis Sentinel of one's own.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;

use super::process::{free_address, kill, listens, signal, spawn};

/// A running Sentinel; ended with the value.
#[derive(Debug)]
pub struct Sentinel {
    process: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Sentinel {
    /// Starts one that watches the server at `master` under the name `shop`, with more lines of settings.
    ///
    /// # Panics
    /// It does not start.
    pub fn start(master: SocketAddr, settings: &str) -> Self {
        let address = free_address();
        let folder = tempfile::tempdir().expect("a folder for the Sentinel");
        let file = folder.path().join("sentinel.conf");
        let text = format!(
            "port {}\nbind 127.0.0.1\nsentinel monitor shop {} {} 1\n{settings}\n",
            address.port(),
            master.ip(),
            master.port()
        );
        std::fs::write(&file, text).expect("its settings");
        let mut command = Command::new("redis-server");
        command.arg(&file).arg("--sentinel").current_dir(folder.path());
        let mut process = spawn(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()));
        assert!(listens(&mut process, address), "the Sentinel does not start");
        Self { process, address, _folder: folder }
    }

    /// Stops it from doing anything; connections stay open.
    pub fn pause(&self) {
        signal(self.process.id(), Signal::STOP);
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        signal(self.process.id(), Signal::CONT);
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        kill(&mut self.process);
    }
}
