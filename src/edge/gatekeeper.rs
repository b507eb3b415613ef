//! The gatekeeper: an HTTP service that is asked once about whoever joins a waiting room, before there is a place.
//!
//! Its verdict is bound to the registration: who is let in gets a pass, and nobody is asked again about who holds one. Who is
//! refused gets none, and for a while the refusal stands here without another question. WAITING_ROOM.md has its contract.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use reqwest::Method;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::gatekeeper_settings::{GateFailure, GatekeeperSettings};
use crate::checkout::{CallError, CallVerdict, Gate, HttpPeer};
use crate::domain::{Nanos, SaleId, Who};
use crate::telemetry::{GatekeeperRecords, Seldom};

/// Characters of a reason that a buyer will read.
const REASON_CHARS_MAX: usize = 200;

/// The door.
#[derive(Debug)]
pub struct Gatekeeper {
    peer: HttpPeer,
    gate: Arc<Gate>,
    calls: Semaphore,
    settings: GatekeeperSettings,
    refused: Refusals,
}

/// Who knocks where: what the service is told.
#[derive(Debug, Serialize)]
pub(super) struct Question<'a> {
    pub tenant: &'a str,
    pub campaign: &'a str,
    pub sku: &'a str,
    pub buyer: &'a str,
    /// `X-Gate-Token`: what the service's own script, or the network in front, has found out about the browser.
    pub token: Option<&'a str>,
    pub user_agent: Option<&'a str>,
    pub request_id: &'a str,
}

#[derive(Debug, Deserialize)]
struct VerdictBody {
    verdict: Verdict,
    reason: Option<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Admit,
    Refuse,
}

/// What becomes of who knocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// There is a place.
    In,
    /// There is none.
    Refused {
        /// Why, in a word that the buyer may see.
        reason: String,
    },
    /// Nobody can be asked, and nobody is let in without.
    Away {
        /// When to knock again.
        retry_after: Nanos,
    },
}

impl Gatekeeper {
    /// The gatekeeper of the settings, if they name one.
    ///
    /// # Errors
    /// No HTTP client can be made of them.
    pub fn new(settings: &GatekeeperSettings) -> Result<Option<Self>, CallError> {
        if settings.http.url.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self {
            peer: HttpPeer::new(settings.http.clone())?,
            gate: Arc::new(Gate::new(settings.breaker.clone())),
            calls: Semaphore::new(settings.calls_max),
            settings: settings.clone(),
            refused: Refusals::default(),
        }))
    }

    /// The verdict on who knocks as `who` at this sale; `now` is the time of the stopwatch.
    pub(super) async fn judge(
        &self,
        question: &Question<'_>,
        (sale, who): (SaleId, &Who),
        now: Nanos,
        records: &GatekeeperRecords,
    ) -> Judged {
        if self.refused.holds(sale, who, now) {
            return Judged::Refused { reason: "refused".into() };
        }
        match self.ask(question).await {
            Ok(VerdictBody { verdict: Verdict::Admit, .. }) => {
                records.admitted.increment();
                Judged::In
            }
            Ok(VerdictBody { verdict: Verdict::Refuse, reason }) => {
                records.refused.increment();
                let kept = Nanos(u64::from(self.settings.refusal_s) * Nanos::SECOND.0);
                self.refused.note(sale, who, Nanos(now.0.saturating_add(kept.0)));
                let reason = reason.filter(|reason| !reason.is_empty()).unwrap_or_else(|| "refused".into());
                Judged::Refused { reason: reason.chars().take(REASON_CHARS_MAX).collect() }
            }
            Err((retry_after, error)) => {
                records.away.increment();
                self.say_away(&error, question.request_id);
                match self.settings.on_failure {
                    GateFailure::Open => Judged::In,
                    GateFailure::Closed => Judged::Away { retry_after },
                }
            }
        }
    }

    async fn ask(&self, question: &Question<'_>) -> Result<VerdictBody, (Nanos, String)> {
        let too_many = || (Nanos::SECOND, "as many questions as may be are under way".to_owned());
        let _place = self.calls.try_acquire().map_err(|_| too_many())?;
        let left_alone = |wait: Nanos| (wait, "it failed too often and is left alone".to_owned());
        let pass = self.gate.pass().map_err(left_alone)?;
        let request = self.peer.request(Method::POST, "/register").json(question);
        let wait = Duration::from_millis(self.settings.wait_ms);
        let answer = match tokio::time::timeout(wait, self.peer.answer("gatekeeper register", request)).await
        {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer within {} ms", self.settings.wait_ms)),
        };
        pass.conclude(if answer.is_ok() { CallVerdict::Good } else { CallVerdict::Bad });
        answer.map_err(|error| (Nanos::SECOND, error))
    }

    fn say_away(&self, error: &str, request_id: &str) {
        static SAID: Seldom = Seldom::new();
        if let Some(more) = SAID.now() {
            let on_failure = self.settings.on_failure;
            tracing::warn!(
                error,
                ?on_failure,
                request_id,
                more,
                "the gatekeeper of the waiting rooms did not answer"
            );
        }
    }
}

/// Who was refused lately: a table of fixed size, in which a later one takes the place of an earlier.
///
/// # Protocol of the atomics
///
/// A slot is two words, and the first is the name combined with the second by exclusive or: whoever reads a mixture of two
/// writes finds a name that is nobody's. Nothing else is published: relaxed.
#[derive(Debug)]
struct Refusals(Box<[[AtomicU64; 2]]>);

impl Refusals {
    const SLOTS: usize = 1 << 14;

    fn holds(&self, sale: SaleId, who: &Who, now: Nanos) -> bool {
        let (name, [combined, until]) = self.slot(sale, who);
        let until = until.load(Relaxed);
        now.0 < until && combined.load(Relaxed) ^ until == name
    }

    fn note(&self, sale: SaleId, who: &Who, until: Nanos) {
        let (name, [combined, slot]) = self.slot(sale, who);
        combined.store(name ^ until.0, Relaxed);
        slot.store(until.0, Relaxed);
    }

    fn slot(&self, sale: SaleId, who: &Who) -> (u64, &[AtomicU64; 2]) {
        // The name is a hash already.
        let (first, rest) = who.split_at(8);
        let number = |bytes: &[u8]| bytes.iter().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
        (number(first) ^ u64::from(sale.0), &self.0[number(rest) as usize % Self::SLOTS])
    }
}

impl Default for Refusals {
    fn default() -> Self {
        Self((0..Self::SLOTS).map(|_| [const { AtomicU64::new(0) }; 2]).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_stands_for_its_time_at_its_sale() {
        let refusals = Refusals::default();
        let (ann, bob) = ([1; 16], [2; 16]);
        assert!(!refusals.holds(SaleId(1), &ann, Nanos(5)));
        refusals.note(SaleId(1), &ann, Nanos(9));
        assert!(refusals.holds(SaleId(1), &ann, Nanos(8)) && !refusals.holds(SaleId(1), &ann, Nanos(9)));
        assert!(!refusals.holds(SaleId(2), &ann, Nanos(5)) && !refusals.holds(SaleId(1), &bob, Nanos(5)));
    }

    #[test]
    fn without_an_address_there_is_nobody() {
        assert!(Gatekeeper::new(&GatekeeperSettings::default()).unwrap().is_none());
    }
}
