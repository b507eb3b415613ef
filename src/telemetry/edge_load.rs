//! How busy the serving threads of the edge are, how long requests wait for them, and what is refused because of it.
//!
//! # Protocol of the atomics
//!
//! Each thread writes its own numbers and everybody reads them; they publish nothing: relaxed.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use crossbeam::utils::CachePadded;

use super::counter::Counter;
use super::histogram::{AtomicHistogram, HistogramSnapshot, Layout};
use crate::domain::Nanos;

/// What costs more than a refusal and can wait: it is refused before purchases have to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dear {
    /// A buyer looks at orders.
    Look,
    /// A buyer pays. Refused only when refusing looks was not enough.
    Pay,
    /// An operator reads orders, events, books.
    Admin,
}

impl Dear {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Look, Self::Pay, Self::Admin];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::Pay => "pay",
            Self::Admin => "admin",
        }
    }

    /// How many of [`EdgeLoad::STEPS`] are refused at this level.
    const fn share(self, level: u32) -> u32 {
        match self {
            Self::Look | Self::Admin if level < EdgeLoad::STEPS => level,
            Self::Look | Self::Admin => EdgeLoad::STEPS,
            Self::Pay => level.saturating_sub(EdgeLoad::STEPS),
        }
    }
}

/// What the serving threads tell.
#[derive(Debug)]
pub struct EdgeLoad {
    threads: Box<[CachePadded<ThreadLoad>]>,
    shed: [Counter; Dear::ALL.len()],
}

#[derive(Debug)]
struct ThreadLoad {
    waits: AtomicHistogram,
    busy_ns: AtomicU64,
    starved_ns: AtomicU64,
    level: AtomicU32,
    turns: [AtomicU32; Dear::ALL.len()],
}

impl EdgeLoad {
    /// Of so many requests that are dear, a share is refused that grows step by step.
    pub const STEPS: u32 = 8;
    /// The level at which everything dear is refused: first all looks, then all payments.
    pub const LEVEL_MAX: u32 = 2 * Self::STEPS;

    pub(super) fn new(threads: usize) -> Self {
        let thread = || ThreadLoad {
            waits: AtomicHistogram::new(Layout::LATENCY),
            busy_ns: AtomicU64::new(0),
            starved_ns: AtomicU64::new(0),
            level: AtomicU32::new(0),
            turns: [const { AtomicU32::new(0) }; Dear::ALL.len()],
        };
        let threads = (0..threads.max(1)).map(|_| CachePadded::new(thread())).collect();
        Self { threads, shed: std::array::from_fn(|_| Counter::default()) }
    }

    fn thread(&self, home: usize) -> &ThreadLoad {
        &self.threads[home % self.threads.len()]
    }

    /// What had arrived at this thread waited for so long until it was read.
    pub fn waited(&self, home: usize, wait: Nanos) {
        self.thread(home).waits.record(wait.0);
    }

    /// Since its start this thread has been on a processor, and ready without one, for so long.
    pub fn ran(&self, home: usize, busy: Nanos, starved: Nanos) {
        self.thread(home).busy_ns.store(busy.0, Relaxed);
        self.thread(home).starved_ns.store(starved.0, Relaxed);
    }

    /// From now on the thread refuses what is dear at this level, 0 to [`EdgeLoad::LEVEL_MAX`].
    pub fn set_level(&self, home: usize, level: u32) {
        self.thread(home).level.store(level.min(Self::LEVEL_MAX), Relaxed);
    }

    /// Whether this thread has to refuse a request of this kind now. Counts it if so.
    pub fn sheds(&self, home: usize, dear: Dear) -> bool {
        let thread = self.thread(home);
        self.decide(thread, thread.level.load(Relaxed), dear)
    }

    /// The same for what no serving thread answers: as the busiest of them would.
    pub fn sheds_anywhere(&self, dear: Dear) -> bool {
        let busiest = self.threads.iter().max_by_key(|thread| thread.level.load(Relaxed));
        busiest.is_some_and(|thread| self.decide(thread, thread.level.load(Relaxed), dear))
    }

