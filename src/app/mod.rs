//! Puts the engine together, runs it, and takes it apart: the only place that names adapters.
//!
//! Start: signals → log → admin answers → store (locked, rebuilt into memory) → writer → lease agent → checkout → edge →
//! ready. Stop: not ready, recovery and expiry end → lame duck → edge drained → payments finished → writer finished,
//! store closed → unsold units handed back → admin.
//!
//! Whatever lives as long as the engine is started through the [`Supervisor`]: when one
//! of those parts ends by itself, the engine stops with that reason.

pub mod backup;
mod demo;
mod draw_check;
mod draw_export;
mod draw_findings;
mod draw_registrations;
mod engine;
mod open_files;
mod payments;
pub mod reconcile;
mod reload;
mod retry;
mod search;
pub mod servers;
mod service_manager;
mod shared_stock;
mod signals;
mod start;
mod stop;
mod stop_budget;
mod store;
mod store_history;
mod traces;
pub mod verify_draw;
mod webhooks;

use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;

use self::signals::{Signals, Told};
use self::start::Start;
use crate::config::ConfigSource;
use crate::exit::{Exit, Failure};
use crate::supervisor::{Ends, Supervisor};
use crate::telemetry::LogControl;

/// Threads of the control plane: admin, checkout, expiry, recovery.
const CONTROL_THREADS: usize = 2;

/// How long a start that is told to stop may take to come to a place where it can. It has served nobody: what it leaves
/// half-way is what a crash would leave.
const ABANDON_MAX: Duration = Duration::from_secs(1);

/// Runs an engine until SIGTERM or SIGINT.
///
/// # Errors
/// [`Failure`], with the exit code of the process.
pub fn serve(source: ConfigSource) -> Result<(), Failure> {
    let control = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .thread_name("control")
        .enable_all()
        .build()
        .map_err(Failure::at_start("the control threads"))?;
    // Before anything that takes time.
    let signals = control.block_on(async { Signals::listen() }).map_err(Failure::at_start("signals"))?;
    let config = source.load().map_err(|error| Failure::new(Exit::Config, error))?;
    let (log, _flush) = LogControl::start(&config.settings.log).map_err(Failure::at_start("the log"))?;
    let (supervisor, ends) = Supervisor::new(control.handle().clone());
    service_manager::keep_watchdog(&supervisor);
    let (abandon, abandoned) = watch::channel(false);
    let start = Start { source, config, log, supervisor, abandoned };
    let outcome = control.block_on(run(control.handle(), start, abandon, signals, ends));
    if let Err(failure) = &outcome {
        tracing::error!(exit_code = failure.exit as u8, "{}", failure.problem);
    }
    // Reads that still run on the blocking pool have nobody who waits for them.
    control.shutdown_background();
    outcome
}

async fn run(
    control: &Handle,
    start: Start,
    abandon: watch::Sender<bool>,
    mut signals: Signals,
    mut ends: Ends,
) -> Result<(), Failure> {
    let mut starting = control.spawn_blocking(|| start.run());
    let started = loop {
        tokio::select! {
            started = &mut starting => break started,
            told = signals.next() => match told {
                Told::Reload => {}
                Told::Stop => {
                    tracing::info!("told to stop while starting");
                    abandon.send_replace(true);
                    match tokio::time::timeout(ABANDON_MAX, &mut starting).await {
                        Ok(Ok(Ok(Some(engine)))) => return engine.stop(None, signals).await,
                        _ => return Ok(()),
                    }
                }
            }
        }
    };
    let started = started.map_err(|_| Failure::new(Exit::Broken, "the start panicked; see the log"))?;
    let Some(mut engine) = started? else { return Ok(()) };
    service_manager::ready();
    let ended = engine.until_told_to_stop(control, &mut signals, &mut ends).await;
    engine.stop(ended, signals).await
}
