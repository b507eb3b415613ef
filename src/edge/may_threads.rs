//! The threads of the `may` front end's coroutines, and the way back to them.
//!
//! A coroutine must go on where it began. The compiler may keep the address of a thread-local variable over a point at
//! which the coroutine waits (optimised builds do), and `may` looks at a socket's wait after another thread may have
//! ended the connection. Coroutines that change threads lose wake-ups, and answers with them. So:
//!
//! - `may` is built without stealing of work.
//! - A connection's coroutine begins on the thread whose poll holds its socket: the descriptor modulo the threads, which
//!   is `may`'s own rule.
//! - A coroutine that waits for something other than its socket is woken by a coroutine of its own thread. `may` would
//!   let it go on on whichever thread comes next.
//!
//! Protocol of [`Home::called`]: who wakes pushes first, then raises the flag; only who finds it down calls a coroutine
//! in. That one lowers the flag before it looks at the queue, so whatever it does not find has called another one. Both
//! are swaps that acquire and release: who finds the flag raised by another has its push behind that other's call.

use std::future::Future;
use std::os::fd::RawFd;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};

use crossbeam::queue::SegQueue;
use may::coroutine::{self, Builder, Coroutine};
use tokio::runtime::Handle;

/// Words of a coroutine's stack: 256 KiB, of which only the pages in use take memory. Checking a token needs more than
/// the 32 KiB that coroutines have by default, and a coroutine that leaves its stack ends the process.
const STACK_WORDS: usize = 0x8000;

/// The scheduler's threads.
#[derive(Debug)]
pub struct Homes(Vec<Home>);

/// One thread.
#[derive(Debug, Default)]
struct Home {
    /// Coroutines that may go on.
    woken: SegQueue<Coroutine>,
    /// Whether a coroutine of this thread is on its way to the queue.
    called: AtomicBool,
}

/// A thread of the scheduler, as a number below the number of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HomeId(usize);

impl Homes {
    /// The threads of this process. The scheduler is one for the process: their number is that of the first call.
    pub fn of_process(threads: usize) -> &'static Self {
        static HOMES: OnceLock<Homes> = OnceLock::new();
        HOMES.get_or_init(|| {
            may::config().set_workers(threads).set_stack_size(STACK_WORDS);
            Self(std::iter::repeat_with(Home::default).take(threads).collect())
        })
    }

    /// The thread whose poll holds this socket.
    pub fn of_socket(&self, socket: RawFd) -> HomeId {
        HomeId(socket as usize % self.0.len())
    }

    /// Starts a coroutine on a thread.
    ///
    /// # Errors
    /// There is no memory for its stack.
    pub fn start(&self, home: HomeId, body: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
        may::go!(Builder::new().id(home.0), body).map(drop)
    }

    /// Lets a parked coroutine of this thread go on, from whichever thread.
    fn wake(&'static self, id: HomeId, sleeper: Coroutine) {
        let home = &self.0[id.0];
        home.woken.push(sleeper);
        if home.called.swap(true, Ordering::AcqRel) {
            return;
        }
        let go_round = move || {
            home.called.swap(false, Ordering::AcqRel);
            while let Some(sleeper) = home.woken.pop() {
                sleeper.unpark();
            }
        };
        if let Err(error) = self.start(id, go_round) {
            // Those in the queue are found by the next one that can be started.
            home.called.store(false, Ordering::Release);
            tracing::error!(%error, "no coroutine to wake another");
        }
    }

    /// Drives the future on the current coroutine of this thread, which serves others while it waits. Timers and
    /// blocking threads are those of `control`.
    pub fn block_on<F: Future>(&'static self, home: HomeId, control: &Handle, future: F) -> F::Output {
        let sleeper = Sleeper { homes: self, home, coroutine: coroutine::current() };
        let waker = Waker::from(Arc::new(sleeper));
        let mut context = Context::from_waker(&waker);
        let mut future = pin!(future);
        loop {
            let polled = {
                // Of the thread, which others use while this coroutine waits: held only while polling.
                let _entered = control.enter();
                future.as_mut().poll(&mut context)
            };
            match polled {
                Poll::Ready(output) => return output,
                Poll::Pending => coroutine::park(),
            }
        }
    }
}

/// A coroutine that waits, and where.
struct Sleeper {
    homes: &'static Homes,
    home: HomeId,
    coroutine: Coroutine,
}

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        self.homes.wake(self.home, self.coroutine.clone());
    }
}
