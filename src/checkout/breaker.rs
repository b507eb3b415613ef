//! A circuit breaker: stops asking a service that keeps failing, and finds out when it is back.
//!
//! [`Breaker`] is the pure machine, with time as an argument. [`Gate`] shares one between tasks.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::service_settings::BreakerSettings;
use crate::domain::Nanos;

/// Parts of the window: old verdicts leave it a tenth at a time.
const SLOTS: usize = 10;

/// What the breaker lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Everything.
    Closed,
    /// A few probes.
    HalfOpen,
    /// Nothing.
    Open,
}

/// How the service served one piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallVerdict {
    /// It answered, whatever the answer was.
    Good,
    /// It failed, or did not answer in time.
    Bad,
    /// It was not asked, or the answer was not waited for.
    Unused,
}

/// The right to ask the service once. Must come back through [`Breaker::conclude`].
#[derive(Debug)]
pub struct Permit {
    /// Work let through before the last change of state says nothing about the service now.
    era: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    number: u64,
    good: u32,
    bad: u32,
}

#[derive(Clone, Copy, Debug)]
enum Mode {
    Closed,
    Open { until: Nanos },
    HalfOpen { out: u32, good: u32 },
}

/// The machine. Closed until, of at least `calls_min` verdicts in the window, `failure_ratio` are bad; then open for
/// `open_ms`; then half-open: `probes` pieces of work pass, and all must be good to close it again.
#[derive(Debug)]
pub struct Breaker {
    settings: BreakerSettings,
    mode: Mode,
    era: u64,
    slots: [Slot; SLOTS],
    latest: Nanos,
}

impl Breaker {
    /// A closed breaker without memory.
    pub fn new(settings: BreakerSettings) -> Self {
        Self {
            settings,
            mode: Mode::Closed,
            era: 0,
            slots: [Slot::default(); SLOTS],
            latest: Nanos::default(),
        }
    }

    /// Lets one piece of work through.
    ///
    /// # Errors
    /// How long to wait before asking again.
    pub fn admit(&mut self, now: Nanos) -> Result<Permit, Nanos> {
        if let Some(wait) = self.wait(now) {
            return Err(wait);
        }
        match &mut self.mode {
            Mode::Closed => {}
            Mode::Open { .. } => self.enter(Mode::HalfOpen { out: 1, good: 0 }),
            Mode::HalfOpen { out, .. } => *out += 1,
        }
        Ok(Permit { era: self.era })
    }

    /// How long [`admit`](Self::admit) would refuse; `None` when it would let work through.
    pub fn wait(&mut self, now: Nanos) -> Option<Nanos> {
        self.latest = self.latest.max(now);
        match self.mode {
            Mode::Open { until } if self.latest < until => Some(Nanos(until.0 - self.latest.0)),
            Mode::HalfOpen { out, good } if out + good >= self.settings.probes => {
                // The probes decide within the time of one call; nobody knows it better.
                Some(self.open_for())
            }
            _ => None,
        }
    }

    /// Takes back a permit with what became of its work.
    pub fn conclude(&mut self, permit: Permit, verdict: CallVerdict, now: Nanos) {
        self.latest = self.latest.max(now);
        if permit.era != self.era {
            return;
        }
        match (&mut self.mode, verdict) {
            (Mode::Closed, CallVerdict::Unused) => {}
            (Mode::Closed, _) => self.remember(verdict),
            (Mode::HalfOpen { out, .. }, CallVerdict::Unused) => *out -= 1,
            (Mode::HalfOpen { out, good }, CallVerdict::Good) => {
                *out -= 1;
                *good += 1;
                if *good >= self.settings.probes {
                    self.slots = [Slot::default(); SLOTS];
                    self.enter(Mode::Closed);
                }
            }
            (Mode::HalfOpen { .. }, CallVerdict::Bad) => self.trip(),
            (Mode::Open { .. }, _) => {
                unreachable!("an open breaker begins a new era and gives out no permits")
            }
        }
    }

    /// What it lets through at the moment.
    pub fn state(&self) -> BreakerState {
        match self.mode {
            Mode::Closed => BreakerState::Closed,
            Mode::HalfOpen { .. } => BreakerState::HalfOpen,
            Mode::Open { .. } => BreakerState::Open,
        }
    }

    fn remember(&mut self, verdict: CallVerdict) {
        let slot_ns = (self.settings.window_ms * 1_000_000 / SLOTS as u64).max(1);
        let number = self.latest.0 / slot_ns;
        let slot = &mut self.slots[(number % SLOTS as u64) as usize];
        if slot.number != number {
            *slot = Slot { number, ..Slot::default() };
        }
        if verdict == CallVerdict::Good {
            slot.good = slot.good.saturating_add(1);
            return;
        }
        slot.bad = slot.bad.saturating_add(1);
        let recent = self.slots.iter().filter(|slot| slot.number + SLOTS as u64 > number);
        let (good, bad) =
            recent.fold((0, 0), |(good, bad), slot| (good + u64::from(slot.good), bad + u64::from(slot.bad)));
        let calls = good + bad;
        if calls >= u64::from(self.settings.calls_min)
            && bad as f64 >= self.settings.failure_ratio * calls as f64
        {
            self.trip();
        }
    }

