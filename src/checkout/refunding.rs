//! One refund: begun durably, asked for at the gateway until it is known to be made or refused, ended durably.
//!
//! 1. `paid → refunding`, durable and with number, amount and units, before the gateway hears of anything. Only one of two
//!    who ask at once takes this step, and the store takes none that would give back more than was paid.
//! 2. The gateway is told to give the money back, under a key that names the payment and the number.
//! 3. `refunding → refunded`, or back to `paid` where a part of the amount is left or the gateway refuses. The units that go
//!    back on sale do so in this step, and in no other.
//!
//! From 1 on a refund only goes forward: whatever breaks off or is not answered is asked for again under the same key, which
//! makes nothing twice, by this life, a later one or another node. So there is nothing to decide after a crash.
//! Only the first round, before which nothing can have been done, takes it for an end that the gateway could not be reached
//! or does not do it; a later one leaves the order `refunding` until the gateway tells, or an operator does. Such an end counts in
//! the life of the node in which the refund began, and in no other: whoever takes it over ends that life before asking for it.

use std::time::Duration;

use tokio::time::Instant;

use super::breaker::CallVerdict;
use super::coordinator::Coordinator;
use super::gateway::{Money, PaymentKey, RefundKey, RefundOrder, RefundProgress, RefundTold};
use super::gateways::NamedGateway;
use super::payment_outcome::Doubt;
use super::remote_call::{CallError, retried};
use crate::domain::{Order, OrderAction, OrderStatus, RefundEnd, RefundRequest, RefundStep};
use crate::orders::{Act, Applied, StoreError, Transition};
use crate::telemetry::Seldom;

/// Why a refund came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RefundFailure {
    /// The gateway refused it for good.
    Refused(String),
    /// The gateway could not be reached, or does not want to for now.
    Away(String),
    /// The gateway answered that it does not do this, whatever is asked: most likely it knows no refunds.
    NotPossible(String),
}

impl RefundFailure {
    /// As the store keeps it.
    fn told(&self) -> String {
        match self {
            Self::Refused(reason) => format!("refused: {reason}"),
            Self::Away(error) => format!("gateway-away: {error}"),
            Self::NotPossible(error) => format!("not-possible: {error}"),
        }
    }
}

/// How a refund stands after what could be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RefundOutcome {
    /// The money is given back, and the order durably says so.
    Made(Order),
    /// Nothing was given back under this number and nothing will be; the order is durably `paid`.
    Dropped(Order, RefundFailure),
    /// Nobody knows: the order stays `refunding`.
    Unknown(Doubt),
}

impl RefundOutcome {
    /// What is in doubt.
    pub(super) const fn doubt(&self) -> Option<Doubt> {
        match self {
            Self::Unknown(doubt) => Some(*doubt),
            Self::Made(_) | Self::Dropped(..) => None,
        }
    }

    /// How the gateway served.
    pub(super) const fn gateway_verdict(&self) -> CallVerdict {
        match self {
            Self::Dropped(_, RefundFailure::Away(_)) | Self::Unknown(Doubt::Gateway) => CallVerdict::Bad,
            Self::Unknown(Doubt::Store | Doubt::Risk | Doubt::NoGateway) => CallVerdict::Unused,
            _ => CallVerdict::Good,
        }
    }
}

/// Which round of asking it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Round {
    /// Right after the refund was begun: nothing can have been done before.
    First {
        /// The node's life before it began, in a store of several engines.
        life: Option<u64>,
    },
    /// Some life has asked before, or may have.
    Later,
}

impl Coordinator {
    /// Begins a refund: `paid → refunding`; or, where no gateway is asked, records that it was made.
    pub(super) async fn begin_refund(
        &self,
        order: &Order,
        action: OrderAction,
        request: RefundRequest,
        reason: &str,
        act: Option<Act>,
    ) -> Result<Applied, StoreError> {
        let step = Transition::plain(order.placed.id, action, self.now());
        let refund = RefundStep::New { request, reason: reason.to_owned() };
        // Of a payment that names no gateway the current one is asked, from now on for good.
        let payment_gateway =
            (action == OrderAction::BeginRefund).then(|| self.gateways.current().name.clone());
        let refund = Some(Box::new(refund));
        self.desk.apply(Transition { refund, payment_gateway, act: act.map(Box::new), ..step }).await
    }

    /// Ends the refund of this number, and no other; in this life only, if one is named.
    pub(super) async fn end_refund(
        &self,
        order: &Order,
        action: OrderAction,
        why: Option<String>,
        only_in_life: Option<u64>,
        act: Option<Act>,
    ) -> Result<Applied, StoreError> {
        let end = RefundEnd { number: order.refunds.begun, why, only_in_life };
        let step = Transition::plain(order.placed.id, action, self.now());
        let refund = Some(Box::new(RefundStep::End(end)));
        self.desk.apply(Transition { refund, act: act.map(Box::new), ..step }).await
    }

