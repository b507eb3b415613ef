//! The start, step by step. The admin plane answers from the first step on.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::watch;

use super::engine::Engine;
use super::reload::{Live, node_limits, reload};
use super::retry::Retry;
use super::shared_stock::SharedStock;
use super::store::{self, OpenStore, WriterThreads};
use super::{demo, open_files, payments, search, traces, webhooks};
use crate::admin::{
    AdminServer, AdminTokens, BulkReads, ControlPlane, ControlPlaneParts, Lifecycle, Readiness, StartPhase,
};
use crate::admission::{LiveSale, OrderIds};
use crate::checkout::{AttemptId, CheckoutParts};
use crate::clock::Clock;
use crate::config::{Config, ConfigSource, Settings};
use crate::domain::{FieldError, NodeId};
use crate::edge::{DataPlane, Edge, Gatekeeper, PageAccess};
use crate::exit::{Exit, Failure};
use crate::grpc::{GrpcParts, GrpcServer};
use crate::ledger::{Concerns, EmbeddedLedger, Ledger, SaleDesk, SaleError};
use crate::orders::postgres::{Follower, FollowerParts, InstanceLock};
use crate::orders::{
    Deadlines, FoldedBy, LogWatch, Pipeline, PipelineParts, Recovered, guard_calendar, log_registrations,
    move_marks, show_marks,
};
use crate::supervisor::Supervisor;
use crate::telemetry::{IntervalLog, LogControl, Telemetry};
use crate::terminal;
use crate::tls::TlsSettings;

/// What a start works with.
pub(super) struct Start {
    pub source: ConfigSource,
    pub config: Config,
    pub log: LogControl,
    pub supervisor: Supervisor,
    /// Turns true when the engine is told to stop before it runs.
    pub abandoned: watch::Receiver<bool>,
}

