//! Puts the engine together, runs it, and takes it apart: the only place that names adapters.
//!
//! Start: log → store (locked, rebuilt into memory) → writer → lender → checkout → admin → edge → ready.
//! Stop: not ready → edge drained → payments finished → writer finished, store closed → unsold units handed back → admin.

mod demo;
mod ledger_store;
pub mod reconcile;
mod shared;
mod store;

use std::fmt;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::runtime::{Handle, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use self::shared::{Lending, SharedStock};
use self::store::{OpenStore, WriterThreads};
use crate::admin::{
    AdminServer, ControlPlane, ControlPlaneParts, Lifecycle, Readiness, Reload, ReloadRefused,
};
use crate::admission::{Admission, BuyerRates, LiveSale, OrderIds, Queue, TokenBucket};
use crate::checkout::http_gateway::HttpGateway;
use crate::checkout::http_risk::HttpRisk;
use crate::checkout::{
    self, CallError, Checkout, CheckoutParts, CheckoutSettings, PaymentGateway, PaymentKey, RiskService,
    ServiceKind, SimulatedGateway, SimulatedRisk,
};
use crate::config::{AdmissionSettings, Config, ConfigSource, ReloadError, Reloader, Settings};
use crate::domain::NodeId;
use crate::edge::{Clock, DataPlane, Edge};
use crate::ledger::{EmbeddedLedger, Ledger, SaleDesk};
use crate::orders::postgres::{Follower, FollowerParts, Seat};
use crate::orders::{Deadlines, OrderDesk, OrderWriter, Recovered, StoreError, WriterWatch};
use crate::telemetry::{IntervalLog, LogControl, Telemetry};

/// Threads of the control plane: admin, checkout, expiry, recovery.
const CONTROL_THREADS: usize = 2;

/// Why the engine did not start, or ended other than by being told to.
#[derive(Debug)]
pub enum ServeError {
    /// Something it needs at the start is not there: the message says what, and what to do.
    Start(String),
    /// The order store failed for good while it ran.
    Store(StoreError),
    /// It was told to stop and could not finish in time; what was not acknowledged may not be durable.
    Drain(String),
}

impl ServeError {
    /// The exit code of the process, in the sense of `sysexits.h`.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Start(_) => 78,
            Self::Store(_) => 74,
            Self::Drain(_) => 75,
        }
    }
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(problem) => f.write_str(problem),
            Self::Store(error) => write!(f, "the order store failed: {error}"),
            Self::Drain(problem) => write!(f, "stopped before everything was finished: {problem}"),
        }
    }
}

/// Runs an engine until SIGTERM or SIGINT.
///
/// # Errors
/// [`ServeError`].
pub fn serve(source: ConfigSource, config: Config) -> Result<(), ServeError> {
    let log = LogControl::start(&config.settings.log).map_err(start_error("the log"))?;
    let control = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .thread_name("control")
        .enable_all()
        .build()
        .map_err(start_error("the control threads"))?;
    let mut engine = Engine::start(&control, source, config, log)?;
    let ending = control.block_on(engine.until_told_to_stop());
    let drained = engine.stop(ending);
    // Reads that still run on the blocking pool have nobody who waits for them.
    control.shutdown_background();
    drained
}

/// A running engine.
struct Engine {
    control: Handle,
    readiness: Arc<Readiness>,
    edge: Edge,
    checkout: Checkout,
    desk: OrderDesk,
    writers: WriterThreads,
    lending: Option<Lending>,
    seat: Option<tokio::task::JoinHandle<StoreError>>,
    stop_admin: watch::Sender<bool>,
    admin: tokio::task::JoinHandle<()>,
    drain: Duration,
}

