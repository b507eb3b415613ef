//! A Redis Sentinel of one's own, and a group that has failed over without telling everybody.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;

use super::process::{free_address, kill, listens, signal, spawn};
use super::redis::{RedisServer, command_at};
use crate::until;

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

/// Two Sentinels that know the present master since a failover; and a master of before with a Sentinel that names it still.
#[derive(Debug)]
pub struct FailedOver {
    /// The present master.
    pub master: RedisServer,
    /// Who know it.
    pub sentinels: [Sentinel; 2],
    /// Who takes itself for the master.
    pub former: RedisServer,
    /// Who watches that one.
    pub stale: Sentinel,
    replica: RedisServer,
}

impl FailedOver {
    /// Starts them all, and has the two Sentinels fail over.
    ///
    /// # Panics
    /// They do not.
    pub fn start() -> Self {
        // Nothing but what is asked for here makes them fail over.
        let watch = "sentinel down-after-milliseconds shop 600000";
        let former = RedisServer::start_in_memory();
        let stale = Sentinel::start(former.address(), watch);
        let replica = RedisServer::start_in_memory();
        let master = RedisServer::start_replica(replica.address());
        let sentinels = [0, 1].map(|_| Sentinel::start(replica.address(), watch));
        let this = Self { master, sentinels, former, stale, replica };
        this.fail_over_to(&this.master);
        until("the former one follows", || {
            this.replica.command("ROLE").contains("slave")
                && this.master.command("INFO replication").contains("state=online")
        });
        this
    }

    /// Has the other server be the master, whatever the present one does.
    ///
    /// # Panics
    /// They do not.
    pub fn fail_over_again(&self) {
        self.fail_over_to(&self.replica);
    }

    fn fail_over_to(&self, next: &RedisServer) {
        until("a failover begins", || {
            command_at(self.sentinels[0].address(), "SENTINEL FAILOVER shop").contains("OK")
        });
        let port = next.address().port().to_string();
        until("both know the new master", || {
            self.sentinels.iter().all(|sentinel| {
                let named = command_at(sentinel.address(), "SENTINEL GET-MASTER-ADDR-BY-NAME shop");
                named.lines().any(|line| line == port)
            })
        });
    }
}
