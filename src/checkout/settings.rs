//! What an operator can set about paying, with defaults, units and limits. Durations end in `_ms` or `_s`, rates are
//! shares from 0 to 1. Unknown keys are errors.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::service_settings::{
    BreakerSettings, GatewaySettings, HttpSettings, LatencySettings, RetrySettings, ServiceKind,
};
use super::setting_limits::{Checked, HOUR_MS, WrongKey, share, within, wrong};

/// The section `checkout`.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct CheckoutSettings {
    /// The payment methods that are accepted; empty: every method, 1 to 64 visible ASCII characters.
    pub methods: Vec<String>,
    /// How long a buyer waits for the outcome before hearing `paying`.
    pub wait_ms: u64,
    /// Payments under way at once, each a task in memory; above it buyers hear `payment-unavailable`.
    pub attempts_max: usize,
    /// Payments of one order that may be begun, whatever becomes of them; 0 sets no limit. One more is refused, and the
    /// order waits until its deadline.
    pub attempts_per_order_max: u32,
    /// How long hold and risk check together may take.
    pub try_within_ms: u64,
    /// How long the capture, or the void, may take before recovery takes over.
    pub settle_within_ms: u64,
    /// The payment gateway.
    pub gateway: GatewaySettings,
    /// Gateways that take no new payments and finish those that were begun there: by name, tables with the keys of
    /// `checkout.gateway` but `name`.
    pub former_gateways: BTreeMap<String, GatewaySettings>,
    /// The risk service.
    pub risk: RiskSettings,
    /// Lets an engine that others can reach (an edge address that is not loopback) take payments with a simulated
    /// gateway or risk service: no money is taken, goods go for nothing. For load tests.
    pub allow_simulated: bool,
    /// Payments whose outcome is not known.
    pub recovery: RecoverySettings,
    /// Orders that nobody paid.
    pub expiry: ExpirySettings,
}

impl Default for CheckoutSettings {
    fn default() -> Self {
        Self {
            methods: Vec::new(),
            wait_ms: 5_000,
            attempts_max: 20_000,
            attempts_per_order_max: 20,
            try_within_ms: 4_000,
            settle_within_ms: 4_000,
            gateway: GatewaySettings::default(),
            former_gateways: BTreeMap::new(),
            risk: RiskSettings::default(),
            allow_simulated: false,
            recovery: RecoverySettings::default(),
            expiry: ExpirySettings::default(),
        }
    }
}

impl CheckoutSettings {
    /// The longest payment method, in bytes.
    pub const METHOD_BYTES_MAX: usize = 64;

    /// Whether a method may be named so: 1 to 64 visible ASCII characters.
    pub fn is_method_name(method: &str) -> bool {
        !method.is_empty()
            && method.len() <= Self::METHOD_BYTES_MAX
            && method.bytes().all(|byte| byte.is_ascii_graphic())
    }

    /// Whether buyers may pay by this method.
    pub fn accepts_method(&self, method: &str) -> bool {
        Self::is_method_name(method)
            && (self.methods.is_empty() || self.methods.iter().any(|accepted| accepted == method))
    }

    /// Which services are only played: `gateway`, `risk`.
    pub fn simulated(&self) -> Vec<&'static str> {
        let kinds = [("gateway", self.gateway.kind), ("risk", self.risk.kind)];
        kinds.into_iter().filter(|(_, kind)| *kind == ServiceKind::Simulated).map(|(name, _)| name).collect()
    }

    /// Checks every value against its limits.
    ///
    /// # Errors
    /// The first key that breaks its limit.
    pub fn check(&self) -> Result<(), WrongKey> {
        let key = |name: &str| format!("checkout.{name}");
        if let Some(bad) = self.methods.iter().find(|method| !Self::is_method_name(method)) {
            return wrong(
                key("methods"),
                format!("has {bad:?}, which is not 1 to 64 visible ASCII characters"),
            );
        }
        within(key("wait_ms"), self.wait_ms, 1, 60_000)?;
        within(key("attempts_max"), self.attempts_max as u64, 1, 1_000_000)?;
        within(key("attempts_per_order_max"), self.attempts_per_order_max.into(), 0, 1_000_000)?;
        within(key("try_within_ms"), self.try_within_ms, 1, 600_000)?;
        within(key("settle_within_ms"), self.settle_within_ms, 1, 600_000)?;
        self.gateway.check(&key("gateway"))?;
        for (name, former) in &self.former_gateways {
            let path = key(&format!("former_gateways.{name:?}"));
            if !GatewaySettings::is_name(name) || !former.name.is_empty() {
                return wrong(
                    path,
                    "is named by its table: 1 to 255 visible ASCII characters, and no name in it",
                );
            }
            if *name == self.gateway.full_name() {
                return wrong(path, "has the name of checkout.gateway, which takes new payments");
            }
            former.check(&path)?;
        }
        self.risk.check(&key("risk"))?;
        self.recovery.check(&key("recovery"))?;
        self.expiry.check(&key("expiry"))
    }
}

