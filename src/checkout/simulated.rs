//! Remote services that exist in this process only: seeded, so that a load test or a failure can be repeated.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::sleep;

use super::gateway::{
    AttemptId, Charge, Money, Payment, PaymentGateway, PaymentKey, PaymentState, RefundOrder, RefundProgress,
    RefundTold,
};
use super::remote_call::{Answer, CallError};
use super::risk::{RiskPolicy, RiskService, RiskVerdict};
use super::seeded_random::SeededRandom;
use super::service_settings::SimulatedGatewaySettings;
use super::settings::SimulatedRiskSettings;
use crate::domain::{BuyerId, Cents};

/// A gateway that moves no money. What happens to a payment and to each call about it follows from the seed and the
/// key alone. It remembers nothing over a restart: then every key is unknown, as if the calls had never arrived.
#[derive(Debug)]
pub struct SimulatedGateway {
    settings: SimulatedGatewaySettings,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    payments: HashMap<PaymentKey, Entry>,
    oldest_first: VecDeque<PaymentKey>,
}

#[derive(Debug)]
struct Entry {
    state: PaymentState,
    /// Who pays how much, since the hold.
    charged: Option<(BuyerId, Money)>,
    /// What was given back, by number.
    refunds: Vec<(u32, Money)>,
    calls: u64,
}

impl Entry {
    const fn new() -> Self {
        Self { state: PaymentState::NotFound, charged: None, refunds: Vec::new(), calls: 0 }
    }

    /// Gives back, as far as it is known that it can. What was forgotten over a restart is taken for paid.
    fn refund(&mut self, refund: &RefundOrder) -> Result<RefundProgress, CallError> {
        let RefundOrder { key, money } = refund;
        if let Some((_, made)) = self.refunds.iter().find(|(number, _)| *number == key.number) {
            let reused = || CallError::KeyReused(format!("{key} is known with another amount"));
            return if made == money { Ok(RefundProgress::Refunded) } else { Err(reused()) };
        }
        let refused = |reason: &str| Ok(RefundProgress::Refused { reason: reason.into() });
        if !matches!(self.state, PaymentState::Captured | PaymentState::NotFound) {
            return refused("not-captured");
        }
        let given_back: u64 = self.refunds.iter().map(|(_, made)| made.amount.0).sum();
        if let Some((_, charged)) = &self.charged
            && (charged.currency != money.currency || given_back + money.amount.0 > charged.amount.0)
        {
            return refused("more-than-was-paid");
        }
        self.refunds.push((key.number, *money));
        Ok(RefundProgress::Refunded)
    }

    fn told(&self) -> Payment {
        Payment { state: self.state.clone(), money: self.charged.as_ref().map(|(_, money)| *money) }
    }
}

impl Book {
    fn payment(&mut self, key: PaymentKey, payments_max: usize) -> &mut Entry {
        if !self.payments.contains_key(&key) {
            if self.payments.len() >= payments_max
                && let Some(oldest) = self.oldest_first.pop_front()
            {
                self.payments.remove(&oldest);
            }
            self.oldest_first.push_back(key);
        }
        self.payments.entry(key).or_insert(Entry::new())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Hold,
    Capture,
    Void,
    Status,
    Refund,
}

/// A call that is never answered ends for itself after this long; callers give up sooner.
const HANG: Duration = Duration::from_secs(60);

impl SimulatedGateway {
    /// A gateway without payments.
    pub fn new(settings: SimulatedGatewaySettings) -> Self {
        Self { settings, book: Mutex::default() }
    }

    async fn call(&self, call: Call, key: PaymentKey, charge: Option<&Charge>) -> Result<Payment, CallError> {
        self.play(call, key, || self.take_effect(call, key, charge)).await
    }

    async fn call_refund(&self, refund: &RefundOrder) -> Result<RefundTold, CallError> {
        let key = refund.key.payment;
        let effect = || {
            let mut book = self.book.lock();
            let progress = book.payment(key, self.settings.payments_max).refund(refund)?;
            Ok(RefundTold { progress, money: Some(refund.money) })
        };
        self.play(Call::Refund, key, effect).await
    }

    /// Has a call take effect, or get lost before or after it does, as the seed says.
    async fn play<T>(
        &self,
        call: Call,
        key: PaymentKey,
        effect: impl FnOnce() -> Result<T, CallError>,
    ) -> Result<T, CallError> {
        let nth = {
            let mut book = self.book.lock();
            let payment = book.payment(key, self.settings.payments_max);
            payment.calls += 1;
            payment.calls
        };
        let name = [key.attempt.order.number(), key.attempt.attempt.into(), call as u64, nth];
        let mut draw = SeededRandom::new(self.settings.seed, &name);
        let latency = match call {
            Call::Hold => &self.settings.hold_latency,
            Call::Capture | Call::Void | Call::Status | Call::Refund => &self.settings.settle_latency,
        };
        sleep(draw.latency(latency)).await;

        let hangs = draw.happens(self.settings.timeout_rate);
        let is_lost = draw.happens(self.settings.unknown_rate);
        if (hangs || is_lost) && draw.happens(0.5) {
            return lose(hangs).await;
        }
        let told = effect();
        if hangs || is_lost { lose(hangs).await } else { told }
    }

