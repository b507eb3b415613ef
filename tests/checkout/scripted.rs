//! A gateway and a risk service that fail exactly where they are told to, and tell the truth to the test.

use std::collections::HashMap;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use seckill::checkout::{
    Answer, AttemptId, CallError, Charge, LatencySettings, Payment, PaymentGateway, PaymentKey, PaymentState,
    RefundOrder, RefundProgress, RefundTold, RiskPolicy, RiskService, RiskVerdict, SimulatedGateway,
    SimulatedGatewaySettings,
};
use seckill::domain::{Cents, OrderId};
use tokio::sync::{Notify, watch};

pub const QUICK: LatencySettings = LatencySettings { median_ms: 0.1, p99_ms: 0.2 };

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    Hold,
    Capture,
    Void,
    Status,
    Refund,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nobody is reached, nothing done.
    Busy,
    /// Refused for good, nothing done.
    Invalid,
    /// The connection is lost before the call took effect.
    LostBefore,
    /// The connection is lost after the call took effect.
    LostAfter,
    /// No answer, no effect.
    HangBefore,
    /// No answer, but the effect.
    HangAfter,
    /// The gateway works on it: nothing is done yet.
    Processing,
    /// The hold is under way and arrives when the test says so.
    Delayed,
}

pub const FOR_EVER: usize = usize::MAX;

/// Tries of one call, as the impatient settings have it.
pub const ALL_TRIES: usize = 2;

pub struct ScriptedGateway {
    truth: SimulatedGateway,
    faults: Mutex<HashMap<Call, (Fault, usize)>>,
    calls: Mutex<Vec<(Call, PaymentKey)>>,
    called: Notify,
    delayed: Mutex<Vec<Charge>>,
    /// Refunds that took effect, each once.
    refunds: Mutex<Vec<RefundOrder>>,
    keeps_refusals: watch::Sender<bool>,
    holds_failed: AtomicUsize,
    hold_is_over: watch::Sender<bool>,
}

impl ScriptedGateway {
    pub fn new(decline_rate: f64) -> Arc<Self> {
        let settings = SimulatedGatewaySettings {
            hold_latency: QUICK,
            settle_latency: QUICK,
            decline_rate,
            ..SimulatedGatewaySettings::default()
        };
        Arc::new(Self {
            truth: SimulatedGateway::new(settings),
            faults: Mutex::default(),
            calls: Mutex::default(),
            called: Notify::new(),
            delayed: Mutex::default(),
            refunds: Mutex::default(),
            keeps_refusals: watch::Sender::new(false),
            holds_failed: AtomicUsize::new(0),
            hold_is_over: watch::Sender::new(false),
        })
    }

    /// The next `times` calls of this kind fail so.
    pub fn fail(&self, call: Call, fault: Fault, times: usize) {
        self.faults.lock().insert(call, (fault, times));
    }

    pub fn heal(&self) {
        self.faults.lock().clear();
    }

    /// Whether the answer to a refund that is [`Fault::Invalid`] is kept back.
    pub fn keep_refusals(&self, keeps: bool) {
        self.keeps_refusals.send_replace(keeps);
    }

    pub async fn truth(&self, attempt: AttemptId) -> PaymentState {
        let called = self.calls.lock().iter().map(|(_, key)| *key).find(|key| key.attempt == attempt);
        match called {
            Some(key) => self.truth.status(key).await.expect("the truth has no faults").state,
            None => PaymentState::NotFound,
        }
    }

    pub fn calls_of(&self, call: Call) -> Vec<PaymentKey> {
        self.calls.lock().iter().filter(|(made, _)| *made == call).map(|(_, key)| *key).collect()
    }

    /// The refunds that took effect: their numbers and amounts, of this order.
    pub fn refunds_of(&self, order: OrderId) -> Vec<(u32, u64)> {
        let refunds = self.refunds.lock();
        let of_order = refunds.iter().filter(|refund| refund.key.payment.attempt.order == order);
        of_order.map(|refund| (refund.key.number, refund.money.amount.0)).collect()
    }

