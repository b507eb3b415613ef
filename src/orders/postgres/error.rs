//! What can go wrong between here and the server, and what it says about the statement.

use std::error::Error;
use std::fmt::Display;

use tokio_postgres::error::{DbError, Severity, SqlState};
use tokio_postgres::types::WrongType;

use super::super::store::StoreError;

/// Where an error comes from: the driver's error, or words of our own.
type Cause = Box<dyn Error + Send + Sync>;

/// Why a statement has no result.
#[derive(Debug)]
pub enum PgError {
    /// The server refused it: it did nothing.
    Refused(Box<DbError>),
    /// There was no answer: the statement may have been carried out, or may still be.
    Lost(Cause),
    /// Nobody waits for the answer any more, and the server was told so.
    Unwanted,
    /// A row or a column that this engine cannot have made.
    Damaged(Cause),
    /// The database is not one that this engine can work with: what it lacks, or has too much; and what it said to that.
    Unfit(String, Option<Box<DbError>>),
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
            Some(last_words) => Self::Lost(Box::new(last_words.clone())),
            None if error.source().is_some_and(|cause| cause.is::<WrongType>()) => {
                Self::Damaged(Box::new(error))
            }
            None => Self::Lost(Box::new(error)),
        }
    }
}

impl From<PgError> for StoreError {
    fn from(error: PgError) -> Self {
        let said = |what: &dyn Display| format!("PostgreSQL: {what}");
        match error {
            PgError::Refused(error) => {
                let code = error.code();
                let refused = if contradicts(code) {
                    Self::fatal(said(&format_args!(
                        "{error}; what the store holds is not what this engine believes: it must be read anew"
                    )))
                } else if is_corrupt(code) {
                    Self::fatal(said(&damaged(&*error)))
                } else {
                    Self::transient(said(&format_args!("{error} (SQLSTATE {})", code.code())))
                };
                coded(refused, Some(&error)).caused_by(*error)
            }
            PgError::Lost(cause) => {
                let beneath = cause.source().map_or_else(String::new, |beneath| format!(": {beneath}"));
                let lost = Self::transient(said(&format_args!("{cause}{beneath}")));
                coded(lost, cause.downcast_ref()).caused_by(cause)
            }
            PgError::Unwanted => Self::transient(said(&"nobody waits for the answer any more")),
            PgError::Damaged(cause) => Self::fatal(said(&damaged(&*cause))).caused_by(cause),
            PgError::Unfit(what, None) => Self::fatal(said(&what)),
            PgError::Unfit(what, Some(error)) => {
                coded(Self::fatal(said(&what)), Some(&error)).caused_by(*error)
            }
        }
    }
}

/// The same, with the server's code, if it gave one.
fn coded(error: StoreError, said: Option<&DbError>) -> StoreError {
    StoreError { sqlstate: said.map(|said| said.code().code().into()), ..error }
}

fn damaged(what: &dyn Error) -> String {
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
