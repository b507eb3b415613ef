//! The order store of several nodes: PostgreSQL.
//!
//! One [`PgWriter`] is one connection that commits batches, each in one call of a stored function; a node has several.
//! Everything else shares a pool, but for the [`InstanceLock`], which lives as long as its session: `store.writers`,
//! `postgres.readers` and one more are all the connections of a node. [`PgReader`] reads orders. [`PgLeaseStore`] keeps
//! what the ledger's protocol needs of the store: the lives of the nodes, the epochs of the sales, the nodes' shares of
//! them, and the units ever settled and returned. [`PgChangeFeed`] tells what the other nodes do, and [`Follower`] takes
//! it over into this node's memory.
//!
//! A server that is away makes every call fail with a transient error within its time limit. A commit whose connection
//! broke is in doubt: the writer first makes sure, on a new connection, whether it came about or never will.

mod applied_watermark;
mod batch_columns;
mod change_feed;
mod deadlines;
mod dialer;
mod durability;
mod error;
mod event_sequencer;
mod failure_detector;
mod follower;
mod history;
mod incarnation;
mod instance_lock;
mod lease_store;
mod low_watermark;
mod new_sale;
mod node_figures;
mod older_engines;
mod order_pages;
mod pool;
mod read_orders;
mod reader;
mod refunds;
mod retirement;
mod rights;
mod room_marks;
mod rows;
mod sale_change;
mod schema;
mod session;
mod settings;
mod stock_audit;
mod stops;
mod term_columns;
mod tls;
mod trail;
mod waiting_rooms;
mod webhooks;
mod writer;

use std::sync::Arc;

pub use change_feed::PgChangeFeed;
pub use durability::Durability;
pub use follower::{Follower, FollowerParts};
pub use history::PgHistory;
pub use instance_lock::{Exclusivity, InstanceLock};
pub use lease_store::PgLeaseStore;
pub use reader::PgReader;
pub use settings::PostgresSettings;
pub use writer::PgWriter;

use self::dialer::Dialer;
use self::pool::Pool;
use super::store::StoreError;
use crate::domain::NodeId;

/// An open store.
#[derive(Debug)]
pub struct PgStore {
    /// The writing halves, one for each writer thread.
    pub writers: Vec<PgWriter>,
    /// The reading half.
    pub reader: PgReader,
    /// What the ledger needs of the store.
    pub lease_store: PgLeaseStore,
    /// What the other nodes do.
    pub feed: PgChangeFeed,
    /// Which store it is, and how far it has come.
    pub history: PgHistory,
}

/// Opens the store for a new life of `node`, with `writers` writing halves, and brings its tables to the version of this
/// engine. An engine that still runs under the same number can commit nothing from then on. One that shares the store sells
/// what its shares cover; one that is alone owns all that is not sold. Blocks.
///
/// # Errors
/// The address is wrong, the server refuses this user, a newer engine wrote the data (all fatal), or the server does not
/// answer (transient).
pub fn open(
    settings: &PostgresSettings,
    node: NodeId,
    writers: usize,
    exclusivity: Exclusivity,
) -> Result<PgStore, StoreError> {
    let dialer = Arc::new(Dialer::new(settings, node)?);
    let pool = Arc::new(Pool::new(Arc::clone(&dialer))?);
    pool.run(schema::migrate)?;
    let lease_store = PgLeaseStore::new(Arc::clone(&pool), node)?;
    let writers = (0..writers.max(1))
        .map(|place| PgWriter::open(Arc::clone(&dialer), Arc::clone(lease_store.own()), place, exclusivity))
        .collect::<Result<_, _>>()?;
    let history = PgHistory::new(Arc::clone(&pool));
    let feed = PgChangeFeed::new(Arc::clone(&pool), node, Arc::clone(lease_store.watermark()));
    let reader = PgReader::new(pool, node, Arc::clone(lease_store.own()));
    Ok(PgStore { writers, reader, lease_store, feed, history })
}

/// The reading half and the lease store for who only looks at a store that engines sell from: nothing is brought up to date
/// and no life begins. Blocks.
///
/// # Errors
/// The address is wrong.
pub fn look(
    settings: &PostgresSettings,
    node: NodeId,
) -> Result<(PgReader, PgLeaseStore, PgHistory), StoreError> {
    let dialer = Arc::new(Dialer::new(settings, node)?);
    let pool = Arc::new(Pool::new(dialer)?);
    let history = PgHistory::new(Arc::clone(&pool));
    let lease_store = PgLeaseStore::lifeless(Arc::clone(&pool), node);
    Ok((PgReader::new(pool, node, Arc::clone(lease_store.own())), lease_store, history))
}

/// What a start would ask of the server, without changing anything there: whether it is one that an engine can sell from, as
/// this user. Blocks.
///
/// # Errors
/// What an operator has to change (fatal), or the server does not answer (transient).
pub fn inspect(settings: &PostgresSettings, node: NodeId) -> Result<Durability, StoreError> {
    let dialer = Dialer::new(settings, node)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        StoreError::fatal(format!("PostgreSQL cannot be asked: {error}")).caused_by(error)
    })?;
    runtime.block_on(async {
        let mut session = instance_lock::refuse_a_pooler(&dialer).await?;
        schema::check(&mut session).await?;
        Ok(Durability::read(&mut session).await?)
    })
}