    async fn make_refund(&self, refund: &RefundOrder) -> Result<RefundTold, CallError> {
        let told = self.truth.refund(refund).await?;
        let mut refunds = self.refunds.lock();
        if told.progress == RefundProgress::Refunded && !refunds.contains(refund) {
            refunds.push(*refund);
        }
        Ok(told)
    }

    async fn call_refund(&self, refund: &RefundOrder) -> Result<RefundTold, CallError> {
        let fault = self.next_fault(Call::Refund);
        if matches!(fault, Some(Fault::LostAfter | Fault::HangAfter)) {
            self.make_refund(refund).await?;
        }
        self.calls.lock().push((Call::Refund, refund.key.payment));
        self.called.notify_waiters();
        match fault {
            None => self.make_refund(refund).await,
            Some(Fault::Busy) => Err(CallError::Unreachable("away".into())),
            Some(Fault::Invalid) => {
                let _ = self.keeps_refusals.subscribe().wait_for(|keeps| !keeps).await;
                Err(CallError::Invalid("no such address".into()))
            }
            Some(Fault::Processing) => Ok(RefundTold { progress: RefundProgress::Processing, money: None }),
            Some(Fault::HangBefore | Fault::HangAfter) => pending().await,
            Some(Fault::LostBefore | Fault::LostAfter | Fault::Delayed) => {
                Err(CallError::Unknown("lost".into()))
            }
        }
    }

    /// Waits until a call of this kind has been made.
    pub async fn until_called(&self, call: Call) {
        loop {
            let called = self.called.notified();
            if !self.calls_of(call).is_empty() {
                return;
            }
            called.await;
        }
    }

    /// Turns true in the moment in which nothing new can be heard of a hold: it is answered, every try of it has failed, or it
    /// hangs.
    pub fn hold_is_over(&self) -> watch::Receiver<bool> {
        self.hold_is_over.subscribe()
    }

    /// Holds that were on their way arrive.
    pub async fn deliver_delayed(&self) -> Vec<PaymentState> {
        let delayed = std::mem::take(&mut *self.delayed.lock());
        let mut answers = Vec::new();
        for charge in delayed {
            answers.push(self.truth.hold(&charge).await.expect("the truth has no faults").state);
        }
        answers
    }

    fn next_fault(&self, call: Call) -> Option<Fault> {
        let mut faults = self.faults.lock();
        let (fault, times) = faults.get_mut(&call)?;
        *times = times.checked_sub(1)?;
        Some(*fault)
    }

    async fn call<'a>(
        &'a self,
        call: Call,
        key: PaymentKey,
        charge: Option<&'a Charge>,
        effect: Answer<'a, Payment>,
    ) -> Result<Payment, CallError> {
        let fault = self.next_fault(call);
        let effect_is_first = matches!(fault, Some(Fault::LostAfter | Fault::HangAfter));
        let effect = if effect_is_first {
            effect.await?;
            None
        } else {
            Some(effect)
        };
        self.calls.lock().push((call, key));
        self.called.notify_waiters();
        let hangs = matches!(fault, Some(Fault::HangBefore | Fault::HangAfter));
        if call == Call::Hold && hangs {
            self.hold_is_over.send_replace(true);
        }
        let answer = match (fault, effect) {
            (None, Some(effect)) => effect.await,
            (Some(Fault::Busy), _) => Err(CallError::Unreachable("away".into())),
            (Some(Fault::Processing), _) => Ok(Payment { state: PaymentState::Processing, money: None }),
            (Some(Fault::Invalid), _) => Err(CallError::Invalid("invalid".into())),
            (Some(Fault::HangBefore | Fault::HangAfter), _) => pending().await,
            (Some(Fault::Delayed), _) => {
                self.delayed.lock().extend(charge.cloned());
                Err(CallError::Unknown("lost".into()))
            }
            _ => Err(CallError::Unknown("lost".into())),
        };
        if call == Call::Hold {
            let is_last = match &answer {
                Ok(_) | Err(CallError::Invalid(_)) => true,
                Err(_) => self.holds_failed.fetch_add(1, Ordering::SeqCst) + 1 >= ALL_TRIES,
            };
            // The caller hears the answer before it looks at anything else.
            self.hold_is_over.send_if_modified(|is_over| is_last && !std::mem::replace(is_over, true));
        }
        answer
    }
}

