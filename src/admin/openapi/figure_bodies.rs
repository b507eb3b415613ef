//! Bodies of figures, of health and of the three books.

#![allow(dead_code, reason = "only their schemas are used")]

use std::collections::BTreeMap;

use schemars::JsonSchema;

use crate::openapi::{Count, Name, word_lists};

word_lists! {
    /// A breaker's state.
    BreakerWord = ["closed", "half_open", "open"];
    /// The queue's switch.
    IntakeWord = ["open", "stalled", "closed"];
    /// Whether buyers can be sent here.
    ReadyWord = ["ready", "not_ready"];
    /// How the engine is.
    HealthWord = ["ok", "degraded", "failing"];
    /// That the process answers.
    AliveWord = ["alive"];
    /// That the configuration was read.
    ReloadedWord = ["reloaded"];
}

/// That the process answers.
#[derive(JsonSchema)]
pub struct Alive {
    status: AliveWord,
}

/// Whether buyers can be sent here, and why not.
#[derive(JsonSchema)]
pub struct Readiness {
    status: ReadyWord,
    /// Each thing that it depends on: `ok`, or what it is.
    checks: BTreeMap<String, String>,
    /// What those said that are not well, by name.
    reasons: BTreeMap<String, String>,
    /// How far the start is, while the engine starts.
    #[schemars(skip_serializing_if = "Option::is_none")]
    start: Option<Start>,
}

/// How far a start is.
#[derive(JsonSchema)]
pub struct Start {
    phase: String,
    orders_read: Count,
}

/// How the engine is, for a person. While it starts, what `readyz` says.
#[derive(JsonSchema)]
pub struct Health {
    status: HealthWord,
    version: String,
    node: u16,
    uptime_s: Count,
    checks: BTreeMap<String, String>,
    reasons: BTreeMap<String, String>,
    gateway: BreakerWord,
    risk: BreakerWord,
    /// Payments that need a person, or time, by kind.
    payments: BTreeMap<String, Count>,
    /// What takes no money here.
    simulated: Vec<String>,
    clock: Clock,
    /// Why new certificates are not in use, by plane.
    unusable_certificates: BTreeMap<String, String>,
    campaigns: Count,
    queue: Depth,
}

/// The calendar.
#[derive(JsonSchema)]
pub struct Clock {
    /// Whether the calendar that counts agrees with the engine's.
    agreed: bool,
    /// Steps that were noticed.
    steps: Count,
    off_ms: i64,
    system_off_ms: i64,
}

/// Admitted orders that wait.
#[derive(JsonSchema)]
pub struct Depth {
    depth: Count,
    capacity: Count,
}

/// The queue of admitted orders.
#[derive(JsonSchema)]
pub struct Queue {
    depth: Count,
    capacity: Count,
    intake: IntakeWord,
}

/// The engine's figures since its start.
#[derive(JsonSchema)]
pub struct Stats {
    node: u16,
    version: String,
    uptime_s: Count,
    paths: Paths<PathFigures>,
    /// How often each outcome happened, over all paths.
    outcomes: BTreeMap<String, Count>,
    queue: Queue,
    writer: Writer,
    edge: Edge,
    store: Store,
    checkout: Checkout,
    /// What the lease agent did; `null` of an engine that sells alone.
    ledger: Option<Ledger>,
    campaigns: Count,
    /// Of the process; `null` where the system does not tell.
    process: Option<Process>,
}

/// Something of each of the three paths.
#[derive(JsonSchema)]
pub struct Paths<T> {
    /// A purchase, until the decision.
    seckill: T,
    /// A winning purchase, until its order is durable.
    order: T,
    /// A checkout, until the final answer.
    checkout: T,
}

/// Latency in microseconds.
#[derive(JsonSchema)]
pub struct Latency {
    count: Count,
    mean_us: f64,
    p50_us: f64,
    p90_us: f64,
    p99_us: f64,
    p999_us: f64,
    max_us: f64,
}

/// A path's latency, over all outcomes and by each.
#[derive(JsonSchema)]
pub struct PathFigures {
    #[schemars(flatten)]
    over_all: Latency,
    outcomes: BTreeMap<String, Latency>,
    recent: Recent,
}

/// Of the last interval.
#[derive(JsonSchema)]
pub struct Recent {
    per_s: f64,
    p99_us: f64,
}

/// What the writer commits.
#[derive(JsonSchema)]
pub struct Writer {
    batches: Count,
    batch_orders_mean: f64,
    batch_orders_max: Count,
    commit: Latency,
    failed_batches: Count,
    steps_waiting: Count,
}

