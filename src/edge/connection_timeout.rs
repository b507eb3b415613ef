//! The time-outs of connections: which of them have been waiting too long, and for what.
//!
//! A timer for each wait of each connection would cost every request. Instead each connection notes what it waits for,
//! which is one store to memory of its own thread, and a sweep a few times a second looks at all of them. While there are
//! none it rests.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The first byte of a request.
    Request,
    /// The same, for a while already: whatever served the connection has been put away.
    Rested,
    /// The end of a header.
    Header,
    /// Our own answer, or a body: those have their own limits.
    Answer,
    /// The other side to say that it has heard that we end, or to make a last request.
    Farewell,
    /// The other side to close, after we have.
    Close,
}

/// What a connection is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Go on.
    Serve,
    /// Nothing has been asked for a while: keep the socket alone.
    Rest,
    /// End with the next answer. Only a connection that can say so without one has anything to do.
    Leave,
    /// Finish what is in flight, then close.
    Finish,
    /// Close at once.
    Drop,
}

/// How long each wait may last.
#[derive(Clone, Copy, Debug)]
pub struct WaitLimits {
    /// [`Wait::Request`].
    pub idle: Duration,
    /// [`Wait::Header`].
    pub header: Duration,
}

/// After this long without a request a connection keeps no buffers.
const REST_AFTER: Duration = Duration::from_secs(1);

/// After closing our side we wait this long for the other to close its own: closing earlier, with bytes unread, would
/// reset the connection and could take the answer with it.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

impl WaitLimits {
    fn of(&self, wait: Wait) -> Duration {
        match wait {
            Wait::Request => self.idle,
            Wait::Rested => self.idle.saturating_sub(REST_AFTER),
            Wait::Header => self.header,
            Wait::Answer => Duration::MAX,
            Wait::Farewell | Wait::Close => CLOSE_WAIT,
        }
    }

    /// How often to look: at least ten times within the shortest limit, at most 50 times a second.
    fn period(&self) -> Duration {
        (self.idle.min(self.header).min(CLOSE_WAIT) / 10).max(Duration::from_millis(20))
    }
}

/// What one connection waits for, since when, and the signal that it was sent.
#[derive(Debug)]
pub struct ConnectionTimeout {
    wait: Cell<Wait>,
    since: Cell<Instant>,
    signal: Cell<Signal>,
    /// Whether it can be told to rest.
    rests: Cell<bool>,
    /// What was written has not all left yet.
    is_writing: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    now: Rc<Cell<Instant>>,
}

impl ConnectionTimeout {
    /// From now on it can be told to rest.
    pub fn can_rest(&self) {
        self.rests.set(true);
    }

    /// Notes whether something is on its way out.
    #[inline]
    pub fn writes(&self, is_writing: bool) {
        self.is_writing.set(is_writing);
    }

    /// Whether it is to be told to rest now, if it has waited long enough.
    fn may_rest(&self) -> bool {
        self.rests.get() && self.is_idle() && self.signal() == Signal::Serve
    }

    /// Whether it waits for its next request, and the answers before have left.
    pub fn is_idle(&self) -> bool {
        self.wait.get() == Wait::Request && !self.is_writing.get()
    }

    /// Notes what the connection waits for from now on.
    #[inline]
    pub fn waits_for(&self, wait: Wait) {
        self.wait.set(wait);
        self.since.set(self.now.get());
    }

    /// What it waits for.
    #[inline]
    pub fn wait(&self) -> Wait {
        self.wait.get()
    }

    /// The time of the last look at all connections.
    #[inline]
    pub fn now(&self) -> Instant {
        self.now.get()
    }

    /// The signal that it was sent.
    #[inline]
    pub fn signal(&self) -> Signal {
        self.signal.get()
    }

    /// Sends it a signal, and wakes its task.
    pub fn send(&self, signal: Signal) {
        self.signal.set(signal);
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// The signal was followed as far as it can be followed now.
    pub fn acknowledge(&self) {
        self.signal.set(Signal::Serve);
    }

    /// The task to wake.
    pub fn belongs_to(&self, waker: &Waker) {
        *self.waker.borrow_mut() = Some(waker.clone());
    }
}

/// The connections of one serving thread.
#[derive(Debug)]
pub struct ConnectionTimeouts {
    limits: WaitLimits,
    now: Rc<Cell<Instant>>,
    all: RefCell<Vec<Rc<ConnectionTimeout>>>,
    /// Wakes whoever rests while there are no connections.
    first: Notify,
}

impl ConnectionTimeouts {
    /// No connections yet.
    pub fn new(limits: WaitLimits) -> Self {
        let now = Rc::new(Cell::new(Instant::now()));
        Self { limits, now, all: RefCell::default(), first: Notify::new() }
    }

