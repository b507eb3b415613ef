//! A TCP proxy that loses what passes through it, on command.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// What the proxy does with what it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// Everything passes.
    Pass,
    /// What clients send passes; no answer does, and the connection it was on ends.
    LoseAnswers,
    /// The next answer is lost, with the connection it was on; then everything passes again.
    LoseOneAnswer,
    /// What clients send is lost, and the connection it was on ends.
    LoseRequests,
    /// What clients send on connections that exist is kept until the mode is another one. New connections pass.
    HoldRequests,
    /// Nothing passes, and nobody is told.
    Silence,
}

#[derive(Debug)]
struct Shared {
    target: Mutex<SocketAddr>,
    mode: AtomicU8,
    /// Connections from this number on were made after the mode was set.
    fresh_from: AtomicUsize,
    accepted: AtomicUsize,
    /// Connections below this number lead to a server that is no longer the right one.
    ended_below: AtomicUsize,
    lost: AtomicUsize,
    /// What every piece waits on its way, in µs.
    delay_us: AtomicU64,
    stopped: AtomicU8,
}

/// A running proxy in front of one server.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    listener: Option<JoinHandle<()>>,
}

const TICK: Duration = Duration::from_millis(5);

impl Proxy {
    /// A proxy in front of `target`.
    ///
    /// # Panics
    /// It finds no free port.
    pub fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its number");
        let shared = Arc::new(Shared {
            target: Mutex::new(target),
            mode: AtomicU8::new(Mode::Pass as u8),
            fresh_from: AtomicUsize::new(0),
            accepted: AtomicUsize::new(0),
            ended_below: AtomicUsize::new(0),
            lost: AtomicUsize::new(0),
            delay_us: AtomicU64::new(0),
            stopped: AtomicU8::new(0),
        });
        let carried = Arc::clone(&shared);
        let listener = std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if carried.stopped.load(Ordering::SeqCst) == 1 {
                    return;
                }
                let target = *carried.target.lock().unwrap_or_else(PoisonError::into_inner);
                let Ok(server) = TcpStream::connect(target) else { continue };
                // What is sent in two pieces must not wait for an answer to the first.
                let _ = (client.set_nodelay(true), server.set_nodelay(true));
                let (Ok(client_too), Ok(server_too)) = (client.try_clone(), server.try_clone()) else {
                    continue;
                };
                let number = carried.accepted.fetch_add(1, Ordering::SeqCst);
                for (from, to, is_request) in [(client_too, server_too, true), (server, client, false)] {
                    let shared = Arc::clone(&carried);
                    std::thread::spawn(move || carry(&shared, number, from, to, is_request));
                }
            }
        });
        Self { address, shared, listener: Some(listener) }
    }

    /// Where clients find it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections from now on lead to `target`; those that exist end with what they carry next.
    pub fn lead_to(&self, target: SocketAddr) {
        *self.shared.target.lock().unwrap_or_else(PoisonError::into_inner) = target;
        self.shared.ended_below.store(self.shared.accepted.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    /// A proxy in front of `target` over which each way takes so long, up to a tenth of a millisecond more.
    ///
    /// # Panics
    /// It finds no free port.
    pub fn slowly_to(target: SocketAddr, each_way: Duration) -> Self {
        let proxy = Self::to(target);
        let delay_us = u64::try_from(each_way.as_micros()).unwrap_or(u64::MAX);
        proxy.shared.delay_us.store(delay_us, Ordering::SeqCst);
        proxy
    }

    /// From now on, do this.
    pub fn set(&self, mode: Mode) {
        self.shared.fresh_from.store(self.shared.accepted.load(Ordering::SeqCst), Ordering::SeqCst);
        self.shared.mode.store(mode as u8, Ordering::SeqCst);
    }

    /// How many connections it has carried so far.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// How many pieces were lost so far.
    pub fn lost(&self) -> usize {
        self.shared.lost.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stopped.store(1, Ordering::SeqCst);
        // Wakes the listener so that it sees that it is over.
        let _ = TcpStream::connect(self.address);
        if let Some(listener) = self.listener.take() {
            let _ = listener.join();
        }
    }
}

fn carry(shared: &Shared, number: usize, mut from: TcpStream, mut to: TcpStream, is_request: bool) {
    let mut piece = [0; 64 << 10];
    while let Ok(length) = from.read(&mut piece) {
        if length == 0 {
            break;
        }
        let is = |mode: Mode| shared.mode.load(Ordering::SeqCst) == mode as u8;
        let is_old = || number < shared.fresh_from.load(Ordering::SeqCst);
        let is_over = || shared.stopped.load(Ordering::SeqCst) == 1;
        while !is_over() && (is(Mode::Silence) || (is_request && is(Mode::HoldRequests) && is_old())) {
            std::thread::sleep(TICK);
        }
        if number < shared.ended_below.load(Ordering::SeqCst) {
            break;
        }
        let loses_one = || {
            let (one, pass) = (Mode::LoseOneAnswer as u8, Mode::Pass as u8);
            shared.mode.compare_exchange(one, pass, Ordering::SeqCst, Ordering::SeqCst).is_ok()
        };
        let is_lost = match is_request {
            true => is(Mode::LoseRequests),
            false => is(Mode::LoseAnswers) || loses_one(),
        };
        if is_lost {
            shared.lost.fetch_add(1, Ordering::SeqCst);
            break;
        }
        let delay_us = shared.delay_us.load(Ordering::SeqCst);
        if delay_us > 0 {
            std::thread::sleep(Duration::from_micros(delay_us));
        }
        if to.write_all(&piece[..length]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
