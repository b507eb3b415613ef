//! Whether a payment may be made: a policy that is cached, and a service that is asked where the policy does not say.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::breaker::{CallVerdict, Gate};
use super::gateway::Charge;
use super::remote_call::{Answer, CallError, retried};
use super::settings::{RiskSettings, WhenAway};
use crate::domain::{Cents, Nanos};

/// What the risk service thinks of a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RiskVerdict {
    /// It may be made.
    Approve,
    /// It must not be made.
    Reject {
        /// Why, in a word the buyer may see.
        reason: String,
    },
}

/// What can be decided without asking the service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RiskPolicy {
    /// Payments of at most this much are approved; above it the service assesses each.
    pub ask_above: Cents,
    /// Payment methods that nobody may use.
    pub denied_methods: HashSet<String>,
    /// Buyers that may not pay.
    pub denied_buyers: HashSet<String>,
}

impl RiskPolicy {
    /// The policy's own verdict; `None` when the service must be asked.
    pub fn decide(&self, charge: &Charge) -> Option<RiskVerdict> {
        let reject = |reason: &str| Some(RiskVerdict::Reject { reason: reason.into() });
        if self.denied_methods.contains(&charge.method) {
            return reject("method-denied");
        }
        if self.denied_buyers.contains(charge.buyer.as_str()) {
            return reject("buyer-denied");
        }
        (charge.money.amount <= self.ask_above).then_some(RiskVerdict::Approve)
    }
}

/// A risk service. Both calls are questions: they may be repeated, and dropped at any time.
pub trait RiskService: Send + Sync {
    /// The policy in force.
    fn policy(&self) -> Answer<'_, RiskPolicy>;

    /// The verdict on one payment.
    fn assess<'a>(&'a self, charge: &'a Charge) -> Answer<'a, RiskVerdict>;
}

/// What is known about a payment before anything is asked or changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// The cached policy decides.
    Known(RiskVerdict),
    /// The service must be asked.
    Ask,
    /// The service would have to be asked, but is left alone after failures, and nothing is approved without it.
    Away {
        /// How long it is left alone.
        retry_after: Nanos,
    },
}

#[derive(Debug)]
struct CachedPolicy {
    policy: RiskPolicy,
    fetched: Instant,
}

/// The risk check in front of a service. While a policy is not older than `policy_ttl_ms` it is used as it is; from
/// then to `policy_stale_ms_max` it is still used, and fetched anew behind the payment's back; after that payments
/// wait for a new one.
pub struct RiskCheck {
    service: Arc<dyn RiskService>,
    settings: RiskSettings,
    gate: Arc<Gate>,
    cached: ArcSwapOption<CachedPolicy>,
    /// The fetch that is under way: its end is told to all who wait for it, also when it is a failure.
    flight: Mutex<Option<watch::Receiver<Landing>>>,
}

type Fetched = Result<Arc<CachedPolicy>, CallError>;
/// How a fetch ended; `None` while it is under way.
type Landing = Option<Fetched>;

impl RiskCheck {
    /// A check without a policy yet.
    pub fn new(service: Arc<dyn RiskService>, settings: RiskSettings) -> Self {
        Self {
            service,
            gate: Arc::new(Gate::new(settings.breaker.clone())),
            settings,
            cached: ArcSwapOption::empty(),
            flight: Mutex::default(),
        }
    }

    /// The breaker in front of the service.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// What can be said at once.
    pub fn outlook(&self, charge: &Charge) -> Outlook {
        let cached = self.cached.load_full().filter(|cached| self.is_usable(cached));
        if let Some(verdict) = cached.and_then(|cached| cached.policy.decide(charge)) {
            return Outlook::Known(verdict);
        }
        match self.gate.wait() {
            Some(retry_after) if self.settings.when_away == WhenAway::Refuse => Outlook::Away { retry_after },
            _ => Outlook::Ask,
        }
    }

    /// The verdict on a payment, not later than `deadline`.
    ///
    /// # Errors
    /// The service is away, and payments are not to be approved without it.
    pub async fn judge(
        self: &Arc<Self>,
        charge: &Charge,
        deadline: Instant,
    ) -> Result<RiskVerdict, CallError> {
        match self.ask(charge, deadline).await {
            Err(error) if self.settings.when_away == WhenAway::Approve => {
                tracing::warn!(payment = %charge.key, %error, "approved without a risk check, as configured");
                Ok(RiskVerdict::Approve)
            }
            verdict => verdict,
        }
    }

    async fn ask(self: &Arc<Self>, charge: &Charge, deadline: Instant) -> Result<RiskVerdict, CallError> {
        let cached = self.policy(deadline).await?;
        match cached.policy.decide(charge) {
            Some(verdict) => Ok(verdict),
            None => self.call(deadline, || self.service.assess(charge)).await,
        }
    }

