//! Checkout as the rest of the engine knows it: pay an order, cancel an order.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::timeout;
use tracing::Instrument;

use super::answers::{CancelAnswer, PayAnswer, RETRY_AFTER_MS, answer, answer_by_status, paying};
use super::breaker::{BreakerState, Gate, Pass};
use super::coordinator::Coordinator;
use super::gateway::{AttemptId, Charge, PaymentKey};
use super::gateways::Gateways;
use super::in_flight::{Attempt, Entry, InFlightPayments, PendingAnswer};
use super::metrics::CheckoutMetrics;
use super::payment_outcome::{PaymentOutcome, Why};
use super::recovery_queue::RecoveryQueue;
use super::risk::{Outlook, RiskCheck, RiskService, RiskVerdict};
use super::settings::CheckoutSettings;
use super::stuck_payments::{StuckPaymentCounts, StuckPayments};
use crate::admission::Admission;
use crate::domain::{Order, OrderAction, OrderStatus, StoreIdentity};
use crate::orders::{Act, Applied, OrderDesk, StoreError, Transition};
use crate::traces::{SpanKind, current, within};

/// What checkout is built of.
pub struct CheckoutParts {
    /// Moves orders on.
    pub desk: OrderDesk,
    /// Knows the sales.
    pub admission: Arc<Admission>,
    /// Take the money.
    pub gateways: Gateways,
    /// The store's, for the keys of payments.
    pub identity: StoreIdentity,
    /// Judges payments.
    pub risk: Arc<dyn RiskService>,
    /// Checked settings.
    pub settings: CheckoutSettings,
    /// Where payments run: a runtime with timers that outlives every buyer's connection.
    pub runtime: Handle,
}

/// Paying and letting go. Cheap to clone. [`recover`](super::recover) and [`expire`](super::expire) must run beside it.
///
/// Its methods may be called on any runtime or none: what they wait for happens on the runtime they were given.
#[derive(Clone)]
pub struct Checkout(pub(super) Arc<Shared>);

/// What all clones share.
pub(super) struct Shared {
    pub(super) coordinator: Coordinator,
    pub(super) in_flight: Arc<InFlightPayments>,
    pub(super) recovery: Arc<RecoveryQueue>,
    pub(super) stuck: StuckPayments,
    pub(super) gate: Arc<Gate>,
    pub(super) runtime: Handle,
}

impl Checkout {
    /// Checkout over a store whose `unfinished` payments and refunds, left under way by an earlier life of the engine, it finishes.
    pub fn new(parts: CheckoutParts, unfinished: impl IntoIterator<Item = AttemptId>) -> Self {
        let CheckoutParts { desk, admission, gateways, identity, risk, settings, runtime } = parts;
        let processing = settings.gateway.processing.clone();
        let recovery = RecoveryQueue::new(settings.recovery.clone(), processing);
        recovery.adopt(unfinished);
        Self(Arc::new(Shared {
            in_flight: InFlightPayments::new(settings.attempts_max),
            recovery,
            stuck: StuckPayments::default(),
            gate: Arc::new(Gate::new(settings.gateway.breaker.clone())),
            runtime,
            coordinator: Coordinator {
                desk,
                admission,
                gateways,
                identity,
                risk: Arc::new(RiskCheck::new(risk, settings.risk.clone())),
                settings,
                metrics: Arc::default(),
            },
        }))
    }

    /// Pays `order` by `method`, as it was read for its buyer just now.
    ///
    /// The payment goes on when the caller gives up; the answer is awaited for at most `wait_ms`, then it is
    /// [`PayAnswer::Paying`]. Whoever pays the same order by the same method meanwhile hears the same answer.
    pub async fn pay(&self, mut order: Order, method: &str) -> PayAnswer {
        let Shared { coordinator, in_flight, runtime, .. } = &*self.0;
        if order.status == OrderStatus::Paying {
            if let Some(outcome) = in_flight.join(order.placed.id, method) {
                return self.wait(outcome, &order).await;
            }
            // The payment may have ended since the order was read.
            if let Ok(Some(fresh)) = coordinator.desk.order(order.placed.id).await {
                order = fresh;
            }
        }
        if let Some(answer) = answer_by_status(&order) {
            return answer;
        }
        if !coordinator.settings.accepts_method(method) {
            return PayAnswer::MethodNotAllowed;
        }
        let attempts_max = coordinator.settings.attempts_per_order_max;
        if attempts_max > 0 && order.payment_attempt >= attempts_max {
            return PayAnswer::TooManyAttempts { attempts_max };
        }
        let outcome = match in_flight.enter(order.placed.id, method) {
            Entry::First(attempt) => {
                let outcome = attempt.outcome();
                match self.admit(&order, method) {
                    Ok((charge, pass)) => {
                        let paying = self.clone().run(order.clone(), charge, pass, attempt);
                        // It goes on when its buyer has gone.
                        let span = current().map(|caller| caller.child("payment", SpanKind::Internal));
                        runtime.spawn(within(span, paying).in_current_span());
                    }
                    Err(answer) => attempt.end(*answer),
                }
                outcome
            }
            Entry::Joined(outcome) => outcome,
            Entry::Occupied => return paying(&order),
            Entry::Full => return self.refuse(RETRY_AFTER_MS),
        };
        self.wait(outcome, &order).await
    }

