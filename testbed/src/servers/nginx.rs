//! An nginx of one's own.

use std::net::SocketAddr;
use std::process::{Child, Command};

use rustix::process::Signal;
use tempfile::TempDir;

use super::process::{kill, listens, log_end, signal, spawn_quietly, wait_for_end, with_system_programs};

/// A running server; ended with the value.
#[derive(Debug)]
pub struct Nginx {
    process: Child,
    _folder: TempDir,
}

impl Nginx {
    /// Starts one with these settings, and waits until it listens at `address`, which stands in them. What it writes, it
    /// writes in `folder`.
    ///
    /// # Panics
    /// It is not installed, or does not take the settings.
    pub fn start(folder: TempDir, config: &str, address: SocketAddr) -> Self {
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, config).expect("its settings");
        let mut command = Command::new("nginx");
        with_system_programs(&mut command)
            .arg("-p")
            .arg(folder.path())
            .arg("-c")
            .arg(&file)
            .args(["-g", "daemon off;"]);
        let log = folder.path().join("log");
        let mut process = spawn_quietly(&mut command, &log);
        assert!(listens(&mut process, address), "nginx does not start: {}", log_end(&log));
        Self { process, _folder: folder }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its workers are told by their master, which has to live until then.
        signal(self.process.id(), Signal::TERM);
        if wait_for_end(&mut self.process).is_none() {
            kill(&mut self.process);
        }
    }
}
