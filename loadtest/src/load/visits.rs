//! The arrivals of all open phases in one stream, and the window of a closed one.

use super::plan::ns;
use super::schedule::Arrivals;
use crate::scenario::{Load, Scenario};

/// One worker's visits, in order of time.
#[derive(Debug)]
pub struct Visits {
    open: Vec<(u16, u64, Arrivals)>,
    closed: Vec<Window>,
    next: Option<(u64, u16)>,
}

/// When visitors of a closed phase follow one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Phase by index.
    pub phase: u16,
    /// Start, nanoseconds on the run's clock.
    pub from_ns: u64,
    /// End.
    pub to_ns: u64,
}

impl Visits {
    /// The share of worker `worker` of `workers`, for a run that starts at `start_ns`.
    pub fn new(scenario: &Scenario, worker: u64, workers: u64, start_ns: u64) -> Self {
        let mut visits = Self { open: Vec::new(), closed: Vec::new(), next: None };
        for (index, phase) in scenario.phases.iter().enumerate() {
            let from_ns = start_ns + ns(scenario.phase_start_s(index));
            if let Some(curve) = phase.curve() {
                let seed = scenario.seed.wrapping_add(index as u64 * 1_000_003);
                let arrivals = Arrivals::new(curve, phase.pacing, worker, workers, seed);
                visits.open.push((index as u16, from_ns, arrivals));
            } else if matches!(phase.load, Load::Closed {}) {
                visits.closed.push(Window {
                    phase: index as u16,
                    from_ns,
                    to_ns: from_ns + ns(phase.duration_s),
                });
            }
        }
        visits.open.reverse();
        visits.closed.reverse();
        visits.advance();
        visits
    }

    /// The next arrival: when it is due and its phase.
    pub fn peek(&self) -> Option<(u64, u16)> {
        self.next
    }

    /// Takes the next arrival.
    pub fn take(&mut self) -> Option<(u64, u16)> {
        let taken = self.next;
        self.advance();
        taken
    }

    /// The closed phase that is on at `now_ns`.
    pub fn closed_now(&mut self, now_ns: u64) -> Option<Window> {
        while self.closed.last().is_some_and(|window| window.to_ns <= now_ns) {
            self.closed.pop();
        }
        self.closed.last().copied().filter(|window| window.from_ns <= now_ns)
    }

    /// When the next closed phase starts, if none is on.
    pub fn closed_from(&self) -> Option<u64> {
        self.closed.last().map(|window| window.from_ns)
    }

    /// Whether nobody comes any more.
    pub fn is_over(&self) -> bool {
        self.next.is_none() && self.closed.is_empty()
    }

    /// Turns everybody else away.
    pub fn stop(&mut self) {
        self.open.clear();
        self.closed.clear();
        self.next = None;
    }

    fn advance(&mut self) {
        self.next = None;
        while let Some((phase, from_ns, arrivals)) = self.open.last_mut() {
            if let Some(due_ns) = arrivals.next() {
                self.next = Some((*from_ns + due_ns, *phase));
                return;
            }
            self.open.pop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_follow_one_another() {
        let text = r#"
            name = "x"
            about = "x"
            [[campaign]]
            name = "c"
            stock = 1
            [[shopper]]
            name = "s"
            [[phase]]
            name = "one"
            duration_s = 1
            load = { curve = "constant", rate_per_s = 2 }
            [[phase]]
            name = "two"
            duration_s = 2
            load = { curve = "closed" }
            [[phase]]
            name = "three"
            duration_s = 1
            load = { curve = "constant", rate_per_s = 1 }
        "#;
        let scenario = Scenario::parse("x", text, &[]).unwrap();
        let mut visits = Visits::new(&scenario, 0, 1, 10);
        let second = 1_000_000_000;
        assert_eq!(visits.closed_now(10), None);
        let window = Window { phase: 1, from_ns: 10 + second, to_ns: 10 + 3 * second };
        assert_eq!(visits.closed_now(10 + 2 * second), Some(window));
        assert_eq!(visits.take(), Some((10, 0)));
        assert_eq!(visits.take(), Some((10 + second / 2, 0)));
        assert_eq!(visits.take(), Some((10 + 3 * second, 2)));
        assert_eq!(visits.take(), None);
        assert!(!visits.is_over());
        assert_eq!(visits.closed_now(10 + 3 * second), None);
        assert!(visits.is_over());
    }
}
