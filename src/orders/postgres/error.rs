//! What can go wrong between here and the server, and what it says about the statement.

use tokio_postgres::error::{DbError, Severity, SqlState};
use tokio_postgres::types::WrongType;

use super::super::store::{Fault, StoreError};

/// Why a statement has no result.
#[derive(Debug)]
pub enum PgError {
    /// The server refused it: it did nothing.
    Refused(Box<DbError>),
    /// There was no answer: the statement may have been carried out, or may still be.
    Lost(String),
    /// Nobody waits for the answer any more, and the server was told so.
    Unwanted,
    /// A row or a column that this engine cannot have made.
    Damaged(String),
    /// The database is not one that this engine can work with: what it lacks, or has too much.
    Unfit(String),
}

impl PgError {
    /// Whether nobody knows if the statement was carried out.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Lost(_))
    }

    /// Whether the server refused the statement with this code.
    pub fn has_code(&self, code: &str) -> bool {
        matches!(self, Self::Refused(error) if error.code().code() == code)
    }
}

impl From<tokio_postgres::Error> for PgError {
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

impl From<PgError> for StoreError {
    fn from(error: PgError) -> Self {
        let (kind, what) = match error {
            PgError::Refused(error) if contradicts(error.code()) => (
                Fault::Fatal,
                format!(
                    "{error}; what the store holds is not what this engine believes: it must be read anew"
                ),
            ),
            PgError::Refused(error) if is_corrupt(error.code()) => {
                (Fault::Fatal, damaged(&error.to_string()))
            }
            PgError::Refused(error) => {
                (Fault::Transient, format!("{error} (SQLSTATE {})", error.code().code()))
            }
            PgError::Lost(what) => (Fault::Transient, what),
            PgError::Unwanted => (Fault::Transient, "nobody waits for the answer any more".into()),
            PgError::Damaged(what) => (Fault::Fatal, damaged(&what)),
            PgError::Unfit(what) => (Fault::Fatal, what),
        };
        Self { kind, message: format!("PostgreSQL: {what}") }
    }
}

fn damaged(what: &str) -> String {
    format!("the order store is damaged ({what}); restore it from a backup")
}

/// Whether the server refused a batch for what stands in it or beside it (a duplicate, a broken rule, a value that does not
/// fit): offered again it is refused again. Nothing was done, but memory is wrong about the store, and only a new start
/// reads the truth.
///
/// Every other refusal is one that an operator or time can take back, also one that this engine has never heard of: locks,
/// resources, rights, a schema in the middle of a change. Nothing was done, so nothing is in doubt: the same work is
/// offered again, and buyers hear 503 until it is taken.
fn contradicts(code: &SqlState) -> bool {
    ["22", "23"].iter().any(|class| code.code().starts_with(class))
}

/// Whether the server found that what it stored is not there any more.
fn is_corrupt(code: &SqlState) -> bool {
    *code == SqlState::DATA_CORRUPTED || *code == SqlState::INDEX_CORRUPTED
}
