//! Where the figures of the engine are kept: one set a core for the request paths, one for the order writers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crossbeam::utils::CachePadded;

use super::counter::{Counter, Gauge};
use super::edge_load::EdgeLoad;
use super::gatekeeper::GatekeeperRecords;
use super::grpc::GrpcRecords;
use super::histogram::{AtomicHistogram, HistogramSnapshot, Layout};
use super::http2::Http2Records;
use super::lease_agent::LeaseAgentRecords;
use super::outcome::{Outcome, Path};
use super::refused_tokens::RefusedTokens;
use super::store_log::StoreLogRecords;
use super::tls::TlsRecords;
use super::traces::TraceRecords;

const PATHS: usize = Path::ALL.len();
const OUTCOMES: usize = Outcome::ALL.len();

/// For each path and outcome the place of its histogram in [`CoreRecords::latency`].
const PLACES: [[u8; OUTCOMES]; PATHS] = places();
/// Histograms of one core: 35, together 4.9 MiB.
const HISTOGRAMS: usize =
    Path::Seckill.outcomes().len() + Path::Order.outcomes().len() + Path::Checkout.outcomes().len();

const fn places() -> [[u8; OUTCOMES]; PATHS] {
    let mut places = [[0; OUTCOMES]; PATHS];
    let (mut path, mut first) = (0, 0);
    while path < PATHS {
        let outcomes = Path::ALL[path].outcomes();
        // `Other` is the last outcome of each path and stands in for those that it does not list.
        let other = (first + outcomes.len() - 1) as u8;
        places[path] = [other; OUTCOMES];
        let mut n = 0;
        while n < outcomes.len() {
            places[path][outcomes[n] as usize] = (first + n) as u8;
            n += 1;
        }
        first += outcomes.len();
        path += 1;
    }
    places
}

#[derive(Debug)]
struct CoreRecords {
    latency: Box<[AtomicHistogram]>,
    /// Requests outside the three paths: counted, not timed.
    elsewhere: [AtomicU64; OUTCOMES],
}

/// Records the requests of one core. Cloning shares the same figures; any thread may record.
#[derive(Clone, Debug)]
pub struct Recorder {
    core: Arc<CachePadded<CoreRecords>>,
}

impl Recorder {
    fn new() -> Self {
        let latency = (0..HISTOGRAMS).map(|_| AtomicHistogram::new(Layout::LATENCY)).collect();
        let elsewhere = [const { AtomicU64::new(0) }; OUTCOMES];
        Self { core: Arc::new(CachePadded::new(CoreRecords { latency, elsewhere })) }
    }

    /// Records a request of one of the three paths that took `nanos`. Never blocks, never allocates.
    pub fn record(&self, path: Path, outcome: Outcome, nanos: u64) {
        self.histogram(path, outcome).record(nanos);
    }

    /// Counts a request outside the three paths: sale pages, order look-ups, cancellations, unknown routes.
    pub fn count(&self, outcome: Outcome) {
        self.core.elsewhere[outcome as usize].fetch_add(1, Relaxed);
    }

    fn histogram(&self, path: Path, outcome: Outcome) -> &AtomicHistogram {
        &self.core.latency[PLACES[path as usize][outcome as usize] as usize]
    }
}

/// What the order writers record, once a batch.
#[derive(Debug)]
pub struct WriterRecords {
    batch_orders: AtomicHistogram,
    commit: AtomicHistogram,
    /// Batches that the store did not take, each try counted.
    pub failed_batches: Counter,
}

impl WriterRecords {
    fn new() -> Self {
        Self {
            batch_orders: AtomicHistogram::new(Layout::SIZE),
            commit: AtomicHistogram::new(Layout::LATENCY),
            failed_batches: Counter::default(),
        }
    }

    /// Records a committed batch of `orders` orders and transitions whose transaction took `commit_nanos`.
    pub fn record_batch(&self, orders: usize, commit_nanos: u64) {
        self.batch_orders.record(orders as u64);
        self.commit.record(commit_nanos);
    }

    /// Orders and transitions a batch.
    pub fn batch_orders(&self) -> HistogramSnapshot {
        read(Layout::SIZE, [&self.batch_orders])
    }

    /// Nanoseconds a commit.
    pub fn commit(&self) -> HistogramSnapshot {
        read(Layout::LATENCY, [&self.commit])
    }
}

/// All figures of one engine.
#[derive(Debug)]
pub struct Telemetry {
    cores: Box<[Recorder]>,
    /// Steps of the start that were tried again because a server did not let them through.
    pub start_retries: Counter,
    /// The order writers' figures.
    pub writers: WriterRecords,
    /// What was synced and folded of an embedded store's log.
    pub store_log: StoreLogRecords,
    /// What the lease agent of this node's stock did.
    pub lease_agent: LeaseAgentRecords,
    /// Connections that the edge has open.
    pub edge_connections: Gauge,
    /// Connections that the edge closed at once, because it had as many as it may have.
    pub edge_connections_refused: Counter,
    /// Of the open ones, those that speak HTTP/2, and why such were ended.
    pub http2: Http2Records,
    /// How handshakes ended.
    pub tls: TlsRecords,
    /// Answers about who joined waiting rooms.
    pub gatekeeper: GatekeeperRecords,
    /// How busy the serving threads are, and what they refuse because of it.
    pub edge_load: EdgeLoad,
    /// Buyers' tokens that did not count.
    pub refused_tokens: RefusedTokens,
    /// Calls inside the network.
    pub grpc: Arc<GrpcRecords>,
    /// What became of spans.
    pub traces: TraceRecords,
}

