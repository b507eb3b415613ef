//! Where processor time goes: the stacks of whatever runs, so and so often a second of it.
//!
//! The kernel counts the processor time of the whole process and interrupts it by `SIGPROF`; the library walks the stack
//! of the thread that was interrupted. Without a profile under way there is neither a timer nor a handler, and nothing is
//! paid.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use pprof::{ProfilerGuard, ProfilerGuardBuilder};

use super::pprof_format::{CpuProfileText, Place, Taken};

/// What is in there is not sampled: the walk over the stack runs in them itself, or finds its way out of them badly.
const NOT_SAMPLED: [&str; 4] = ["libgcc", "ld-linux", "libpthread", "vdso"];

/// A profile under way. A process has one at a time; dropped, it is over.
pub struct CpuProfiler {
    guard: ProfilerGuard<'static>,
    hertz: u16,
}

impl fmt::Debug for CpuProfiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CpuProfiler").field("hertz", &self.hertz).finish_non_exhaustive()
    }
}

impl CpuProfiler {
    /// Begins one, with so many samples a second of processor time. May block: the libraries of the process are listed.
    ///
    /// # Errors
    /// One is under way, or the system has no handler or no file for it.
    pub fn start(hertz: u16) -> Result<Self, String> {
        let builder = ProfilerGuardBuilder::default().frequency(hertz.max(1).into()).blocklist(&NOT_SAMPLED);
        let guard = builder.build().map_err(|error| error.to_string())?;
        Ok(Self { guard, hertz: hertz.max(1) })
    }

    /// Ends it; answers with the file, as pprof's tools read it. Blocks: names are looked up, for seconds the first time.
    ///
    /// # Errors
    /// What was sampled cannot be read.
    pub fn finish(self) -> Result<Vec<u8>, String> {
        let report = self.guard.report().build().map_err(|error| error.to_string())?;
        let nanos = |time: Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
        let mut text = CpuProfileText::new(Taken {
            at_ns: nanos(report.timing.start_time.duration_since(UNIX_EPOCH).unwrap_or_default()),
            took_ns: nanos(report.timing.duration),
            period_ns: 1_000_000_000 / i64::from(self.hertz),
        });
        for (stack, count) in &report.data {
            let places = stack.frames.iter().flatten().map(|symbol| Place {
                function: symbol.name(),
                symbol: symbol.sys_name().into_owned(),
                file: symbol.filename().into_owned(),
                line: symbol.lineno(),
            });
            text.add(&stack.thread_name_or_id(), places, *count as i64);
        }
        text.into_gzip().map_err(|error| error.to_string())
    }
}