    fn take_effect(
        &self,
        call: Call,
        key: PaymentKey,
        charge: Option<&Charge>,
    ) -> Result<Payment, CallError> {
        let mut book = self.book.lock();
        let entry = book.payment(key, self.settings.payments_max);
        let charged = charge.map(|charge| (charge.buyer.clone(), charge.money));
        match (call, &entry.state) {
            (Call::Hold, PaymentState::NotFound) => {
                entry.state = if self.is_declined(key.attempt) {
                    PaymentState::Declined { reason: "insufficient-funds".into() }
                } else {
                    PaymentState::Held
                };
                entry.charged = charged;
            }
            (Call::Hold, _) if entry.charged.is_some() && entry.charged != charged => {
                return Err(CallError::KeyReused(format!("{key} is known with another buyer or amount")));
            }
            (Call::Capture, PaymentState::Held) => entry.state = PaymentState::Captured,
            (Call::Void, PaymentState::Held | PaymentState::NotFound) => entry.state = PaymentState::Voided,
            _ => {}
        }
        Ok(entry.told())
    }

    fn is_declined(&self, attempt: AttemptId) -> bool {
        SeededRandom::new(self.settings.seed, &[attempt.order.number(), attempt.attempt.into()])
            .happens(self.settings.decline_rate)
    }
}

async fn lose<T>(hangs: bool) -> Result<T, CallError> {
    if hangs {
        sleep(HANG).await;
    }
    Err(CallError::Unknown("the simulated connection was lost".into()))
}

impl PaymentGateway for SimulatedGateway {
    fn hold<'a>(&'a self, charge: &'a Charge) -> Answer<'a, Payment> {
        Box::pin(self.call(Call::Hold, charge.key, Some(charge)))
    }

    fn capture(&self, key: PaymentKey) -> Answer<'_, Payment> {
        Box::pin(self.call(Call::Capture, key, None))
    }

    fn void(&self, key: PaymentKey) -> Answer<'_, Payment> {
        Box::pin(self.call(Call::Void, key, None))
    }

    fn status(&self, key: PaymentKey) -> Answer<'_, Payment> {
        Box::pin(self.call(Call::Status, key, None))
    }

    fn refund<'a>(&'a self, refund: &'a RefundOrder) -> Answer<'a, RefundTold> {
        Box::pin(self.call_refund(refund))
    }

    fn forgets(&self) -> bool {
        true
    }
}

/// A risk service whose policy is configured. The verdict on a payment follows from the seed and the payment's key;
/// latencies and failures from the seed and the number of the call, so that a failure passes when tried again.
///
/// `calls` numbers the calls and publishes nothing: relaxed.
#[derive(Debug)]
pub struct SimulatedRisk {
    settings: SimulatedRiskSettings,
    calls: AtomicU64,
}

impl SimulatedRisk {
    /// A risk service.
    pub fn new(settings: SimulatedRiskSettings) -> Self {
        Self { settings, calls: AtomicU64::new(0) }
    }

    async fn answer<T>(&self, answer: T) -> Result<T, CallError> {
        let nth = self.calls.fetch_add(1, Ordering::Relaxed);
        let mut draw = SeededRandom::new(self.settings.seed, &[nth]);
        sleep(draw.latency(&self.settings.latency)).await;
        if draw.happens(self.settings.failure_rate) {
            return Err(CallError::Busy("the simulated risk service is away".into()));
        }
        Ok(answer)
    }

    fn verdict(&self, attempt: AttemptId) -> RiskVerdict {
        let mut draw =
            SeededRandom::new(self.settings.seed, &[attempt.order.number(), attempt.attempt.into()]);
        if draw.happens(self.settings.reject_rate) {
            RiskVerdict::Reject { reason: "unusual-activity".into() }
        } else {
            RiskVerdict::Approve
        }
    }
}

