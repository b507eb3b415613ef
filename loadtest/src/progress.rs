//! What is shown while a run goes on: one line rewritten on a terminal, plain lines elsewhere.

use std::io::{IsTerminal, Write};

use crate::load::schedule::Curve;
use crate::scenario::Scenario;
use crate::summary::Second;

/// Without a terminal every line is kept, so only every fifth second is told.
const PLAIN_EVERY_S: u64 = 5;
/// A terminal that does not tell its width.
const COLUMNS_DEFAULT: usize = 80;
/// Longer names of phases are cut on a terminal.
const NAME_CHARS_MAX: usize = 8;

/// The progress of a run.
#[derive(Debug)]
pub struct Progress {
    phases: Vec<PhaseShown>,
    duration_s: f64,
    terminal: bool,
    quiet: bool,
    phase_shown: Option<usize>,
    totals: Totals,
}

#[derive(Debug)]
struct PhaseShown {
    name: String,
    start_s: f64,
    end_s: f64,
    model: &'static str,
    curve: Option<Curve>,
}

/// Since the start of the run.
#[derive(Debug, Default)]
struct Totals {
    won: u64,
    paid: u64,
    errors: u64,
}

impl Progress {
    /// For a run of `scenario`; `quiet` shows nothing.
    pub fn new(scenario: &Scenario, quiet: bool) -> Self {
        let phase = |(index, phase): (usize, &crate::scenario::Phase)| PhaseShown {
            name: phase.name.clone(),
            start_s: scenario.phase_start_s(index),
            end_s: scenario.phase_start_s(index) + phase.duration_s,
            model: phase.model(),
            curve: phase.curve(),
        };
        Self {
            phases: scenario.phases.iter().enumerate().map(phase).collect(),
            duration_s: scenario.duration_s(),
            terminal: std::io::stderr().is_terminal(),
            quiet,
            phase_shown: None,
            totals: Totals::default(),
        }
    }

    /// Shows a second.
    pub fn show(&mut self, second: &Second) {
        self.totals.add(second);
        if self.quiet {
            return;
        }
        let at_s = second.t as f64 - 0.5;
        let phase = self.phases.iter().position(|phase| at_s < phase.end_s);
        let new_phase = phase != self.phase_shown;
        self.phase_shown = phase;
        if !self.terminal && !new_phase && !second.t.is_multiple_of(PLAIN_EVERY_S) {
            return;
        }
        let columns = if self.terminal { columns() } else { usize::MAX };
        let line = self.line(phase, second, columns);
        let mut out = std::io::stderr().lock();
        // A terminal that has gone away is no reason to end the run.
        let _ = match (self.terminal, new_phase) {
            (true, true) => write!(out, "\n\x1b[2K{line}"),
            (true, false) => write!(out, "\r\x1b[2K{line}"),
            (false, _) => writeln!(out, "{line}"),
        };
        let _ = out.flush();
    }

    /// Leaves the line.
    pub fn end(&self) {
        if self.terminal && !self.quiet && self.phase_shown.is_some() {
            let _ = writeln!(std::io::stderr().lock());
        }
    }

    /// The line of a second in fewer than `columns` characters: what matters least is left out first.
    fn line(&self, phase: Option<usize>, second: &Second, columns: usize) -> String {
        let shown = phase.map(|index| &self.phases[index]);
        let done = (second.t as f64 / self.duration_s.max(1e-9)).min(1.0) * 100.0;
        let left_s = (self.duration_s - second.t as f64).max(0.0).ceil() as u64;
        let name: String = match shown {
            Some(phase) if columns < usize::MAX => phase.name.chars().take(NAME_CHARS_MAX).collect(),
            Some(phase) => phase.name.clone(),
            None => "drain".into(),
        };
        let at_s = second.t as f64 - 0.5;
        let target = match shown {
            Some(PhaseShown { curve: Some(curve), start_s, .. }) => short(curve.rate_at(at_s - start_s)),
            Some(phase) => phase.model.to_owned(),
            None => "0".into(),
        };
        let Totals { won, paid, errors } = self.totals;
        let [won, paid, errors] = [won, paid, errors].map(|count| short(count as f64));
        let slowest = second.paths.values().map(|path| path.p99_us).max().unwrap_or_default();
        let mut parts = vec![
            format!("{done:>3.0} % {name} {}:{:02} left", left_s / 60, left_s % 60),
            format!("{} of {target}/s", short(second.answered as f64)),
            format!("won {won} paid {paid} errors {errors}"),
            format!("p99 {} ms", ms(slowest)),
        ];
        if second.behind_us > 1_000 {
            parts.push(format!("{} ms behind", ms(second.behind_us)));
        }
        parts.push(format!("in flight {}", second.in_flight));
        parts.push(format!("lag p99 {} ms", ms(second.lag_p99_us)));
        parts.extend(second.paths.iter().map(|(name, path)| {
            format!("{name} {}/s p50 {} max {} ms", path.count, ms(path.p50_us), ms(path.max_us))
        }));
        let mut line = String::new();
        for part in parts {
            let longer = if line.is_empty() { part } else { format!("{line} · {part}") };
            if longer.chars().count() >= columns {
                break;
            }
            line = longer;
        }
        line
    }
}

impl Totals {
    fn add(&mut self, second: &Second) {
        let of = |key: &str| second.outcomes.get(key).copied().unwrap_or_default();
        self.won += of("seckill/won") + of("order/won-later");
        self.paid += of("checkout/paid");
        self.errors += second.paths.values().map(|path| path.errors).sum::<u64>();
    }
}

fn columns() -> usize {
    let told = rustix::termios::tcgetwinsize(std::io::stderr()).map_or(0, |size| usize::from(size.ws_col));
    if told == 0 { COLUMNS_DEFAULT } else { told }
}

/// A count or rate in at most five characters or so.
fn short(value: f64) -> String {
    match value {
        v if v >= 1e7 => format!("{:.0}M", v / 1e6),
        v if v >= 1e5 => format!("{:.0}k", v / 1e3),
        v => format!("{v:.0}"),
    }
}

fn ms(us: u64) -> String {
    let ms = us as f64 / 1e3;
    if ms >= 100.0 { format!("{ms:.0}") } else { format!("{ms:.1}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::summary::SecondOfPath;

    #[test]
    fn l7_a_line_fits_and_tells_percent_time_left_target_and_payments() {
        let scenario = Scenario::load("sale", &[]).unwrap();
        let mut progress = Progress::new(&scenario, false);
        let mut second = Second { t: 12, answered: 199_999, behind_us: 12_345_678, ..Second::default() };
        second.paths.insert(
            "seckill".into(),
            SecondOfPath { count: 9_999, errors: 7, p99_us: 9_999_999, ..Default::default() },
        );
        second.outcomes.insert("seckill/won".into(), 123_456_789);
        second.outcomes.insert("checkout/paid".into(), 4_321);
        progress.totals.add(&second);
        for columns in [20, 40, 60, 80, 120, 200] {
            let line = progress.line(Some(1), &second, columns);
            assert!(line.chars().count() < columns, "{columns}: {line}");
        }
        let line = progress.line(Some(1), &second, 80);
        for part in ["24 % rush 0:38 left", "200k of 10000/s", "won 123M paid 4321 errors 7"] {
            assert!(line.contains(part), "{part}: {line}");
        }
        let all = progress.line(Some(1), &second, usize::MAX);
        assert!(
            all.contains("p99 10000 ms") && all.contains("12346 ms behind") && all.contains("seckill 9999/s"),
            "{all}"
        );
    }
}