    async fn policy(self: &Arc<Self>, deadline: Instant) -> Fetched {
        if let Some(cached) = self.cached.load_full().filter(|cached| self.is_usable(cached)) {
            if self.is_old(&cached) {
                drop(self.board_flight());
            }
            return Ok(cached);
        }
        let mut flight = self.board_flight();
        match timeout_at(deadline, flight.wait_for(Option::is_some)).await {
            Ok(Ok(landed)) => landed.clone().unwrap_or_else(|| Err(cut_short())),
            Ok(Err(_)) => Err(cut_short()),
            Err(_) => Err(CallError::Unknown("the risk policy did not come in time".into())),
        }
    }

    /// The fetch that is under way, or one that begins now. It is a task of its own, with a budget of its own: who asks
    /// first neither ends it by going away, nor limits it for the others by being in a hurry.
    fn board_flight(self: &Arc<Self>) -> watch::Receiver<Landing> {
        let mut flight = self.flight.lock();
        if let Some(under_way) =
            flight.as_ref().filter(|it| it.borrow().is_none() && it.has_changed().is_ok())
        {
            return under_way.clone();
        }
        let (land, landing) = watch::channel(None);
        *flight = Some(landing.clone());
        let check = Arc::clone(self);
        tokio::spawn(async move {
            let fetched = check.fetch().await;
            if let Err(error) = &fetched
                && check.cached.load().is_some()
            {
                tracing::warn!(%error, "the risk policy could not be renewed; the old one stays in use for now");
            }
            land.send_replace(Some(fetched));
        });
        landing
    }

    async fn fetch(&self) -> Fetched {
        let RiskSettings { retry, .. } = &self.settings;
        let budget = Duration::from_millis(retry.try_ms * u64::from(retry.tries_max));
        let policy = self.call(Instant::now() + budget, || self.service.policy()).await?;
        let cached = Arc::new(CachedPolicy { policy, fetched: Instant::now() });
        self.cached.store(Some(Arc::clone(&cached)));
        Ok(cached)
    }

    async fn call<'a, T>(
        &self,
        deadline: Instant,
        call: impl FnMut() -> Answer<'a, T>,
    ) -> Result<T, CallError> {
        let pass = self.gate.pass().map_err(|wait| {
            CallError::Busy(format!(
                "the risk service failed too often; asked again in {} ms",
                wait.ceil_ms()
            ))
        })?;
        let answer = retried(&self.settings.retry, deadline, call).await;
        pass.conclude(if answer.is_ok() { CallVerdict::Good } else { CallVerdict::Bad });
        answer
    }

    fn is_old(&self, cached: &CachedPolicy) -> bool {
        cached.fetched.elapsed() >= Duration::from_millis(self.settings.policy_ttl_ms)
    }

    fn is_usable(&self, cached: &CachedPolicy) -> bool {
        cached.fetched.elapsed() < Duration::from_millis(self.settings.policy_stale_ms_max)
    }
}

