//! A PostgreSQL server of one's own: a temporary folder, a free port, ended with the value.
//!
//! The server refuses to run as root; then it runs as the user that its Debian package makes.

mod standby;

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::process::{free_address, kill, signal, spawn, wait_for_end};
use crate::{PATIENCE, until};

/// A running server with trust authentication and the superuser `postgres`.
#[derive(Debug)]
pub struct Postgres {
    folder: tempfile::TempDir,
    programs: PathBuf,
    address: SocketAddr,
    owner: Option<(u32, u32)>,
    server: Option<Child>,
    databases: AtomicU32,
}

impl Postgres {
    /// Makes a cluster and starts its server. `settings` are lines of `postgresql.conf`.
    ///
    /// # Panics
    /// It is not installed, or does not start.
    pub fn start(settings: &str) -> Self {
        Self::start_with(settings, &[])
    }

    /// As [`Postgres::start`], with these files (name and text) in the server's folder, which only the server may read.
    pub fn start_with(settings: &str, files: &[(&str, &str)]) -> Self {
        let programs = programs().expect("PostgreSQL is installed: cargo xtask test installs it");
        let address = free_address();
        let owner = owner_when_root();
        let folder = folder_for_server(owner);
        let mut postgres =
            Self { folder, programs, address, owner, server: None, databases: AtomicU32::new(0) };
        postgres.make_cluster();
        std::fs::write(
            postgres.data().join("postgresql.auto.conf"),
            format!(
                "listen_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = ''\n{settings}\n",
                address.port()
            ),
        )
        .unwrap();
        for (name, text) in files {
            let path = postgres.data().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
            if let Some((user, group)) = owner {
                chown(&path, Some(user), Some(group)).unwrap();
            }
        }
        postgres.restart();
        postgres
    }

    /// A new cluster: a copy of one that the tests' builds keep beside themselves, for making one costs ten times as much.
    fn make_cluster(&self) {
        let program = std::env::current_exe().expect("the program that runs");
        // Another release's cluster is of no use, nor is one of another user's.
        let release = self.programs.to_string_lossy().replace('/', "-");
        let owner = self.owner.map_or(String::new(), |(user, _)| format!("-{user}"));
        let kept = program.with_file_name(format!("cluster{release}{owner}"));
        let copy = |from: &Path, to: &Path| {
            // With the rights and the owner of each file.
            let copied = Command::new("cp").arg("-a").args([from, to]).status().unwrap();
            assert!(copied.success(), "{} is not copied to {}", from.display(), to.display());
        };
        if kept.exists() {
            return copy(&kept, &self.data());
        }
        let made = self
            .program("initdb")
            .args(["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "-D"])
            .arg(self.data())
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(made.success(), "initdb failed");
        // Whole under its name or not there; of several that are made at once, the first one stays.
        let made = kept.with_extension(self.address.port().to_string());
        copy(&self.data(), &made);
        if std::fs::rename(&made, &kept).is_err() {
            std::fs::remove_dir_all(&made).unwrap();
        }
    }

    /// The server that the tests of one program share while any of them runs.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let started = Arc::new(Self::start(""));
            *shared = Arc::downgrade(&started);
            started
        })
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of a database through `at`, which is the server or something in front of it.
    pub fn url_at(&self, at: SocketAddr, database: &str) -> String {
        format!("postgres://postgres@{at}/{database}")
    }