impl Engine {
    fn start(
        control: &Runtime,
        source: ConfigSource,
        config: Config,
        log: LogControl,
    ) -> Result<Self, ServeError> {
        let started = Instant::now();
        let settings = config.settings.clone();
        let node =
            NodeId::new(settings.node.id).ok_or_else(|| ServeError::Start("node.id is too high".into()))?;
        let shards = settings.edge.serving_threads();
        let telemetry = Arc::new(Telemetry::new(shards));

        let OpenStore { writers: stores, reader, registry, seat, news } =
            store::open(control, &settings, node).map_err(start_error("the order store"))?;
        let shared = registry.filter(|_| settings.is_shared());
        let shared = shared.map(|registry| SharedStock::new(&settings, registry)).transpose();
        let shared = shared.map_err(start_error("the shared ledger"))?;
        let deadlines = Arc::new(Deadlines::default());
        let recovered =
            Recovered::read(&*reader, node, shards, &deadlines).map_err(start_error("the order store"))?;
        let (sales, orders) = (recovered.sales.len(), recovered.orders);
        let (queue, arrivals) = Queue::bounded(settings.store.queue_orders_max);
        let admission = Arc::new(Admission::new(
            queue,
            OrderIds::after(node, recovered.newest),
            buyer_rates(&settings.admission),
            node_bucket(&settings.admission),
        ));
        let on_board = if shared.is_some() { LiveSale::without_stock } else { std::convert::identity };
        admission.board().publish_all(recovered.sales.into_iter().map(on_board).collect());

        let (step_sender, steps) = flume::bounded(settings.store.steps_max);
        let desk = OrderDesk::new(
            Arc::clone(&admission),
            step_sender,
            Arc::clone(&reader),
            Arc::clone(&deadlines),
            stores.len(),
        );
        let counting = Arc::default();
        let writers = WriterThreads::start(stores.into_iter().map(|store| OrderWriter {
            store,
            admission: Arc::clone(&admission),
            arrivals: arrivals.clone(),
            steps: steps.clone(),
            deadlines: Arc::clone(&deadlines),
            lender: shared.as_ref().map(SharedStock::notify),
            counting: Arc::clone(&counting),
            settings: settings.store.clone(),
            watch: WriterFigures(Arc::clone(&telemetry)),
        }))?;
        // The writers' own ends are the last ones: when they are gone, nobody takes work any more.
        drop((arrivals, steps));
        let lending = shared.map(|shared| shared.start(control, &settings, node, &admission, &telemetry));
        let relays = seat.as_ref().map(Seat::relays);
        if let (Some(lending), Some(elected)) = (&lending, relays) {
            lending.relay(control, &settings, &desk, &admission, elected);
        }
        let seat = seat.map(|seat| control.spawn(seat.keep()));
        let ledger: Arc<dyn Ledger> = match &lending {
            None => Arc::new(EmbeddedLedger::new(desk.clone(), shards)),
            Some(lending) => Arc::new(lending.ledger(&settings, shards)),
        };
        let sale_desk = Arc::new(SaleDesk::new(
            Arc::clone(&admission),
            desk.clone(),
            ledger,
            settings.ledger.sales_max,
            settings.ledger.sale_limits(),
        ));
        let unfinished = recovered.unfinished.iter().map(PaymentKey::of);
        let checkout = start_checkout(control, &settings.checkout, &desk, &admission, unfinished)?;
        if let Some(news) = news {
            let follower = Follower::new(FollowerParts {
                news,
                admission: Arc::clone(&admission),
                deadlines,
                after_event: recovered.last_event,
                shards,
                sales_max: settings.ledger.sales_max,
            });
            store::follow(control, follower, checkout.clone());
        }

        let readiness = Arc::new(Readiness::default());
        let intervals =
            Arc::new(IntervalLog::new(SystemTime::now(), settings.telemetry.interval_log_bytes_max));
        keep_intervals(control, &intervals, &telemetry, settings.telemetry.interval_ms);
        let clock = Clock::start();
        let data_plane = Arc::new(
            DataPlane::new(
                &settings.edge,
                clock,
                &telemetry,
                Arc::clone(&admission),
                desk.clone(),
                checkout.clone(),
            )
            .map_err(|wrong| ServeError::Start(format!("edge.{} {}", wrong.field, wrong.problem)))?,
        );
        let (stop_admin, stopped) = watch::channel(false);
        let plane = ControlPlane::new(ControlPlaneParts {
            node,
            settings: settings.admin.clone(),
            admission: Arc::clone(&admission),
            desk: desk.clone(),
            sales: Arc::clone(&sale_desk),
            checkout: checkout.clone(),
            telemetry: Arc::clone(&telemetry),
            intervals,
            readiness: Arc::clone(&readiness),
            reload: reload(source, config, log, Arc::clone(&admission), Arc::clone(&data_plane)),
        });
        let listening_for_admin = format!("admin.listen {}", settings.admin.listen);
        let server = control.block_on(AdminServer::bind(plane)).map_err(start_error(&listening_for_admin))?;
        let admin_address = server.address().map_err(start_error("the admin address"))?;
        let admin = control.spawn(server.serve(stopped));

        let is_first_start = sales == 0;
        if is_first_start {
            control.block_on(demo::open(&sale_desk)).map_err(start_error("the demo sale"))?;
        }
        let edge = Edge::start(&settings.edge, clock, telemetry, data_plane, control.handle().clone())
            .map_err(start_error("the edge"))?;
        readiness.set(Lifecycle::Running);
        tracing::info!(
            edge = %edge.addr(), admin = %admin_address, data = %settings.data_dir.display(), sales, orders,
            took_ms = started.elapsed().as_millis() as u64, "ready"
        );
        print_welcome(edge.addr(), admin_address, &settings.data_dir, is_first_start);
        Ok(Self {
            control: control.handle().clone(),
            readiness,
            edge,
            checkout,
            desk,
            writers,
            lending,
            seat,
            stop_admin,
            admin,
            drain: Duration::from_millis(settings.edge.drain_ms),
        })
    }

