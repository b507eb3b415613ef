//! The stop: from the outside in, within one budget of time.

use std::pin::pin;
use std::time::Duration;

use super::engine::Engine;
use super::service_manager;
use super::signals::{Signals, Told};
use super::stop_budget::{Budget, Share};
use crate::admin::Lifecycle;
use crate::exit::{Exit, Failure};
use crate::orders::StoreError;
use crate::supervisor::Ended;

/// How long a stop waits for somebody to take a last word: the store, whoever is told by webhooks, the collector of traces.
const LAST_SIGN_MAX: Duration = Duration::from_secs(1);

impl Engine {
    /// Finishes what is in flight and ends. `ended` is the part that makes it stop, if none of the signals does; a
    /// further signal hurries.
    ///
    /// # Errors
    /// The reason of a stop that nobody asked for, or what could not be finished.
    pub async fn stop(self, ended: Option<Ended>, mut signals: Signals) -> Result<(), Failure> {
        let budget = Budget::starting(self.stop_max);
        let mut finishing = pin!(Box::pin(self.finish(ended, &budget)));
        loop {
            tokio::select! {
                outcome = &mut finishing => return outcome,
                told = signals.next() => if told == Told::Stop {
                    tracing::warn!("told to stop again: what is not finished in a second is left");
                    budget.hurry();
                }
            }
        }
    }

    async fn finish(self, ended: Option<Ended>, budget: &Budget) -> Result<(), Failure> {
        let Self {
            readiness,
            reload: _,
            edge,
            grpc,
            checkout,
            background,
            desk,
            writers,
            lending,
            webhooks,
            tracer,
            stop_admin,
            mut admin,
            lame_duck,
            drain,
            stop_max,
            outdated: _,
        } = self;
        readiness.set(Lifecycle::Draining);
        service_manager::stopping(stop_max);
        // What nobody waits for; the next start takes it up again.
        background.iter().for_each(crate::supervisor::Part::give_up);
        edge.leave();
        if let Some(grpc) = &grpc {
            grpc.leave();
        }
        match &ended {
            None => {
                tracing::info!(lame_duck_ms = lame_duck.as_millis() as u64, "stopping: not ready any more");
                budget.within(Share::Buyers, lame_duck, std::future::pending::<()>()).await;
            }
            // What is broken serves nobody any longer than it must.
            Some(ended) => tracing::error!("stopping: {ended}"),
        }
        tracing::info!("stopping: finishing what is in flight");
        let of_grpc = async {
            match grpc {
                Some(grpc) => grpc.drain(budget.over(Share::Buyers)).await,
                None => 0,
            }
        };
        let (of_edge, of_grpc) = tokio::join!(edge.drain(budget.over(Share::Buyers)), of_grpc);
        let cut = of_edge + of_grpc;
        let paid_out = budget.within(Share::Buyers, drain, checkout.drain()).await;
        budget.within(Share::Buyers, LAST_SIGN_MAX, webhooks.leave()).await;
        // What follows is downtime. If the store does not answer, a little more of it.
        let marked = budget.within(Share::Buyers, LAST_SIGN_MAX, desk.mark_alive()).await;
        tracing::debug!(?marked, "the last sign of life");
        let logging = async {
            while desk.write_registrations().await? > 0 {}
            Ok::<(), StoreError>(())
        };
        let logged = budget.within(Share::Buyers, LAST_SIGN_MAX, logging).await;
        tracing::debug!(?logged, "the last registrations");
        let written = match writers.failure() {
            Some(failure) => Some(Err(failure)),
            None => {
                let left = budget.left(Share::Store);
                let stopped = tokio::task::spawn_blocking(move || desk.stop(left));
                let is_written = budget.within(Share::Store, Duration::MAX, stopped).await;
                match is_written {
                    Some(Ok(true)) => Some(writers.ended().await),
                    // One that failed on the way is the reason.
                    _ => writers.failure().map(Err),
                }
            }
        };
        // With orders in flight nobody knows what is unsold: the others find out from the store.
        if let (Some(lending), Some(Ok(()))) = (lending, &written) {
            let handed_back = budget.within(Share::Rest, Duration::MAX, lending.leave()).await;
            if handed_back.is_none() {
                tracing::warn!(
                    "unsold units could not be handed back in time; the other nodes take them back later"
                );
            }
        }
        if let Some(tracer) = tracer {
            budget.within(Share::Rest, LAST_SIGN_MAX, tracer.flush()).await;
        }
        stop_admin.send_replace(true);
        budget.within(Share::Rest, Duration::MAX, admin.ended()).await;
        match (written, ended) {
            (Some(Err(failure)), _) => return Err(failure),
            (_, Some(ended)) => return Err(ended.into()),
            (None, None) => {
                let problem =
                    "stopped before everything was finished: the order store did not take what was queued";
                return Err(Failure::new(Exit::Unfinished, problem));
            }
            (Some(Ok(())), None) => {}
        }
        if paid_out.is_none() {
            tracing::warn!("payments are still under way; the next start finishes them");
        }
        if cut > 0 {
            tracing::warn!(
                connections = cut,
                "connections were cut: they took longer than edge.drain_ms or grpc.drain_ms"
            );
        }
        tracing::info!("stopped");
        Ok(())
    }
}