    /// A new database and its address.
    pub fn new_database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.query("postgres", &format!("CREATE DATABASE {name}"));
        self.url_at(self.address(), &name)
    }

    /// What `psql` prints for a statement, without decoration.
    ///
    /// # Panics
    /// The statement fails.
    pub fn query(&self, database: &str, sql: &str) -> String {
        let output = self
            .program("psql")
            .args([
                "-h",
                "127.0.0.1",
                "-p",
                &self.address.port().to_string(),
                "-U",
                "postgres",
                "-X",
                "-A",
                "-t",
                "-q",
            ])
            .args(["-v", "ON_ERROR_STOP=1", "-d", database, "-c", sql])
            .output()
            .unwrap();
        assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Everything in a database, as `pg_dump` writes it.
    ///
    /// # Panics
    /// It cannot be dumped.
    pub fn dump(&self, database: &str) -> String {
        let port = self.address.port().to_string();
        let mut dump = self.program("pg_dump");
        let output =
            dump.args(["-h", "127.0.0.1", "-p", &port, "-U", "postgres", database]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Makes the database anew, whoever is connected, with what a dump has or with nothing, in one step for those who come.
    ///
    /// # Panics
    /// It cannot be made.
    pub fn make_anew(&self, database: &str, dump: Option<&str>) {
        self.query("postgres", &format!("DROP DATABASE IF EXISTS {database} WITH (FORCE)"));
        self.query("postgres", &format!("CREATE DATABASE {database}"));
        let Some(dump) = dump else { return };
        let port = self.address.port().to_string();
        let mut restore = self.program("psql");
        restore.args(["-h", "127.0.0.1", "-p", &port, "-U", "postgres", "-X", "-q", "-1"]);
        restore.args(["-v", "ON_ERROR_STOP=1", "-d", database]);
        let mut restore = spawn(restore.stdin(Stdio::piped()).stdout(Stdio::null()));
        let mut input = restore.stdin.take().expect("it was asked for");
        input.write_all(dump.as_bytes()).expect("psql reads");
        drop(input);
        assert!(restore.wait().expect("psql ends").success(), "the dump is not restored");
    }

    /// Its number among the machine's processes, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Child::id)
    }

    /// Kills the server as a power cut would: nothing is flushed, nobody is told.
    ///
    /// # Panics
    /// Its sessions do not end with it.
    pub fn crash(&mut self) {
        let pids = self.backend_pids();
        if let Some(mut server) = self.server.take() {
            kill(&mut server);
        }
        // Also those that are frozen, and would not notice that their parent is gone; the next server cannot start before.
        pids.iter().for_each(|pid| signal(*pid, Signal::KILL));
        until("the backends of a killed server end", || {
            !pids.iter().any(|pid| Path::new(&format!("/proc/{pid}")).exists())
        });
    }

    /// Starts the server again after [`Postgres::crash`] or [`Postgres::stop`], and waits until it answers.
    ///
    /// # Panics
    /// It does not.
    pub fn restart(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.log()).unwrap();
        let mut command = self.program("postgres");
        command.arg("-D").arg(self.data()).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.server = Some(spawn(&mut command));
        let deadline = Instant::now() + PATIENCE;
        while !self.answers() {
            let ended = self.server.as_mut().is_some_and(|server| server.try_wait().unwrap().is_some());
            assert!(!ended && Instant::now() < deadline, "{}", std::fs::read_to_string(self.log()).unwrap());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Stops the server: open sessions are ended, everything is flushed.
    ///
    /// # Panics
    /// It does not stop.
    pub fn stop(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        // "Fast" shutdown is the server's answer to this signal.
        signal(server.id(), Signal::INT);
        wait_for_end(&mut server).expect("PostgreSQL stops");
    }

    /// Freezes the server and all of its sessions, or lets them go on.
    pub fn freeze(&self, frozen: bool) {
        let mut pids = self.backend_pids();
        pids.extend(self.server.as_ref().map(Child::id));
        for pid in pids {
            signal(pid, if frozen { Signal::STOP } else { Signal::CONT });
        }
    }

    fn answers(&self) -> bool {
        let ready = self
            .program("pg_isready")
            .args(["-q", "-h", "127.0.0.1", "-p", &self.address.port().to_string()])
            .status()
            .unwrap();
        ready.success()
    }

    fn backend_pids(&self) -> Vec<u32> {
        let Some(server) = &self.server else { return Vec::new() };
        let children = format!("/proc/{0}/task/{0}/children", server.id());
        let children = std::fs::read_to_string(children).unwrap_or_default();
        children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.current_dir(self.folder.path()).env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C");
        if let Some((user, group)) = self.owner {
            command.uid(user).gid(group);
        }
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.log()).unwrap_or_default();
            let tail: Vec<_> = log.lines().rev().take(20).collect();
            eprintln!("PostgreSQL, last lines first:\n{}", tail.join("\n"));
        }
        self.crash();
    }
}

/// A new folder that belongs to who runs the server.
fn folder_for_server(owner: Option<(u32, u32)>) -> tempfile::TempDir {
    let folder = tempfile::Builder::new().prefix("seckill-pg-").tempdir().unwrap();
    if let Some((user, group)) = owner {
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        chown(folder.path(), Some(user), Some(group)).unwrap();
    }
    folder
}

/// The folder of the newest installed server.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let newest = versions
        .flatten()
        .filter_map(|version| version.file_name().to_str()?.parse::<u32>().ok())
        .filter(|version| Path::new(&format!("/usr/lib/postgresql/{version}/bin/postgres")).exists())
        .max()?;
    Some(format!("/usr/lib/postgresql/{newest}/bin").into())
}

/// User and group that run the server when this process is root.
fn owner_when_root() -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt;
    if std::fs::metadata("/proc/self").unwrap().uid() != 0 {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let postgres = fields.into_iter().find(|fields| fields[0] == "postgres");
    let postgres = postgres.expect("the package of PostgreSQL makes the user postgres");
    Some((postgres[2].parse().unwrap(), postgres[3].parse().unwrap()))
}
