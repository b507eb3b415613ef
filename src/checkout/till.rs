//! One payment, step by step: Try (hold and risk check at the same time), Confirm (capture, then the order is paid),
//! Cancel (void, then the order waits again). What cannot be known is said to be unknown, and changes nothing.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::breaker::Verdict;
use super::call::{Answer, CallError, retried};
use super::gateway::{Charge, PaymentGateway, PaymentKey, PaymentState};
use super::metrics::CheckoutMetrics;
use super::risk::{RiskCheck, RiskVerdict};
use super::settings::CheckoutSettings;
use crate::admission::Admission;
use crate::domain::{EpochMs, Order, OrderAction, OrderId, OrderStatus};
use crate::orders::{Applied, OrderDesk, StoreError, Transition};

/// Everything a payment needs.
pub(super) struct Till {
    pub(super) desk: OrderDesk,
    pub(super) admission: Arc<Admission>,
    pub(super) gateway: Arc<dyn PaymentGateway>,
    pub(super) risk: Arc<RiskCheck>,
    pub(super) settings: CheckoutSettings,
    pub(super) metrics: Arc<CheckoutMetrics>,
}

/// Why a payment did not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The bank said no.
    Declined { reason: String },
    /// The risk check said no.
    RiskRejected { reason: String },
    /// The risk service is away.
    RiskAway,
    /// The gateway is away, or let go of the money.
    GatewayAway,
}

/// Who left a payment in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// The gateway.
    Gateway,
    /// The risk service, in a payment that is being recovered.
    Risk,
    /// The order store.
    Store,
}

/// How a payment stands after what could be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// Captured, and the order durably paid.
    Paid(Order),
    /// Nothing was taken and nothing will be, and the order durably waits for another payment.
    Back(Order, Why),
    /// Nobody knows: the order stays `paying`.
    Unknown(Doubt),
}

impl Settled {
    /// How the gateway served.
    pub(super) fn gateway_verdict(&self) -> Verdict {
        match self {
            Self::Back(_, Why::GatewayAway) | Self::Unknown(Doubt::Gateway) => Verdict::Bad,
            Self::Unknown(Doubt::Store | Doubt::Risk) => Verdict::Unused,
            Self::Paid(_) | Self::Back(..) => Verdict::Good,
        }
    }
}

/// How the Try ended.
#[derive(Debug, PartialEq, Eq)]
enum Tried {
    /// The money is held and the risk check approves.
    Held,
    /// Nothing is held.
    Nothing(Why),
    /// The payment must not be made; what is held, or may still come to be, must be voided.
    Unwanted(Why),
    /// The gateway may or may not hold the money.
    Unknown,
}

impl Till {
    /// What the order costs, whom and how; `None` when its sale is not on the board.
    pub(super) fn charge(&self, order: &Order, method: &str) -> Option<Charge> {
        let sales = self.admission.board().sales();
        let sale = sales.by_id(order.placed.sale)?;
        Some(Charge {
            key: PaymentKey::of(order),
            quantity: order.placed.quantity,
            amount: order.placed.amount,
            currency: sale.terms.currency,
            buyer: order.placed.buyer.clone(),
            method: method.to_owned(),
        })
    }

    /// Begins a payment: `pre_pay → paying`.
    pub(super) async fn begin(&self, order: OrderId, method: &str) -> Result<Applied, StoreError> {
        let step = Transition::plain(order, OrderAction::BeginPayment, now());
        self.desk.apply(Transition { payment_method: Some(method.to_owned()), ..step }).await
    }

    /// Ends this payment of the order, and no other: `action` is `ConfirmPayment` or `AbortPayment`.
    async fn end(&self, payment: PaymentKey, action: OrderAction) -> Result<Applied, StoreError> {
        let step = Transition::plain(payment.order, action, now());
        self.desk.apply(Transition { payment_attempt: Some(payment.attempt), ..step }).await
    }

    /// Makes the payment of an order that is durably `paying`.
    pub(super) async fn pay(&self, order: &Order, charge: &Charge) -> Settled {
        let deadline = Instant::now() + Duration::from_millis(self.settings.try_within_ms);
        let hold = self.ask(deadline, || self.gateway.hold(charge));
        let tried = try_both(hold, self.judge(charge, deadline)).await;
        match tried {
            Tried::Held => self.confirm(order).await,
            Tried::Nothing(why) => self.go_back(order, why).await,
            Tried::Unwanted(why) => self.let_go(order, why).await,
            Tried::Unknown => Settled::Unknown(Doubt::Gateway),
        }
    }