/// A fetch that ended without a word: its runtime is going away.
fn cut_short() -> CallError {
    CallError::Busy("the risk policy is not fetched any more".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkout::gateway::{AttemptId, Money, PaymentKey};
    use crate::checkout::service_settings::RetrySettings;
    use crate::domain::{BuyerId, Currency, NodeId, OrderId};
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use tokio::time::{advance, sleep};

    /// Counts the questions, and can be away.
    #[derive(Default)]
    struct Counted {
        policies: AtomicUsize,
        assessments: AtomicUsize,
        is_away: AtomicBool,
        hangs: AtomicBool,
    }

    impl Counted {
        fn answer<T>(&self, count: &AtomicUsize, answer: T) -> Result<T, CallError> {
            count.fetch_add(1, Ordering::Relaxed);
            if self.is_away.load(Ordering::Relaxed) {
                Err(CallError::Busy("away".into()))
            } else {
                Ok(answer)
            }
        }
    }

    impl RiskService for Counted {
        fn policy(&self) -> Answer<'_, RiskPolicy> {
            Box::pin(async {
                if self.hangs.load(Ordering::Relaxed) {
                    self.policies.fetch_add(1, Ordering::Relaxed);
                    return std::future::pending().await;
                }
                sleep(Duration::from_millis(10)).await;
                self.answer(
                    &self.policies,
                    RiskPolicy {
                        ask_above: Cents(100),
                        denied_methods: ["cheque".into()].into(),
                        denied_buyers: ["mallory".into()].into(),
                    },
                )
            })
        }

        fn assess<'a>(&'a self, charge: &'a Charge) -> Answer<'a, RiskVerdict> {
            Box::pin(async {
                let verdict = if charge.money.amount > Cents(1_000) {
                    RiskVerdict::Reject { reason: "too-much".into() }
                } else {
                    RiskVerdict::Approve
                };
                self.answer(&self.assessments, verdict)
            })
        }
    }

    fn charge(cents: u64, buyer: &str, method: &str) -> Charge {
        Charge {
            key: PaymentKey {
                store: None,
                attempt: AttemptId { order: OrderId::from_tick(1, NodeId::new(0).unwrap()), attempt: 1 },
            },
            quantity: 1,
            money: Money { amount: Cents(cents), currency: Currency::USD },
            buyer: BuyerId::new(buyer).unwrap(),
            method: method.into(),
        }
    }

    fn check(when_away: WhenAway) -> (Arc<Counted>, Arc<RiskCheck>) {
        let service = Arc::new(Counted::default());
        let mut settings = RiskSettings { when_away, ..RiskSettings::default() };
        settings.breaker.calls_min = 2;
        (Arc::clone(&service), Arc::new(RiskCheck::new(service, settings)))
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(5)
    }

    fn reject(reason: &str) -> RiskVerdict {
        RiskVerdict::Reject { reason: reason.into() }
    }

    #[tokio::test(start_paused = true)]
    async fn the_policy_decides_what_it_can_and_the_service_the_rest() {
        let (service, check) = check(WhenAway::Refuse);
        let cases = [
            (charge(100, "ann", "card"), RiskVerdict::Approve, 0),
            (charge(1, "ann", "cheque"), reject("method-denied"), 0),
            (charge(1, "mallory", "card"), reject("buyer-denied"), 0),
            (charge(101, "ann", "card"), RiskVerdict::Approve, 1),
            (charge(1_001, "ann", "card"), reject("too-much"), 2),
        ];
        for (charge, verdict, assessments) in cases {
            assert_eq!(check.judge(&charge, soon()).await, Ok(verdict), "{charge:?}");
            assert_eq!(service.assessments.load(Ordering::Relaxed), assessments);
        }
        assert_eq!(service.policies.load(Ordering::Relaxed), 1);
        assert_eq!(check.outlook(&charge(1, "mallory", "card")), Outlook::Known(reject("buyer-denied")));
        assert_eq!(check.outlook(&charge(101, "ann", "card")), Outlook::Ask);
    }

    #[tokio::test(start_paused = true)]
    async fn a_crowd_without_a_policy_fetches_it_once() {
        let (service, check) = check(WhenAway::Refuse);
        let mut crowd = tokio::task::JoinSet::new();
        for _ in 0..100 {
            let check = Arc::clone(&check);
            crowd.spawn(async move { check.judge(&charge(1, "ann", "card"), soon()).await });
        }
        for verdict in crowd.join_all().await {
            assert_eq!(verdict, Ok(RiskVerdict::Approve));
        }
        assert_eq!(service.policies.load(Ordering::Relaxed), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn d7_a_crowd_before_a_policy_that_hangs_waits_for_one_failure() {
        let (service, check) = check(WhenAway::Refuse);
        service.hangs.store(true, Ordering::Relaxed);
        let RetrySettings { try_ms, tries_max, .. } = RiskSettings::default().retry;
        let began = Instant::now();
        let mut crowd = tokio::task::JoinSet::new();
        for _ in 0..12 {
            let check = Arc::clone(&check);
            crowd.spawn(async move { check.judge(&charge(1, "ann", "card"), soon()).await });
        }
        // Who is in a hurry leaves, and takes nothing away from the others.
        let hurried = check.judge(&charge(1, "ann", "card"), began + Duration::from_millis(1)).await;
        assert!(hurried.is_err());
        for verdict in crowd.join_all().await {
            assert!(verdict.is_err());
        }
        // The clock is paused: this is exactly the budget of one fetch.
        let budget = Duration::from_millis(try_ms * u64::from(tries_max));
        assert!(began.elapsed() <= budget + Duration::from_millis(1), "{:?}", began.elapsed());
        assert!(service.policies.load(Ordering::Relaxed) <= tries_max as usize);

        service.hangs.store(false, Ordering::Relaxed);
        assert_eq!(check.judge(&charge(1, "ann", "card"), soon()).await, Ok(RiskVerdict::Approve));
    }

    #[tokio::test(start_paused = true)]
    async fn an_old_policy_is_used_while_it_is_renewed_but_not_for_ever() {
        let (service, check) = check(WhenAway::Refuse);
        let ann = charge(1, "ann", "card");
        check.judge(&ann, soon()).await.unwrap();
        service.is_away.store(true, Ordering::Relaxed);

        advance(Duration::from_millis(5_000)).await;
        let asked_at = Instant::now();
        assert_eq!(check.judge(&ann, soon()).await, Ok(RiskVerdict::Approve));
        assert_eq!(asked_at.elapsed(), Duration::ZERO, "nobody waits for the renewal");

        advance(Duration::from_millis(300_000)).await;
        assert!(check.judge(&ann, soon()).await.is_err());
        service.is_away.store(false, Ordering::Relaxed);
        advance(Duration::from_millis(5_000)).await;
        assert_eq!(check.judge(&ann, soon()).await, Ok(RiskVerdict::Approve));
    }

    #[tokio::test(start_paused = true)]
    async fn without_the_service_the_configuration_decides() {
        for (when_away, is_approved) in [(WhenAway::Refuse, false), (WhenAway::Approve, true)] {
            let (service, check) = check(when_away);
            service.is_away.store(true, Ordering::Relaxed);
            let ann = charge(1, "ann", "card");
            for _ in 0..4 {
                assert_eq!(check.judge(&ann, soon()).await.is_ok(), is_approved);
            }
            let is_refused_at_once = matches!(check.outlook(&ann), Outlook::Away { .. });
            assert_eq!(is_refused_at_once, !is_approved);
        }
    }
}
