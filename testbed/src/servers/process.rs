//! What all servers have in common as processes.

use std::collections::hash_map::RandomState;
use std::fs::File;
use std::hash::BuildHasher as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::PATIENCE;

/// The lowest port for a server: those below are known services'.
const PORT_MIN: u16 = 10_000;
/// So few to draw from would be drawn twice.
const PORTS_MIN: u64 = 1_000;

static APART: AtomicBool = AtomicBool::new(false);

/// From now on, servers do not hear the terminal's Ctrl-C: who started them hears it, and ends them in order.
pub fn keep_servers_from_the_terminal() {
    APART.store(true, Ordering::Relaxed);
}

/// Starts a server.
///
/// # Panics
/// There is no such program.
pub fn spawn(command: &mut Command) -> Child {
    if APART.load(Ordering::Relaxed) {
        command.process_group(0);
    }
    command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Starts a server that writes nothing to us: what it complains about is in `log`.
///
/// # Panics
/// There is no such program, or no place for the log.
pub fn spawn_quietly(command: &mut Command, log: &Path) -> Child {
    let log = File::options().create(true).append(true).open(log).expect("a log file");
    spawn(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log))
}

/// Sends a signal. A process that has just ended is as good as one that was told.
pub fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// Ends a process at once and waits until it is gone.
pub fn kill(process: &mut Child) {
    let _ = process.kill();
    let _ = process.wait();
}

/// Waits until the process of a new server takes connections at the address. `false` when it ends instead, as it does when
/// somebody else has taken the port meanwhile.
pub fn listens(process: &mut Child, address: SocketAddr) -> bool {
    let began = Instant::now();
    while began.elapsed() < PATIENCE && matches!(process.try_wait(), Ok(None)) {
        if TcpStream::connect(address).is_ok() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

/// Has the command find what distributions keep for administrators.
pub fn with_system_programs(command: &mut Command) -> &mut Command {
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{path}:/usr/sbin:/usr/local/sbin"))
}

/// Waits until a process has ended by itself. `None` when it has not after [`PATIENCE`].
pub fn wait_for_end(process: &mut Child) -> Option<ExitStatus> {
    let give_up = Instant::now() + PATIENCE;
    while Instant::now() < give_up {
        if let Some(status) = process.try_wait().expect("a child can be asked for") {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}

/// An address that nobody listens on at the moment. Where the kernel leaves room, the port is below those that it gives to
/// connections and to whoever asks for any, so that none of these takes it before it is used.
pub fn free_address() -> SocketAddr {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let lowest_given = range.split_whitespace().next().and_then(|port| port.parse().ok()).unwrap_or(0);
    let ports = PORT_MIN..lowest_given;
    loop {
        let port = match u64::try_from(ports.len()) {
            // A new state of the standard hash map is random.
            Ok(count @ PORTS_MIN..) => PORT_MIN + (RandomState::new().hash_one(()) % count) as u16,
            _ => 0,
        };
        if let Ok(socket) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            return socket.local_addr().expect("its number");
        }
    }
}

/// Whether this process may do everything: some servers then want to be told whom to become.
pub fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// The last lines of a log.
pub fn log_end(log: &Path) -> String {
    let log = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}
