//! What an operator can set about paying, with defaults, units and limits. Durations end in `_ms` or `_s`, rates are
//! shares from 0 to 1. Unknown keys are errors.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::settings::Secret;

/// A key whose value is out of its limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrongKey {
    /// The key, from `checkout` on: `checkout.gateway.http.url`.
    pub key: String,
    /// What is wrong and what would be right.
    pub problem: String,
}

impl fmt::Display for WrongKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.key, self.problem)
    }
}

impl std::error::Error for WrongKey {}

type Checked = Result<(), WrongKey>;

fn wrong(key: String, problem: impl Into<String>) -> Checked {
    Err(WrongKey { key, problem: problem.into() })
}

fn within(key: String, value: u64, min: u64, max: u64) -> Checked {
    if (min..=max).contains(&value) { Ok(()) } else { wrong(key, format!("must be {min} to {max}")) }
}

fn share(key: String, rate: f64) -> Checked {
    if (0.0..=1.0).contains(&rate) { Ok(()) } else { wrong(key, "must be 0 to 1") }
}

const HOUR_MS: u64 = 3_600_000;

/// The section `checkout`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct CheckoutSettings {
    /// The payment methods that are accepted; empty (default): every method, 1 to 64 visible ASCII characters.
    pub methods: Vec<String>,
    /// How long a buyer waits for the outcome before hearing `paying`. Default 5000, 1 to 60000.
    pub wait_ms: u64,
    /// Payments under way at once, each a task in memory; above it buyers hear `payment-unavailable`.
    /// Default 20000, 1 to 1000000.
    pub attempts_max: usize,
    /// How long hold and risk check together may take. Default 4000, 1 to 600000.
    pub try_within_ms: u64,
    /// How long the capture, or the void, may take before recovery takes over. Default 4000, 1 to 600000.
    pub settle_within_ms: u64,
    /// The payment gateway.
    pub gateway: GatewaySettings,
    /// The risk service.
    pub risk: RiskSettings,
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
            try_within_ms: 4_000,
            settle_within_ms: 4_000,
            gateway: GatewaySettings::default(),
            risk: RiskSettings::default(),
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
        within(key("try_within_ms"), self.try_within_ms, 1, 600_000)?;
        within(key("settle_within_ms"), self.settle_within_ms, 1, 600_000)?;
        self.gateway.check(&key("gateway"))?;
        self.risk.check(&key("risk"))?;
        self.recovery.check(&key("recovery"))?;
        self.expiry.check(&key("expiry"))
    }
}

/// Which implementation of a remote service is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceKind {
    /// In this process, by chance that can be repeated: for demonstrations and load tests. Moves no money.
    #[default]
    Simulated,
    /// A real one over HTTP.
    Http,
}

/// The section `checkout.gateway`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewaySettings {
    /// `simulated` (default) or `http`.
    pub kind: ServiceKind,
    /// How calls are repeated.
    pub retry: RetrySettings,
    /// When the gateway is left alone.
    pub breaker: BreakerSettings,
    /// For `kind = "simulated"`.
    pub simulated: SimulatedGatewaySettings,
    /// For `kind = "http"`.
    pub http: HttpSettings,
}

impl GatewaySettings {
    fn check(&self, path: &str) -> Checked {
        self.retry.check(&format!("{path}.retry"))?;
        self.breaker.check(&format!("{path}.breaker"))?;
        match self.kind {
            ServiceKind::Simulated => self.simulated.check(&format!("{path}.simulated")),
            ServiceKind::Http => self.http.check(&format!("{path}.http")),
        }
    }
}

/// How calls of a remote service are repeated, always with the same idempotency key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetrySettings {
    /// Tries of one call, the first included. Default 3, 1 to 20.
    pub tries_max: u32,
    /// How long one try may take. Default 2000, 1 to 600000.
    pub try_ms: u64,
    /// The pause after the first failure; doubles after each, with jitter. Default 50, 1 to 60000.
    pub backoff_ms: u64,
    /// The longest pause. Default 1000, 1 to 60000.
    pub backoff_ms_max: u64,
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self { tries_max: 3, try_ms: 2_000, backoff_ms: 50, backoff_ms_max: 1_000 }
    }
}

impl RetrySettings {
    fn check(&self, path: &str) -> Checked {
        within(format!("{path}.tries_max"), self.tries_max.into(), 1, 20)?;
        within(format!("{path}.try_ms"), self.try_ms, 1, 600_000)?;
        within(format!("{path}.backoff_ms"), self.backoff_ms, 1, 60_000)?;
        within(format!("{path}.backoff_ms_max"), self.backoff_ms_max, 1, 60_000)
    }
}

