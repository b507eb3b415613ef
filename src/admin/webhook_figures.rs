//! Webhooks on the page for Prometheus, and for who watches.

use super::control_plane::ControlPlane;
use super::webhooks::lag;
use crate::orders::{ToldLog, WebhookRow, WebhookState};
use crate::telemetry::{Exposition, Kind};

impl ControlPlane {
    /// The figures for `GET /metrics`.
    pub(super) fn expose_webhooks(&self, page: &mut Exposition) {
        let Some(webhooks) = &self.webhooks else { return };
        let endpoints = webhooks.endpoints();
        if endpoints.is_empty() {
            return;
        }
        let seen = webhooks.seen();
        const DELIVERIES: &str = "seckill_webhook_deliveries_total";
        page.family(
            DELIVERIES,
            Kind::Counter,
            "Attempts at deliveries by this engine, by what came of them.",
        );
        for (endpoint, deliveries) in &endpoints {
            let (taken, failed) = deliveries.counts();
            for (outcome, count) in [("taken", taken), ("failed", failed)] {
                let labels = [("endpoint", endpoint.name()), ("outcome", outcome)];
                page.sample(DELIVERIES, &labels, count as f64);
            }
        }
        let known = endpoints.iter().filter_map(|(endpoint, _)| seen.row(endpoint.name()));
        let known: Vec<&WebhookRow> = known.collect();
        const LAG: &str = "seckill_webhook_lag_events";
        page.family(LAG, Kind::Gauge, "Events of a log that an endpoint was not told of yet, at most.");
        for row in &known {
            for log in ToldLog::ALL {
                let labels = [("endpoint", row.name.as_str()), ("log", log.as_str())];
                page.sample(LAG, &labels, lag(&row.state, seen.ends, log) as f64);
            }
        }
        let now = self.now();
        let failing = |state: &WebhookState| {
            state.health.failing_since.map_or(0.0, |since| now.ms_since(since).max(0) as f64 / 1_000.0)
        };
        let of: [Figure<'_>; 3] = [
            ("seckill_webhook_held_sales", "Sales whose events an endpoint refuses.", &|state| {
                ToldLog::ALL.iter().map(|log| state.cursor(*log).held.len()).sum::<usize>() as f64
            }),
            ("seckill_webhook_failing_seconds", "For how long an endpoint has taken nothing.", &failing),
            ("seckill_webhook_disabled", "1 while an endpoint is told nothing.", &|state| {
                f64::from(u8::from(state.disabled.is_some()))
            }),
        ];
        for (name, help, figure) in of {
            page.family(name, Kind::Gauge, help);
            for row in &known {
                page.sample(name, &[("endpoint", row.name.as_str())], figure(&row.state));
            }
        }
    }

    /// What an operator has to look after, if anything.
    pub(super) fn webhook_trouble(&self) -> Option<(&'static str, String)> {
        let webhooks = self.webhooks.as_ref()?;
        let seen = webhooks.seen();
        let endpoints = webhooks.endpoints();
        let names = endpoints.iter().map(|(endpoint, _)| endpoint.name());
        let disabled = names.filter(|name| seen.row(name).is_some_and(|row| row.state.disabled.is_some()));
        let disabled: Vec<&str> = disabled.collect();
        (!disabled.is_empty()).then(|| {
            let said = format!(
                "endpoints of webhooks are told nothing until somebody enables them: {}",
                disabled.join(", ")
            );
            ("webhooks-disabled", said)
        })
    }
}

/// The name of a metric, what it says, and its value.
type Figure<'a> = (&'a str, &'a str, &'a dyn Fn(&WebhookState) -> f64);