    /// Spreads refusals evenly: of eight in a row as many as the level says.
    fn decide(&self, thread: &ThreadLoad, level: u32, dear: Dear) -> bool {
        let share = dear.share(level);
        if share == 0 {
            return false;
        }
        let turn = thread.turns[dear as usize].fetch_add(share, Relaxed) % Self::STEPS;
        let is_refused = turn + share >= Self::STEPS;
        if is_refused {
            self.shed[dear as usize].increment();
        }
        is_refused
    }
}

/// The figures, for those who read them.
impl EdgeLoad {
    /// Nanoseconds that what had arrived waited, on all threads.
    pub fn waits(&self) -> HistogramSnapshot {
        let mut waits = HistogramSnapshot::empty(Layout::LATENCY);
        self.threads.iter().for_each(|thread| thread.waits.add_to(&mut waits));
        waits
    }

    /// What each thread was told to have [run](EdgeLoad::ran).
    pub fn times(&self) -> impl Iterator<Item = (Nanos, Nanos)> {
        self.threads
            .iter()
            .map(|thread| (Nanos(thread.busy_ns.load(Relaxed)), Nanos(thread.starved_ns.load(Relaxed))))
    }

    /// The share of this kind, 0 to 1, that the busiest thread refuses now.
    pub fn share(&self, dear: Dear) -> f64 {
        let level = self.threads.iter().map(|thread| thread.level.load(Relaxed)).max().unwrap_or_default();
        f64::from(dear.share(level)) / f64::from(Self::STEPS)
    }

    /// How many of this kind have been refused.
    pub fn shed(&self, dear: Dear) -> u64 {
        self.shed[dear as usize].value()
    }
}

/// How long the calling thread has been on a processor, and how long ready without one; `None` where the kernel does not
/// tell.
pub fn thread_times() -> Option<(Nanos, Nanos)> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let mut numbers = text.split_whitespace().map_while(|number| number.parse().ok().map(Nanos));
    Some((numbers.next()?, numbers.next()?))
}

/// Connections that were dropped since the machine's start because some listener's queue was full: of all programs in this
/// network namespace.
pub(super) fn listen_overflows() -> Option<u64> {
    overflows_in(&std::fs::read_to_string("/proc/net/netstat").ok()?)
}

/// `/proc/net/netstat` has two lines a protocol: names, then numbers.
fn overflows_in(text: &str) -> Option<u64> {
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, numbers) = (lines.next()?.split_whitespace(), lines.next()?.split_whitespace());
    names.zip(numbers).find(|(name, _)| *name == "ListenOverflows")?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(load: &EdgeLoad, dear: Dear) -> usize {
        (0..80).filter(|_| load.sheds(0, dear)).count()
    }

    #[test]
    fn looks_are_refused_before_payments_and_each_step_is_an_eighth() {
        let load = EdgeLoad::new(2);
        for (level, looks, payments) in
            [(0, 0, 0), (1, 10, 0), (4, 40, 0), (8, 80, 0), (9, 80, 10), (16, 80, 80), (99, 80, 80)]
        {
            load.set_level(0, level);
            assert_eq!((refused(&load, Dear::Look), refused(&load, Dear::Pay)), (looks, payments), "{level}");
        }
        assert!((0..80).all(|_| !load.sheds(1, Dear::Look)), "the other thread has time");
        assert!(load.sheds_anywhere(Dear::Admin), "operators hear of the busiest");
    }

    #[test]
    fn refusals_are_spread() {
        let load = EdgeLoad::new(1);
        load.set_level(0, 2);
        let turns: Vec<_> = (0..8).map(|_| load.sheds(0, Dear::Look)).collect();
        assert_eq!(turns, [false, false, false, true, false, false, false, true]);
    }

    #[test]
    fn overflows_are_found_by_their_name() {
        let text =
            "TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 1 22 333\nIpExt: A\nIpExt: 4\n";
        assert_eq!(overflows_in(text), Some(22));
        assert_eq!(overflows_in("IpExt: A\nIpExt: 4\n"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_thread_that_works_is_busy() {
        let (before, _) = thread_times().unwrap();
        let mut sum = 0_u64;
        while thread_times().unwrap().0 == before {
            (0..10_000).for_each(|n| sum = std::hint::black_box(sum.wrapping_add(n)));
        }
    }
}