    /// A new connection, which waits for its first request. It is watched until its owner drops it.
    pub fn start(&self) -> Rc<ConnectionTimeout> {
        if self.all.borrow().is_empty() {
            // The last look may be long ago: it would have waited since then.
            self.now.set(Instant::now());
            self.first.notify_waiters();
        }
        let timeout = Rc::new(ConnectionTimeout {
            wait: Cell::new(Wait::Request),
            since: Cell::new(self.now.get()),
            signal: Cell::new(Signal::Serve),
            rests: Cell::new(false),
            is_writing: Cell::new(false),
            waker: RefCell::default(),
            now: Rc::clone(&self.now),
        });
        self.all.borrow_mut().push(Rc::clone(&timeout));
        timeout
    }

    /// Sends every connection the signal.
    pub fn send_all(&self, signal: Signal) {
        self.all.borrow().iter().for_each(|timeout| timeout.send(signal));
    }

    /// How many connections there are.
    pub fn open(&self) -> usize {
        self.forget_closed();
        self.all.borrow().len()
    }

    /// Ends when there is a connection: at once, if there is one.
    pub async fn any(&self) {
        while self.all.borrow().is_empty() {
            self.first.notified().await;
        }
    }

    /// Looks at all connections again and again, and drops those that have waited too long.
    pub async fn sweep(&self) {
        loop {
            self.any().await;
            tokio::time::sleep(self.limits.period()).await;
            self.look(Instant::now());
        }
    }

    fn look(&self, now: Instant) {
        self.now.set(now);
        self.forget_closed();
        for timeout in &*self.all.borrow() {
            let waited = now.saturating_duration_since(timeout.since.get());
            if waited > self.limits.of(timeout.wait.get()) {
                timeout.send(Signal::Drop);
            } else if waited >= REST_AFTER && timeout.may_rest() {
                timeout.send(Signal::Rest);
            }
        }
    }

    fn forget_closed(&self) {
        self.all.borrow_mut().retain(|timeout| Rc::strong_count(timeout) > 1);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Context;

    use super::*;

    #[test]
    fn who_rests_while_there_is_nobody_is_woken_by_the_first_whose_wait_begins_then() {
        let second = Duration::from_secs(1);
        let timeouts = ConnectionTimeouts::new(WaitLimits { idle: 60 * second, header: 10 * second });
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..2 {
            let last_look = Instant::now() + 3_600 * second;
            timeouts.look(last_look);
            let mut sweeping = pin!(timeouts.any());
            let mut watching = pin!(timeouts.any());
            assert!(sweeping.as_mut().poll(&mut context).is_pending());
            assert!(watching.as_mut().poll(&mut context).is_pending());
            let timeout = timeouts.start();
            assert!(sweeping.as_mut().poll(&mut context).is_ready());
            assert!(watching.as_mut().poll(&mut context).is_ready());
            assert!(pin!(timeouts.any()).poll(&mut context).is_ready());
            assert!(timeout.since.get() < last_look, "its wait does not begin with the last look");
            drop(timeout);
            timeouts.look(Instant::now());
        }
    }

    #[test]
    fn each_wait_has_its_own_limit() {
        let second = Duration::from_secs(1);
        let timeouts = ConnectionTimeouts::new(WaitLimits { idle: 60 * second, header: 10 * second });
        let start = timeouts.now.get();
        let [idle, slow, busy] = [Wait::Request, Wait::Header, Wait::Answer].map(|wait| {
            let timeout = timeouts.start();
            timeout.can_rest();
            timeout.waits_for(wait);
            timeout
        });
        let signals = || [&idle, &slow, &busy].map(|timeout| timeout.signal());
        timeouts.look(start + second / 2);
        assert_eq!(signals(), [Signal::Serve; 3]);
        timeouts.look(start + 10 * second);
        assert_eq!(signals(), [Signal::Rest, Signal::Serve, Signal::Serve]);
        idle.acknowledge();
        idle.waits_for(Wait::Rested);
        timeouts.look(start + 11 * second);
        assert_eq!(signals(), [Signal::Serve, Signal::Drop, Signal::Serve]);
        timeouts.look(start + 3600 * second);
        assert_eq!(signals(), [Signal::Drop, Signal::Drop, Signal::Serve]);
        drop((idle, slow));
        assert_eq!(timeouts.open(), 1);
    }
}
