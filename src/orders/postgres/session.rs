//! One connection: what is asked often is prepared once, and nothing is waited for without a limit.

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio_postgres::error::{DbError, SqlState};
use tokio_postgres::types::ToSql;
use tokio_postgres::{CancelToken, Client, Row, Statement};

use super::error::PgError;

/// A column that writes a word into the server's log and nothing into any table: the statement ends when the standbys that
/// a commit waits for have everything that was committed before.
pub const WITH_STANDBYS: &str = "pg_logical_emit_message(true, 'seckill', '')";

/// A parameter of a statement.
pub type Parameter<'a> = &'a (dyn ToSql + Sync);

/// What became of all connections of a store, counted.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Made.
    pub opened: AtomicU64,
    /// Asked for and not made.
    pub failed: AtomicU64,
    /// Lost, or given up because an answer did not come.
    pub broken: AtomicU64,
}

/// What the server said when it ended a connection, if it said something.
pub type LastWords = Arc<OnceLock<DbError>>;

/// A connection to the server.
pub struct Session {
    client: Client,
    last_words: LastWords,
    /// The statements that were asked so far. `None`: once, without having been prepared.
    asked: HashMap<String, Option<Statement>>,
    limit: Duration,
    /// Whether an answer is outstanding that nobody waits for any more, or the server takes no writes.
    given_up: bool,
    traffic: Arc<Traffic>,
}

impl Session {
    /// A session that waits at most `limit` for each answer. `last_words` are set before the connection ends.
    pub fn new(client: Client, last_words: LastWords, limit: Duration, traffic: Arc<Traffic>) -> Self {
        traffic.opened.fetch_add(1, Ordering::Relaxed);
        Self { client, last_words, asked: HashMap::new(), limit, given_up: false, traffic }
    }

    /// Whether the connection can be used.
    pub fn is_open(&self) -> bool {
        !self.given_up && !self.client.is_closed()
    }

    /// What stops the statement that runs on this connection.
    pub fn stopper(&self) -> CancelToken {
        self.client.cancel_token()
    }

    /// Waits at most `limit` for each answer from now on. Returns the limit before.
    pub fn limit_to(&mut self, limit: Duration) -> Duration {
        std::mem::replace(&mut self.limit, limit)
    }

    /// The rows that a statement answers with.
    pub async fn rows(&mut self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, PgError> {
        let answer = match self.asked.get(sql) {
            // A start asks many things once: each in one message, where preparing would take two.
            None if parameters.is_empty() => {
                self.asked.insert(sql.to_owned(), None);
                limited(self.limit, &mut self.given_up, self.client.query_typed(sql, &[])).await
            }
            Some(Some(statement)) => {
                limited(self.limit, &mut self.given_up, self.client.query(statement, parameters)).await
            }
            None | Some(None) => {
                let prepared = limited(self.limit, &mut self.given_up, self.client.prepare(sql)).await;
                let statement = prepared.map_err(|error| self.in_last_words(error))?;
                let asking = self.client.query(&statement, parameters);
                let answer = limited(self.limit, &mut self.given_up, asking).await;
                self.asked.insert(sql.to_owned(), Some(statement));
                answer
            }
        };
        answer.map_err(|error| self.in_last_words(error))
    }

    /// The one row that a statement answers with, if it does.
    pub async fn row(&mut self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Option<Row>, PgError> {
        Ok(self.rows(sql, parameters).await?.into_iter().next())
    }

    /// Runs statements that have no parameters and no answer.
    pub async fn run(&mut self, script: &str) -> Result<(), PgError> {
        let done = limited(self.limit, &mut self.given_up, self.client.batch_execute(script)).await;
        done.map_err(|error| self.in_last_words(error))
    }

    /// The server may have ended the connection while nothing was asked: then it has said why.
    fn in_last_words(&self, error: PgError) -> PgError {
        match self.last_words.get() {
            Some(said) if error.is_lost() => PgError::Lost(Box::new(said.clone())),
            _ => error,
        }
    }

    /// Runs `work` in one transaction. After a [`PgError::is_lost`] nobody knows whether it was committed.
    pub async fn transaction<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Self) -> Result<T, PgError>,
    ) -> Result<T, PgError> {
        self.run("BEGIN").await?;
        let outcome = work(self).await;
        match &outcome {
            Ok(_) => self.run("COMMIT").await?,
            Err(error) if error.is_lost() => {}
            Err(_) => self.run("ROLLBACK").await?,
        }
        outcome
    }

    /// Runs `work` in one read-only snapshot.
    pub async fn snapshot<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut Self) -> Result<T, PgError>,
    ) -> Result<T, PgError> {
        self.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        let outcome = work(self).await;
        self.run("COMMIT").await?;
        outcome
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.is_open() {
            self.traffic.broken.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("open", &self.is_open()).finish_non_exhaustive()
    }
}

async fn limited<T>(
    limit: Duration,
    given_up: &mut bool,
    answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, PgError> {
    // Set before the wait: a caller that stops waiting half-way leaves an answer that belongs to no one.
    *given_up = true;
    match tokio::time::timeout(limit, answer).await {
        Ok(answer) => {
            // A server that takes no writes any more is the wrong one: this connection is given up, so that the next one
            // is made to whichever host takes them.
            let code = answer.as_ref().err().and_then(tokio_postgres::Error::code);
            *given_up = code == Some(&SqlState::READ_ONLY_SQL_TRANSACTION);
            Ok(answer?)
        }
        Err(_) => Err(PgError::Lost(format!("no answer within {} ms", limit.as_millis()).into())),
    }
}
