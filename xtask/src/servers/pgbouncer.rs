//! A PgBouncer of one's own in front of a server.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::process::{PATIENCE, free_address, kill, spawn};

/// A running pooler; ended with the value.
#[derive(Debug)]
pub struct PgBouncer {
    process: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
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
        let file = folder.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host={} port={} user=postgres\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}\n\
             unix_socket_dir =\nauth_type = any\npool_mode = {pool_mode}\n{settings}\n",
            target.ip(),
            target.port(),
            address.port()
        );
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new("pgbouncer");
        // It refuses to run as root. PostgreSQL's package makes this user.
        if is_root() {
            command.args(["-u", "postgres"]);
        }
        command.arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/sbin"));
        let mut process = spawn(&mut command);
        let give_up = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            let runs = matches!(process.try_wait(), Ok(None));
            assert!(
                runs && Instant::now() < give_up,
                "pgbouncer does not start; cargo xtask test installs it"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { process, address, _folder: folder }
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

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}