    /// Finds out what became of an earlier payment, and brings it to its end: forward if the money is held and still
    /// wanted, back otherwise.
    pub(super) async fn resume(&self, order: &Order) -> Settled {
        let key = PaymentKey::of(order);
        match self.ask(self.settle_deadline(), || self.gateway.status(key)).await {
            Ok(PaymentState::Captured) => self.mark_paid(order).await,
            Ok(PaymentState::Declined { reason }) => self.go_back(order, Why::Declined { reason }).await,
            Ok(PaymentState::Voided) => self.go_back(order, Why::GatewayAway).await,
            Ok(PaymentState::NotFound) => self.let_go(order, Why::GatewayAway).await,
            Ok(PaymentState::Held) => self.resume_held(order).await,
            Err(_) => Settled::Unknown(Doubt::Gateway),
        }
    }

    async fn resume_held(&self, order: &Order) -> Settled {
        let wanted_ms = self.settings.recovery.capture_within_s as i64 * 1_000;
        if now() >= order.placed.pay_before.plus_ms(wanted_ms) {
            return self.let_go(order, Why::GatewayAway).await;
        }
        let Some(charge) = self.charge(order, order.payment_method.as_deref().unwrap_or_default()) else {
            tracing::error!(order = %order.placed.id, "the sale of a payment is not on the board");
            return Settled::Unknown(Doubt::Store);
        };
        match self.judge(&charge, self.settle_deadline()).await {
            Ok(RiskVerdict::Approve) => self.confirm(order).await,
            Ok(RiskVerdict::Reject { reason }) => self.let_go(order, Why::RiskRejected { reason }).await,
            Err(_) => Settled::Unknown(Doubt::Risk),
        }
    }

    /// Confirm: takes the money, then marks the order paid.
    async fn confirm(&self, order: &Order) -> Settled {
        let key = PaymentKey::of(order);
        match self.ask(self.settle_deadline(), || self.gateway.capture(key)).await {
            Ok(PaymentState::Captured) => self.mark_paid(order).await,
            Ok(PaymentState::Declined { reason }) => self.go_back(order, Why::Declined { reason }).await,
            Ok(PaymentState::Voided) => self.go_back(order, Why::GatewayAway).await,
            // Not captured, or forgotten: recovery asks again and uses the key up if need be.
            Ok(PaymentState::Held | PaymentState::NotFound) | Err(_) => Settled::Unknown(Doubt::Gateway),
        }
    }

    /// Cancel: uses the payment's key up, then lets the order wait again. Money that was taken after all stays taken,
    /// and the order is paid: the buyer is not charged for nothing.
    async fn let_go(&self, order: &Order, why: Why) -> Settled {
        let key = PaymentKey::of(order);
        match self.ask(self.settle_deadline(), || self.gateway.void(key)).await {
            Ok(PaymentState::Voided | PaymentState::Declined { .. }) => self.go_back(order, why).await,
            Ok(PaymentState::Captured) => self.mark_paid(order).await,
            Ok(PaymentState::Held | PaymentState::NotFound) | Err(_) => Settled::Unknown(Doubt::Gateway),
        }
    }

    async fn mark_paid(&self, order: &Order) -> Settled {
        match self.end(PaymentKey::of(order), OrderAction::ConfirmPayment).await {
            Ok(Applied::Done(order)) => Settled::Paid(order),
            // Another node has heard it first.
            Ok(Applied::Refused(order)) if order.status == OrderStatus::Paid => Settled::Paid(order),
            refused => self.in_doubt(order, "captured, but the order could not be marked paid", &refused),
        }
    }

    async fn go_back(&self, order: &Order, why: Why) -> Settled {
        match self.end(PaymentKey::of(order), OrderAction::AbortPayment).await {
            Ok(Applied::Done(order)) => Settled::Back(order, why),
            // Another node has heard it first. Whatever happened to the order since is not this payment's.
            Ok(Applied::Refused(now)) if has_ended(PaymentKey::of(order), &now) => Settled::Back(now, why),
            refused => self.in_doubt(order, "not made, but the order could not be told so", &refused),
        }
    }

    fn in_doubt(&self, order: &Order, what: &str, refused: &Result<Applied, StoreError>) -> Settled {
        tracing::error!(payment = %PaymentKey::of(order), ?refused, "the payment was {what}");
        Settled::Unknown(Doubt::Store)
    }

    /// Calls the gateway, with retries.
    async fn ask<'a>(
        &'a self,
        deadline: Instant,
        call: impl FnMut() -> Answer<'a, PaymentState>,
    ) -> Result<PaymentState, CallError> {
        let started = Instant::now();
        let answer = retried(&self.settings.gateway.retry, deadline, call).await;
        self.metrics.gateway.add(answer.is_ok(), started.elapsed());
        if let Err(error) = &answer {
            tracing::warn!(%error, "the payment gateway did not answer");
        }
        answer
    }

    async fn judge(&self, charge: &Charge, deadline: Instant) -> Result<RiskVerdict, CallError> {
        let started = Instant::now();
        let verdict = self.risk.judge(charge, deadline).await;
        self.metrics.risk.add(verdict.is_ok(), started.elapsed());
        if let Err(error) = &verdict {
            tracing::warn!(%error, "the risk service did not answer");
        }
        verdict
    }

    fn settle_deadline(&self) -> Instant {
        Instant::now() + Duration::from_millis(self.settings.settle_within_ms)
    }
}

