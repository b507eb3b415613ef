//! A PgBouncer of one's own in front of a server.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::process::{free_address, is_root, kill, listens, spawn, with_system_programs};

const SETTINGS: &str = "pgbouncer.ini";

fn run(folder: &Path, address: SocketAddr) -> Child {
    let mut command = Command::new("pgbouncer");
    // It refuses to run as root. PostgreSQL's package makes this user.
    if is_root() {
        command.args(["-u", "postgres"]);
    }
    command.arg(folder.join(SETTINGS)).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut process = spawn(with_system_programs(&mut command));
    assert!(listens(&mut process, address), "pgbouncer does not start; cargo xtask test installs it");
    process
}

/// A running pooler; ended with the value.
#[derive(Debug)]
pub struct PgBouncer {
    process: Child,
    address: SocketAddr,
    folder: tempfile::TempDir,
}

impl PgBouncer {
    /// Starts one in front of the server at `target`, whose superuser it is for everybody, with this `pool_mode` and more
    /// lines of settings.
    ///
    /// # Panics
    /// It is not installed, or does not start.
    pub fn start(target: SocketAddr, pool_mode: &str, settings: &str) -> Self {
        let address = free_address();
        let folder = tempfile::Builder::new().prefix("seckill-pgb-").tempdir().unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let text = format!(
            "[databases]\n* = host={} port={} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}\n\
             unix_socket_dir =\nauth_type = any\npool_mode = {pool_mode}\n{settings}\n",
            target.ip(),
            target.port(),
            address.port()
        );
        std::fs::write(folder.path().join(SETTINGS), text).unwrap();
        Self { process: run(folder.path(), address), address, folder }
    }

    /// Kills it, with all connections through it, and starts it again.
    ///
    /// # Panics
    /// It does not start.
    pub fn restart(&mut self) {
        kill(&mut self.process);
        self.process = run(self.folder.path(), self.address);
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        kill(&mut self.process);
    }
}
