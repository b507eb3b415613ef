//! An engine that runs.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::watch;

use super::shared_stock::Lending;
use super::signals::{Signals, Told};
use super::store::WriterThreads;
use crate::admin::{Readiness, Reload};
use crate::checkout::Checkout;
use crate::edge::Edge;
use crate::orders::OrderDesk;
use crate::supervisor::{Ended, Ends, Part};

/// A running engine.
pub(super) struct Engine {
    pub readiness: Arc<Readiness>,
    pub reload: Arc<Reload>,
    pub edge: Edge,
    pub checkout: Checkout,
    /// Recovery and expiry.
    pub background: Vec<Part>,
    pub desk: OrderDesk,
    pub writers: WriterThreads,
    pub lending: Option<Lending>,
    pub stop_admin: watch::Sender<bool>,
    pub admin: Part,
    pub lame_duck: Duration,
    pub drain: Duration,
    pub stop_max: Duration,
}

impl Engine {
    /// Waits for a signal to stop, or for the end of a part that it cannot go on without.
    pub async fn until_told_to_stop(
        &self,
        control: &Handle,
        signals: &mut Signals,
        ends: &mut Ends,
    ) -> Option<Ended> {
        loop {
            tokio::select! {
                told = signals.next() => match told {
                    Told::Stop => return None,
                    Told::Reload => {
                        let reload = Arc::clone(&self.reload);
                        // It logs what came of it; it reads a file, which may block.
                        drop(control.spawn_blocking(move || reload()));
                    }
                },
                ended = ends.next() => return Some(ended),
            }
        }
    }
}