impl RiskService for SimulatedRisk {
    fn policy(&self) -> Answer<'_, RiskPolicy> {
        Box::pin(self.answer(RiskPolicy {
            ask_above: Cents(self.settings.ask_above_cents),
            denied_methods: self.settings.denied_methods.iter().cloned().collect(),
            denied_buyers: self.settings.denied_buyers.iter().cloned().collect(),
        }))
    }

    fn assess<'a>(&'a self, charge: &'a Charge) -> Answer<'a, RiskVerdict> {
        Box::pin(self.answer(self.verdict(charge.key.attempt)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Currency, NodeId, OrderId};
    use PaymentState::{Captured, Held, NotFound, Voided};

    fn key(serial: u64) -> PaymentKey {
        let order = OrderId::from_tick(serial, NodeId::new(0).unwrap());
        PaymentKey { store: None, attempt: AttemptId { order, attempt: 1 } }
    }

    fn charge(serial: u64) -> Charge {
        Charge {
            key: key(serial),
            quantity: 1,
            money: Money { amount: Cents(1_999), currency: Currency::USD },
            buyer: BuyerId::new("ann").unwrap(),
            method: "card".into(),
        }
    }

    fn faulty() -> SimulatedGatewaySettings {
        SimulatedGatewaySettings {
            decline_rate: 0.2,
            timeout_rate: 0.1,
            unknown_rate: 0.2,
            ..SimulatedGatewaySettings::default()
        }
    }

    fn state(told: Result<Payment, CallError>) -> PaymentState {
        told.unwrap().state
    }

    async fn life(gateway: &SimulatedGateway, serial: u64) -> Vec<Result<Payment, CallError>> {
        let key = key(serial);
        vec![
            gateway.hold(&charge(serial)).await,
            gateway.status(key).await,
            gateway.capture(key).await,
            gateway.status(key).await,
            gateway.void(key).await,
        ]
    }

    #[tokio::test(start_paused = true)]
    async fn the_seed_and_the_key_decide_everything_whatever_the_order_of_the_calls() {
        let gateways = [(); 2].map(|()| SimulatedGateway::new(faulty()));
        let mut forwards = Vec::new();
        for serial in 0..300 {
            forwards.push(life(&gateways[0], serial).await);
        }
        let mut backwards = Vec::new();
        for serial in (0..300).rev() {
            backwards.push(life(&gateways[1], serial).await);
        }
        backwards.reverse();
        assert_eq!(forwards, backwards);
        let errors = forwards.iter().flatten().filter(|answer| answer.is_err()).count();
        assert!((200..700).contains(&errors), "{errors} of 1500 calls failed");

        let other = SimulatedGateway::new(SimulatedGatewaySettings { seed: 2, ..faulty() });
        let mut differs = false;
        for serial in 0..300 {
            differs |= life(&other, serial).await != forwards[serial as usize];
        }
        assert!(differs);
    }

    #[tokio::test(start_paused = true)]
    async fn a_payment_keeps_to_the_contract() {
        let gateway = SimulatedGateway::new(SimulatedGatewaySettings::default());
        assert_eq!(state(gateway.status(key(1)).await), NotFound);
        assert_eq!(state(gateway.capture(key(1)).await), NotFound);
        assert_eq!(state(gateway.hold(&charge(1)).await), Held);
        assert_eq!(state(gateway.hold(&charge(1)).await), Held);
        assert_eq!(state(gateway.capture(key(1)).await), Captured);
        assert_eq!(state(gateway.void(key(1)).await), Captured, "too late");

        assert_eq!(state(gateway.void(key(2)).await), Voided, "an unknown key is used up");
        assert_eq!(state(gateway.hold(&charge(2)).await), Voided, "a late hold takes no effect");
        assert_eq!(state(gateway.capture(key(2)).await), Voided);
    }

    #[tokio::test(start_paused = true)]
    async fn the_status_tells_what_a_lost_answer_hid() {
        let gateway = SimulatedGateway::new(SimulatedGatewaySettings {
            unknown_rate: 0.5,
            ..SimulatedGatewaySettings::default()
        });
        let mut truths = Vec::new();
        for serial in 0..200 {
            let Err(error) = gateway.hold(&charge(serial)).await else { continue };
            assert!(!error.is_outcome_known());
            let truth = loop {
                if let Ok(told) = gateway.status(key(serial)).await {
                    break told.state;
                }
            };
            truths.push(truth);
        }
        assert!(truths.contains(&Held) && truths.contains(&NotFound));
    }

    #[tokio::test(start_paused = true)]
    async fn m1_a_known_key_with_another_buyer_or_amount_is_refused() {
        let gateway = SimulatedGateway::new(SimulatedGatewaySettings::default());
        let first = charge(1);
        gateway.hold(&first).await.unwrap();
        let other_buyer = Charge { buyer: BuyerId::new("bob").unwrap(), ..first.clone() };
        let dearer = Money { amount: Cents(2_000), ..first.money };
        let other_amount = Charge { money: dearer, ..first.clone() };
        for other in [other_buyer, other_amount] {
            let refused = gateway.hold(&other).await;
            assert!(matches!(refused, Err(CallError::KeyReused(_))), "{refused:?}");
        }
        let held = gateway.hold(&first).await.unwrap();
        assert_eq!((held.state, held.money), (Held, Some(first.money)));
    }

    #[tokio::test(start_paused = true)]
    async fn it_remembers_no_more_payments_than_it_may() {
        let settings = SimulatedGatewaySettings { payments_max: 10, ..SimulatedGatewaySettings::default() };
        let gateway = SimulatedGateway::new(settings);
        for serial in 0..100 {
            gateway.hold(&charge(serial)).await.unwrap();
        }
        let book = gateway.book.lock();
        assert_eq!((book.payments.len(), book.oldest_first.len()), (10, 10));
        assert!(book.payments.contains_key(&key(99)));
    }
}
