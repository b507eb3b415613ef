#![doc = include_str!("RISK.md")]

use std::collections::HashSet;

use reqwest::Method;
use serde::{Deserialize, Serialize};

use super::gateway::Charge;
use super::http_peer::{ChargeBody, HttpPeer, word};
use super::remote_call::{Answer, CallError};
use super::risk::{RiskPolicy, RiskService, RiskVerdict};
use super::service_settings::HttpSettings;
use crate::domain::Cents;

/// A risk service behind the HTTP contract above.
#[derive(Debug)]
pub struct HttpRisk {
    peer: HttpPeer,
}

/// A payment and its key: order and attempt alone may be another engine's as well.
#[derive(Serialize)]
struct Question<'a> {
    key: String,
    #[serde(flatten)]
    charge: ChargeBody<'a>,
}

impl<'a> Question<'a> {
    fn about(charge: &'a Charge) -> Self {
        Self { key: charge.key.to_string(), charge: ChargeBody::of(charge) }
    }
}

#[derive(Deserialize)]
struct PolicyBody {
    ask_above_cents: u64,
    #[serde(default)]
    denied_methods: HashSet<String>,
    #[serde(default)]
    denied_buyers: HashSet<String>,
}

#[derive(Deserialize)]
struct VerdictBody {
    verdict: VerdictWord,
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum VerdictWord {
    Approve,
    Reject,
}

impl HttpRisk {
    /// A service at `settings.url`.
    ///
    /// # Errors
    /// [`CallError::Invalid`] when no HTTP client can be made of the settings.
    pub fn new(settings: HttpSettings) -> Result<Self, CallError> {
        HttpPeer::new(settings).map(|peer| Self { peer })
    }
}

impl RiskService for HttpRisk {
    fn policy(&self) -> Answer<'_, RiskPolicy> {
        Box::pin(async {
            let body: PolicyBody =
                self.peer.answer("risk policy", self.peer.request(Method::GET, "/policy")).await?;
            Ok(RiskPolicy {
                ask_above: Cents(body.ask_above_cents),
                denied_methods: body.denied_methods,
                denied_buyers: body.denied_buyers,
            })
        })
    }

    fn assess<'a>(&'a self, charge: &'a Charge) -> Answer<'a, RiskVerdict> {
        Box::pin(async {
            let request = self.peer.request(Method::POST, "/assess").json(&Question::about(charge));
            let body: VerdictBody = self.peer.answer("risk assess", request).await?;
            Ok(match body.verdict {
                VerdictWord::Approve => RiskVerdict::Approve,
                VerdictWord::Reject => RiskVerdict::Reject { reason: word(body.reason, "rejected") },
            })
        })
    }
}
