//! How paying goes, as JSON and as Prometheus text.

use serde_json::{Value, json};

use crate::checkout::{BreakerState, CallCounts, Checkout, CheckoutMetrics, StuckPaymentCounts};
use crate::telemetry::{Exposition, Kind};

/// The word for a breaker.
pub(super) fn breaker_word(state: BreakerState) -> &'static str {
    match state {
        BreakerState::Closed => "closed",
        BreakerState::HalfOpen => "half_open",
        BreakerState::Open => "open",
    }
}

/// What became of payments, of refunds and of unpaid orders, by word.
fn ends(metrics: &CheckoutMetrics) -> [(&'static str, u64); 18] {
    [
        ("paid", metrics.paid.get()),
        ("declined", metrics.declined.get()),
        ("risk_rejected", metrics.risk_rejected.get()),
        ("unavailable", metrics.unavailable.get()),
        ("too_late", metrics.too_late.get()),
        ("left_to_recovery", metrics.left_to_recovery.get()),
        ("refused", metrics.refused.get()),
        ("recovered_paid", metrics.recovered_paid.get()),
        ("recovered_back", metrics.recovered_back.get()),
        ("recovery_retries", metrics.recovery_retries.get()),
        ("expired", metrics.expired.get()),
        ("cancelled", metrics.cancelled.get()),
        ("settled_by_operator", metrics.settled_by_operator.get()),
        ("refunded", metrics.refunded.get()),
        ("refunds_dropped", metrics.refunds_dropped.get()),
        ("refunds_left_to_recovery", metrics.refunds_left_to_recovery.get()),
        ("refunds_recovered", metrics.refunds_recovered.get()),
        ("refunded_by_hand", metrics.refunded_by_hand.get()),
    ]
}

fn calls(counts: &CallCounts, breaker: BreakerState) -> Value {
    json!({
        "answered": counts.answered.get(),
        "failed": counts.failed.get(),
        "time_us": counts.time_us(),
        "breaker": breaker_word(breaker),
    })
}

/// How many payments wait for what.
fn concerns(checkout: &Checkout) -> [(&'static str, usize); 3] {
    let StuckPaymentCounts { processing, contradicted, without_gateway } = checkout.stuck_payments();
    [("processing", processing), ("contradicted", contradicted), ("without_gateway", without_gateway)]
}

/// The same as JSON.
pub(super) fn concerns_json(checkout: &Checkout) -> Value {
    concerns(checkout)
        .into_iter()
        .map(|(word, count)| (word.to_owned(), count.into()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// The figures for `GET /api/v1/stats`.
pub(super) fn json(checkout: &Checkout) -> Value {
    let metrics = checkout.metrics();
    let ends: serde_json::Map<_, _> =
        ends(&metrics).into_iter().map(|(word, count)| (word.to_owned(), count.into())).collect();
    json!({
        "ends": ends,
        "under_way": checkout.payments_under_way(),
        "outcome_unknown": checkout.recovery_queue_len(),
        "concerns": concerns_json(checkout),
        "contradictions": metrics.contradictions.get(),
        "processing_answers": metrics.processing.get(),
        "gateway": calls(&metrics.gateway, checkout.gateway_breaker()),
        "risk": calls(&metrics.risk, checkout.risk_breaker()),
    })
}

impl Exposition {
    /// The figures for `GET /metrics`.
    pub(super) fn checkout(&mut self, checkout: &Checkout) {
        const ENDS: &str = "seckill_checkout_ends_total";
        const CALLS: &str = "seckill_checkout_calls_total";
        const SECONDS: &str = "seckill_checkout_call_seconds_total";
        const TOOK: &str = "seckill_checkout_call_duration_seconds";
        const BREAKER: &str = "seckill_checkout_breaker_open";
        const UNDER_WAY: &str = "seckill_payments_under_way";
        const UNKNOWN: &str = "seckill_payments_outcome_unknown";
        const CONCERNS: &str = "seckill_payments_of_concern";
        const CONTRADICTIONS: &str = "seckill_checkout_contradictions_total";
        const PROCESSING: &str = "seckill_checkout_processing_answers_total";
        let metrics = checkout.metrics();
        let services = [
            ("gateway", &metrics.gateway, checkout.gateway_breaker()),
            ("risk", &metrics.risk, checkout.risk_breaker()),
        ];
        self.family(ENDS, Kind::Counter, "What became of payments, of refunds and of unpaid orders.");
        for (word, count) in ends(&metrics) {
            self.sample(ENDS, &[("end", word)], count as f64);
        }
        self.family(
            CALLS,
            Kind::Counter,
            "Calls of the payment gateway and of the risk service, retries included.",
        );
        for (service, counts, _) in services {
            self.sample(CALLS, &[("service", service), ("result", "answered")], counts.answered.get() as f64);
            self.sample(CALLS, &[("service", service), ("result", "failed")], counts.failed.get() as f64);
        }
        self.family(SECONDS, Kind::Counter, "Time spent in those calls.");
        for (service, counts, _) in services {
            self.sample(SECONDS, &[("service", service)], counts.time_us() as f64 / 1e6);
        }
        self.family(TOOK, Kind::Histogram, "How long one of those calls took, retries included.");
        for (service, counts, _) in services {
            for (result, took) in counts.took() {
                self.latencies(TOOK, &[("service", service), ("result", result)], &took);
            }
        }
        self.family(BREAKER, Kind::Gauge, "1 while the service is left alone, 0.5 while it is probed.");
        for (service, _, state) in services {
            let value = match state {
                BreakerState::Closed => 0.0,
                BreakerState::HalfOpen => 0.5,
                BreakerState::Open => 1.0,
            };
            self.sample(BREAKER, &[("service", service)], value);
        }
        self.family(UNDER_WAY, Kind::Gauge, "Payments under way.");
        self.sample(UNDER_WAY, &[], checkout.payments_under_way() as f64);
        self.family(UNKNOWN, Kind::Gauge, "Payments whose outcome recovery is still asking for.");
        self.sample(UNKNOWN, &[], checkout.recovery_queue_len() as f64);
        self.family(
            CONCERNS,
            Kind::Gauge,
            "Payments that do not end by themselves soon, by what they wait for.",
        );
        for (word, count) in concerns(checkout) {
            self.sample(CONCERNS, &[("concern", word)], count as f64);
        }
        self.family(
            CONTRADICTIONS,
            Kind::Counter,
            "Answers of a gateway that cannot be true of their payment.",
        );
        self.sample(CONTRADICTIONS, &[], metrics.contradictions.get() as f64);
        self.family(PROCESSING, Kind::Counter, "Answers of a gateway that it works on a payment.");
        self.sample(PROCESSING, &[], metrics.processing.get() as f64);
    }
}