/// Connections of the data plane.
#[derive(JsonSchema)]
pub struct Edge {
    connections: Count,
    connections_refused: Count,
    http2_connections: Count,
}

/// Connections for reading the order store.
#[derive(JsonSchema)]
pub struct Store {
    connections: Connections,
    opened: Count,
    failed: Count,
    broken: Count,
    reused: Count,
    /// The part of uses that found one ready.
    reuse_rate: Option<f64>,
    waited: Count,
    timed_out: Count,
    /// The write-ahead log of an embedded store.
    log: Option<Log>,
}

/// How many there are.
#[derive(JsonSchema)]
pub struct Connections {
    capacity: Count,
    in_use: Count,
    idle: Count,
}

/// A write-ahead log.
#[derive(JsonSchema)]
pub struct Log {
    bytes: Count,
    bytes_max: Count,
    unfolded_bytes: Count,
    times_full: Count,
    oldest_read_ms: Option<Count>,
}

/// How paying goes.
#[derive(JsonSchema)]
pub struct Checkout {
    /// What became of payments, of refunds and of unpaid orders, by word.
    ends: BTreeMap<String, Count>,
    under_way: Count,
    outcome_unknown: Count,
    concerns: BTreeMap<String, Count>,
    contradictions: Count,
    processing_answers: Count,
    gateway: Calls,
    risk: Calls,
}

/// Calls of a service.
#[derive(JsonSchema)]
pub struct Calls {
    answered: Count,
    failed: Count,
    /// All of them together.
    time_us: Count,
    breaker: BreakerWord,
}

/// What the lease agent did.
#[derive(JsonSchema)]
pub struct Ledger {
    redis_commands: Count,
    leased_units: Count,
    handed_back_units: Count,
    comparisons: Count,
    repairs: Count,
    rebuilds: Count,
    reclaims: Count,
    rejoins: Count,
    troubles: Count,
    sales_with_drift: Count,
    /// Whether unsold units were handed back because the store does not answer.
    cut_off: bool,
}

/// The process.
#[derive(JsonSchema)]
pub struct Process {
    cpu_s: f64,
    resident_bytes: Count,
    threads: Count,
    open_fds: Count,
}

/// The three books of each sale.
#[derive(JsonSchema)]
pub struct Books {
    node: u16,
    sales: Vec<SaleBooks>,
}

/// A sale in memory, in the ledger and in the store.
#[derive(JsonSchema)]
pub struct SaleBooks {
    tenant: Name,
    campaign: Name,
    sku: Name,
    /// Whether they agree; `null`: cannot be told now.
    equal: Option<bool>,
    /// How far they are apart, in units, by kind.
    drift: Option<BTreeMap<String, i64>>,
    memory: Option<MemoryBook>,
    ledger: LedgerBook,
    store: StoreBook,
}

/// What this node has in memory.
#[derive(JsonSchema)]
pub struct MemoryBook {
    on_sale: Count,
    in_flight: Count,
    held: Count,
}

/// What Redis has; nothing but its state where there is no such book, or it cannot be read.
#[derive(JsonSchema)]
pub struct LedgerBook {
    state: String,
    #[schemars(skip_serializing_if = "Option::is_none")]
    epoch: Option<Count>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    total: Option<Count>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    revision: Option<Count>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    returned: Option<Count>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    available: Option<i64>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    leased: Option<i64>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    sold: Option<i64>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    nodes: Option<Vec<NodeAccount>>,
}

/// What a node was lent of a sale.
#[derive(JsonSchema)]
pub struct NodeAccount {
    node: u16,
    incarnation: Count,
    granted: Count,
    handed_back: Count,
    settled: Count,
    leased: i64,
    awaited: bool,
}

/// What the store has.
#[derive(JsonSchema)]
pub struct StoreBook {
    epoch: Count,
    total: Count,
    revision: Count,
    sold: Count,
    returned: Count,
    settled: Vec<NodeUnits>,
    granted: Vec<NodeUnits>,
}

/// Units of a node.
#[derive(JsonSchema)]
pub struct NodeUnits {
    node: u16,
    units: Count,
}

/// The configuration that was read.
#[derive(JsonSchema)]
pub struct Reloaded {
    status: ReloadedWord,
    /// The keys that have changed.
    changed: Vec<String>,
}

/// An engine that is not well, or one that starts.
#[derive(JsonSchema)]
#[schemars(untagged)]
pub enum HealthOrStart {
    /// It runs.
    Health(Health),
    /// It starts.
    Start(Readiness),
}
