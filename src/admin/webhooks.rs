//! Webhooks, as operators see them and act on them.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use serde_json::{Value, json};

use super::acting::Acting;
use super::caller::Caller;
use super::control_plane::ControlPlane;
use super::fields::{Fields, Given, required};
use super::problem::{Code, Problem};
use super::rfc3339::rfc3339;
use super::sale_acts::only_reason;
use crate::orders::{ActKind, LogEnds, ToldLog, WebhookAct, WebhookChange, WebhookRow, WebhookState};
use crate::telemetry::{Exposition, Kind};
use crate::webhooks::{Deliveries, Endpoint, Webhooks};

type Body = Result<Bytes, BytesRejection>;

/// `GET /api/v1/webhooks`: all endpoints of the configuration that the caller sees.
pub(super) async fn list(
    State(plane): State<Arc<ControlPlane>>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Value>, Problem> {
    let Some(webhooks) = &plane.webhooks else { return Ok(Json(json!({ "webhooks": [] }))) };
    let seen = plane.limited(webhooks.look()).await?;
    let seen_by = webhooks.endpoints().iter().filter(|(endpoint, _)| sees(&caller, endpoint));
    let shown: Vec<Value> = seen_by
        .map(|(endpoint, deliveries)| shown(endpoint, deliveries, seen.row(endpoint.name()), seen.ends))
        .collect();
    Ok(Json(json!({ "webhooks": shown })))
}

/// `GET /api/v1/webhooks/{name}`
pub(super) async fn show(
    State(plane): State<Arc<ControlPlane>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    plane.show_webhook(&caller, &name).await
}

/// `POST /api/v1/webhooks/{name}/enable` with `{"reason"}`: it is told again, from where it was.
pub(super) async fn enable(
    State(plane): State<Arc<ControlPlane>>,
    Extension(caller): Extension<Caller>,
    acting: Acting,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let reason = only_reason(body)?;
    plane
        .act_on_webhook((caller, acting), name, (ActKind::WebhookEnabled, WebhookChange::Enable), reason)
        .await
}

/// `POST /api/v1/webhooks/{name}/disable` with `{"reason"}`: it is told nothing; what happens waits for it in the logs.
pub(super) async fn disable(
    State(plane): State<Arc<ControlPlane>>,
    Extension(caller): Extension<Caller>,
    acting: Acting,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let reason = only_reason(body)?;
    plane
        .act_on_webhook((caller, acting), name, (ActKind::WebhookDisabled, WebhookChange::Disable), reason)
        .await
}

/// `POST /api/v1/webhooks/{name}/replay` with `{"from","log","reason"}`: it is told everything from the event with this number
/// on, again or for the first time. A number beyond the next event leaves out what lies between.
pub(super) async fn replay(
    State(plane): State<Arc<ControlPlane>>,
    Extension(caller): Extension<Caller>,
    acting: Acting,
    Path(name): Path<String>,
    body: Body,
) -> Result<Json<Value>, Problem> {
    let mut fields = Fields::of_body(body)?;
    let from: u64 = required("from", fields.number("from")?)?;
    let log = match fields.text("log")? {
        Given::Absent | Given::Null => ToldLog::Orders,
        Given::Value(log) => ToldLog::ALL
            .into_iter()
            .find(|known| known.as_str() == log)
            .ok_or_else(|| Problem::field("log", "must be orders or sales"))?,
    };
    let reason = required("reason", fields.reason()?)?;
    fields.finish(&["from", "log", "reason"])?;
    let webhooks = plane.webhook_of(&caller, &name)?.0;
    let next = plane.limited(webhooks.look()).await?.ends.of(log) + 1;
    if from == 0 || from > next {
        let rule = format!("must be the number of an event, 1 to {next}: the next one");
        return Err(Problem::field("from", rule).with("oldest", 1).with("next", next));
    }
    let change = WebhookChange::Replay { log, after: from - 1 };
    plane.act_on_webhook((caller, acting), name, (ActKind::WebhookReplayed, change), reason).await
}

/// Who is bound to a tenant sees the endpoints of that one alone.
fn sees(caller: &Caller, endpoint: &Endpoint) -> bool {
    caller.tenant.as_deref().is_none_or(|own| endpoint.tenant() == Some(own))
}

impl ControlPlane {
    /// The endpoint with this name, if the caller sees it.
    fn webhook_of(
        &self,
        caller: &Caller,
        name: &str,
    ) -> Result<(&Webhooks, &Arc<Endpoint>, &Deliveries), Problem> {
        let found = self.webhooks.as_ref().and_then(|webhooks| {
            let (endpoint, deliveries) = webhooks
                .endpoints()
                .iter()
                .find(|(endpoint, _)| endpoint.name() == name && sees(caller, endpoint))?;
            Some((webhooks, endpoint, &**deliveries))
        });
        found.ok_or_else(|| {
            let detail = "No endpoint of webhooks has this name in the configuration.";
            Problem::new(Code::UnknownWebhook, detail)
        })
    }

    async fn show_webhook(&self, caller: &Caller, name: &str) -> Result<Json<Value>, Problem> {
        let (webhooks, endpoint, deliveries) = self.webhook_of(caller, name)?;
        let seen = self.limited(webhooks.look()).await?;
        Ok(Json(shown(endpoint, deliveries, seen.row(name), seen.ends)))
    }

    async fn act_on_webhook(
        &self,
        (caller, acting): (Caller, Acting),
        name: String,
        (kind, change): (ActKind, WebhookChange),
        reason: String,
    ) -> Result<Json<Value>, Problem> {
        let (webhooks, endpoint, _) = self.webhook_of(&caller, &name)?;
        let mut act = acting.act(self, kind, name.clone(), Some(reason));
        act.tenant = endpoint.tenant().map(str::to_owned);
        let (webhooks, wanted) = (webhooks.clone(), WebhookAct { name: name.clone(), change, act });
        let is_done = self.acted(async move { webhooks.act(wanted).await }).await??;
        if !is_done {
            return Err(Problem::not_known_yet());
        }
        tracing::info!(endpoint = name, act = kind.as_str(), "an endpoint of webhooks was acted on");
        self.show_webhook(&caller, &name).await
    }

    /// The figures for `GET /metrics`.
    pub(super) fn expose_webhooks(&self, page: &mut Exposition) {
        let Some(webhooks) = &self.webhooks else { return };
        let seen = webhooks.seen();
        const DELIVERIES: &str = "seckill_webhook_deliveries_total";
        page.family(
            DELIVERIES,
            Kind::Counter,
            "Attempts at deliveries by this engine, by what came of them.",
        );
        for (endpoint, deliveries) in webhooks.endpoints() {
            let (taken, failed) = deliveries.counts();
            for (outcome, count) in [("taken", taken), ("failed", failed)] {
                let labels = [("endpoint", endpoint.name()), ("outcome", outcome)];
                page.sample(DELIVERIES, &labels, count as f64);
            }
        }
        let known = webhooks.endpoints().iter().filter_map(|(endpoint, _)| seen.row(endpoint.name()));
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
        let names = webhooks.endpoints().iter().map(|(endpoint, _)| endpoint.name());
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

/// Events that an endpoint was not told of yet, whether it wants them or not.
fn lag(state: &WebhookState, ends: LogEnds, log: ToldLog) -> u64 {
    ends.of(log).saturating_sub(state.cursor(log).through)
}

fn shown(endpoint: &Endpoint, deliveries: &Deliveries, row: Option<&WebhookRow>, ends: LogEnds) -> Value {
    let none = WebhookState::default();
    let state = row.map_or(&none, |row| &row.state);
    let (campaign, sku) = endpoint.sale();
    let word = match (&state.disabled, state.health.failing_since) {
        _ if row.is_none() => "unknown",
        (Some(_), _) => "disabled",
        (None, Some(_)) => "failing",
        (None, None) => "delivering",
    };
    let log = |log: ToldLog| {
        let cursor = state.cursor(log);
        let held = cursor.held.iter().map(|(sale, from)| json!({ "sale": sale, "from": from }));
        json!({
            "through": cursor.through,
            "end": ends.of(log),
            "lag_events": lag(state, ends, log),
            "held_sales": held.collect::<Vec<_>>(),
        })
    };
    let told = |(at, why): &(crate::domain::EpochMs, String)| json!({ "at": rfc3339(*at), "why": why });
    let (taken, failed) = deliveries.counts();
    json!({
        "name": endpoint.name(),
        "url": endpoint.origin(),
        "events": endpoint.events(),
        "tenant": endpoint.tenant(),
        "campaign": campaign,
        "sku": sku,
        "envelope": endpoint.envelope(),
        "state": word,
        "disabled": state.disabled.as_ref().map(told),
        "failing_since": state.health.failing_since.map(rfc3339),
        "failures": state.health.failures,
        "last_failure": state.health.last_failure.as_ref().map(told),
        "last_delivery_at": state.health.last_delivery.map(rfc3339),
        "next_try_at": state.health.next_try.map(rfc3339),
        "orders": log(ToldLog::Orders),
        "sales": log(ToldLog::Sales),
        "by_this_node": { "taken": taken, "failed": failed },
    })
}