    fn trip(&mut self) {
        let until = Nanos(self.latest.0.saturating_add(self.open_for().0));
        self.enter(Mode::Open { until });
    }

    fn enter(&mut self, mode: Mode) {
        self.mode = mode;
        self.era += 1;
    }

    fn open_for(&self) -> Nanos {
        Nanos(self.settings.open_ms.saturating_mul(1_000_000))
    }
}

/// A [`Breaker`] for several tasks, on the clock of the runtime.
#[derive(Debug)]
pub struct Gate {
    breaker: Mutex<Breaker>,
    started: Instant,
}

impl Gate {
    /// A closed gate.
    pub fn new(settings: BreakerSettings) -> Self {
        Self { breaker: Mutex::new(Breaker::new(settings)), started: Instant::now() }
    }

    /// Lets one piece of work through.
    ///
    /// # Errors
    /// How long to wait before asking again.
    pub fn pass(self: &Arc<Self>) -> Result<Pass, Nanos> {
        let permit = self.breaker.lock().admit(self.now())?;
        Ok(Pass { gate: Arc::clone(self), permit: Some(permit) })
    }

    /// How long [`pass`](Self::pass) would refuse; `None` when it would not.
    pub fn wait(&self) -> Option<Nanos> {
        self.breaker.lock().wait(self.now())
    }

    /// What it would let through at the moment: also where nobody has tried it since its time was over.
    pub fn state(&self) -> BreakerState {
        let mut breaker = self.breaker.lock();
        match breaker.state() {
            BreakerState::Open if breaker.wait(self.now()).is_none() => BreakerState::HalfOpen,
            state => state,
        }
    }

    fn now(&self) -> Nanos {
        Nanos(self.started.elapsed().as_nanos() as u64)
    }
}

/// The right to ask the service once. Dropped without a verdict it counts as unused.
#[derive(Debug)]
pub struct Pass {
    gate: Arc<Gate>,
    permit: Option<Permit>,
}

impl Pass {
    /// Says how the service served.
    pub fn conclude(mut self, verdict: CallVerdict) {
        self.give_back(verdict);
    }