    /// Gives `order` up, as it was read for its buyer just now. It goes on when the caller gives up, or has waited for
    /// `wait_ms`: then the answer is [`CancelAnswer::Unavailable`], and whoever asks again hears what came of it.
    pub async fn cancel(&self, order: Order) -> CancelAnswer {
        self.give_up(order, None).await
    }

    /// The same for an operator, by the same rules.
    pub async fn cancel_for(&self, order: Order, act: Act) -> CancelAnswer {
        self.give_up(order, Some(act)).await
    }

    async fn give_up(&self, order: Order, act: Option<Act>) -> CancelAnswer {
        let Shared { coordinator, runtime, .. } = &*self.0;
        let order = match order.status {
            OrderStatus::PrePay | OrderStatus::Paying => {
                let step = Transition::plain(order.placed.id, OrderAction::Cancel, coordinator.now());
                let applied = self.clone().apply_cancel(Transition { act: act.map(Box::new), ..step });
                // A store that does not answer is asked until it does; nobody else waits for that.
                let wait = Duration::from_millis(coordinator.settings.wait_ms);
                let applied = {
                    // The caller's runtime may have no timers.
                    let _timers = runtime.enter();
                    timeout(wait, runtime.spawn(applied))
                };
                match applied.await {
                    Ok(Ok(Ok(Applied::Done(order) | Applied::Refused(order)))) => order,
                    Ok(Ok(Ok(Applied::UnknownOrder))) => return CancelAnswer::Pending,
                    Ok(Ok(Err(_)) | Err(_)) | Err(_) => {
                        return CancelAnswer::Unavailable { retry_after_ms: RETRY_AFTER_MS };
                    }
                }
            }
            _ => order,
        };
        match order.status {
            OrderStatus::Cancelled => CancelAnswer::Cancelled(order),
            OrderStatus::Paid | OrderStatus::Refunding => CancelAnswer::AlreadyPaid,
            OrderStatus::Refunded => CancelAnswer::Refunded,
            OrderStatus::Paying => CancelAnswer::PaymentInProgress,
            OrderStatus::Expired => CancelAnswer::Expired,
            OrderStatus::Rejected => CancelAnswer::Rejected,
            OrderStatus::Pending => CancelAnswer::Pending,
            OrderStatus::PrePay => CancelAnswer::Unavailable { retry_after_ms: RETRY_AFTER_MS },
        }
    }

    async fn apply_cancel(self, step: Transition) -> Result<Applied, StoreError> {
        let Shared { coordinator, .. } = &*self.0;
        let applied = coordinator.desk.apply(step).await;
        if matches!(applied, Ok(Applied::Done(_))) {
            coordinator.metrics.cancelled.add_one();
        }
        applied
    }

    /// Finishes payments that somebody else began and does not look after any more. One that has ended meanwhile, or is
    /// followed by another, is left alone.
    pub fn adopt(&self, payments: impl IntoIterator<Item = AttemptId>) {
        self.0.recovery.adopt(payments);
    }

    /// Waits until no payment is under way. Call it when nobody begins one any more, and before the order writer is
    /// told to stop. Payments of unknown outcome are not waited for: they are finished at the next start.
    pub async fn drain(&self) {
        self.0.in_flight.ended().await;
    }

