//! Giving back what an order paid, as an operator asks for it.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use super::answers::RETRY_AFTER_MS;
use super::breaker::Pass;
use super::gateway::AttemptId;
use super::in_flight::{Attempt, Entry};
use super::refunding::{RefundFailure, RefundOutcome, Round};
use super::service::Checkout;
use crate::domain::{Cents, Order, OrderAction, OrderStatus, RefundRefusal, RefundRequest};
use crate::orders::{Act, Applied};

/// What stands for a method of payment while an order is being refunded: no buyer can name it.
pub(super) const REFUND: &str = "\0refund";

/// A refund that an operator asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedRefund {
    /// How much, and what goes back on sale.
    pub request: RefundRequest,
    /// The money was given back by another way: the gateway is not asked.
    pub by_hand: bool,
    /// Why; kept for good.
    pub reason: String,
}

/// What an operator hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefundAnswer {
    /// The money is given back; the order as it is now. Also when it was asked for under this number before.
    Refunded(Order),
    /// It is under way or its outcome not known; asking for the order tells how it ends.
    Refunding(Order),
    /// The order takes no such refund; the order as it is.
    NotTaken(Order, RefundRefusal),
    /// The gateway refuses it: nothing is given back.
    Refused {
        /// Why, in its own words.
        reason: String,
    },
    /// The gateway does not do refunds as the contract has them: nothing is given back.
    NotPossible {
        /// What it answers.
        error: String,
    },
    /// The payment's gateway is not configured here.
    NoGateway {
        /// Its name.
        name: String,
    },
    /// An engine that cannot read a refunded order runs on the same store.
    OlderEngines,
    /// Gateway or store is away, or too much is under way. Nothing is given back.
    Unavailable {
        /// When to come back at the earliest, in ms.
        retry_after_ms: u64,
    },
}

const UNAVAILABLE: RefundAnswer = RefundAnswer::Unavailable { retry_after_ms: RETRY_AFTER_MS };

