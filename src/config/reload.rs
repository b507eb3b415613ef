//! Changing the configuration of a running engine.

use std::fmt;

use parking_lot::Mutex;

use super::error::ConfigError;
use super::settings::Settings;
use super::source::{Config, ConfigSource};

/// Why a reload changed nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReloadError {
    /// What was read is not a configuration.
    Invalid(ConfigError),
    /// These keys changed and can only change with a restart.
    NeedsRestart(Vec<String>),
}

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(error) => error.fmt(f),
            Self::NeedsRestart(keys) => {
                write!(f, "{} can only change with a restart; nothing was changed", keys.join(", "))
            }
        }
    }
}

impl std::error::Error for ReloadError {}

/// Hands checked settings to those who use them, told which keys changed.
type Apply = dyn Fn(&Settings, &[String]) + Send + Sync;

/// Takes over, in a running engine, what may change live (see [`Settings::is_live`]). All of a change or nothing.
pub struct Reloader {
    source: ConfigSource,
    current: Mutex<Config>,
    apply: Box<Apply>,
}

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloader").field("current", &self.current).finish_non_exhaustive()
    }
}

impl Reloader {
    /// Reloads from `source`, beginning with what the engine was started with. `apply` is given checked settings and
    /// the keys that changed, hands them to those who use them, and cannot fail; one reload at a time.
    pub fn new(
        source: ConfigSource,
        current: Config,
        apply: impl Fn(&Settings, &[String]) + Send + Sync + 'static,
    ) -> Self {
        Self { source, current: Mutex::new(current), apply: Box::new(apply) }
    }

    /// Reads everything again and applies what changed; answers with the keys that did. Blocks on the file.
    ///
    /// # Errors
    /// Then nothing has changed.
    pub fn reload(&self) -> Result<Vec<String>, ReloadError> {
        // Held from reading to applying, so that the later of two reloads sees the later file.
        let mut current = self.current.lock();
        let new = self.source.load().map_err(ReloadError::Invalid)?;
        let changed = current.changed_keys(&new);
        let fixed: Vec<_> = changed.iter().filter(|key| !Settings::is_live(key)).cloned().collect();
        if !fixed.is_empty() {
            return Err(ReloadError::NeedsRestart(fixed));
        }
        if !changed.is_empty() {
            (self.apply)(&new.settings, &changed);
        }
        *current = new;
        Ok(changed)
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;

    use super::*;

    struct Engine {
        _folder: tempfile::TempDir,
        file: PathBuf,
        reloader: Reloader,
        applied: Arc<Mutex<Vec<String>>>,
    }

    impl Engine {
        fn start(text: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("seckill.toml");
            std::fs::write(&file, text).unwrap();
            let source = ConfigSource::new(Some(file.clone()));
            let (applied, config) = (Arc::new(Mutex::new(Vec::new())), source.load().unwrap());
            let levels = Arc::clone(&applied);
            let reloader =
                Reloader::new(source, config, move |new, _| levels.lock().push(new.log.level.clone()));
            Self { _folder: folder, file, reloader, applied }
        }

        fn reload(&self, text: &str) -> Result<Vec<String>, ReloadError> {
            std::fs::write(&self.file, text).unwrap();
            self.reloader.reload()
        }
    }

    #[test]
    fn live_keys_are_applied_and_told() {
        let engine = Engine::start("");
        assert_eq!(engine.reload(""), Ok(vec![]));
        assert_eq!(engine.reload("log.level = \"debug\""), Ok(vec!["log.level".into()]));
        assert_eq!(engine.reload("log.level = \"debug\""), Ok(vec![]));
        assert_eq!(*engine.applied.lock(), ["debug"]);
    }

    #[test]
    fn a_key_that_needs_a_restart_stops_the_whole_change() {
        let engine = Engine::start("");
        let refused = engine.reload("log.level = \"debug\"\nnode.id = 5");
        assert_eq!(refused, Err(ReloadError::NeedsRestart(vec!["node.id".into()])));
        assert!(engine.applied.lock().is_empty());
        // The old configuration stayed: the same change without that key is still a change.
        assert_eq!(engine.reload("log.level = \"debug\""), Ok(vec!["log.level".into()]));
    }

    #[test]
    fn what_is_invalid_changes_nothing() {
        let engine = Engine::start("");
        assert!(matches!(engine.reload("log.level = \"loud\""), Err(ReloadError::Invalid(_))));
        assert!(matches!(engine.reload("log.levl = \"info\""), Err(ReloadError::Invalid(_))));
        assert!(engine.applied.lock().is_empty());
    }

    #[test]
    fn a_live_key_covers_the_keys_under_it_and_no_others() {
        assert!(Settings::is_live("log.level") && Settings::is_live("log.level.x"));
        assert!(!Settings::is_live("log.levels") && !Settings::is_live("log"));
        assert!(Settings::is_live("edge.sale_state.platforms.web") && !Settings::is_live("edge.listen"));
    }
}
