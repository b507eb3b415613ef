//! One payment, step by step: Try (hold and risk check at the same time), Confirm (capture, then the order is paid),
//! Cancel (void, then the order waits again). What cannot be known is said to be unknown, and changes nothing.
//!
//! Between the Try and the rest stands a durable entry in the payment's journal: going on, or letting go and why. From
//! then on it is only repeated, by this life, a later one or another node: nobody asks the risk service again about a
//! payment that was decided, and nobody captures one that is being let go.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::gateway::{AttemptId, Charge, Money, Payment, PaymentKey, PaymentState};
use super::gateways::{Gateways, NamedGateway};
use super::metrics::CheckoutMetrics;
use super::payment_outcome::{Doubt, PaymentOutcome, Why, has_ended};
use super::remote_call::{Answer, CallError, retried};
use super::risk::{RiskCheck, RiskVerdict};
use super::settings::CheckoutSettings;
use super::try_phase::{Tried, try_both, worked_on};
use crate::admission::Admission;
use crate::domain::{
    EpochMs, Order, OrderAction, OrderId, OrderStatus, PaymentDirection, PaymentNote, StoreIdentity,
};
use crate::orders::{Act, Applied, OrderDesk, StoreError, Transition};
use crate::telemetry::Seldom;
use crate::traces::current_context;

/// Everything a payment needs.
pub(super) struct Coordinator {
    pub(super) desk: OrderDesk,
    pub(super) admission: Arc<Admission>,
    pub(super) gateways: Gateways,
    pub(super) identity: StoreIdentity,
    pub(super) risk: Arc<RiskCheck>,
    pub(super) settings: CheckoutSettings,
    pub(super) metrics: Arc<CheckoutMetrics>,
}

/// A payment under way: its order as it is durable, what it charges, and where.
pub(super) struct UnderWay<'a> {
    pub(super) order: Order,
    charge: Charge,
    at: &'a NamedGateway,
}

/// An operator's word that a payment has ended.
pub(super) struct ByHand {
    /// Why; kept beside the order.
    pub(super) reason: String,
    /// The act, for the trail.
    pub(super) act: Option<Act>,
}

impl Coordinator {
    /// What the order costs, whom and how; `None` when its sale is not on the board.
    pub(super) fn charge(&self, order: &Order, method: &str) -> Option<Charge> {
        let sales = self.admission.board().sales();
        let sale = sales.by_id(order.placed.sale)?;
        Some(Charge {
            key: PaymentKey::of(order, self.identity),
            quantity: order.placed.quantity,
            money: Money { amount: order.placed.amount, currency: sale.terms.currency },
            buyer: order.placed.buyer.clone(),
            method: method.to_owned(),
        })
    }

    /// Begins a payment: `pre_pay → paying`. What costs nothing goes to no gateway.
    pub(super) async fn begin(&self, order: OrderId, charge: &Charge) -> Result<Applied, StoreError> {
        let payment_gateway = (!charge.is_free()).then(|| self.gateways.current().name.clone());
        let step = self.step(order, OrderAction::BeginPayment);
        let payment_method = Some(charge.method.clone());
        self.desk.apply(Transition { payment_method, payment_gateway, ..step }).await
    }

    /// Ends this payment of the order, and no other: `action` is `ConfirmPayment` or `AbortPayment`.
    pub(super) async fn end(
        &self,
        payment: AttemptId,
        action: OrderAction,
        by_hand: Option<ByHand>,
    ) -> Result<Applied, StoreError> {
        let step = self.step(payment.order, action);
        let payment_attempt = Some(payment.attempt);
        let (settled_because, act) =
            by_hand.map_or((None, None), |by| (Some(by.reason), by.act.map(Box::new)));
        self.desk.apply(Transition { payment_attempt, settled_because, act, ..step }).await
    }

    /// A step of an order at this moment, for which the current span waits.
    fn step(&self, order: OrderId, action: OrderAction) -> Transition {
        Transition { span: current_context(), ..Transition::plain(order, action, self.now()) }
    }

