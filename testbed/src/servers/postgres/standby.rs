//! A server that follows another one, takes its place, and follows in its turn.

use std::io::Write as _;
use std::process::Stdio;
use std::sync::atomic::AtomicU32;

use super::{Postgres, folder_for_server};
use crate::servers::process::free_address;
use crate::until;

impl Postgres {
    /// A standby with everything that this server has, which it streams from now on.
    ///
    /// # Panics
    /// It cannot be made, or does not start.
    pub fn start_standby(&self) -> Self {
        let (programs, owner, address) = (self.programs.clone(), self.owner, free_address());
        let folder = folder_for_server(owner);
        let mut standby =
            Self { folder, programs, address, owner, server: None, databases: AtomicU32::new(1_000) };
        standby.follow_anew(self);
        standby
    }

    /// Makes this server, which is stopped or new, a standby that has what `master` has, whatever it had itself, and
    /// starts it.
    ///
    /// # Panics
    /// It cannot be made, or does not start.
    pub fn follow_anew(&mut self, master: &Self) {
        if self.data().exists() {
            std::fs::remove_dir_all(self.data()).unwrap();
        }
        let made = self
            .program("pg_basebackup")
            .args(["-h", "127.0.0.1", "-p", &master.address.port().to_string(), "-U", "postgres"])
            .args(["--checkpoint=fast", "--no-sync", "--wal-method=stream", "-D"])
            .arg(self.data())
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(made.success(), "pg_basebackup failed");
        self.set(&format!("port = {}", self.address.port()));
        self.follow(master);
    }

    /// Waits until this standby has all that `master` has now.
    ///
    /// # Panics
    /// It does not come to have it.
    pub fn catch_up_with(&self, master: &Self) {
        let now = master.query("postgres", "SELECT pg_current_wal_flush_lsn()");
        until("the standby has caught up", || {
            self.query("postgres", &format!("SELECT pg_last_wal_replay_lsn() >= '{now}'")) == "t"
        });
    }

    /// Makes this server, which is stopped or new, a standby of `master`, and starts it.
    ///
    /// # Panics
    /// It does not start.
    pub fn follow(&mut self, master: &Self) {
        std::fs::write(self.data().join("standby.signal"), "").unwrap();
        let port = master.address.port();
        self.set(&format!("primary_conninfo = 'host=127.0.0.1 port={port} user=postgres'"));
        self.restart();
    }

    /// A standby hears nothing more from its master, and keeps what it has.
    ///
    /// # Panics
    /// It goes on to hear.
    pub fn stop_following(&self) {
        self.query("postgres", "ALTER SYSTEM SET primary_conninfo = ''");
        self.query("postgres", "SELECT pg_reload_conf()");
        until("the standby hears nothing more", || {
            self.query("postgres", "SELECT count(*) FROM pg_stat_wal_receiver") == "0"
        });
    }

    /// Makes a standby a server that takes writes.
    ///
    /// # Panics
    /// It does not become one.
    pub fn promote(&self) {
        assert_eq!(self.query("postgres", "SELECT pg_promote()"), "t");
    }

    /// Adds a line of settings that counts from the next start.
    fn set(&self, line: &str) {
        let file = std::fs::File::options().append(true).open(self.data().join("postgresql.auto.conf"));
        writeln!(file.unwrap(), "{line}").unwrap();
    }
}
