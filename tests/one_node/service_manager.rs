//! What a service manager hears of the engine that it started: a socket in systemd's place.

use std::os::unix::net::UnixDatagram;
use std::sync::mpsc::{Receiver, channel};

use rustix::process::Signal;
use testbed::PATIENCE;
use testbed::engine::Launch;
use testbed::servers::process::signal;

/// Where the engine tells how it is.
struct Manager {
    _folder: tempfile::TempDir,
    path: String,
    told: Receiver<Vec<String>>,
}

const SIGN_OF_LIFE: &str = "WATCHDOG=1";

impl Manager {
    fn listens() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let (tell, told) = channel();
        // Always read: who tells waits when nobody does. Ends when the test has heard enough.
        std::thread::spawn(move || {
            let mut message = [0; 512];
            while let Ok(length) = socket.recv(&mut message) {
                let lines = std::str::from_utf8(&message[..length]).unwrap().lines().map(str::to_owned);
                if tell.send(lines.collect()).is_err() {
                    return;
                }
            }
        });
        Self { path: path.to_str().unwrap().to_owned(), told, _folder: folder }
    }

    /// What is told next, signs of life aside.
    fn hears(&self) -> Vec<String> {
        loop {
            let lines = self.told.recv_timeout(PATIENCE).expect("it is told in time");
            if lines != [SIGN_OF_LIFE] {
                return lines;
            }
        }
    }
}

#[test]
fn a_service_manager_hears_that_it_sells_reloads_and_stops() {
    let manager = Manager::listens();
    let environment = [("NOTIFY_SOCKET", manager.path.as_str()), ("WATCHDOG_USEC", "200000")];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let engine = Launch::new(&[]).with_environment(environment).start();
    assert_eq!(manager.hears(), ["READY=1", "STATUS=sells"]);

    // It lives: the watchdog hears of it without being asked.
    assert_eq!(manager.told.recv_timeout(PATIENCE).expect("a sign of life"), [SIGN_OF_LIFE]);

    signal(engine.pid(), Signal::HUP);
    let told = manager.hears();
    assert_eq!((told[0].as_str(), told.len()), ("RELOADING=1", 2));
    let micros = told[1].strip_prefix("MONOTONIC_USEC=").expect("since when");
    assert!(micros.parse::<u64>().unwrap() > 0, "{told:?}");
    assert_eq!(manager.hears(), ["READY=1", "STATUS=sells"]);

    let (status, _) = engine.terminate();
    assert!(status.success());
    let told = manager.hears();
    assert_eq!((told[0].as_str(), told[2].as_str()), ("STOPPING=1", "EXTEND_TIMEOUT_USEC=25000000"));
}
