//! An HAProxy of one's own that asks the engines behind it whether they are ready.

use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command};

use tempfile::TempDir;

use super::process::{free_address, kill, listens, log_end, spawn_quietly, with_system_programs};
use crate::client::try_request;
use crate::until;

/// A running balancer; ended with the value.
#[derive(Debug)]
pub struct Haproxy {
    process: Child,
    address: SocketAddr,
    stats: SocketAddr,
    _folder: TempDir,
}

impl Haproxy {
    /// Starts one in front of these engines, each with its edge and its admin address, and waits until it has seen all of
    /// them ready.
    ///
    /// # Panics
    /// It is not installed, or does not start.
    pub fn start(engines: &[(SocketAddr, SocketAddr)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the balancer");
        let (address, stats) = (free_address(), free_address());
        let servers: String = engines
            .iter()
            .enumerate()
            .map(|(number, (edge, admin))| {
                format!(
                    "  server engine{number} {edge} check addr {} port {} inter 100ms fall 2 rise 2\n",
                    admin.ip(),
                    admin.port()
                )
            })
            .collect();
        let config = format!(
            "global\n  maxconn 1000\ndefaults\n  mode http\n  timeout connect 10s\n  timeout client 60s\n  \
             timeout server 60s\n  timeout check 30s\nfrontend buyers\n  bind {address}\n  default_backend engines\n\
             frontend stats\n  bind {stats}\n  stats enable\n  stats uri /\nbackend engines\n  balance roundrobin\n  \
             option httpchk GET /readyz\n  http-check expect status 200\n  option redispatch\n{servers}"
        );
        let process = run(&folder, &config, &[]);
        let balancer = Self { process, address, stats, _folder: folder };
        until("the balancer listens", || TcpStream::connect(stats).is_ok());
        (0..engines.len()).for_each(|number| balancer.wait_until_up(number));
        balancer
    }

    /// Where clients find it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until it has seen this engine ready.
    ///
    /// # Panics
    /// It never does.
    pub fn wait_until_up(&self, number: usize) {
        let row = format!("engines,engine{number},");
        until("the balancer sees the engine", || {
            let answer = try_request(self.stats, "GET", "/;csv", "", "");
            answer.is_some_and(|answer| {
                let mut rows = answer.body.lines().filter(|line| line.starts_with(&row));
                rows.any(|row| row.split(',').any(|word| word == "UP"))
            })
        });
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        kill(&mut self.process);
    }
}

/// One with settings of the caller's own; ended with the value.
#[derive(Debug)]
pub struct HaproxyWith {
    process: Child,
    _folder: TempDir,
}

impl HaproxyWith {
    /// Starts one with these settings and variables, and waits until it listens at `address`, which stands in them.
    ///
    /// # Panics
    /// It is not installed, or does not take the settings.
    pub fn start(config: &str, variables: &[(&str, &str)], address: SocketAddr) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the balancer");
        let mut process = run(&folder, config, variables);
        let listens = listens(&mut process, address);
        assert!(listens, "haproxy does not start: {}", log_end(&folder.path().join("log")));
        Self { process, _folder: folder }
    }
}

impl Drop for HaproxyWith {
    fn drop(&mut self) {
        kill(&mut self.process);
    }
}

fn run(folder: &TempDir, config: &str, variables: &[(&str, &str)]) -> Child {
    let file = folder.path().join("haproxy.cfg");
    std::fs::write(&file, config).expect("its settings");
    let mut command = Command::new("haproxy");
    with_system_programs(&mut command).arg("-db").arg("-f").arg(&file).envs(variables.iter().copied());
    spawn_quietly(&mut command, &folder.path().join("log"))
}