impl PaymentGateway for ScriptedGateway {
    fn hold<'a>(&'a self, charge: &'a Charge) -> Answer<'a, Payment> {
        Box::pin(self.call(Call::Hold, charge.key, Some(charge), self.truth.hold(charge)))
    }

    fn capture(&self, key: PaymentKey) -> Answer<'_, Payment> {
        Box::pin(self.call(Call::Capture, key, None, self.truth.capture(key)))
    }

    fn void(&self, key: PaymentKey) -> Answer<'_, Payment> {
        Box::pin(self.call(Call::Void, key, None, self.truth.void(key)))
    }

    fn status(&self, key: PaymentKey) -> Answer<'_, Payment> {
        Box::pin(self.call(Call::Status, key, None, self.truth.status(key)))
    }

    fn refund<'a>(&'a self, refund: &'a RefundOrder) -> Answer<'a, RefundTold> {
        Box::pin(self.call_refund(refund))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Approve,
    Reject,
    Away,
}

pub struct ScriptedRisk {
    mood: Mutex<Mood>,
    asked: Mutex<Vec<AttemptId>>,
    delay: Duration,
    is_held: watch::Sender<bool>,
    /// Verdicts wait for this, if there is something to wait for.
    after: Option<watch::Receiver<bool>>,
}

impl ScriptedRisk {
    /// Assesses every payment, after `delay_ms`.
    pub fn new(mood: Mood, delay_ms: u64) -> Arc<Self> {
        let is_held = watch::Sender::new(false);
        Arc::new(Self {
            mood: Mutex::new(mood),
            asked: Mutex::default(),
            delay: Duration::from_millis(delay_ms),
            is_held,
            after: None,
        })
    }

    /// Assesses every payment once the gateway's hold is over: later than any hold that is answered or lost, sooner than any
    /// that hangs is given up.
    pub fn after_hold_at(gateway: &ScriptedGateway, mood: Mood) -> Arc<Self> {
        let risk = Arc::into_inner(Self::new(mood, 0)).expect("nobody else has it");
        Arc::new(Self { after: Some(gateway.hold_is_over()), ..risk })
    }

    /// Keeps every verdict back from now on.
    pub fn hold(&self) {
        self.is_held.send_replace(true);
    }

    /// Gives the verdicts.
    pub fn release(&self) {
        self.is_held.send_replace(false);
    }

    pub fn change(&self, mood: Mood) {
        *self.mood.lock() = mood;
    }

    /// How often it was asked about this attempt.
    pub fn asked_about(&self, attempt: AttemptId) -> usize {
        self.asked.lock().iter().filter(|asked| **asked == attempt).count()
    }
}

impl RiskService for ScriptedRisk {
    fn policy(&self) -> Answer<'_, RiskPolicy> {
        Box::pin(async { Ok(RiskPolicy { ask_above: Cents(0), ..RiskPolicy::default() }) })
    }

    fn assess<'a>(&'a self, charge: &'a Charge) -> Answer<'a, RiskVerdict> {
        Box::pin(async {
            self.asked.lock().push(charge.key.attempt);
            tokio::time::sleep(self.delay).await;
            if let Some(mut after) = self.after.clone() {
                let _ = after.wait_for(|is_over| *is_over).await;
            }
            let _ = self.is_held.subscribe().wait_for(|is_held| !is_held).await;
            let mood = *self.mood.lock();
            match mood {
                Mood::Approve => Ok(RiskVerdict::Approve),
                Mood::Reject => Ok(RiskVerdict::Reject { reason: "odd".into() }),
                Mood::Away => Err(CallError::Busy("away".into())),
            }
        })
    }
}