/// What becomes of a payment that the risk service cannot be asked about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenAway {
    /// It is not made; the buyer hears `payment-unavailable`.
    #[default]
    Refuse,
    /// It is made unchecked.
    Approve,
}

/// The section `checkout.risk`.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RiskSettings {
    /// Which service judges.
    pub kind: ServiceKind,
    /// How calls are repeated.
    pub retry: RetrySettings,
    /// When the service is left alone.
    pub breaker: BreakerSettings,
    /// A policy older than this is fetched anew while payments still go by the old one.
    pub policy_ttl_ms: u64,
    /// A policy older than this is not used any more; at least `policy_ttl_ms`.
    pub policy_stale_ms_max: u64,
    /// What becomes of payments while the service does not answer.
    pub when_away: WhenAway,
    /// What the simulated service does, for `kind = "simulated"`.
    pub simulated: SimulatedRiskSettings,
    /// Where the service is, for `kind = "http"`.
    pub http: HttpSettings,
}

impl Default for RiskSettings {
    fn default() -> Self {
        Self {
            kind: ServiceKind::default(),
            retry: RetrySettings { tries_max: 2, try_ms: 300, backoff_ms: 20, backoff_ms_max: 100 },
            breaker: BreakerSettings::default(),
            policy_ttl_ms: 5_000,
            policy_stale_ms_max: 300_000,
            when_away: WhenAway::default(),
            simulated: SimulatedRiskSettings::default(),
            http: HttpSettings::default(),
        }
    }
}

impl RiskSettings {
    fn check(&self, path: &str) -> Checked {
        self.retry.check(&format!("{path}.retry"))?;
        self.breaker.check(&format!("{path}.breaker"))?;
        within(format!("{path}.policy_ttl_ms"), self.policy_ttl_ms, 1, HOUR_MS)?;
        within(
            format!("{path}.policy_stale_ms_max"),
            self.policy_stale_ms_max,
            self.policy_ttl_ms,
            24 * HOUR_MS,
        )?;
        match self.kind {
            ServiceKind::Simulated => self.simulated.check(&format!("{path}.simulated")),
            ServiceKind::Http => self.http.check(&format!("{path}.http")),
        }
    }
}

/// The section `checkout.risk.simulated`.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimulatedRiskSettings {
    /// The same seed draws the same verdict for the same payment.
    pub seed: u64,
    /// Answer times.
    pub latency: LatencySettings,
    /// Payments of more than this are assessed one by one, the others approved by the policy.
    pub ask_above_cents: u64,
    /// Methods the policy denies.
    pub denied_methods: Vec<String>,
    /// Buyers the policy denies.
    pub denied_buyers: Vec<String>,
    /// The share of assessed payments that are rejected.
    pub reject_rate: f64,
    /// The share of calls that fail.
    pub failure_rate: f64,
}

impl Default for SimulatedRiskSettings {
    fn default() -> Self {
        Self {
            seed: 1,
            latency: LatencySettings { median_ms: 20.0, p99_ms: 80.0 },
            ask_above_cents: 50_000,
            denied_methods: Vec::new(),
            denied_buyers: Vec::new(),
            reject_rate: 0.0,
            failure_rate: 0.0,
        }
    }
}

impl SimulatedRiskSettings {
    fn check(&self, path: &str) -> Checked {
        self.latency.check(&format!("{path}.latency"))?;
        share(format!("{path}.reject_rate"), self.reject_rate)?;
        share(format!("{path}.failure_rate"), self.failure_rate)
    }
}

/// The section `checkout.recovery`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RecoverySettings {
    /// Payments asked about at once.
    pub concurrency_max: usize,
    /// With more payments of unknown outcome than this, no new ones are begun.
    pub queue_max: usize,
    /// The pause before a payment is asked about again; doubles each time, with jitter.
    pub backoff_ms: u64,
    /// The longest such pause; at least `backoff_ms`.
    pub backoff_ms_max: u64,
    /// How long after `pay_before` money that is still on hold is captured; later it is let go.
    pub capture_within_s: u64,
}

impl Default for RecoverySettings {
    fn default() -> Self {
        Self {
            concurrency_max: 64,
            queue_max: 100_000,
            backoff_ms: 500,
            backoff_ms_max: 30_000,
            capture_within_s: 900,
        }
    }
}

impl RecoverySettings {
    fn check(&self, path: &str) -> Checked {
        within(format!("{path}.concurrency_max"), self.concurrency_max as u64, 1, 10_000)?;
        within(format!("{path}.queue_max"), self.queue_max as u64, 1, 10_000_000)?;
        within(format!("{path}.backoff_ms"), self.backoff_ms, 1, HOUR_MS)?;
        within(format!("{path}.backoff_ms_max"), self.backoff_ms_max, self.backoff_ms, HOUR_MS)?;
        within(format!("{path}.capture_within_s"), self.capture_within_s, 0, 7 * 24 * 3600)
    }
}

