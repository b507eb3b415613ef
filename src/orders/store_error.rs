//! Why a store did not do as asked.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// Why the store did not do as asked, or not yet.
#[derive(Clone, Debug)]
pub struct StoreError {
    /// Whether trying again can help.
    pub kind: Fault,
    /// What the database said, and what to do about it.
    pub message: String,
    /// PostgreSQL's code of what it said, such as `40P01`: a field of the log, so that nobody has to read messages for it.
    pub sqlstate: Option<Box<str>>,
    /// The engine's own word for it, where there is one: a field of the log, too.
    pub code: Option<&'static str>,
    /// The error of the database or of the system itself. `message` tells it already.
    pub(super) cause: Option<Arc<dyn Error + Send + Sync>>,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

// By hand: a derived source would be the `Arc`, which nobody can ask for the error that is in it.
impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

/// Whether trying again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Busy, locked or away: the same work may pass later, and must be offered again before any other.
    Transient,
    /// A failed sync, a full disk, a damaged file: nobody knows what is durable. The process must end, and the truth is
    /// read at the next start.
    Fatal,
}

impl StoreError {
    /// The same work may pass later.
    pub fn transient(message: impl Into<String>) -> Self {
        Self { kind: Fault::Transient, message: message.into(), sqlstate: None, code: None, cause: None }
    }

    /// The process must end, or cannot start.
    pub fn fatal(message: impl Into<String>) -> Self {
        Self { kind: Fault::Fatal, ..Self::transient(message) }
    }

    /// The same, with what it comes from.
    #[must_use]
    pub fn caused_by(self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { cause: Some(Arc::from(cause.into())), ..self }
    }

    /// The same, under this word.
    #[must_use]
    pub fn coded(self, code: &'static str) -> Self {
        Self { code: Some(code), ..self }
    }

    /// A read that nobody finished: the runtime ends, or the reading panicked.
    pub fn cut_short() -> Self {
        Self::transient("reading was cut short by the shutdown")
    }

    /// Whether the same work may pass later.
    pub fn is_transient(&self) -> bool {
        self.kind == Fault::Transient
    }
}