/// When a failing service is left alone, and how its return is noticed.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerSettings {
    /// How far back failures are counted. Default 10000, 10 to 3600000.
    pub window_ms: u64,
    /// Below this many calls in the window nothing is concluded. Default 20, 1 to 1000000.
    pub calls_min: u32,
    /// The share of failed calls that opens the breaker. Default 0.5, above 0 to 1.
    pub failure_ratio: f64,
    /// How long it stays open before probing. Default 5000, 1 to 3600000.
    pub open_ms: u64,
    /// Calls that must succeed, one of which may not fail, before it closes. Default 5, 1 to 1000.
    pub probes: u32,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self { window_ms: 10_000, calls_min: 20, failure_ratio: 0.5, open_ms: 5_000, probes: 5 }
    }
}

impl BreakerSettings {
    fn check(&self, path: &str) -> Checked {
        within(format!("{path}.window_ms"), self.window_ms, 10, HOUR_MS)?;
        within(format!("{path}.calls_min"), self.calls_min.into(), 1, 1_000_000)?;
        if !(self.failure_ratio > 0.0 && self.failure_ratio <= 1.0) {
            return wrong(format!("{path}.failure_ratio"), "must be above 0, at most 1");
        }
        within(format!("{path}.open_ms"), self.open_ms, 1, HOUR_MS)?;
        within(format!("{path}.probes"), self.probes.into(), 1, 1_000)
    }
}

/// A log-normal distribution of answer times.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LatencySettings {
    /// Half of the answers are faster. Above 0 to 600000.
    pub median_ms: f64,
    /// One answer in a hundred is slower. At least the median, to 600000.
    pub p99_ms: f64,
}

impl LatencySettings {
    fn check(&self, path: &str) -> Checked {
        if !(self.median_ms > 0.0 && self.median_ms <= 600_000.0) {
            return wrong(format!("{path}.median_ms"), "must be above 0, at most 600000");
        }
        if !(self.p99_ms >= self.median_ms && self.p99_ms <= 600_000.0) {
            return wrong(format!("{path}.p99_ms"), "must be at least median_ms, at most 600000");
        }
        Ok(())
    }
}

/// The section `checkout.gateway.simulated`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimulatedGatewaySettings {
    /// The same seed draws the same fate for the same payment. Default 1.
    pub seed: u64,
    /// Answer times of holds. Default median 30 ms, 99th percentile 120 ms.
    pub hold_latency: LatencySettings,
    /// Answer times of captures, voids and status questions. Default median 5 ms, 99th percentile 20 ms.
    pub settle_latency: LatencySettings,
    /// The share of payments that the bank declines. Default 0.
    pub decline_rate: f64,
    /// The share of calls that are never answered; half of them take effect all the same. Default 0.
    pub timeout_rate: f64,
    /// The share of calls whose connection is lost; half of them take effect all the same. Default 0.
    pub unknown_rate: f64,
    /// Payments remembered; the oldest is forgotten first. Default 1000000, 1 to 100000000; about 100 bytes each.
    pub payments_max: usize,
}

impl Default for SimulatedGatewaySettings {
    fn default() -> Self {
        Self {
            seed: 1,
            hold_latency: LatencySettings { median_ms: 30.0, p99_ms: 120.0 },
            settle_latency: LatencySettings { median_ms: 5.0, p99_ms: 20.0 },
            decline_rate: 0.0,
            timeout_rate: 0.0,
            unknown_rate: 0.0,
            payments_max: 1_000_000,
        }
    }
}

impl SimulatedGatewaySettings {
    fn check(&self, path: &str) -> Checked {
        self.hold_latency.check(&format!("{path}.hold_latency"))?;
        self.settle_latency.check(&format!("{path}.settle_latency"))?;
        share(format!("{path}.decline_rate"), self.decline_rate)?;
        share(format!("{path}.timeout_rate"), self.timeout_rate)?;
        share(format!("{path}.unknown_rate"), self.unknown_rate)?;
        within(format!("{path}.payments_max"), self.payments_max as u64, 1, 100_000_000)
    }
}

/// A remote service over HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSettings {
    /// Where it is, `http://` or `https://`, without query; paths are appended. No default.
    pub url: String,
    /// Sent as `Authorization: Bearer`, if not empty. Never shown.
    pub token: Secret,
    /// How long connecting may take. Default 1000, 1 to 60000.
    pub connect_ms: u64,
    /// A longer answer is not read to its end. Default 1048576, 256 to 67108864.
    pub answer_bytes_max: usize,
    /// Idle connections kept open. Default 256, 0 to 10000.
    pub idle_connections_max: usize,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            url: String::new(),
            token: Secret::default(),
            connect_ms: 1_000,
            answer_bytes_max: 1 << 20,
            idle_connections_max: 256,
        }
    }
}