/// The section `checkout.expiry`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExpirySettings {
    /// How often overdue orders are looked for.
    pub tick_ms: u64,
    /// Orders let go of at once; at most half of `store.steps_max`, so that payments always find room beside them.
    pub batch_max: usize,
    /// How often it is written down that the engine lives, in ms: by so much more than it was down deadlines may move
    /// at the next start.
    pub alive_ms: u64,
}

impl Default for ExpirySettings {
    fn default() -> Self {
        Self { tick_ms: 100, batch_max: 1_000, alive_ms: 5_000 }
    }
}

impl ExpirySettings {
    fn check(&self, path: &str) -> Checked {
        within(format!("{path}.tick_ms"), self.tick_ms, 1, 60_000)?;
        within(format!("{path}.alive_ms"), self.alive_ms, 100, 600_000)?;
        within(format!("{path}.batch_max"), self.batch_max as u64, 1, 100_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_keep_their_own_limits_and_survive_an_empty_file() {
        assert_eq!(CheckoutSettings::default().check(), Ok(()));
        assert_eq!(toml::from_str::<CheckoutSettings>("").unwrap(), CheckoutSettings::default());
    }

    #[test]
    fn a_wrong_value_names_its_key() {
        let cases = [
            ("wait_ms = 0", "checkout.wait_ms"),
            ("methods = ['card', 'a b']", "checkout.methods"),
            ("attempts_max = 0", "checkout.attempts_max"),
            ("[gateway.retry]\ntries_max = 0", "checkout.gateway.retry.tries_max"),
            ("[gateway.breaker]\nfailure_ratio = 0.0", "checkout.gateway.breaker.failure_ratio"),
            ("[gateway.breaker]\nfailure_ratio = nan", "checkout.gateway.breaker.failure_ratio"),
            ("[gateway.simulated]\ndecline_rate = 1.5", "checkout.gateway.simulated.decline_rate"),
            (
                "[gateway.simulated]\nhold_latency = { median_ms = 10.0, p99_ms = 9.0 }",
                "checkout.gateway.simulated.hold_latency.p99_ms",
            ),
            ("[gateway]\nkind = 'http'", "checkout.gateway.http.url"),
            ("[gateway]\nkind = 'http'\nhttp.url = 'ftp://bank'", "checkout.gateway.http.url"),
            ("[risk]\nkind = 'http'\nhttp.url = 'http://risk?x=1'", "checkout.risk.http.url"),
            ("[risk]\npolicy_ttl_ms = 1000\npolicy_stale_ms_max = 999", "checkout.risk.policy_stale_ms_max"),
            ("[gateway]\nname = 'a b'", "checkout.gateway.name"),
            ("[gateway.processing]\npoll_ms = 0", "checkout.gateway.processing.poll_ms"),
            ("[former_gateways.simulated]", "checkout.former_gateways.\"simulated\""),
            ("[former_gateways.old]\nname = 'new'", "checkout.former_gateways.\"old\""),
            ("[former_gateways.old]\nkind = 'http'", "checkout.former_gateways.\"old\".http.url"),
            ("[recovery]\nconcurrency_max = 0", "checkout.recovery.concurrency_max"),
            ("[expiry]\nbatch_max = 0", "checkout.expiry.batch_max"),
            ("[recovery]\nbackoff_ms = 900\nbackoff_ms_max = 800", "checkout.recovery.backoff_ms_max"),
            ("[risk.retry]\nbackoff_ms = 90\nbackoff_ms_max = 80", "checkout.risk.retry.backoff_ms_max"),
        ];
        for (text, key) in cases {
            let settings: CheckoutSettings = toml::from_str(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(settings.check().expect_err(text).key, key);
        }
    }

    #[test]
    fn an_unknown_key_is_an_error_that_names_it() {
        for text in ["wait = 1", "[gateway.http]\nurll = 'x'", "[risk.simulated]\nrate = 1"] {
            let error = toml::from_str::<CheckoutSettings>(text).unwrap_err().to_string();
            assert!(error.contains("unknown field"), "{error}");
        }
    }

    #[test]
    fn methods_are_limited_to_the_list_if_there_is_one() {
        let mut settings = CheckoutSettings::default();
        assert!(settings.accepts_method("card"));
        for bad in ["", "a b", "ü", &"x".repeat(65)] {
            assert!(!settings.accepts_method(bad), "{bad:?}");
        }
        settings.methods = vec!["card".into()];
        assert!(settings.accepts_method("card") && !settings.accepts_method("wire"));
    }
}