    /// Waits for a signal, or for the end of what it cannot go on without.
    async fn until_told_to_stop(&mut self) -> Ending {
        let listen = |kind| signal(kind).expect("signals can be listened to");
        let (mut terminate, mut interrupt) =
            (listen(SignalKind::terminate()), listen(SignalKind::interrupt()));
        tokio::select! {
            _ = terminate.recv() => Ending::Told,
            _ = interrupt.recv() => Ending::Told,
            () = self.writers.one_ended() => Ending::Writer,
            error = unseated(&mut self.seat) => Ending::Failed(error),
            error = without_clerk(&mut self.lending) => Ending::Failed(error),
        }
    }

    /// Finishes what is in flight, from the outside in.
    fn stop(self, ending: Ending) -> Result<(), ServeError> {
        let Self {
            control,
            readiness,
            edge,
            checkout,
            desk,
            writers,
            lending,
            seat: _,
            stop_admin,
            admin,
            drain,
        } = self;
        tracing::info!("stopping: finishing what is in flight");
        readiness.set(Lifecycle::Draining);
        let cut = edge.drain();
        let paid_out = control.block_on(async { tokio::time::timeout(drain, checkout.drain()).await });
        let finished = matches!(ending, Ending::Writer) || desk.stop(drain);
        let outcome = if finished { writers.join() } else { Ok(()) };
        // With orders in flight nobody knows what is unsold: the others find out from the store.
        if let Some(lending) = lending.filter(|_| finished && outcome.is_ok()) {
            control.block_on(lending.leave());
        }
        stop_admin.send_replace(true);
        let _ = control.block_on(admin);
        outcome.map_err(ServeError::Store)?;
        if let Ending::Failed(error) = ending {
            return Err(ServeError::Store(error));
        }
        if !finished {
            return Err(ServeError::Drain("the order store did not take what was queued".into()));
        }
        if paid_out.is_err() {
            tracing::warn!("payments are still under way; the next start finishes them");
        }
        if cut > 0 {
            tracing::warn!(connections = cut, "connections were cut: they took longer than edge.drain_ms");
        }
        tracing::info!("stopped");
        Ok(())
    }
}

/// Why the engine stops.
enum Ending {
    /// A signal.
    Told,
    /// A writer ended by itself.
    Writer,
    /// Another engine has this one's place in the database, or nobody borrows its stock any more.
    Failed(StoreError),
}

