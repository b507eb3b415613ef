//! A redis-server of the test's own, on a free port, that can be paused, killed and started again.

#![allow(dead_code, reason = "each test uses its own part of this module")]

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A running server; dropping it ends the process.
pub struct RedisServer {
    process: Child,
    folder: TempDir,
    port: u16,
}

impl RedisServer {
    /// Starts a server without data. It writes every command to its log before it answers.
    pub fn start() -> Self {
        let folder = TempDir::new().expect("a folder for the server");
        for _ in 0..20 {
            let port = free_port();
            let mut process = spawn(port, &folder);
            if answers(port, &mut process) {
                return Self { process, folder, port };
            }
        }
        panic!("redis-server does not start; is it installed? `cargo xtask test` installs it");
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Kills it and starts it again on the same port, with its data or without.
    pub fn restart(&mut self, keep_data: bool) {
        self.end();
        if !keep_data {
            self.folder = TempDir::new().expect("a folder for the server");
        }
        self.process = spawn(self.port, &self.folder);
        assert!(answers(self.port, &mut self.process), "redis-server does not start again");
    }

    /// Stops it from doing anything; connections stay open.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.process.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill {signal}");
    }

    fn end(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.end();
    }
}

fn free_port() -> u16 {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    socket.local_addr().expect("its number").port()
}

fn spawn(port: u16, folder: &TempDir) -> Child {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"])
        .args(["--appendfsync", "always", "--dir"])
        .arg(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server is installed; `cargo xtask test` installs it")
}

fn answers(port: u16, process: &mut Child) -> bool {
    let give_up = Instant::now() + Duration::from_secs(30);
    while Instant::now() < give_up {
        if !matches!(process.try_wait(), Ok(None)) {
            return false;
        }
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}
