//! The output folder of a run. Nothing in it is deleted that this run did not write.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::load::answer_log;

/// The folder, made ready.
#[derive(Debug)]
pub struct OutputFolder {
    path: PathBuf,
    made: bool,
}

/// Why a folder cannot be written into.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It holds files already.
    #[error("{0} is not empty: name another folder with --out, or write into this one with --force")]
    Full(String),
    /// The system says no.
    #[error("{0}: {1}")]
    File(String, io::Error),
}

/// A folder that there is not yet, for a run of this scenario.
pub fn unused(scenario: &str) -> PathBuf {
    PathBuf::from("out").join(format!("{scenario}-{}", run_id()))
}

/// Milliseconds since the epoch in base 36: short, and later runs sort behind.
pub fn run_id() -> String {
    let mut rest = Timestamp::now().as_millisecond().unsigned_abs();
    let mut digits = Vec::new();
    while rest > 0 {
        digits.push(b"0123456789abcdefghijklmnopqrstuvwxyz"[(rest % 36) as usize]);
        rest /= 36;
    }
    digits.reverse();
    String::from_utf8(digits).unwrap_or_default()
}

impl OutputFolder {
    /// Makes the folder. One that holds anything is taken only with `force`: then files of the same names are
    /// overwritten, and all others stay.
    ///
    /// # Errors
    /// See [`FolderError`].
    pub fn prepare(path: &Path, force: bool) -> Result<Self, FolderError> {
        let failed = |error| FolderError::File(path.display().to_string(), error);
        let made = !path.exists();
        std::fs::create_dir_all(path).map_err(failed)?;
        if !force && std::fs::read_dir(path).map_err(failed)?.next().is_some() {
            return Err(FolderError::Full(path.display().to_string()));
        }
        Ok(Self { path: path.to_owned(), made })
    }

    /// Takes back what a run that came to nothing has written, so that it can be tried again with the same folder.
    pub fn abandon(self, run_id: &str) {
        // What cannot be removed stays: there is already an error to tell.
        for log in answer_log::logs_in(&self.path, run_id).unwrap_or_default() {
            let _ = std::fs::remove_file(log);
        }
        if self.made {
            let _ = std::fs::remove_dir(&self.path);
        }
    }
}
