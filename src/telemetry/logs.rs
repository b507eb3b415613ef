//! Structured logs. Nothing is logged for a refused request: the figures tell of those.

use std::io::IsTerminal;

use serde::{Deserialize, Serialize};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use crate::domain::FieldError;

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, for collectors.
    Json,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// `text` or `json`; lines go to standard error.
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug` or `trace`; also by module, such as `info,seckill::checkout=debug`.
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
            "is {level:?}: {reason}; set it to error, warn, info, debug or trace, alone or as module=level, with commas between"
        ),
    };
    if level.trim().is_empty() {
        return Err(wrong("it is empty".into()));
    }
    // A word that is no level would be taken for a module's name and silence everything else.
    for directive in level.split(',').filter(|directive| !directive.contains('=')) {
        directive.trim().parse::<tracing::Level>().map_err(|error| wrong(error.to_string()))?;
    }
    EnvFilter::try_new(level).map_err(|error| wrong(error.to_string()))
}

/// Changes the level of the running log.
#[derive(Clone, Debug)]
pub struct LogControl {
    filter: reload::Handle<EnvFilter, Registry>,
}

impl LogControl {
    /// Starts the process's log.
    ///
    /// # Errors
    /// When the process has one already.
    ///
    /// # Panics
    /// When `settings` has not been checked.
    pub fn start(settings: &LogSettings) -> Result<Self, TryInitError> {
        let filter = parse(&settings.level).expect("the settings were checked");
        let (filter, control) = reload::Layer::new(filter);
        let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
        let lines = match settings.format {
            LogFormat::Text => lines.boxed(),
            LogFormat::Json => lines.json().flatten_event(true).boxed(),
        };
        tracing_subscriber::registry().with(filter).with(lines).try_init()?;
        Ok(Self { filter: control })
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
        for level in ["info", "WARN", "info,seckill::checkout=debug", "seckill=trace"] {
            let settings = LogSettings { level: level.into(), ..Default::default() };
            assert_eq!(settings.check(), Ok(()), "{level}");
        }
        for level in ["", " ", "loud", "info,loud", "seckill=loud"] {
            let settings = LogSettings { level: level.into(), ..Default::default() };
            assert_eq!(settings.check().unwrap_err().field, "level", "{level:?}");
        }
    }
}
