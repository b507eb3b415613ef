//! Structured logs. Nothing is logged for a refused request: the figures tell of those.
//!
//! Logging never waits. Lines go through a bounded queue to a thread that writes them; when standard error takes none
//! (a full pipe that nobody reads, a full disk), further lines are dropped and counted, and the first line that passes
//! again is followed by one that says how many. Panics are lines like all others: they do not wait either.

use std::io::{self, IsTerminal, Write};
use std::panic::PanicHookInfo;
use std::sync::OnceLock;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use crate::domain::FieldError;

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, for collectors.
    Json,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// How a line looks; lines go to standard error.
    pub format: LogFormat,
    /// `off`, `error`, `warn`, `info`, `debug` or `trace`; also by module, such as `info,seckill::checkout=debug`. The
    /// variable `RUST_LOG` sets it, too, where `SECKILL__LOG__LEVEL` does not.
    pub level: String,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { format: LogFormat::default(), level: "info".into() }
    }
}

impl LogSettings {
    /// Checks the level.
    ///
    /// # Errors
    /// The field that breaks its rule.
    pub fn check(&self) -> Result<(), FieldError> {
        parse(&self.level).map(drop)
    }
}

fn parse(level: &str) -> Result<EnvFilter, FieldError> {
    let wrong = |reason: String| FieldError {
        field: "level",
        problem: format!(
            "is {level:?}: {reason}; set it to off, error, warn, info, debug or trace, alone or as module=level, with commas between"
        ),
    };
    if level.trim().is_empty() {
        return Err(wrong("it is empty".into()));
    }
    // A word that is no level would be taken for a module's name and silence everything else.
    for directive in level.split(',').filter(|directive| !directive.contains('=')) {
        directive
            .trim()
            .parse::<tracing::level_filters::LevelFilter>()
            .map_err(|error| wrong(error.to_string()))?;
    }
    EnvFilter::try_new(level).map_err(|error| wrong(error.to_string()))
}

/// Lines that wait for the thread that writes them.
const QUEUED_LINES_MAX: usize = 2_048;

/// Counts the lines that the process's log dropped.
static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();

/// How many lines the process's log has dropped because nobody took them in time.
pub fn dropped_log_lines() -> u64 {
    DROPPED.get().map_or(0, |dropped| dropped.dropped_lines() as u64)
}

/// Where the lines go. Tells, as soon as they flow, how many were dropped.
struct Lines<W> {
    output: W,
    told: u64,
}

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let written = self.output.write(line)?;
        let dropped = dropped_log_lines();
        if dropped > self.told {
            // Takes its place behind those that wait. If there is none, it is dropped as well, and said again.
            tracing::warn!(
                since_start = dropped,
                "log lines were dropped: standard error did not take them in time"
            );
            if dropped_log_lines() == dropped {
                self.told = dropped;
            }
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// A panic as a line of the log.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let message = panic.payload_as_str().unwrap_or("without a word");
    tracing::error!(thread = thread.name().unwrap_or_default(), place, "panicked: {message}");
}

/// Writes, when it is dropped, what still waits; not for longer than a second.
#[derive(Debug)]
#[must_use = "lines that wait are lost without it"]
pub struct LogFlush {
    _writer: WorkerGuard,
}

/// Changes the level of the running log.
#[derive(Clone, Debug)]
pub struct LogControl {
    filter: reload::Handle<EnvFilter, Registry>,
}

impl LogControl {
    /// Starts the process's log, which takes over what panics say.
    ///
    /// # Errors
    /// When the process has one already.
    ///
    /// # Panics
    /// When `settings` has not been checked.
    pub fn start(settings: &LogSettings) -> Result<(Self, LogFlush), TryInitError> {
        let filter = parse(&settings.level).expect("the settings were checked");
        let (filter, control) = reload::Layer::new(filter);
        let (writer, flush) = NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(QUEUED_LINES_MAX)
            .thread_name("log")
            .finish(Lines { output: io::stderr(), told: 0 });
        // The first log of the process is its only one.
        let _ = DROPPED.set(writer.error_counter());
        let lines = fmt::layer().with_writer(writer).with_ansi(io::stderr().is_terminal());
        let lines = match settings.format {
            LogFormat::Text => lines.boxed(),
            LogFormat::Json => lines.json().flatten_event(true).boxed(),
        };
        tracing_subscriber::registry().with(filter).with(lines).try_init()?;
        std::panic::set_hook(Box::new(log_panic));
        Ok((Self { filter: control }, LogFlush { _writer: flush }))
    }

    /// Changes the level. A level that breaks its rule changes nothing.
    ///
    /// # Errors
    /// The field that breaks its rule.
    pub fn set_level(&self, level: &str) -> Result<(), FieldError> {
        let filter = parse(level)?;
        // Fails only when the subscriber is gone, and it lives as long as the process.
        let _ = self.filter.reload(filter);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_words_or_words_by_module() {
        for level in ["info", "WARN", "off", "info,seckill::checkout=debug", "seckill=trace"] {
            let settings = LogSettings { level: level.into(), ..Default::default() };
            assert_eq!(settings.check(), Ok(()), "{level}");
        }
        for level in ["", " ", "loud", "info,loud", "seckill=loud"] {
            let settings = LogSettings { level: level.into(), ..Default::default() };
            assert_eq!(settings.check().unwrap_err().field, "level", "{level:?}");
        }
    }
}