impl Start {
    /// Starts the engine. `None` when the start was abandoned on the way: nobody has been served yet. Blocks.
    pub fn run(self) -> Result<Option<Engine>, Failure> {
        let Self { source, config, log, supervisor, abandoned } = self;
        let control = supervisor.control().clone();
        let started = Instant::now();
        let settings = open_files::fit(&config, open_files::raise_limit())?;
        let node =
            NodeId::new(settings.node.id).ok_or_else(|| Failure::new(Exit::Config, "node.id is too high"))?;
        let shards = settings.edge.serving_threads();
        let telemetry = Arc::new(Telemetry::new(shards));

        let tracer = traces::start(&supervisor, &settings.traces, node, &telemetry)?;
        let readiness = Arc::new(Readiness::default());
        let listening_for_admin = format!("admin.listen {}", settings.admin.listen);
        let wrong = |section, wrong: FieldError| {
            Failure::new(Exit::Config, format_args!("{section}.{} {}", wrong.field, wrong.problem))
        };
        let edge_tls = settings.edge.certificates().map_err(|error| wrong("edge", error))?;
        let admin_tls = settings.admin.certificates().map_err(|error| wrong("admin", error))?;
        let grpc_tls = settings.grpc.certificates().map_err(|error| wrong("grpc", error))?;
        for watched in [&edge_tls, &admin_tls, &grpc_tls] {
            let watching = Arc::clone(watched).watch();
            supervisor.task(&format!("certificates of the {} plane", watched.plane()), async move {
                watching.await;
                Ok(())
            });
        }
        let bound = AdminServer::bind(settings.admin.clone(), Arc::clone(&readiness), Arc::clone(&admin_tls));
        let server = control.block_on(bound);
        let server = server.map_err(Failure::at_start(&listening_for_admin))?;
        let admin_address = server.address().map_err(Failure::at_start("the admin address"))?;
        let admin_opening = server.opening();
        let (stop_admin, stopped) = watch::channel(false);
        let admin = supervisor.task("admin", async move {
            server.serve(stopped).await;
            Ok(())
        });
        tracing::info!(admin = %admin_address, "starting: the admin plane answers");

        let retry =
            Retry { control: &control, readiness: &readiness, telemetry: &telemetry, abandoned: &abandoned };
        let store_concerns = Arc::new(Concerns::default());
        let mut instance_lock = None;
        let opened = retry.until_done("the order store", || {
            let log_watch = Arc::clone(&telemetry) as Arc<dyn LogWatch>;
            store::open(&control, &settings, node, &store_concerns, log_watch, &mut instance_lock)
        })?;
        let Some(opened) = opened else { return Ok(None) };
        let OpenStore { writers: mut stores, reader, checkpointer, lease_store, feed, mut history } = opened;
        // Where several nodes may share the store, its calendar is the one that counts.
        let read = retry.until_done("the order store's calendar", || store::calendar(&*reader))?;
        let Some(store_calendar) = read else { return Ok(None) };
        let clock = Clock::start_at(store_calendar.unwrap_or_else(Clock::system_calendar));
        let shared = lease_store.filter(|_| settings.is_shared()).zip(history.as_mut());
        let shared = shared.map(|(lease_store, history)| {
            control.block_on(SharedStock::open(&settings, lease_store, history))
        });
        let shared = shared.transpose().map_err(Failure::at_start("the shared ledger"))?;
        readiness.enter(StartPhase::ReadingOrders);
        let read = retry.until_done("the order store", || {
            let deadlines = Arc::new(Deadlines::default());
            store::read_graces(&*reader, &deadlines)?;
            readiness.orders_read().store(0, Relaxed);
            let recovered = Recovered::read(&*reader, node, shards, &deadlines, readiness.orders_read())?;
            let alive_ms = settings.checkout.expiry.alive_ms;
            store::count_downtime(
                &mut stores,
                &*reader,
                &clock,
                &deadlines,
                recovered.oldest_open,
                alive_ms,
            )?;
            store::show_rooms(&*reader, &recovered.sales)?;
            Ok((deadlines, recovered, reader.identity()?, reader.pass_secret()?))
        })?;
        let Some((deadlines, recovered, identity, pass_secret)) = read else { return Ok(None) };
        // Before anything runs: a payment that is under way must find its own gateway.
        let gateways = payments::gateways(&settings.checkout)?;
        gateways.check_open(&recovered.paying_at).map_err(|missing| Failure::new(Exit::Config, missing))?;
        readiness.enter(StartPhase::OpeningEdge);
        let (sales, orders) = (recovered.sales.len(), recovered.orders);
        let order_ids = OrderIds::after(node, recovered.newest);
        let Pipeline { admission, desk, writers } = Pipeline::new(PipelineParts {
            deadlines: Arc::clone(&deadlines),
            clock: clock.clone(),
            lease_agent: shared.as_ref().map(SharedStock::notify),
            watch: traces::watch(&telemetry, tracer.as_ref()),
            ..PipelineParts::new(stores, reader, order_ids, settings.store.clone())
        });
        admission.set_limits(node_limits(&settings.admission));
        admission.rooms().set_rules(settings.waiting_room.rules(&pass_secret));
        admission.board().set_stops(recovered.stops);
        recovered.archived.iter().for_each(|key| admission.board().archived().note(key));
        let on_board = if shared.is_some() { LiveSale::without_stock } else { std::convert::identity };
        admission.board().publish_all(recovered.sales.into_iter().map(on_board).collect());
        store::start_checkpointer(&supervisor, checkpointer)?;
        let writers = WriterThreads::start(&supervisor, writers)?;
        let search = search::open(&settings.search, &desk)?;
        let webhooks = webhooks::open(&settings.webhooks, &desk, identity)?;
        // Before anybody is served: whatever happens from here on is told.
        let entered = retry.until_done("the order store", || control.block_on(webhooks.enter()))?;
        let Some(()) = entered else { return Ok(None) };
        let (outdate, outdated) = watch::channel(None);
        if let Some(history) = history {
            let keeping = history.keep(shared.as_ref().map(SharedStock::books), outdate);
            supervisor.task("history of the order store", async {
                keeping.await;
                Ok(())
            });
        }
        let lending = shared.map(|shared| shared.start(&supervisor, &settings, node, &admission, &telemetry));
        let relays = instance_lock.as_ref().map(InstanceLock::relays);
        // Alone there is nobody else who could move the marks, or deliver.
        let elected = relays.clone().filter(|_| lending.is_some());
        // Three tasks, so that none of them makes another late.
        let showing = show_marks(desk.clone());
        let logging = log_registrations(desk.clone());
        let moving = move_marks(desk.clone(), elected.clone());
        if let Some(search) = &search {
            search::start(&supervisor, search, elected.clone());
        }
        webhooks::start(&supervisor, &webhooks, elected);
        supervisor.task("marks of the waiting rooms", async move {
            showing.await;
            Ok(())
        });
        supervisor.task("log of registrations", async move {
            logging.await;
            Ok(())
        });
        supervisor.task("waiting rooms", async move {
            moving.await;
            Ok(())
        });
        let relay = lending.as_ref().zip(relays);
        let relay = relay.map(|(lending, elected)| lending.relay(&supervisor, &settings, &desk, elected));
        if let Some(instance_lock) = instance_lock {
            supervisor.task("instance lock", async { Err(instance_lock.keep().await.to_string()) });
        }
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
        let archiving = Arc::clone(&sale_desk).keep_archiving(settings.ledger.archive_after());
        supervisor.task("archive", async move {
            archiving.await;
            Ok(())
        });
        let store_look = store_calendar.map(|_| Duration::from_millis(settings.postgres.beat_ms.into()));
        let guard = guard_calendar(desk.clone(), settings.clock.clone(), store_look);
        supervisor.task("calendar guard", async move {
            guard.await;
            Ok(())
        });
        let parts = CheckoutParts {
            desk: desk.clone(),
            admission: Arc::clone(&admission),
            gateways,
            identity,
            risk: payments::risk(&settings.checkout)?,
            settings: settings.checkout.clone(),
            runtime: control.clone(),
        };
        let unfinished = recovered.unfinished.iter().map(AttemptId::latest);
        let paying = payments::start(&supervisor, parts, unfinished);
        let checkout = paying.checkout;
        if let Some(feed) = feed {
            let follower = Follower::new(FollowerParts {
                feed,
                admission: Arc::clone(&admission),
                deadlines,
                after_event: recovered.last_event,
                after_change: recovered.last_change,
                shards,
                sales_max: settings.ledger.sales_max,
            });
            store::follow(&supervisor, follower, checkout.clone());
        }

        let intervals =
            Arc::new(IntervalLog::new(SystemTime::now(), settings.telemetry.interval_log_bytes_max));
        keep_intervals(&supervisor, &intervals, &telemetry, settings.telemetry.interval_ms);
        let page_access = demo::page(&settings);
        let gatekeeper = Gatekeeper::new(&settings.gatekeeper).map_err(Failure::at_start("gatekeeper"))?;
        let data_plane = Arc::new(
            DataPlane::new(
                &settings.edge,
                clock.clone(),
                &telemetry,
                Arc::clone(&admission),
                desk.clone(),
                checkout.clone(),
            )
            .map_err(|error| wrong("edge", error))?
            .with_page(page_access)
            .with_gatekeeper(gatekeeper)
            .with_tracer(tracer.clone()),
        );
        let tokens = Arc::new(AdminTokens::new(&settings.admin));
        let live = Live {
            log,
            admission: Arc::clone(&admission),
            pass_secret,
            data_plane: Arc::clone(&data_plane),
            tokens: Arc::clone(&tokens),
            edge_tls: Arc::clone(&edge_tls),
            admin_tls: Arc::clone(&admin_tls),
            webhooks: webhooks.clone(),
            grpc_tls: Arc::clone(&grpc_tls),
        };
        let reload = reload(source, config, live);
        let control_plane = Arc::new(ControlPlane::new(ControlPlaneParts {
            node,
            settings: settings.admin.clone(),
            tokens,
            admission: Arc::clone(&admission),
            desk: desk.clone(),
            sales: Arc::clone(&sale_desk),
            checkout: checkout.clone(),
            telemetry: Arc::clone(&telemetry),
            intervals,
            readiness: Arc::clone(&readiness),
            reload: Arc::clone(&reload),
            certificates: vec![Arc::clone(&edge_tls), admin_tls, Arc::clone(&grpc_tls)],
            store_concerns,
            webhooks: Some(webhooks.clone()),
            search,
            relay,
            bulk_reads: BulkReads::start().map_err(Failure::at_start("the threads of bulk reads"))?,
        }));
        if lending.is_some() {
            let exchanging = Arc::clone(&control_plane).exchange_figures();
            supervisor.task("figures of the nodes", async move {
                exchanging.await;
                Ok(())
            });
        }
        admin_opening.open(Arc::clone(&control_plane));

        let has_demo = sales == 0 && recovered.newest.is_none() && settings.opens_demo();
        if has_demo {
            let opened = retry.until_done("the demo sale", || {
                match control.block_on(demo::open(&sale_desk, clock.calendar())) {
                    Err(SaleError::Store(error)) => Err(error),
                    opened => Ok(opened),
                }
            })?;
            let Some(opened) = opened else { return Ok(None) };
            opened.map_err(Failure::at_start("the demo sale"))?;
        }
        let parts = GrpcParts {
            settings: &settings.grpc,
            edge: &settings.edge,
            clock: clock.clone(),
            records: Arc::clone(&telemetry.grpc),
            data_plane: Arc::clone(&data_plane),
            control_plane,
            desk: desk.clone(),
            certificates: grpc_tls,
        };
        let edge = Edge::start(&settings.edge, clock, telemetry, data_plane, edge_tls, &supervisor)
            .map_err(Failure::at_start("the edge"))?;
        let grpc = GrpcServer::start(parts, &supervisor).map_err(Failure::at_start("gRPC"))?;
        if let Some(grpc) = &grpc {
            tracing::info!(grpc = %grpc.address(), "callers inside the network are served by gRPC");
        }
        readiness.set(Lifecycle::Running);
        let simulated = settings.checkout.simulated();
        if !simulated.is_empty() {
            tracing::warn!(services = simulated.join(", "), "simulated services: no money is taken");
        }
        tracing::info!(
            edge = %edge.addr(), admin = %admin_address, data = %settings.data_dir.display(), sales, orders,
            took_ms = started.elapsed().as_millis() as u64, "ready"
        );
        let urls = urls(&settings, edge.addr(), admin_address);
        print_welcome(&urls, &place_of_orders(&settings), &simulated, has_demo, page_access);
        Ok(Some(Engine {
            readiness,
            reload,
            edge,
            grpc,
            checkout,
            background: paying.background,
            desk,
            writers,
            lending,
            webhooks,
            tracer,
            stop_admin,
            admin,
            lame_duck: settings.edge.lame_duck(),
            drain: Duration::from_millis(settings.edge.drain_ms),
            stop_max: Duration::from_millis(settings.stop_ms_max),
            outdated,
        }))
    }
}