    fn give_back(&mut self, verdict: CallVerdict) {
        if let Some(permit) = self.permit.take() {
            let now = self.gate.now();
            self.gate.breaker.lock().conclude(permit, verdict, now);
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.give_back(CallVerdict::Unused);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SETTINGS: BreakerSettings =
        BreakerSettings { window_ms: 1_000, calls_min: 4, failure_ratio: 0.5, open_ms: 500, probes: 2 };

    fn at(ms: u64) -> Nanos {
        Nanos(ms * 1_000_000)
    }

    fn tripped() -> Breaker {
        let mut breaker = Breaker::new(SETTINGS);
        for _ in 0..4 {
            let permit = breaker.admit(at(0)).unwrap();
            breaker.conclude(permit, CallVerdict::Bad, at(0));
        }
        assert_eq!(breaker.state(), BreakerState::Open);
        breaker
    }

    #[test]
    fn it_closes_after_good_probes_and_opens_again_after_a_bad_one() {
        let mut breaker = tripped();
        assert_eq!(breaker.admit(at(400)).unwrap_err(), at(100));
        let probes = [(); 2].map(|()| breaker.admit(at(500)).unwrap());
        assert!(breaker.admit(at(500)).is_err(), "no third probe");
        for probe in probes {
            breaker.conclude(probe, CallVerdict::Good, at(510));
        }
        assert_eq!(breaker.state(), BreakerState::Closed);

        let mut breaker = tripped();
        let probe = breaker.admit(at(500)).unwrap();
        breaker.conclude(probe, CallVerdict::Bad, at(510));
        assert_eq!(breaker.admit(at(1_009)).unwrap_err(), at(1));
        assert!(breaker.admit(at(1_010)).is_ok());
    }

    #[test]
    fn a_probe_that_was_not_used_makes_room_for_another() {
        let mut breaker = tripped();
        let unused = breaker.admit(at(500)).unwrap();
        let _waiting = breaker.admit(at(500)).unwrap();
        breaker.conclude(unused, CallVerdict::Unused, at(501));
        assert!(breaker.admit(at(502)).is_ok());
    }

    #[tokio::test]
    async fn a_dropped_pass_gives_its_place_back() {
        let gate = Arc::new(Gate::new(BreakerSettings { calls_min: 1, open_ms: 0, probes: 1, ..SETTINGS }));
        gate.pass().unwrap().conclude(CallVerdict::Bad);
        assert_eq!(gate.state(), BreakerState::HalfOpen, "its time is over, whoever tries it");
        for _ in 0..3 {
            drop(gate.pass().expect("the probe before gave its place back"));
        }
        assert_eq!(gate.state(), BreakerState::HalfOpen);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Wait(u64),
        Admit,
        Conclude(usize, CallVerdict),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let verdict = prop_oneof![Just(CallVerdict::Good), Just(CallVerdict::Bad), Just(CallVerdict::Unused)];
        let step = prop_oneof![
            (0..400u64).prop_map(Step::Wait),
            Just(Step::Admit),
            (any::<usize>(), verdict).prop_map(|(which, verdict)| Step::Conclude(which, verdict)),
        ];
        proptest::collection::vec(step, 1..300)
    }

    /// The rules said naively: every verdict since the last closing is kept, and counted anew each time.
    #[derive(Default)]
    struct Model {
        opened_at: Option<u64>,
        half_open: bool,
        probes_out: Vec<u64>,
        probes_good: u32,
        verdicts: Vec<(u64, CallVerdict)>,
    }

    impl Model {
        fn admits(&self, now: u64) -> bool {
            match (self.half_open, self.opened_at) {
                (true, _) => self.probes_out.len() as u32 + self.probes_good < SETTINGS.probes,
                (false, Some(opened)) => now >= opened + SETTINGS.open_ms,
                (false, None) => true,
            }
        }

        fn open(&mut self, now: u64) {
            *self = Self { opened_at: Some(now), ..Self::default() };
        }

        fn conclude(&mut self, serial: u64, was_closed: bool, verdict: CallVerdict, now: u64) {
            if self.half_open {
                let Some(place) = self.probes_out.iter().position(|&probe| probe == serial) else { return };
                self.probes_out.remove(place);
                match verdict {
                    CallVerdict::Bad => self.open(now),
                    CallVerdict::Good if self.probes_good + 1 == SETTINGS.probes => *self = Self::default(),
                    CallVerdict::Good => self.probes_good += 1,
                    CallVerdict::Unused => {}
                }
            } else if self.opened_at.is_none() && was_closed && verdict != CallVerdict::Unused {
                self.verdicts.push((now, verdict));
                let slot = SETTINGS.window_ms / SLOTS as u64;
                let recent = |&&(then, _): &&(u64, CallVerdict)| then / slot + SLOTS as u64 > now / slot;
                let calls = self.verdicts.iter().filter(recent).count();
                let bad = self.verdicts.iter().filter(recent).filter(|(_, v)| *v == CallVerdict::Bad).count();
                let enough = calls as u32 >= SETTINGS.calls_min;
                if verdict == CallVerdict::Bad && enough && 2 * bad >= calls {
                    self.open(now);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn it_does_what_the_naive_rules_say(steps in steps()) {
            let (mut breaker, mut model) = (Breaker::new(SETTINGS), Model::default());
            let mut out: Vec<(Permit, u64, u64)> = Vec::new();
            // A permit counts only in the closed period it was given out in.
            let (mut now, mut serial, mut period) = (0, 0, 0u64);
            for step in steps {
                match step {
                    Step::Wait(ms) => now += ms,
                    Step::Admit => {
                        let expected = model.admits(now);
                        let admitted = breaker.admit(at(now));
                        prop_assert_eq!(admitted.is_ok(), expected, "at {} ms", now);
                        if let Ok(permit) = admitted {
                            serial += 1;
                            if model.opened_at.take().is_some() {
                                model.half_open = true;
                            }
                            if model.half_open {
                                model.probes_out.push(serial);
                            }
                            out.push((permit, serial, period));
                        }
                    }
                    Step::Conclude(which, verdict) if !out.is_empty() => {
                        let (permit, serial, born) = out.swap_remove(which % out.len());
                        let was_open = model.opened_at.is_some() || model.half_open;
                        breaker.conclude(permit, verdict, at(now));
                        model.conclude(serial, born == period, verdict, now);
                        let is_open = model.opened_at.is_some() || model.half_open;
                        if was_open != is_open {
                            period += 1;
                        }
                    }
                    Step::Conclude(..) => {}
                }
            }
        }

        #[test]
        fn it_never_stays_shut_when_nothing_is_out(steps in steps()) {
            let mut breaker = Breaker::new(SETTINGS);
            let (mut now, mut out) = (0, Vec::new());
            for step in steps {
                match step {
                    Step::Wait(ms) => now += ms,
                    Step::Admit => out.extend(breaker.admit(at(now))),
                    Step::Conclude(which, verdict) if !out.is_empty() => {
                        let permit = out.swap_remove(which % out.len());
                        breaker.conclude(permit, verdict, at(now));
                    }
                    Step::Conclude(..) => {}
                }
            }
            for permit in out {
                breaker.conclude(permit, CallVerdict::Unused, at(now));
            }
            prop_assert!(breaker.admit(at(now + SETTINGS.open_ms)).is_ok());
        }
    }
}