    /// Which services are only played; see [`CheckoutSettings::simulated`].
    pub fn simulated(&self) -> Vec<&'static str> {
        self.0.coordinator.settings.simulated()
    }

    /// The payment methods that are accepted; empty: any.
    pub fn methods(&self) -> &[String] {
        &self.0.coordinator.settings.methods
    }

    /// The name of the gateway that takes new payments.
    pub fn current_gateway(&self) -> &str {
        &self.0.coordinator.gateways.current().name
    }

    /// What was counted.
    pub fn metrics(&self) -> Arc<CheckoutMetrics> {
        Arc::clone(&self.0.coordinator.metrics)
    }

    /// Payments under way.
    pub fn payments_under_way(&self) -> usize {
        self.0.in_flight.len()
    }

    /// Payments of unknown outcome that wait to be asked about.
    pub fn recovery_queue_len(&self) -> usize {
        self.0.recovery.len()
    }

    /// Payments that do not end by themselves soon.
    pub fn stuck_payments(&self) -> StuckPaymentCounts {
        self.0.stuck.counts()
    }

    /// The breaker in front of the gateway.
    pub fn gateway_breaker(&self) -> BreakerState {
        self.0.gate.state()
    }

    /// The breaker in front of the risk service.
    pub fn risk_breaker(&self) -> BreakerState {
        self.0.coordinator.risk.gate().state()
    }

    /// Looks at everything that could stand in the way of a payment, before anything changes.
    /// What costs nothing needs neither gateway nor risk service.
    fn admit(&self, order: &Order, method: &str) -> Result<(Charge, Option<Pass>), Box<PayAnswer>> {
        let Shared { coordinator, recovery, gate, .. } = &*self.0;
        let Some(charge) = coordinator.charge(order, method) else {
            tracing::error!(order = %order.placed.id, "the sale of an order is not on the board");
            return Err(Box::new(self.refuse(RETRY_AFTER_MS)));
        };
        if charge.is_free() {
            return Ok((charge, None));
        }
        match coordinator.risk.outlook(&charge) {
            Outlook::Known(RiskVerdict::Reject { reason }) => {
                coordinator.metrics.risk_rejected.add_one();
                return Err(Box::new(PayAnswer::RiskRejected { reason }));
            }
            Outlook::Away { retry_after } => return Err(Box::new(self.refuse(retry_after.ceil_ms()))),
            Outlook::Known(RiskVerdict::Approve) | Outlook::Ask => {}
        }
        if recovery.is_full() {
            return Err(Box::new(self.refuse(RETRY_AFTER_MS)));
        }
        let pass = gate.pass().map_err(|wait| Box::new(self.refuse(wait.ceil_ms())))?;
        Ok((charge, Some(pass)))
    }

    fn refuse(&self, retry_after_ms: u64) -> PayAnswer {
        self.0.coordinator.metrics.refused.add_one();
        PayAnswer::Unavailable { retry_after_ms: retry_after_ms.max(1) }
    }

    /// The one attempt to pay the order. If it breaks off anywhere, recovery takes over.
    async fn run(self, order: Order, mut charge: Charge, pass: Option<Pass>, attempt: Attempt) {
        let Shared { coordinator, recovery, .. } = &*self.0;
        // The store decides the number of the payment. If its answer gets lost, it is most likely this one.
        let expected = AttemptId { order: order.placed.id, attempt: order.payment_attempt + 1 };
        let mut unresolved = recovery.watch(expected);
        let paying = match coordinator.begin(order.placed.id, &charge).await {
            Ok(Applied::Done(paying)) => paying,
            Ok(Applied::Refused(order)) => {
                unresolved.resolved();
                coordinator.metrics.too_late.add_one();
                // Refused although it waits: its time to pay is over.
                return attempt.end(answer_by_status(&order).unwrap_or(PayAnswer::Expired));
            }
            Ok(Applied::UnknownOrder) => {
                unresolved.resolved();
                coordinator.metrics.too_late.add_one();
                return attempt.end(PayAnswer::Pending);
            }
            Err(_) => {
                coordinator.metrics.unavailable.add_one();
                return attempt.end(PayAnswer::Unavailable { retry_after_ms: RETRY_AFTER_MS });
            }
        };
        charge.key = PaymentKey::of(&paying, coordinator.identity);
        unresolved.payment = charge.key.attempt;
        let outcome = coordinator.pay(paying.clone(), charge).await;
        if let Some(pass) = pass {
            pass.conclude(outcome.gateway_verdict());
        }
        let metrics = &coordinator.metrics;
        let (count, word) = match &outcome {
            PaymentOutcome::Paid(_) => (&metrics.paid, "paid"),
            PaymentOutcome::Back(_, Why::Declined { .. }) => (&metrics.declined, "declined"),
            PaymentOutcome::Back(_, Why::RiskRejected { .. }) => (&metrics.risk_rejected, "risk-rejected"),
            PaymentOutcome::Back(..) => (&metrics.unavailable, "unavailable"),
            PaymentOutcome::Unknown(_) => (&metrics.left_to_recovery, "unknown"),
        };
        count.add_one();
        if let Some(span) = current() {
            span.note("seckill.payment", word);
        }
        self.0.stuck.note(unresolved.payment, outcome.doubt());
        unresolved.conclude(outcome.doubt());
        attempt.end(answer(outcome, paying));
    }

    async fn wait(&self, mut outcome: PendingAnswer, order: &Order) -> PayAnswer {
        let wait = Duration::from_millis(self.0.coordinator.settings.wait_ms);
        let answer = {
            // The caller's runtime may have no timers.
            let _timers = self.0.runtime.enter();
            timeout(wait, outcome.wait_for(Option::is_some))
        };
        match answer.await {
            Ok(Ok(answer)) => answer.clone().unwrap_or_else(|| paying(order)),
            Ok(Err(_)) | Err(_) => paying(order),
        }
    }
}
