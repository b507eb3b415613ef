//! How the process ends: every way out has a code, and the codes are documented in `admin/OPERATING.md`.

use std::fmt;
use std::process::ExitCode;

/// The exit codes, in the sense of `sysexits.h` where it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done as asked; for `serve`: told to stop, and everything was finished.
    Done = 0,
    /// What was asked for has the answer no: not healthy, books that do not agree.
    No = 1,
    /// The command line is not understood.
    Usage = 2,
    /// A server that is needed for the answer cannot be reached, or cannot give it at the moment.
    Unavailable = 69,
    /// A part of the engine ended that must not end: a fault of the program.
    Broken = 70,
    /// The order store failed for good, or what was to be printed could not be written.
    Io = 74,
    /// Told to stop, and not everything could be finished in time.
    Unfinished = 75,
    /// The order store is not the one that was read, or has gone back in time: the engine has to be started again. It does
    /// that itself, in the same process, and ends so only when it cannot.
    StartOver = 76,
    /// The configuration, or something it names, does not allow a start.
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What the process tells whoever started it.
    pub exit: Exit,
    /// The same in words, with what to do about it.
    pub problem: String,
}

impl Failure {
    /// A failure with its words.
    pub fn new(exit: Exit, problem: impl fmt::Display) -> Self {
        Self { exit, problem: problem.to_string() }
    }

    /// Names what did not work at a start.
    pub fn at_start<E: fmt::Display>(what: &str) -> impl FnOnce(E) -> Self {
        move |error| Self::new(Exit::Config, format_args!("{what}: {error}"))
    }
}
