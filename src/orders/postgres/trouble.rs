//! What can go wrong between here and the server, and what it says about the statement.

use tokio_postgres::error::{DbError, Severity, SqlState};
use tokio_postgres::types::WrongType;

use super::super::store::{Fault, StoreError};

/// Why a statement has no result.
#[derive(Debug)]
pub enum Trouble {
    /// The server refused it: it did nothing.
    Refused(Box<DbError>),
    /// There was no answer: the statement may have been carried out, or may still be.
    Lost(String),
    /// A row or a column that this engine cannot have made.
    Damaged(String),
}

impl Trouble {
    /// Whether nobody knows if the statement was carried out.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Lost(_))
    }

    /// Whether the server refused the statement with this code.
    pub fn has_code(&self, code: &str) -> bool {
        matches!(self, Self::Refused(error) if error.code().code() == code)
    }
}

impl From<tokio_postgres::Error> for Trouble {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            // A session that is being ended says so with its last words, which may follow a commit.
            Some(answer) if answer.parsed_severity() == Some(Severity::Error) => {
                Self::Refused(Box::new(answer.clone()))
            }
            Some(last_words) => Self::Lost(last_words.to_string()),
            None if std::error::Error::source(&error).is_some_and(|cause| cause.is::<WrongType>()) => {
                Self::Damaged(error.to_string())
            }
            None => {
                let cause =
                    std::error::Error::source(&error).map_or_else(String::new, |it| format!(": {it}"));
                Self::Lost(format!("{error}{cause}"))
            }
        }
    }
}

impl From<Trouble> for StoreError {
    fn from(trouble: Trouble) -> Self {
        let (kind, what) = match trouble {
            Trouble::Refused(error) if passes(error.code()) => (Fault::Transient, error.to_string()),
            Trouble::Refused(error) => (Fault::Fatal, error.to_string()),
            Trouble::Lost(what) => (Fault::Transient, what),
            Trouble::Damaged(what) => {
                (Fault::Fatal, format!("the order store is damaged ({what}); restore it from a backup"))
            }
        };
        Self { kind, message: format!("PostgreSQL: {what}") }
    }
}

/// Whether the server's reason is one that passes: locks, conflicts, resources, a server that starts, ends, or follows.
fn passes(code: &SqlState) -> bool {
    const CLASSES: [&str; 5] = ["08", "40", "53", "55", "57"];
    *code == SqlState::READ_ONLY_SQL_TRANSACTION || CLASSES.iter().any(|class| code.code().starts_with(class))
}
