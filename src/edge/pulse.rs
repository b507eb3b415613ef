//! The life signs of connections: which of them have been waiting too long, and for what.
//!
//! A timer for each wait of each connection would cost every request. Instead each connection notes what it waits for,
//! which is one store to memory of its own thread, and a sweep a few times a second looks at all of them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;
use std::time::{Duration, Instant};

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The first byte of a request.
    Request,
    /// The end of a header.
    Header,
    /// Our own answer, or a body: those have their own limits.
    Answer,
    /// The other side to close, after we have.
    Close,
}

/// What a connection is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Go on.
    Serve,
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

/// After closing our side we wait this long for the other to close its own: closing earlier, with bytes unread, would
/// reset the connection and could take the answer with it.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

impl WaitLimits {
    fn of(&self, wait: Wait) -> Duration {
        match wait {
            Wait::Request => self.idle,
            Wait::Header => self.header,
            Wait::Answer => Duration::MAX,
            Wait::Close => CLOSE_WAIT,
        }
    }

    /// How often to look: at least ten times within the shortest limit, at most 50 times a second.
    fn period(&self) -> Duration {
        (self.idle.min(self.header).min(CLOSE_WAIT) / 10).max(Duration::from_millis(20))
    }
}

/// One connection's life signs.
#[derive(Debug)]
pub struct Pulse {
    wait: Cell<Wait>,
    since: Cell<Instant>,
    order: Cell<Order>,
    waker: RefCell<Option<Waker>>,
    now: Rc<Cell<Instant>>,
}

impl Pulse {
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

    /// What it is told.
    #[inline]
    pub fn order(&self) -> Order {
        self.order.get()
    }

    /// Tells it, and wakes its task.
    pub fn tell(&self, order: Order) {
        self.order.set(order);
        if let Some(waker) = &*self.waker.borrow() {
            waker.wake_by_ref();
        }
    }

    /// The order was followed as far as it can be followed now.
    pub fn followed(&self) {
        self.order.set(Order::Serve);
    }

    /// The task to wake.
    pub fn belongs_to(&self, waker: &Waker) {
        *self.waker.borrow_mut() = Some(waker.clone());
    }
}

/// The connections of one serving thread.
#[derive(Debug)]
pub struct Pulses {
    limits: WaitLimits,
    now: Rc<Cell<Instant>>,
    all: RefCell<Vec<Rc<Pulse>>>,
}

impl Pulses {
    /// No connections yet.
    pub fn new(limits: WaitLimits) -> Self {
        Self { limits, now: Rc::new(Cell::new(Instant::now())), all: RefCell::default() }
    }

    /// A new connection, which waits for its first request. It is watched until its owner drops it.
    pub fn start(&self) -> Rc<Pulse> {
        let pulse = Rc::new(Pulse {
            wait: Cell::new(Wait::Request),
            since: Cell::new(self.now.get()),
            order: Cell::new(Order::Serve),
            waker: RefCell::default(),
            now: Rc::clone(&self.now),
        });
        self.all.borrow_mut().push(Rc::clone(&pulse));
        pulse
    }

    /// Tells every connection.
    pub fn tell_all(&self, order: Order) {
        self.all.borrow().iter().for_each(|pulse| pulse.tell(order));
    }

    /// How many connections there are.
    pub fn open(&self) -> usize {
        self.forget_closed();
        self.all.borrow().len()
    }

    /// Looks at all connections again and again, and drops those that have waited too long.
    pub async fn sweep(&self) {
        loop {
            tokio::time::sleep(self.limits.period()).await;
            self.look(Instant::now());
        }
    }

    fn look(&self, now: Instant) {
        self.now.set(now);
        self.forget_closed();
        for pulse in &*self.all.borrow() {
            if now.saturating_duration_since(pulse.since.get()) > self.limits.of(pulse.wait.get()) {
                pulse.tell(Order::Drop);
            }
        }
    }

    fn forget_closed(&self) {
        self.all.borrow_mut().retain(|pulse| Rc::strong_count(pulse) > 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wait_has_its_own_limit() {
        let second = Duration::from_secs(1);
        let pulses = Pulses::new(WaitLimits { idle: 60 * second, header: 10 * second });
        let start = pulses.now.get();
        let [idle, slow, busy] = [Wait::Request, Wait::Header, Wait::Answer].map(|wait| {
            let pulse = pulses.start();
            pulse.waits_for(wait);
            pulse
        });
        let orders = || [&idle, &slow, &busy].map(|pulse| pulse.order());
        pulses.look(start + 10 * second);
        assert_eq!(orders(), [Order::Serve; 3]);
        pulses.look(start + 11 * second);
        assert_eq!(orders(), [Order::Serve, Order::Drop, Order::Serve]);
        pulses.look(start + 3600 * second);
        assert_eq!(orders(), [Order::Drop, Order::Drop, Order::Serve]);
        drop((idle, slow));
        assert_eq!(pulses.open(), 1);
    }
}
