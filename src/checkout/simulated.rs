//! Remote services that exist in this process only: seeded, so that a load test or a failure can be repeated.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::sleep;

use super::call::{Answer, CallError};
use super::draw::Draw;
use super::gateway::{Charge, PaymentGateway, PaymentKey, PaymentState};
use super::risk::{RiskPolicy, RiskService, RiskVerdict};
use super::settings::{SimulatedGatewaySettings, SimulatedRiskSettings};
use crate::domain::Cents;

/// A gateway that moves no money. What happens to a payment and to each call about it follows from the seed and the
/// key alone. It remembers nothing over a restart: then every key is unknown, as if the calls had never arrived.
#[derive(Debug)]
pub struct SimulatedGateway {
    settings: SimulatedGatewaySettings,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    payments: HashMap<PaymentKey, Payment>,
    oldest_first: VecDeque<PaymentKey>,
}

#[derive(Debug)]
struct Payment {
    state: PaymentState,
    calls: u64,
}

impl Book {
    fn payment(&mut self, key: PaymentKey, payments_max: usize) -> &mut Payment {
        if !self.payments.contains_key(&key) {
            if self.payments.len() >= payments_max
                && let Some(oldest) = self.oldest_first.pop_front()
            {
                self.payments.remove(&oldest);
            }
            self.oldest_first.push_back(key);
        }
        self.payments.entry(key).or_insert(Payment { state: PaymentState::NotFound, calls: 0 })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Hold,
    Capture,
    Void,
    Status,
}

/// A call that is never answered ends for itself after this long; callers give up sooner.
const HANG: Duration = Duration::from_secs(60);

impl SimulatedGateway {
    /// A gateway without payments.
    pub fn new(settings: SimulatedGatewaySettings) -> Self {
        Self { settings, book: Mutex::default() }
    }

    async fn call(&self, call: Call, key: PaymentKey) -> Result<PaymentState, CallError> {
        let nth = {
            let mut book = self.book.lock();
            let payment = book.payment(key, self.settings.payments_max);
            payment.calls += 1;
            payment.calls
        };
        let name = [key.order.number(), key.attempt.into(), call as u64, nth];
        let mut draw = Draw::new(self.settings.seed, &name);
        let latency = match call {
            Call::Hold => &self.settings.hold_latency,
            Call::Capture | Call::Void | Call::Status => &self.settings.settle_latency,
        };
        sleep(draw.latency(latency)).await;

        let hangs = draw.happens(self.settings.timeout_rate);
        let is_lost = draw.happens(self.settings.unknown_rate);
        if (hangs || is_lost) && draw.happens(0.5) {
            return lose(hangs).await;
        }
        let state = self.take_effect(call, key);
        if hangs || is_lost { lose(hangs).await } else { Ok(state) }
    }

    fn take_effect(&self, call: Call, key: PaymentKey) -> PaymentState {
        let mut book = self.book.lock();
        let state = &mut book.payment(key, self.settings.payments_max).state;
        match (call, &*state) {
            (Call::Hold, PaymentState::NotFound) => {
                *state = if self.is_declined(key) {
                    PaymentState::Declined { reason: "insufficient-funds".into() }
                } else {
                    PaymentState::Held
                };
            }
            (Call::Capture, PaymentState::Held) => *state = PaymentState::Captured,
            (Call::Void, PaymentState::Held | PaymentState::NotFound) => *state = PaymentState::Voided,
            _ => {}
        }
        state.clone()
    }

    fn is_declined(&self, key: PaymentKey) -> bool {
        Draw::new(self.settings.seed, &[key.order.number(), key.attempt.into()])
            .happens(self.settings.decline_rate)
    }
}

async fn lose(hangs: bool) -> Result<PaymentState, CallError> {
    if hangs {
        sleep(HANG).await;
    }
    Err(CallError::Unknown("the simulated connection was lost".into()))
}

impl PaymentGateway for SimulatedGateway {
    fn hold<'a>(&'a self, charge: &'a Charge) -> Answer<'a, PaymentState> {
        Box::pin(self.call(Call::Hold, charge.key))
    }

    fn capture(&self, key: PaymentKey) -> Answer<'_, PaymentState> {
        Box::pin(self.call(Call::Capture, key))
    }

    fn void(&self, key: PaymentKey) -> Answer<'_, PaymentState> {
        Box::pin(self.call(Call::Void, key))
    }

    fn status(&self, key: PaymentKey) -> Answer<'_, PaymentState> {
        Box::pin(self.call(Call::Status, key))
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
        let mut draw = Draw::new(self.settings.seed, &[nth]);
        sleep(draw.latency(&self.settings.latency)).await;
        if draw.happens(self.settings.failure_rate) {
            return Err(CallError::Busy("the simulated risk service is away".into()));
        }
        Ok(answer)
    }

    fn verdict(&self, key: PaymentKey) -> RiskVerdict {
        let mut draw = Draw::new(self.settings.seed, &[key.order.number(), key.attempt.into()]);
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
        Box::pin(self.answer(self.verdict(charge.key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{BuyerId, Currency, NodeId, OrderId};
    use PaymentState::{Captured, Held, NotFound, Voided};

    fn key(serial: u64) -> PaymentKey {
        PaymentKey { order: OrderId::from_tick(serial, NodeId::new(0).unwrap()), attempt: 1 }
    }

    fn charge(serial: u64) -> Charge {
        Charge {
            key: key(serial),
            quantity: 1,
            amount: Cents(1_999),
            currency: Currency::USD,
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

    async fn life(gateway: &SimulatedGateway, serial: u64) -> Vec<Result<PaymentState, CallError>> {
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
        assert_eq!(gateway.status(key(1)).await, Ok(NotFound));
        assert_eq!(gateway.capture(key(1)).await, Ok(NotFound));
        assert_eq!(gateway.hold(&charge(1)).await, Ok(Held));
        assert_eq!(gateway.hold(&charge(1)).await, Ok(Held));
        assert_eq!(gateway.capture(key(1)).await, Ok(Captured));
        assert_eq!(gateway.void(key(1)).await, Ok(Captured), "too late");

        assert_eq!(gateway.void(key(2)).await, Ok(Voided), "an unknown key is used up");
        assert_eq!(gateway.hold(&charge(2)).await, Ok(Voided), "a late hold takes no effect");
        assert_eq!(gateway.capture(key(2)).await, Ok(Voided));
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
                if let Ok(state) = gateway.status(key(serial)).await {
                    break state;
                }
            };
            truths.push(truth);
        }
        assert!(truths.contains(&Held) && truths.contains(&NotFound));
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