/// Whether the order, as it is `now`, does not wait for this payment any more.
fn has_ended(payment: PaymentKey, now: &Order) -> bool {
    now.status != OrderStatus::Paying || now.payment_attempt != payment.attempt
}

/// The calendar's time.
pub(super) fn now() -> EpochMs {
    let since_1970 = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    EpochMs(since_1970.as_millis() as i64)
}

/// The Try: hold and risk check at the same time. As soon as one of them settles the payment the other is dropped:
/// the whole takes as long as the slower of both, never their sum.
async fn try_both(
    hold: impl Future<Output = Result<PaymentState, CallError>>,
    judge: impl Future<Output = Result<RiskVerdict, CallError>>,
) -> Tried {
    tokio::pin!(hold, judge);
    tokio::select! {
        held = &mut hold => match judge_hold(held) {
            Tried::Held => judge_risk(judge.await),
            settled => settled,
        },
        verdict = &mut judge => match judge_risk(verdict) {
            Tried::Held => judge_hold(hold.await),
            settled => settled,
        },
    }
}

fn judge_hold(held: Result<PaymentState, CallError>) -> Tried {
    match held {
        // Captured: the answer to a repeat. Confirming it again changes nothing.
        Ok(PaymentState::Held | PaymentState::Captured) => Tried::Held,
        Ok(PaymentState::Declined { reason }) => Tried::Nothing(Why::Declined { reason }),
        Ok(PaymentState::Voided) => Tried::Nothing(Why::GatewayAway),
        Err(error) if error.is_outcome_known() => Tried::Nothing(Why::GatewayAway),
        Ok(PaymentState::NotFound) | Err(_) => Tried::Unknown,
    }
}

fn judge_risk(verdict: Result<RiskVerdict, CallError>) -> Tried {
    match verdict {
        Ok(RiskVerdict::Approve) => Tried::Held,
        Ok(RiskVerdict::Reject { reason }) => Tried::Unwanted(Why::RiskRejected { reason }),
        Err(_) => Tried::Unwanted(Why::RiskAway),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::sleep;

    async fn after<T>(ms: u64, answer: T) -> T {
        sleep(Duration::from_millis(ms)).await;
        answer
    }

    /// Runs the Try with a hold and a verdict that take this long; answers the end and the time it took.
    async fn run(
        hold: (u64, Result<PaymentState, CallError>),
        verdict: (u64, Result<RiskVerdict, CallError>),
    ) -> (Tried, u128) {
        let started = Instant::now();
        let tried = try_both(after(hold.0, hold.1), after(verdict.0, verdict.1)).await;
        (tried, started.elapsed().as_millis())
    }

    // The clock is paused: virtual time is exact.
    #[tokio::test(start_paused = true)]
    async fn the_try_takes_as_long_as_the_slower_of_hold_and_risk_check() {
        for (hold_ms, risk_ms) in [(210, 300), (300, 210), (5, 5), (0, 100)] {
            let (tried, ms) =
                run((hold_ms, Ok(PaymentState::Held)), (risk_ms, Ok(RiskVerdict::Approve))).await;
            assert_eq!(tried, Tried::Held);
            assert_eq!(ms, u128::from(hold_ms.max(risk_ms)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_as_soon_as_one_of_them_settles_it() {
        let declined = || Ok(PaymentState::Declined { reason: "no".into() });
        let rejected = || Ok(RiskVerdict::Reject { reason: "odd".into() });
        let nothing = |why| Tried::Nothing(why);
        let (tried, ms) = run((10, declined()), (500, Ok(RiskVerdict::Approve))).await;
        assert_eq!((tried, ms), (nothing(Why::Declined { reason: "no".into() }), 10));
        let (tried, ms) = run((500, Ok(PaymentState::Held)), (10, rejected())).await;
        assert_eq!((tried, ms), (Tried::Unwanted(Why::RiskRejected { reason: "odd".into() }), 10));
        let (tried, ms) = run((10, Err(CallError::Busy("full".into()))), (500, rejected())).await;
        assert_eq!((tried, ms), (nothing(Why::GatewayAway), 10));
        let (tried, ms) = run((500, Ok(PaymentState::Held)), (10, Err(CallError::Busy("away".into())))).await;
        assert_eq!((tried, ms), (Tried::Unwanted(Why::RiskAway), 10));
        let (tried, ms) = run((10, Err(CallError::Unknown("lost".into()))), (500, rejected())).await;
        assert_eq!((tried, ms), (Tried::Unknown, 10));
    }
}
