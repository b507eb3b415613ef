//! A redis-server of one's own, on a free port, that can be paused, killed and started again.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read as _, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use tempfile::TempDir;

use super::process::{free_address, kill, listens, signal, spawn};
use crate::{PATIENCE, until};

/// A running server; dropping it ends the process.
#[derive(Debug)]
pub struct RedisServer {
    process: Child,
    folder: TempDir,
    address: SocketAddr,
    settings: Vec<String>,
}

/// Every command is in the log before it is answered.
const DURABLE: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];

impl RedisServer {
    /// Starts a server without data. It writes every command to its log before it answers.
    pub fn start() -> Self {
        Self::start_with(&DURABLE)
    }

    /// Starts a server that keeps nothing on disk.
    pub fn start_in_memory() -> Self {
        Self::start_with(&["--appendonly", "no"])
    }

    /// Starts a replica of the server at `master`, and waits until it has what the master has.
    pub fn start_replica(master: SocketAddr) -> Self {
        let (host, port) = (master.ip().to_string(), master.port().to_string());
        let mut settings = DURABLE.to_vec();
        settings.extend(["--replicaof", &host, &port]);
        let replica = Self::start_with(&settings);
        until("the replica has found its master", || {
            replica.command("INFO replication").contains("master_link_status:up")
        });
        replica
    }

    /// Starts a server with these options; `{port}` in one of them is the port that it will have.
    ///
    /// # Panics
    /// It does not start.
    pub fn start_with(settings: &[&str]) -> Self {
        let settings: Vec<String> = settings.iter().map(|&word| word.to_owned()).collect();
        let folder = TempDir::new().expect("a folder for the server");
        let is_of_cluster = settings.iter().any(|word| word == "--cluster-enabled");
        for _ in 0..20 {
            let address = free_address();
            let mut process = run(address, &folder, &settings);
            // A node of a Cluster listens before it finds that its second port is taken, and then ends.
            if listens(&mut process, address) && (!is_of_cluster || answers(address)) {
                return Self { process, folder, address, settings };
            }
        }
        panic!("redis-server does not start; is it installed? `cargo xtask test` installs it");
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address as clients of Redis write it.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Its number among the machine's processes.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// What it answers to a command without blanks in its words: texts and numbers, one a line.
    ///
    /// # Panics
    /// It does not answer.
    pub fn command(&self, command: &str) -> String {
        command_at(self.address, command)
    }

    /// Makes a replica a master, with what it has.
    pub fn promote(&self) {
        self.command("REPLICAOF NO ONE");
    }

    /// Kills it as a power cut would.
    pub fn kill(&mut self) {
        kill(&mut self.process);
    }

    /// Starts it again after [`RedisServer::kill`] on the same port, with its data or without.
    ///
    /// # Panics
    /// It does not start.
    pub fn start_again(&mut self, keep_data: bool) {
        if !keep_data {
            self.folder = TempDir::new().expect("a folder for the server");
        }
        self.process = run(self.address, &self.folder, &self.settings);
        assert!(listens(&mut self.process, self.address), "redis-server does not start again");
    }

    /// Kills it and starts it again at once.
    ///
    /// # Panics
    /// It does not start.
    pub fn restart(&mut self, keep_data: bool) {
        self.kill();
        self.start_again(keep_data);
    }

    /// Stops it from doing anything; connections stay open.
    pub fn pause(&self) {
        signal(self.pid(), Signal::STOP);
    }

    /// Lets it go on.
    pub fn go_on(&self) {
        signal(self.pid(), Signal::CONT);
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        kill(&mut self.process);
    }
}

/// What the server at this address, a Sentinel perhaps, answers to a command; see [`RedisServer::command`].
///
/// # Panics
/// It does not answer.
pub fn command_at(address: SocketAddr, command: &str) -> String {
    commands_at(address, &[command])
}

/// The same for several commands on one connection, the first of which may log in. Only the last one's answer is told.
///
/// # Panics
/// It does not answer.
pub fn commands_at(address: SocketAddr, commands: &[&str]) -> String {
    let mut stream = TcpStream::connect(address).expect("redis-server answers");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    let mut answer = String::new();
    for command in commands {
        answer.clear();
        stream.write_all(format!("{command}\r\n").as_bytes()).expect("redis-server listens");
        read_value(&mut reader, &mut answer)
            .unwrap_or_else(|| panic!("redis-server does not answer {command}"));
    }
    answer
}

fn run(address: SocketAddr, folder: &TempDir, settings: &[String]) -> Child {
    let mut command = Command::new("redis-server");
    command
        .args(["--port", &address.port().to_string(), "--bind", "127.0.0.1", "--save", ""])
        // A replica that asks for everything gets it at once.
        .args(["--repl-diskless-sync-delay", "0", "--dir"])
        .arg(folder.path())
        .args(settings.iter().map(|word| word.replace("{port}", &address.port().to_string())))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    spawn(&mut command)
}

/// Whether it answers anything.
fn answers(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else { return false };
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    stream.write_all(b"PING\r\n").is_ok() && matches!(stream.read(&mut [0; 16]), Ok(1..))
}

/// Appends one value of the server's protocol as text.
fn read_value(reader: &mut impl BufRead, into: &mut String) -> Option<()> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let (kind, rest) = line.trim_end().split_at_checked(1)?;
    match kind {
        "$" => {
            let mut bytes = vec![0; usize::try_from(rest.parse::<i64>().ok()?).unwrap_or(0)];
            if rest != "-1" {
                reader.read_exact(&mut bytes).ok()?;
                reader.read_line(&mut line).ok()?;
            }
            writeln!(into, "{}", String::from_utf8_lossy(&bytes)).ok()
        }
        "*" => (0..rest.parse::<i64>().ok()?).try_for_each(|_| read_value(reader, into)),
        _ => writeln!(into, "{rest}").ok(),
    }
}