    /// Makes the payment of an order that is durably `paying`.
    pub(super) async fn pay(&self, order: Order, charge: Charge) -> PaymentOutcome {
        if charge.is_free() {
            return self.mark_paid(&order).await;
        }
        let Some(at) = self.gateways.of(&order) else { return PaymentOutcome::Unknown(Doubt::NoGateway) };
        let payment = UnderWay { order, charge, at };
        let deadline = Instant::now() + Duration::from_millis(self.settings.try_within_ms);
        let tried = try_both(self.hold(&payment, deadline), self.judge(&payment.charge, deadline)).await;
        match tried {
            Tried::Held => self.go(payment, PaymentDirection::GoingOn).await,
            Tried::Unwanted(why) => {
                self.go(payment, PaymentDirection::LettingGo { why: why.to_string() }).await
            }
            Tried::Nothing(why) => self.go_back(&payment.order, why).await,
            Tried::Unknown(doubt) => PaymentOutcome::Unknown(doubt),
        }
    }

    /// The calendar's time.
    pub(super) fn now(&self) -> EpochMs {
        self.desk.clock().calendar()
    }

    /// Finds out what became of an earlier payment, and brings it to its end: in the direction that it has; without one,
    /// forward if the money is held and still wanted, back otherwise.
    pub(super) async fn resume(&self, order: Order) -> PaymentOutcome {
        let payment = match self.under_way(order).await {
            Ok(payment) => payment,
            Err(outcome) => return outcome,
        };
        if payment.order.payment.direction != PaymentDirection::Undecided {
            return self.follow(payment).await;
        }
        let key = payment.charge.key;
        let status =
            self.ask(&payment, self.second_phase_deadline(), || payment.at.gateway.status(key)).await;
        match status {
            Ok(PaymentState::Captured) => self.mark_paid(&payment.order).await,
            Ok(PaymentState::Declined { reason }) => {
                self.go_back(&payment.order, Why::Declined { reason }).await
            }
            Ok(PaymentState::Voided) => self.go_back(&payment.order, Why::GatewayRefused).await,
            Ok(PaymentState::NotFound) => self.let_go_because(payment, &Why::GatewayAway).await,
            Ok(PaymentState::Held) => self.resume_held(payment).await,
            Ok(PaymentState::Processing) => PaymentOutcome::Unknown(Doubt::Processing),
            Err(error) => PaymentOutcome::Unknown(Doubt::of(&error)),
        }
    }