impl HttpSettings {
    fn check(&self, path: &str) -> Checked {
        let url = reqwest::Url::parse(&self.url).ok();
        if !url.is_some_and(|url| matches!(url.scheme(), "http" | "https") && url.query().is_none()) {
            return wrong(
                format!("{path}.url"),
                "must be an http:// or https:// address without a query, as https://pay.example.com/v1",
            );
        }
        if !self.token.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
            return wrong(format!("{path}.token"), "must be visible ASCII characters");
        }
        within(format!("{path}.connect_ms"), self.connect_ms, 1, 60_000)?;
        within(format!("{path}.answer_bytes_max"), self.answer_bytes_max as u64, 256, 64 << 20)?;
        within(format!("{path}.idle_connections_max"), self.idle_connections_max as u64, 0, 10_000)
    }
}

/// What becomes of a payment that the risk service cannot be asked about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenAway {
    /// It is not made; the buyer hears `payment-unavailable`.
    #[default]
    Refuse,
    /// It is made unchecked.
    Approve,
}

/// The section `checkout.risk`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RiskSettings {
    /// `simulated` (default) or `http`.
    pub kind: ServiceKind,
    /// How calls are repeated. Default: 2 tries of 300 ms.
    pub retry: RetrySettings,
    /// When the service is left alone.
    pub breaker: BreakerSettings,
    /// A policy older than this is fetched anew while payments still go by the old one. Default 5000, 1 to 3600000.
    pub policy_ttl_ms: u64,
    /// A policy older than this is not used any more. Default 300000, from `policy_ttl_ms` to 86400000.
    pub policy_stale_ms_max: u64,
    /// `refuse` (default) or `approve`: what becomes of payments while the service does not answer.
    pub when_away: WhenAway,
    /// For `kind = "simulated"`.
    pub simulated: SimulatedRiskSettings,
    /// For `kind = "http"`.
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
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimulatedRiskSettings {
    /// The same seed draws the same verdict for the same payment. Default 1.
    pub seed: u64,
    /// Answer times. Default median 20 ms, 99th percentile 80 ms.
    pub latency: LatencySettings,
    /// Payments of more than this are assessed one by one, the others approved by the policy. Default 50000.
    pub ask_above_cents: u64,
    /// Methods the policy denies. Default none.
    pub denied_methods: Vec<String>,
    /// Buyers the policy denies. Default none.
    pub denied_buyers: Vec<String>,
    /// The share of assessed payments that are rejected. Default 0.
    pub reject_rate: f64,
    /// The share of calls that fail. Default 0.
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
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RecoverySettings {
    /// Payments asked about at once. Default 64, 1 to 10000.
    pub concurrency_max: usize,
    /// With more payments of unknown outcome than this, no new ones are begun. Default 100000, 1 to 10000000.
    pub queue_max: usize,
    /// The pause before a payment is asked about again; doubles each time, with jitter. Default 500, 1 to 3600000.
    pub backoff_ms: u64,
    /// The longest such pause. Default 30000, 1 to 3600000.
    pub backoff_ms_max: u64,
    /// How long after `pay_before` money that is still on hold is captured; later it is let go. Default 900, 0 to 604800.
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
        within(format!("{path}.backoff_ms_max"), self.backoff_ms_max, 1, HOUR_MS)?;
        within(format!("{path}.capture_within_s"), self.capture_within_s, 0, 7 * 24 * 3600)
    }
}

/// The section `checkout.expiry`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExpirySettings {
    /// How often overdue orders are looked for. Default 100, 1 to 60000.
    pub tick_ms: u64,
    /// Orders let go of at once. Default 1000, 1 to 100000.
    pub batch_max: usize,
}

impl Default for ExpirySettings {
    fn default() -> Self {
        Self { tick_ms: 100, batch_max: 1_000 }
    }
}

impl ExpirySettings {
    fn check(&self, path: &str) -> Checked {
        within(format!("{path}.tick_ms"), self.tick_ms, 1, 60_000)?;
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
            ("[recovery]\nconcurrency_max = 0", "checkout.recovery.concurrency_max"),
            ("[expiry]\nbatch_max = 0", "checkout.expiry.batch_max"),
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
    fn secrets_are_neither_printed_nor_written() {
        let http = HttpSettings { token: "s3cret".into(), ..HttpSettings::default() };
        assert!(!format!("{http:?}").contains("s3cret"));
        assert!(!toml::to_string(&http).unwrap().contains("s3cret"));
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
