//! A calendar that a test sets, for one engine alone: the stopwatch goes on as it does.

use std::path::PathBuf;

use tempfile::TempDir;

/// What an engine believes to be the system's calendar.
#[derive(Debug)]
pub struct FakeCalendar {
    folder: TempDir,
}

impl FakeCalendar {
    /// The true calendar, until it is set.
    ///
    /// # Panics
    /// There is no place for its file.
    #[allow(clippy::new_without_default, reason = "making one touches the disk")]
    pub fn new() -> Self {
        let calendar = Self { folder: tempfile::tempdir().unwrap() };
        calendar.set(0);
        calendar
    }

    /// From now on the calendar is so many seconds ahead.
    ///
    /// # Panics
    /// Its file cannot be written.
    pub fn set(&self, ahead_s: i64) {
        // In one step: the engine must never read half a line.
        let next = self.folder.path().join("next");
        std::fs::write(&next, format!("{ahead_s:+}\n")).unwrap();
        std::fs::rename(next, self.file()).unwrap();
    }

    /// What an engine's environment must hold.
    ///
    /// # Panics
    /// The library is not installed.
    pub fn environment(&self) -> Vec<(String, String)> {
        let file = self.file();
        [
            ("LD_PRELOAD", library().to_str().unwrap()),
            ("FAKETIME_TIMESTAMP_FILE", file.to_str().unwrap()),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("DONT_FAKE_MONOTONIC", "1"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("calendar")
    }
}

/// The library that the package `faketime` brings, in the folder of this machine's kind.
fn library() -> PathBuf {
    let kinds = std::fs::read_dir("/usr/lib").expect("libraries").flatten().map(|kind| kind.path());
    let mut found = kinds.map(|kind| kind.join("faketime/libfaketimeMT.so.1")).filter(|path| path.exists());
    found.next().expect("libfaketime; `cargo xtask test` installs it")
}
