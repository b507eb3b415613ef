//! The settings of a remote service: which one, how it is called, and how the simulated one behaves.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::setting_limits::{Checked, HOUR_MS, share, within, wrong};
use crate::settings::Secret;

/// Which implementation of a remote service is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceKind {
    /// In this process, by chance that can be repeated: for demonstrations and load tests. Moves no money.
    #[default]
    Simulated,
    /// A real one over HTTP.
    Http,
}

/// The section `checkout.gateway`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewaySettings {
    /// What payments begun here call it in their journal: 1 to 255 visible ASCII characters. Empty: `simulated`, or its
    /// address. A payment is finished with the gateway of this name: give a gateway that moves to another address
    /// a name, and another gateway another one.
    pub name: String,
    /// Which gateway takes the money.
    pub kind: ServiceKind,
    /// How calls are repeated.
    pub retry: RetrySettings,
    /// How often a payment is asked about that the gateway works on.
    pub processing: ProcessingSettings,
    /// When the gateway is left alone.
    pub breaker: BreakerSettings,
    /// What the simulated gateway does, for `kind = "simulated"`.
    pub simulated: SimulatedGatewaySettings,
    /// Where the gateway is, for `kind = "http"`.
    pub http: HttpSettings,
}

impl GatewaySettings {
    pub(super) fn is_name(name: &str) -> bool {
        (1..=255).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
    }

    /// The name in the journal of payments: the given one, or what tells this gateway from others.
    pub fn full_name(&self) -> String {
        if !self.name.is_empty() {
            return self.name.clone();
        }
        match self.kind {
            ServiceKind::Simulated => "simulated".into(),
            ServiceKind::Http => self.http.address(),
        }
    }

    pub(super) fn check(&self, path: &str) -> Checked {
        if !self.name.is_empty() && !Self::is_name(&self.name) {
            return wrong(format!("{path}.name"), "must be 1 to 255 visible ASCII characters");
        }
        self.processing.check(&format!("{path}.processing"))?;
        self.retry.check(&format!("{path}.retry"))?;
        self.breaker.check(&format!("{path}.breaker"))?;
        match self.kind {
            ServiceKind::Simulated => self.simulated.check(&format!("{path}.simulated")),
            ServiceKind::Http => self.http.check(&format!("{path}.http")),
        }
    }
}

/// The pace at which a payment is asked about that the gateway works on (`processing`). Not a failure: neither counted by
/// the breaker nor hurried.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProcessingSettings {
    /// The pause before the first question; doubles after each, with jitter.
    pub poll_ms: u64,
    /// The longest pause.
    pub poll_ms_max: u64,
}

impl Default for ProcessingSettings {
    fn default() -> Self {
        Self { poll_ms: 1_000, poll_ms_max: 30_000 }
    }
}

impl ProcessingSettings {
    pub(super) fn check(&self, path: &str) -> Checked {
        within(format!("{path}.poll_ms"), self.poll_ms, 1, HOUR_MS)?;
        within(format!("{path}.poll_ms_max"), self.poll_ms_max, 1, HOUR_MS)
    }
}

/// How calls of a remote service are repeated, always with the same idempotency key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetrySettings {
    /// Tries of one call, the first included.
    pub tries_max: u32,
    /// How long one try may take.
    pub try_ms: u64,
    /// The pause after the first failure; doubles after each, with jitter.
    pub backoff_ms: u64,
    /// The longest pause; at least `backoff_ms`.
    pub backoff_ms_max: u64,
}

impl Default for RetrySettings {
    fn default() -> Self {
        Self { tries_max: 3, try_ms: 2_000, backoff_ms: 50, backoff_ms_max: 1_000 }
    }
}

impl RetrySettings {
    pub(super) fn check(&self, path: &str) -> Checked {
        within(format!("{path}.tries_max"), self.tries_max.into(), 1, 20)?;
        within(format!("{path}.try_ms"), self.try_ms, 1, 600_000)?;
        within(format!("{path}.backoff_ms"), self.backoff_ms, 1, 60_000)?;
        within(format!("{path}.backoff_ms_max"), self.backoff_ms_max, self.backoff_ms, 60_000)
    }
}