    /// What is needed to go on with a payment that somebody else began. One that names no gateway is the current one's,
    /// from now on for good.
    pub(super) async fn under_way(&self, order: Order) -> Result<UnderWay<'_>, PaymentOutcome> {
        let Some(charge) = self.charge(&order, order.payment_method.as_deref().unwrap_or_default()) else {
            tracing::error!(order = %order.placed.id, "the sale of a payment is not on the board");
            return Err(PaymentOutcome::Unknown(Doubt::Store));
        };
        if charge.is_free() {
            return Err(self.mark_paid(&order).await);
        }
        let order = match order.payment.gateway {
            Some(_) => order,
            None => {
                let name = self.gateways.current().name.clone();
                self.noted(&order, PaymentNote::Gateway(name)).await?
            }
        };
        match self.gateways.of(&order) {
            Some(at) => Ok(UnderWay { order, charge, at }),
            None => {
                tracing::error!(
                    payment = %charge.key, gateway = order.payment.gateway,
                    "a payment waits for a gateway that is not configured here; see checkout.former_gateways"
                );
                Err(PaymentOutcome::Unknown(Doubt::NoGateway))
            }
        }
    }

    async fn resume_held(&self, payment: UnderWay<'_>) -> PaymentOutcome {
        let wanted_ms = self.settings.recovery.capture_within_s as i64 * 1_000;
        if self.now() >= payment.order.placed.pay_before.plus_ms(wanted_ms) {
            return self.let_go_because(payment, &Why::TooLate).await;
        }
        match self.judge(&payment.charge, self.second_phase_deadline()).await {
            Ok(RiskVerdict::Approve) => self.go(payment, PaymentDirection::GoingOn).await,
            Ok(RiskVerdict::Reject { reason }) => {
                self.let_go_because(payment, &Why::RiskRejected { reason }).await
            }
            Err(_) => PaymentOutcome::Unknown(Doubt::Risk),
        }
    }

    async fn let_go_because(&self, payment: UnderWay<'_>, why: &Why) -> PaymentOutcome {
        self.go(payment, PaymentDirection::LettingGo { why: why.to_string() }).await
    }

    /// Makes the direction durable, and only then takes it. If somebody else decided first, theirs is taken.
    async fn go(&self, payment: UnderWay<'_>, direction: PaymentDirection) -> PaymentOutcome {
        match self.noted(&payment.order, PaymentNote::Direction(direction)).await {
            Ok(order) => self.follow(UnderWay { order, ..payment }).await,
            Err(outcome) => outcome,
        }
    }

    /// Makes an entry in the journal of the payment. Answers with the order as it is then: if the entry does not follow
    /// what others have entered, theirs counts.
    pub(super) async fn noted(&self, order: &Order, note: PaymentNote) -> Result<Order, PaymentOutcome> {
        let payment = AttemptId::latest(order);
        let step = self.step(payment.order, OrderAction::NotePayment);
        let step = Transition { payment_attempt: Some(payment.attempt), payment_note: Some(note), ..step };
        match self.desk.apply(step).await {
            Ok(Applied::Done(order)) => Ok(order),
            Ok(Applied::Refused(now)) if !has_ended(payment, &now) => Ok(now),
            Ok(Applied::Refused(now)) if now.status == OrderStatus::Paid => Err(PaymentOutcome::Paid(now)),
            Ok(Applied::Refused(now)) => Err(PaymentOutcome::Back(now, Why::GatewayRefused)),
            refused => Err(self.in_doubt(order, "decided, but its journal could not be written", &refused)),
        }
    }

    /// Repeats what was decided.
    async fn follow(&self, mut payment: UnderWay<'_>) -> PaymentOutcome {
        loop {
            match &payment.order.payment.direction {
                PaymentDirection::LettingGo { why } => {
                    let why = Why::read(why);
                    return self.let_go(&payment, why).await;
                }
                PaymentDirection::GoingOn => {}
                // Nothing was decided after all; recovery looks again.
                PaymentDirection::Undecided => return PaymentOutcome::Unknown(Doubt::Store),
            }
            if let Some(outcome) = self.confirm(&payment).await {
                return outcome;
            }
            let why = Why::GatewayAway.to_string();
            match self.noted(&payment.order, PaymentNote::TurnBack { why }).await {
                Ok(order) => payment.order = order,
                Err(outcome) => return outcome,
            }
        }
    }

    /// Confirm: takes the money, then marks the order paid. `None` when the gateway has forgotten what it held, as one does
    /// that moves no money.
    async fn confirm(&self, payment: &UnderWay<'_>) -> Option<PaymentOutcome> {
        let UnderWay { order, charge, at } = payment;
        Some(match self.ask(payment, self.second_phase_deadline(), || at.gateway.capture(charge.key)).await {
            Ok(PaymentState::Captured) => self.mark_paid(order).await,
            Ok(PaymentState::Declined { reason }) => self.go_back(order, Why::Declined { reason }).await,
            Ok(PaymentState::Voided) => self.go_back(order, Why::GatewayRefused).await,
            Ok(PaymentState::Processing) => PaymentOutcome::Unknown(Doubt::Processing),
            Ok(PaymentState::NotFound) if at.gateway.forgets() => return None,
            Ok(PaymentState::NotFound) => {
                let text = "it was held, and now the gateway does not know it".into();
                self.alarm(payment, &CallError::Contradiction(text));
                PaymentOutcome::Unknown(Doubt::Contradiction)
            }
            Ok(PaymentState::Held) => PaymentOutcome::Unknown(Doubt::Gateway),
            Err(error) => PaymentOutcome::Unknown(Doubt::of(&error)),
        })
    }

    /// Cancel: uses the payment's key up, then lets the order wait again. Money that was taken after all stays taken,
    /// and the order is paid: the buyer is not charged for nothing.
    async fn let_go(&self, payment: &UnderWay<'_>, why: Why) -> PaymentOutcome {
        match self.void(payment).await {
            Ok(PaymentState::Voided | PaymentState::Declined { .. }) => {
                self.go_back(&payment.order, why).await
            }
            Ok(PaymentState::Captured) => self.mark_paid(&payment.order).await,
            Ok(PaymentState::Processing) => PaymentOutcome::Unknown(Doubt::Processing),
            Ok(PaymentState::Held | PaymentState::NotFound) => PaymentOutcome::Unknown(Doubt::Gateway),
            Err(error) => PaymentOutcome::Unknown(Doubt::of(&error)),
        }
    }

    /// Tells the gateway to let go.
    pub(super) async fn void(&self, payment: &UnderWay<'_>) -> Result<PaymentState, CallError> {
        let UnderWay { charge, at, .. } = payment;
        self.ask(payment, self.second_phase_deadline(), || at.gateway.void(charge.key)).await
    }

    pub(super) async fn mark_paid(&self, order: &Order) -> PaymentOutcome {
        match self.end(AttemptId::latest(order), OrderAction::ConfirmPayment, None).await {
            Ok(Applied::Done(order)) => PaymentOutcome::Paid(order),
            // Another node has heard it first.
            Ok(Applied::Refused(order)) if order.status == OrderStatus::Paid => PaymentOutcome::Paid(order),
            refused => self.in_doubt(order, "captured, but the order could not be marked paid", &refused),
        }
    }

    async fn go_back(&self, order: &Order, why: Why) -> PaymentOutcome {
        let payment = AttemptId::latest(order);
        match self.end(payment, OrderAction::AbortPayment, None).await {
            Ok(Applied::Done(order)) => PaymentOutcome::Back(order, why),
            // Another node has heard it first. Whatever happened to the order since is not this payment's.
            Ok(Applied::Refused(now)) if has_ended(payment, &now) => PaymentOutcome::Back(now, why),
            refused => self.in_doubt(order, "not made, but the order could not be told so", &refused),
        }
    }

    fn in_doubt(&self, order: &Order, what: &str, refused: &Result<Applied, StoreError>) -> PaymentOutcome {
        tracing::error!(payment = %AttemptId::latest(order), ?refused, "the payment was {what}");
        PaymentOutcome::Unknown(Doubt::Store)
    }

    /// Holds the money. While the gateway works on it, it is asked at its own pace as long as there is time.
    async fn hold(&self, payment: &UnderWay<'_>, deadline: Instant) -> Result<PaymentState, CallError> {
        let UnderWay { charge, at, .. } = payment;
        let state = self.ask(payment, deadline, || at.gateway.hold(charge)).await?;
        let status = || self.ask(payment, deadline, || at.gateway.status(charge.key));
        worked_on(state, &at.processing, Duration::from_millis(at.retry.try_ms), deadline, status).await
    }

    /// Calls the payment's gateway, with retries. Money that is told must be the money that was asked for.
    async fn ask<'a>(
        &self,
        payment: &'a UnderWay<'_>,
        deadline: Instant,
        call: impl FnMut() -> Answer<'a, Payment>,
    ) -> Result<PaymentState, CallError> {
        let started = Instant::now();
        let answer = retried(&payment.at.retry, deadline, call).await;
        self.metrics.gateway.add(answer.is_ok(), started.elapsed());
        let charged = payment.charge.money;
        let answer = answer.and_then(|told| match told.money {
            Some(money) if money != charged => Err(CallError::Contradiction(format!(
                "it is about {charged}, and the gateway tells of {money}"
            ))),
            _ => Ok(told.state),
        });
        match &answer {
            Ok(PaymentState::Processing) => self.metrics.processing.add_one(),
            Ok(_) => {}
            Err(error) if error.is_alarming() => self.alarm(payment, error),
            Err(error) => {
                static SAID: Seldom = Seldom::new();
                if let Some(more) = SAID.now() {
                    tracing::warn!(%error, more, "the payment gateway did not answer");
                }
            }
        }
        answer
    }

    /// Says that a person must look at this payment.
    fn alarm(&self, payment: &UnderWay<'_>, error: &CallError) {
        self.metrics.contradictions.add_one();
        tracing::error!(
            payment = %payment.charge.key, gateway = payment.at.name, %error,
            "gateway and engine do not speak of the same payment; it is not taken for paid, look at both"
        );
    }

    async fn judge(&self, charge: &Charge, deadline: Instant) -> Result<RiskVerdict, CallError> {
        let started = Instant::now();
        let verdict = self.risk.judge(charge, deadline).await;
        self.metrics.risk.add(verdict.is_ok(), started.elapsed());
        static SAID: Seldom = Seldom::new();
        if let Err(error) = &verdict
            && let Some(more) = SAID.now()
        {
            tracing::warn!(%error, more, "the risk service did not answer");
        }
        verdict
    }

    /// Confirm and Cancel have until then.
    fn second_phase_deadline(&self) -> Instant {
        Instant::now() + Duration::from_millis(self.settings.settle_within_ms)
    }
}