/// What becomes of the log goes into the telemetry.
impl LogWatch for Telemetry {
    fn log_synced(&self, took: Duration) {
        self.store_log.log_syncs.record(took.as_nanos() as u64);
    }

    fn folded(&self, by: FoldedBy, took: Duration) {
        let folds = match by {
            FoldedBy::Checkpointer => &self.store_log.folds_beside,
            FoldedBy::Writer => &self.store_log.folds_by_writer,
        };
        folds.record(took.as_nanos() as u64);
    }

    fn table_synced(&self, took: Duration) {
        self.store_log.table_syncs.record(took.as_nanos() as u64);
    }
}

fn keep_intervals(
    supervisor: &Supervisor,
    intervals: &Arc<IntervalLog>,
    telemetry: &Arc<Telemetry>,
    every_ms: u32,
) {
    let (intervals, telemetry) = (Arc::clone(intervals), Arc::clone(telemetry));
    let every = Duration::from_millis(every_ms.into());
    supervisor.task("interval log", async move {
        intervals.keep(&telemetry, every).await;
        Ok(())
    });
}

/// The addresses of both planes, with their schemes.
fn urls(settings: &Settings, edge: SocketAddr, admin: SocketAddr) -> [String; 2] {
    let url =
        |tls: &TlsSettings, address| format!("{}://{address}", if tls.is_on() { "https" } else { "http" });
    [url(&settings.edge.tls, edge), url(&settings.admin.tls, admin)]
}

/// Where whoever looks for orders finds them.
fn place_of_orders(settings: &Settings) -> String {
    match settings.postgres.url.is_empty() {
        true => settings.data_dir.display().to_string(),
        false => "PostgreSQL".into(),
    }
}

/// What a person at a terminal sees. Nobody may be there: an output that is closed ends no engine.
fn print_welcome(
    [edge, admin]: &[String; 2],
    orders: &str,
    simulated: &[&str],
    has_demo: bool,
    page_access: PageAccess,
) {
    let mut welcome = format!("seckill sells on {edge}, admin and console on {admin}, orders in {orders}\n");
    if !simulated.is_empty() {
        welcome.push_str(&format!("simulated {}: no money is taken\n", simulated.join(" and ")));
    }
    if has_demo {
        welcome.push_str(&demo::invitation(edge, page_access != PageAccess::default()));
        welcome.push('\n');
    }
    terminal::say(welcome);
}