/// When a failing service is left alone, and how its return is noticed.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerSettings {
    /// How far back failures are counted.
    pub window_ms: u64,
    /// Below this many calls in the window nothing is concluded.
    pub calls_min: u32,
    /// The share of failed calls that opens the breaker.
    pub failure_ratio: f64,
    /// How long it stays open before probing.
    pub open_ms: u64,
    /// Calls that must succeed, one of which may not fail, before it closes.
    pub probes: u32,
}

impl Default for BreakerSettings {
    fn default() -> Self {
        Self { window_ms: 10_000, calls_min: 20, failure_ratio: 0.5, open_ms: 5_000, probes: 5 }
    }
}

impl BreakerSettings {
    /// Checks every value against its limits; `path` is the section's.
    ///
    /// # Errors
    /// The first key that breaks its limit.
    pub fn check(&self, path: &str) -> Checked {
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
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LatencySettings {
    /// Half of the answers are faster.
    pub median_ms: f64,
    /// One answer in a hundred is slower.
    pub p99_ms: f64,
}

impl LatencySettings {
    pub(super) fn check(&self, path: &str) -> Checked {
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
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimulatedGatewaySettings {
    /// The same seed draws the same fate for the same payment.
    pub seed: u64,
    /// Answer times of holds.
    pub hold_latency: LatencySettings,
    /// Answer times of captures, voids and status questions.
    pub settle_latency: LatencySettings,
    /// The share of payments that the bank declines.
    pub decline_rate: f64,
    /// The share of calls that are never answered; half of them take effect all the same.
    pub timeout_rate: f64,
    /// The share of calls whose connection is lost; half of them take effect all the same.
    pub unknown_rate: f64,
    /// Payments remembered; the oldest is forgotten first. About 100 bytes each.
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
    pub(super) fn check(&self, path: &str) -> Checked {
        self.hold_latency.check(&format!("{path}.hold_latency"))?;
        self.settle_latency.check(&format!("{path}.settle_latency"))?;
        share(format!("{path}.decline_rate"), self.decline_rate)?;
        share(format!("{path}.timeout_rate"), self.timeout_rate)?;
        share(format!("{path}.unknown_rate"), self.unknown_rate)?;
        within(format!("{path}.payments_max"), self.payments_max as u64, 1, 100_000_000)
    }
}

/// A remote service over HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSettings {
    /// Where it is, `http://` or `https://`, without query; paths are appended.
    pub url: String,
    /// Sent as `Authorization: Bearer`, if not empty. Never shown.
    pub token: Secret,
    /// How long connecting may take.
    pub connect_ms: u64,
    /// A longer answer is not read to its end.
    pub answer_bytes_max: usize,
    /// Idle connections kept open.
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
    /// The address without what is secret in it.
    fn address(&self) -> String {
        match reqwest::Url::parse(&self.url) {
            Ok(mut url) => {
                // An address that cannot have them has none.
                let _ = url.set_username("");
                let _ = url.set_password(None);
                url.as_str().trim_end_matches('/').to_owned()
            }
            Err(_) => self.url.clone(),
        }
    }

    /// Checks every value against its limits; `path` is the section's.
    ///
    /// # Errors
    /// The first key that breaks its limit.
    pub fn check(&self, path: &str) -> Checked {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn m2_a_gateway_without_a_name_is_told_from_others_by_its_address() {
        let name = |text: &str| toml::from_str::<GatewaySettings>(text).unwrap().full_name();
        assert_eq!(name(""), "simulated");
        assert_eq!(
            name("kind = 'http'\nhttp.url = 'https://u:pw@pay.example/v1/'"),
            "https://pay.example/v1"
        );
        assert_eq!(name("name = 'main'\nkind = 'http'\nhttp.url = 'https://pay.example'"), "main");
    }

    #[test]
    fn secrets_are_neither_printed_nor_written() {
        let http = HttpSettings { token: "s3cret".into(), ..HttpSettings::default() };
        assert!(!format!("{http:?}").contains("s3cret"));
        assert!(!toml::to_string(&http).unwrap().contains("s3cret"));
    }
}