/// Ends when another engine has the seat; never, without one.
async fn unseated(seat: &mut Option<tokio::task::JoinHandle<StoreError>>) -> StoreError {
    match seat {
        Some(keeping) => match keeping.await {
            Ok(error) => error,
            Err(_) => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

/// Ends when the clerk does; never, in an engine that sells alone.
async fn without_clerk(lending: &mut Option<Lending>) -> StoreError {
    match lending {
        Some(lending) => lending.ended().await,
        None => std::future::pending().await,
    }
}

fn start_error<E: fmt::Display>(what: &str) -> impl FnOnce(E) -> ServeError {
    move |error| ServeError::Start(format!("{what}: {error}"))
}

/// What the writer tells goes into the telemetry.
struct WriterFigures(Arc<Telemetry>);

impl WriterWatch for WriterFigures {
    fn committed(&self, orders: usize, steps: usize, took: Duration) {
        self.0.writers.record_batch(orders + steps, took.as_nanos() as u64);
    }

    fn stalled(&self) {
        self.0.writers.failed_batches.increment();
    }
}

fn start_checkout(
    control: &Runtime,
    settings: &CheckoutSettings,
    desk: &OrderDesk,
    admission: &Arc<Admission>,
    unfinished: impl Iterator<Item = PaymentKey>,
) -> Result<Checkout, ServeError> {
    let gateway = gateway(settings).map_err(start_error("checkout.gateway"))?;
    let risk = risk(settings).map_err(start_error("checkout.risk"))?;
    let parts = CheckoutParts {
        desk: desk.clone(),
        admission: Arc::clone(admission),
        gateway,
        risk,
        settings: settings.clone(),
        runtime: control.handle().clone(),
    };
    let checkout = Checkout::new(parts, unfinished);
    control.spawn(checkout::recover(checkout.clone()));
    control.spawn(checkout::expire(checkout.clone()));
    Ok(checkout)
}

fn gateway(settings: &CheckoutSettings) -> Result<Arc<dyn PaymentGateway>, CallError> {
    let settings = &settings.gateway;
    Ok(match settings.kind {
        ServiceKind::Simulated => Arc::new(SimulatedGateway::new(settings.simulated.clone())),
        ServiceKind::Http => Arc::new(HttpGateway::new(settings.http.clone())?),
    })
}

fn risk(settings: &CheckoutSettings) -> Result<Arc<dyn RiskService>, CallError> {
    let settings = &settings.risk;
    Ok(match settings.kind {
        ServiceKind::Simulated => Arc::new(SimulatedRisk::new(settings.simulated.clone())),
        ServiceKind::Http => Arc::new(HttpRisk::new(settings.http.clone())?),
    })
}

fn keep_intervals(
    control: &Runtime,
    intervals: &Arc<IntervalLog>,
    telemetry: &Arc<Telemetry>,
    every_ms: u32,
) {
    let (intervals, telemetry) = (Arc::clone(intervals), Arc::clone(telemetry));
    control.spawn(async move { intervals.keep(&telemetry, Duration::from_millis(every_ms.into())).await });
}

fn buyer_rates(settings: &AdmissionSettings) -> Option<BuyerRates> {
    settings.buyer_rate().map(|rate| BuyerRates::new(rate, settings.buyers_max))
}

fn node_bucket(settings: &AdmissionSettings) -> Option<TokenBucket> {
    settings.node_rate().map(TokenBucket::new)
}

/// Reads the configuration again and hands what may change live to those who use it.
fn reload(
    source: ConfigSource,
    config: Config,
    log: LogControl,
    admission: Arc<Admission>,
    data_plane: Arc<DataPlane>,
) -> Arc<Reload> {
    let reloader = Reloader::new(source, config, move |settings: &Settings, changed: &[String]| {
        let has_changed = |section: &str| changed.iter().any(|key| key.starts_with(section));
        // All of it was checked with the rest of the settings.
        if has_changed("log.") {
            let _ = log.set_level(&settings.log.level);
        }
        if has_changed("edge.") {
            let _ = data_plane.retune(&settings.edge);
        }
        // Only then: new limits forget who clicked how often.
        if has_changed("admission.") {
            admission.set_limits(buyer_rates(&settings.admission), node_bucket(&settings.admission));
        }
    });
    Arc::new(move || {
        reloader.reload().map_err(|error| {
            let (code, keys) = match &error {
                ReloadError::Invalid(invalid) => {
                    ("invalid-config", invalid.problems.iter().map(|problem| problem.key.clone()).collect())
                }
                ReloadError::NeedsRestart(keys) => ("restart-required", keys.clone()),
            };
            ReloadRefused { code, detail: error.to_string(), keys }
        })
    })
}

/// What a person at a terminal sees. Nobody may be there: an output that is closed ends no engine.
fn print_welcome(edge: SocketAddr, admin: SocketAddr, data: &Path, has_demo: bool) {
    let mut welcome = format!(
        "seckill sells on http://{edge}, admin and status page on http://{admin}, orders in {}\n",
        data.display()
    );
    if has_demo {
        welcome.push_str(&demo::invitation(edge));
        welcome.push('\n');
    }
    let mut terminal = io::stdout().lock();
    let _ = terminal.write_all(welcome.as_bytes()).and_then(|()| terminal.flush());
}
