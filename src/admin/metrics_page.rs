//! `GET /metrics`: the engine's figures for Prometheus, as text, or, for who asks for native histograms, as protocol buffers.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};

use super::control_plane::ControlPlane;
use super::sale_counts::COUNT_IDLE_EVERY;
use crate::admission::Intake;
use crate::telemetry::{Exposition, Kind, PROTOBUF_CONTENT_TYPE, TEXT_CONTENT_TYPE};

/// `GET /metrics`
pub(super) async fn show(State(plane): State<Arc<ControlPlane>>, headers: HeaderMap) -> Response {
    let accept = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let wants_protobuf = prefers_protobuf(&accept.collect::<Vec<_>>().join(","));
    let told = plane.told_sales();
    let sales = told.own.iter().chain(&told.others).map(|sale| (Arc::clone(sale), COUNT_IDLE_EVERY));
    plane.count_soon(sales.collect()).await;
    let mut page = Exposition::default();
    let node = plane.node.number().to_string();
    page.family("seckill_build_info", Kind::Gauge, "The engine's version and number; always 1.");
    page.sample("seckill_build_info", &[("version", env!("CARGO_PKG_VERSION")), ("node", &node)], 1.0);
    page.family("seckill_uptime_seconds", Kind::Gauge, "Time since the start.");
    page.sample("seckill_uptime_seconds", &[], plane.started.elapsed().as_secs_f64());
    const RETRIES: &str = "seckill_start_retries_total";
    let help = "Steps of this start that were tried again because a server did not let them through.";
    page.family(RETRIES, Kind::Counter, help);
    page.sample(RETRIES, &[], plane.telemetry.start_retries.value() as f64);
    page.requests(&plane.telemetry);
    page.refused_tokens(&plane.telemetry);
    page.grpc(&plane.telemetry.grpc);
    page.traces(&plane.telemetry);
    page.writers(&plane.telemetry);
    page.queue(&plane);
    plane.expose_sales(&mut page, &told);
    page.store(&plane.desk.pool_figures(), &plane.store_concerns);
    if let Some(log) = plane.desk.log_figures() {
        page.log_of_store(&log);
        page.store_log(&plane.telemetry);
    }
    plane.expose_clock(&mut page);
    plane.expose_rooms(&mut page, &told);
    plane.expose_webhooks(&mut page);
    plane.expose_search(&mut page);
    page.checkout(&plane.checkout);
    page.lease_agent(&plane, &told);
    plane.expose_certificates(&mut page);
    page.process();
    let vary = (header::VARY, "Accept");
    if wants_protobuf {
        ([(header::CONTENT_TYPE, PROTOBUF_CONTENT_TYPE), vary], page.into_protobuf()).into_response()
    } else {
        ([(header::CONTENT_TYPE, TEXT_CONTENT_TYPE), vary], page.into_text()).into_response()
    }
}

impl Exposition {
    /// The queue of admitted orders.
    fn queue(&mut self, plane: &ControlPlane) {
        let queue = plane.admission.queue();
        let stalled = f64::from(u8::from(queue.intake() != Intake::Open));
        let rows = [
            ("seckill_queue_depth", "Admitted orders that wait for the writer.", queue.depth() as f64),
            ("seckill_queue_capacity", "Admitted orders that may wait.", queue.capacity() as f64),
            ("seckill_intake_stopped", "1 while the store does not answer or the engine stops.", stalled),
            (
                "seckill_steps_waiting",
                "Order steps that wait for the writer.",
                plane.desk.steps_waiting() as f64,
            ),
        ];
        for (name, help, value) in rows {
            self.family(name, Kind::Gauge, help);
            self.sample(name, &[], value);
        }
    }
}

/// Whether a client would rather have protocol buffers than text, by its `Accept`.
fn prefers_protobuf(accept: &str) -> bool {
    let quality = |is_meant: fn(&str) -> bool| {
        let ranges = accept.split(',').filter_map(|range| {
            let mut parts = range.split(';').map(|part| part.trim().to_ascii_lowercase());
            let name = parts.next()?;
            let parts: Vec<_> = parts.collect();
            let quality =
                parts.iter().find_map(|part| part.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse().ok());
            let is_other = name == "application/vnd.google.protobuf"
                && !(parts.iter().any(|part| part == "proto=io.prometheus.client.metricfamily")
                    && parts.iter().any(|part| part == "encoding=delimited"));
            (is_meant(&name) && !is_other).then_some(quality?)
        });
        ranges.fold(0.0_f32, f32::max)
    };
    let text = quality(|name| name == "text/plain" || name == "*/*" || name.starts_with("text/*"));
    quality(|name| name == "application/vnd.google.protobuf") > text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_asks_for_protocol_buffers_first_gets_them() {
        const PROTOBUF: &str =
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
        let with_native =
            format!("{PROTOBUF},application/openmetrics-text;version=1.0.0;q=0.8,text/plain;q=0.5,*/*;q=0.1");
        for (accept, wants) in [
            (PROTOBUF.to_owned(), true),
            (with_native, true),
            (format!("{PROTOBUF};q=0.2, text/plain;version=0.0.4;q=0.5"), false),
            (format!("{PROTOBUF};q=0"), false),
            (format!("text/plain, {PROTOBUF}"), false),
            ("application/vnd.google.protobuf;encoding=text".to_owned(), false),
            ("*/*".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(prefers_protobuf(&accept), wants, "{accept}");
        }
    }
}