    /// Has the refund made that an order, durably `refunding`, is at.
    pub(super) async fn refund(&self, order: Order, round: Round) -> RefundOutcome {
        let Some(at) = self.gateways.of(&order) else {
            tracing::error!(
                order = %order.placed.id, gateway = order.payment.gateway,
                "a refund waits for a gateway that is not configured here; see checkout.former_gateways"
            );
            return RefundOutcome::Unknown(Doubt::NoGateway);
        };
        let Some(refund) = self.refund_order(&order).await else {
            return RefundOutcome::Unknown(Doubt::Store);
        };
        let told = self.ask_for_refund(at, &refund).await;
        match told {
            Ok(RefundProgress::Refunded) => self.refund_made(order).await,
            Ok(RefundProgress::Refused { reason }) => {
                self.refund_dropped(order, RefundFailure::Refused(reason), None).await
            }
            Ok(RefundProgress::Processing) => {
                self.metrics.processing.add_one();
                RefundOutcome::Unknown(Doubt::Processing)
            }
            Ok(RefundProgress::NotFound) => match round {
                Round::First { life } => {
                    let reason = "the gateway does not know the payment".to_owned();
                    self.refund_dropped(order, RefundFailure::Refused(reason), life).await
                }
                Round::Later => {
                    let text = "the gateway does not know the payment that it captured".to_owned();
                    self.alarm_refund(&refund, at, &CallError::Contradiction(text));
                    RefundOutcome::Unknown(Doubt::Contradiction)
                }
            },
            Err(error) => {
                if let Round::First { life } = round
                    && error.is_outcome_known()
                {
                    if error.is_alarming() {
                        self.alarm_refund(&refund, at, &error);
                    }
                    let text = error.to_string();
                    let failure = match error {
                        CallError::Unreachable(_) | CallError::Busy(_) => RefundFailure::Away(text),
                        _ => RefundFailure::NotPossible(text),
                    };
                    return self.refund_dropped(order, failure, life).await;
                }
                if error.is_alarming() {
                    self.alarm_refund(&refund, at, &error);
                } else {
                    static SAID: Seldom = Seldom::new();
                    if let Some(more) = SAID.now() {
                        tracing::warn!(%error, refund = %refund.key, more, "the payment gateway does not tell of a refund");
                    }
                }
                RefundOutcome::Unknown(Doubt::of(&error))
            }
        }
    }

    /// What an order gives back, in the currency of its sale, which may be archived. `None` when the store does not tell.
    async fn refund_order(&self, order: &Order) -> Option<RefundOrder> {
        let sale = match self.desk.sale_of(order.placed.sale).await {
            Ok(Some(sale)) => sale,
            missing => {
                tracing::error!(order = %order.placed.id, ?missing, "the sale of a refund is not known: it is asked for again");
                return None;
            }
        };
        let key = RefundKey { payment: PaymentKey::of(order, self.identity), number: order.refunds.begun };
        let money = Money { amount: order.refunds.amount, currency: sale.terms.currency };
        Some(RefundOrder { key, money })
    }

    async fn ask_for_refund(
        &self,
        at: &NamedGateway,
        refund: &RefundOrder,
    ) -> Result<RefundProgress, CallError> {
        let started = Instant::now();
        let deadline = started + Duration::from_millis(self.settings.settle_within_ms);
        let answer = retried(&at.retry, deadline, || at.gateway.refund(refund)).await;
        self.metrics.gateway.add(answer.is_ok(), started.elapsed());
        let RefundTold { progress, money } = answer?;
        match money {
            Some(money) if money != refund.money => Err(CallError::Contradiction(format!(
                "{} were to be given back, and the gateway tells of {money}",
                refund.money
            ))),
            _ => Ok(progress),
        }
    }

    /// Says that a person must look at this refund.
    fn alarm_refund(&self, refund: &RefundOrder, at: &NamedGateway, error: &CallError) {
        self.metrics.contradictions.add_one();
        tracing::error!(
            refund = %refund.key, gateway = at.name, %error,
            "gateway and engine do not speak of the same refund; it is not taken for made, look at both"
        );
    }

    async fn refund_made(&self, order: Order) -> RefundOutcome {
        match self.end_refund(&order, OrderAction::ConfirmRefund, None, None, None).await {
            Ok(Applied::Done(order)) => RefundOutcome::Made(order),
            // Another node has heard it first, unless an operator has called it not made.
            Ok(Applied::Refused(now)) if now.refunds.refunded > order.refunds.refunded => {
                RefundOutcome::Made(now)
            }
            Ok(Applied::Refused(now)) if now.status != OrderStatus::Refunding => {
                self.metrics.contradictions.add_one();
                tracing::error!(
                    order = %order.placed.id, refund = order.refunds.begun, status = %now.status,
                    "the gateway has made a refund that was called not made by hand: record it as made by another way"
                );
                RefundOutcome::Made(now)
            }
            refused => {
                tracing::error!(order = %order.placed.id, ?refused, "a refund was made, but its order could not be told so");
                RefundOutcome::Unknown(Doubt::Store)
            }
        }
    }

    async fn refund_dropped(
        &self,
        order: Order,
        failure: RefundFailure,
        only_in_life: Option<u64>,
    ) -> RefundOutcome {
        let why = Some(failure.told());
        match self.end_refund(&order, OrderAction::AbortRefund, why, only_in_life, None).await {
            Ok(Applied::Done(order)) => RefundOutcome::Dropped(order, failure),
            // Another node has had it made, or an operator says so.
            Ok(Applied::Refused(now)) if now.refunds.refunded > order.refunds.refunded => {
                RefundOutcome::Made(now)
            }
            // Another node has heard it first.
            Ok(Applied::Refused(now)) if now.status != OrderStatus::Refunding => {
                RefundOutcome::Dropped(now, failure)
            }
            refused => {
                tracing::error!(order = %order.placed.id, ?refused, "a refund was not made here, but its order could not be told so");
                RefundOutcome::Unknown(Doubt::Store)
            }
        }
    }
}