impl Checkout {
    /// Gives back what `order`, as it was read just now, has paid. The reason is kept for good; the trail tells the `act`.
    ///
    /// The refund goes on when the caller gives up; its end is awaited for at most `wait_ms`, then it is
    /// [`RefundAnswer::Refunding`].
    pub async fn refund(&self, order: Order, wanted: WantedRefund, act: Option<Act>) -> RefundAnswer {
        if let Err(refusal) = order.refund_terms(&wanted.request) {
            return refused(order, &wanted.request, refusal);
        }
        let asks_gateway = !wanted.by_hand && order.placed.amount > Cents(0);
        let coordinator = &self.0.coordinator;
        if asks_gateway && coordinator.gateways.of(&order).is_none() {
            return RefundAnswer::NoGateway { name: order.payment.gateway.unwrap_or_default() };
        }
        let attempt = match self.0.in_flight.enter(order.placed.id, REFUND) {
            Entry::First(attempt) => attempt,
            Entry::Joined(_) | Entry::Occupied => {
                return RefundAnswer::NotTaken(order, RefundRefusal::UnderWay);
            }
            Entry::Full => return UNAVAILABLE,
        };
        if !asks_gateway {
            return self.record_refund(order, wanted, act).await;
        }
        let pass = match self.0.gate.pass() {
            Ok(pass) => pass,
            Err(wait) => return RefundAnswer::Unavailable { retry_after_ms: wait.ceil_ms() },
        };
        let shown = Order { status: OrderStatus::Refunding, ..order.clone() };
        let (answer, answered) = oneshot::channel();
        let checkout = self.clone();
        self.0.runtime.spawn(async move {
            // Whoever asked may have gone.
            let _ = answer.send(checkout.run_refund(order, wanted, act, pass, attempt).await);
        });
        let wait = Duration::from_millis(coordinator.settings.wait_ms);
        let answered = {
            // The caller's runtime may have no timers.
            let _timers = self.0.runtime.enter();
            timeout(wait, answered)
        };
        match answered.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => RefundAnswer::Refunding(shown),
        }
    }

    async fn record_refund(&self, order: Order, wanted: WantedRefund, act: Option<Act>) -> RefundAnswer {
        let coordinator = &self.0.coordinator;
        let WantedRefund { request, reason, .. } = wanted;
        match coordinator.begin_refund(&order, OrderAction::RecordRefund, request, &reason, act).await {
            Ok(Applied::Done(order)) => {
                coordinator.metrics.refunded_by_hand.add_one();
                tracing::warn!(
                    order = %order.placed.id, refund = order.refunds.begun, amount_cents = order.refunds.amount.0,
                    reason, "a refund was recorded that the gateway was not asked for"
                );
                RefundAnswer::Refunded(order)
            }
            Ok(Applied::Refused(order)) => refused_by_store(order, &request),
            Ok(Applied::UnknownOrder) | Err(_) => UNAVAILABLE,
        }
    }

    /// The one attempt to refund the order here. If it breaks off anywhere, recovery takes over.
    async fn run_refund(
        self,
        order: Order,
        wanted: WantedRefund,
        act: Option<Act>,
        pass: Pass,
        _attempt: Attempt,
    ) -> RefundAnswer {
        let coordinator = &self.0.coordinator;
        let WantedRefund { request, reason, .. } = wanted;
        let unresolved = self.0.recovery.watch(AttemptId::latest(&order));
        // Before it begins: whoever takes it over ends this life, or a later one.
        let life = coordinator.desk.life();
        let begun = coordinator.begin_refund(&order, OrderAction::BeginRefund, request, &reason, act).await;
        let refunding = match begun {
            Ok(Applied::Done(order)) => order,
            Ok(Applied::Refused(order)) => {
                unresolved.resolved();
                return refused_by_store(order, &request);
            }
            Ok(Applied::UnknownOrder) => {
                unresolved.resolved();
                return UNAVAILABLE;
            }
            // Perhaps it was begun after all: recovery looks.
            Err(_) => return UNAVAILABLE,
        };
        tracing::info!(
            order = %refunding.placed.id, refund = refunding.refunds.begun,
            amount_cents = refunding.refunds.amount.0, reason, "a refund begins"
        );
        let payment = unresolved.payment;
        let outcome = coordinator.refund(refunding.clone(), Round::First { life }).await;
        pass.conclude(outcome.gateway_verdict());
        let metrics = &coordinator.metrics;
        match &outcome {
            RefundOutcome::Made(_) => &metrics.refunded,
            RefundOutcome::Dropped(..) => &metrics.refunds_dropped,
            RefundOutcome::Unknown(_) => &metrics.refunds_left_to_recovery,
        }
        .add_one();
        self.0.stuck.note(payment, outcome.doubt());
        unresolved.conclude(outcome.doubt());
        match outcome {
            RefundOutcome::Made(order) => RefundAnswer::Refunded(order),
            RefundOutcome::Dropped(_, RefundFailure::Refused(reason)) => RefundAnswer::Refused { reason },
            RefundOutcome::Dropped(_, RefundFailure::NotPossible(error)) => {
                RefundAnswer::NotPossible { error }
            }
            RefundOutcome::Dropped(_, RefundFailure::Away(_)) => UNAVAILABLE,
            RefundOutcome::Unknown(_) => RefundAnswer::Refunding(refunding),
        }
    }
}

/// The store has refused a refund that fitted the order as it was read.
fn refused_by_store(order: Order, request: &RefundRequest) -> RefundAnswer {
    match order.refund_terms(request) {
        Err(refusal) => refused(order, request, refusal),
        // It would fit: the store has another reason.
        Ok(_) => RefundAnswer::OlderEngines,
    }
}

/// A refund that was asked for before under its number is answered as it stands.
fn refused(order: Order, request: &RefundRequest, refusal: RefundRefusal) -> RefundAnswer {
    match order.has_refund(request) {
        true if order.status == OrderStatus::Refunding => RefundAnswer::Refunding(order),
        true => RefundAnswer::Refunded(order),
        false => RefundAnswer::NotTaken(order, refusal),
    }
}
