//! An engine that runs.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;

use super::service_manager;
use super::shared_stock::Lending;
use super::signals::{Signals, Told};
use super::store::WriterThreads;
use super::store_history::in_words;
use crate::admin::{Readiness, Reload};
use crate::checkout::Checkout;
use crate::edge::Edge;
use crate::grpc::GrpcServer;
use crate::orders::{OrderDesk, Outdated};
use crate::supervisor::{Cause, Ended, Ends, Part};
use crate::traces::Tracer;
use crate::webhooks::Webhooks;

/// A running engine.
pub(super) struct Engine {
    pub readiness: Arc<Readiness>,
    pub reload: Arc<Reload>,
    pub edge: Edge,
    pub grpc: Option<GrpcServer>,
    pub checkout: Checkout,
    /// Recovery and expiry.
    pub background: Vec<Part>,
    pub desk: OrderDesk,
    pub writers: WriterThreads,
    pub lending: Option<Lending>,
    pub webhooks: Webhooks,
    pub tracer: Option<Tracer>,
    pub stop_admin: watch::Sender<bool>,
    pub admin: Part,
    pub lame_duck: Duration,
    pub drain: Duration,
    pub stop_max: Duration,
    /// What has become of the order store, once it is not the one that was read any more.
    pub outdated: watch::Receiver<Option<Outdated>>,
}

impl Engine {
    /// Waits for a signal to stop, or for the end of a part that it cannot go on without.
    pub async fn until_told_to_stop(
        &mut self,
        control: &Handle,
        signals: &mut Signals,
        ends: &mut Ends,
    ) -> Option<Ended> {
        let outdated = &mut self.outdated;
        let outdated = async move {
            match outdated.wait_for(Option::is_some).await.ok().and_then(|why| *why) {
                Some(why) => in_words(why),
                // Nobody looks.
                None => std::future::pending().await,
            }
        };
        let mut outdated = std::pin::pin!(outdated);
        loop {
            tokio::select! {
                why = &mut outdated => {
                    return Some(Ended { part: "the engine's memory".into(), cause: Cause::Outdated(why.to_owned()) });
                }
                told = signals.next() => match told {
                    Told::Stop => return None,
                    Told::Reload => {
                        let reload = Arc::clone(&self.reload);
                        // It logs what came of it; it reads a file, which may block.
                        drop(control.spawn_blocking(move || {
                            service_manager::reloading();
                            let _ = reload();
                            service_manager::ready();
                        }));
                    }
                },
                ended = ends.next() => return Some(ended),
            }
        }
    }
}
