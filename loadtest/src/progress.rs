//! What is shown while a run goes on: one line rewritten on a terminal, plain lines elsewhere.

use std::io::{IsTerminal, Write};

use crate::scenario::Scenario;
use crate::summary::Second;

/// Without a terminal every line is kept, so only every fifth second is told.
const PLAIN_EVERY_S: u64 = 5;

/// The progress of a run.
#[derive(Debug)]
pub struct Progress {
    phases: Vec<(f64, String)>,
    terminal: bool,
    quiet: bool,
    phase_shown: Option<usize>,
}

impl Progress {
    /// For a run of `scenario`; `quiet` shows nothing.
    pub fn new(scenario: &Scenario, quiet: bool) -> Self {
        let end = |index: usize| scenario.phase_start_s(index) + scenario.phases[index].duration_s;
        let phases =
            scenario.phases.iter().enumerate().map(|(i, phase)| (end(i), phase.name.clone())).collect();
        Self { phases, terminal: std::io::stderr().is_terminal(), quiet, phase_shown: None }
    }

    /// Shows a second.
    pub fn show(&mut self, second: &Second) {
        if self.quiet {
            return;
        }
        let at_s = second.t as f64 - 0.5;
        let phase = self.phases.iter().position(|(end_s, _)| at_s < *end_s);
        let new_phase = phase != self.phase_shown;
        self.phase_shown = phase;
        if !self.terminal && !new_phase && !second.t.is_multiple_of(PLAIN_EVERY_S) {
            return;
        }
        let name = phase.map_or("drain", |index| self.phases[index].1.as_str());
        let line = line(name, second);
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
            eprintln!();
        }
    }
}

fn line(phase: &str, second: &Second) -> String {
    let wins: u64 =
        ["seckill/won", "order/won-later"].iter().filter_map(|key| second.outcomes.get(*key)).sum();
    let errors: u64 = second.paths.values().map(|path| path.errors).sum();
    let ms = |us: u64| us as f64 / 1e3;
    let paths: Vec<String> = ["page", "seckill", "checkout", "cancel"]
        .iter()
        .filter_map(|name| Some((*name, second.paths.get(*name)?)))
        .map(|(name, path)| {
            format!(
                "{name} {}/s p50 {:.2} p99 {:.2} max {:.1} ms",
                path.count,
                ms(path.p50_us),
                ms(path.p99_us),
                ms(path.max_us)
            )
        })
        .collect();
    let behind = if second.behind_us > 1_000 {
        format!(" · {:.0} ms behind", ms(second.behind_us))
    } else {
        String::new()
    };
    format!(
        "{:>4} s {phase:<12} {} · won {wins} · errors {errors} · lag p99 {:.2} ms · in flight {}{behind}",
        second.t,
        paths.join(" · "),
        ms(second.lag_p99_us),
        second.in_flight,
    )
}