impl Telemetry {
    /// Room for `cores` recorders, at least one; 4.9 MiB each.
    pub fn new(cores: usize) -> Self {
        Self {
            cores: (0..cores.max(1)).map(|_| Recorder::new()).collect(),
            start_retries: Counter::default(),
            writers: WriterRecords::new(),
            store_log: StoreLogRecords::default(),
            lease_agent: LeaseAgentRecords::default(),
            edge_connections: Gauge::default(),
            edge_connections_refused: Counter::default(),
            http2: Http2Records::default(),
            tls: TlsRecords::default(),
            gatekeeper: GatekeeperRecords::default(),
            edge_load: EdgeLoad::new(cores),
            refused_tokens: RefusedTokens::default(),
            grpc: Arc::default(),
            traces: TraceRecords::default(),
        }
    }

    /// The recorder of a core. Cores beyond the number given to [`Telemetry::new`] share those that there are.
    pub fn recorder(&self, core: usize) -> Recorder {
        self.cores[core % self.cores.len()].clone()
    }

    /// The latencies of one outcome on one path, over all cores, in nanoseconds.
    pub fn outcome(&self, path: Path, outcome: Outcome) -> HistogramSnapshot {
        read(Layout::LATENCY, self.cores.iter().map(|core| core.histogram(path, outcome)))
    }

    /// The latencies of every outcome of a path, over all cores, in nanoseconds.
    pub fn path(&self, path: Path) -> HistogramSnapshot {
        let histograms = self
            .cores
            .iter()
            .flat_map(|core| path.outcomes().iter().map(move |&outcome| core.histogram(path, outcome)));
        read(Layout::LATENCY, histograms)
    }

    /// The sum of what [`Telemetry::path`] holds, in nanoseconds: changed by whatever was recorded since, and cheaper to ask for.
    pub fn path_sum(&self, path: Path) -> u64 {
        let sums = self
            .cores
            .iter()
            .flat_map(|core| path.outcomes().iter().map(move |&outcome| core.histogram(path, outcome).sum()));
        sums.fold(0, u64::saturating_add)
    }

    /// How many requests of a path had this outcome.
    pub fn count(&self, path: Path, outcome: Outcome) -> u64 {
        self.cores.iter().map(|core| core.histogram(path, outcome).count()).sum()
    }

    /// How many requests outside the three paths had this outcome.
    pub fn count_elsewhere(&self, outcome: Outcome) -> u64 {
        self.cores.iter().map(|core| core.core.elsewhere[outcome as usize].load(Relaxed)).sum()
    }
}

fn read<'a>(layout: Layout, histograms: impl IntoIterator<Item = &'a AtomicHistogram>) -> HistogramSnapshot {
    let mut snapshot = HistogramSnapshot::empty(layout);
    histograms.into_iter().for_each(|histogram| histogram.add_to(&mut snapshot));
    snapshot
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_listed_outcome_has_a_place_of_its_own_and_the_rest_share_other() {
        let mut used = vec![0; HISTOGRAMS];
        for path in Path::ALL {
            for &outcome in path.outcomes() {
                used[PLACES[path as usize][outcome as usize] as usize] += 1;
            }
            for outcome in Outcome::ALL.iter().filter(|o| !path.outcomes().contains(o)) {
                assert_eq!(
                    PLACES[path as usize][*outcome as usize],
                    PLACES[path as usize][Outcome::Other as usize]
                );
            }
        }
        assert_eq!(used, vec![1; HISTOGRAMS]);
    }

    #[test]
    fn a_core_takes_the_memory_that_is_documented() {
        let bytes = HISTOGRAMS * 144 * 1024;
        assert_eq!(format!("{:.1}", bytes as f64 / f64::from(1 << 20)), "4.9");
    }

    #[test]
    fn the_reader_adds_up_cores_and_outcomes() {
        let telemetry = Telemetry::new(2);
        telemetry.recorder(0).record(Path::Seckill, Outcome::Won, 5_000);
        telemetry.recorder(1).record(Path::Seckill, Outcome::Won, 7_000);
        telemetry.recorder(3).record(Path::Seckill, Outcome::SoldOut, 3_000);
        telemetry.recorder(1).record(Path::Order, Outcome::Durable, 90_000);
        telemetry.recorder(1).count(Outcome::NotFound);
        assert_eq!(telemetry.count(Path::Seckill, Outcome::Won), 2);
        assert_eq!(telemetry.outcome(Path::Seckill, Outcome::Won).sum, 12_000);
        assert_eq!(telemetry.path(Path::Seckill).count(), 3);
        assert_eq!(telemetry.path(Path::Seckill).mean(), 5_000.0);
        assert_eq!(telemetry.path(Path::Order).count(), 1);
        assert_eq!(telemetry.path(Path::Checkout).count(), 0);
        assert_eq!(telemetry.count_elsewhere(Outcome::NotFound), 1);
    }

    #[test]
    fn an_outcome_that_a_path_does_not_know_is_still_counted() {
        let telemetry = Telemetry::new(1);
        telemetry.recorder(0).record(Path::Order, Outcome::RiskRejected, 1);
        assert_eq!(telemetry.count(Path::Order, Outcome::Other), 1);
    }

    #[test]
    fn a_gauge_goes_down_when_its_guard_is_dropped() {
        let gauge = Gauge::default();
        let guards = (gauge.enter(), gauge.enter());
        assert_eq!(gauge.value(), 2);
        drop(guards);
        assert_eq!(gauge.value(), 0);
    }
}
