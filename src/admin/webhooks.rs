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
use super::tenant::Tenant;
use crate::orders::{ActKind, LogEnds, ToldLog, WebhookAct, WebhookChange, WebhookRow, WebhookState};
use crate::webhooks::{Deliveries, Endpoint, Webhooks};

type Body = Result<Bytes, BytesRejection>;

type Shown = Result<Json<Value>, Problem>;
/// Who acts, and on which endpoint.
type Asked = (State<Arc<ControlPlane>>, Extension<Caller>, Acting, Path<String>);

/// `GET /api/v1/webhooks`: all endpoints of the configuration that the caller sees.
pub(super) async fn list(
    State(plane): State<Arc<ControlPlane>>,
    Extension(caller): Extension<Caller>,
    _: Tenant,
) -> Shown {
    plane.show_webhooks(&caller).await
}

/// `GET /api/v1/webhooks/{name}`
pub(super) async fn show(
    State(plane): State<Arc<ControlPlane>>,
    Extension(caller): Extension<Caller>,
    _: Tenant,
    Path(name): Path<String>,
) -> Shown {
    plane.show_webhook(&caller, &name).await
}

/// `POST /api/v1/webhooks/{name}/enable` with `{"reason"}`: it is told again, from where it was.
pub(super) async fn enable(asked: Asked, body: Body) -> Shown {
    act(asked, (ActKind::WebhookEnabled, WebhookChange::Enable), only_reason(body)?).await
}

/// `POST /api/v1/webhooks/{name}/disable` with `{"reason"}`: it is told nothing; what happens waits for it in the logs.
pub(super) async fn disable(asked: Asked, body: Body) -> Shown {
    act(asked, (ActKind::WebhookDisabled, WebhookChange::Disable), only_reason(body)?).await
}

/// `POST /api/v1/webhooks/{name}/replay` with `{"from","log","skip_held","reason"}`: it is told everything from the event with
/// this number on, again or for the first time. A number beyond the next event leaves out what lies between; of sales that are
/// held only with `"skip_held":true`.
pub(super) async fn replay(asked: Asked, body: Body) -> Shown {
    let mut fields = Fields::of_body(body)?;
    let from: u64 = required("from", fields.number("from")?)?;
    let log = match fields.text("log")? {
        Given::Absent | Given::Null => ToldLog::Orders,
        Given::Value(log) => ToldLog::ALL
            .into_iter()
            .find(|known| known.as_str() == log)
            .ok_or_else(|| Problem::field("log", "must be orders or sales"))?,
    };
    let skip_held = fields.flag("skip_held")?.unwrap_or(false);
    let reason = required("reason", fields.reason()?)?;
    fields.finish(&["from", "log", "skip_held", "reason"])?;
    let (State(plane), Extension(caller), _, Path(name)) = &asked;
    let webhooks = plane.webhook_of(caller, name)?.0;
    let next = plane.limited(webhooks.look()).await?.ends.of(log) + 1;
    if from == 0 || from > next {
        let rule = format!("must be the number of an event, 1 to {next}: the next one");
        return Err(Problem::field("from", rule).with("oldest", 1).with("next", next));
    }
    let change = WebhookChange::Replay { log, after: from - 1, skip_held };
    act(asked, (ActKind::WebhookReplayed, change), reason).await
}

/// Acts on an endpoint; what is answered is how it fares then.
async fn act(
    (State(plane), Extension(caller), acting, Path(name)): Asked,
    (kind, change): (ActKind, WebhookChange),
    reason: String,
) -> Shown {
    let (webhooks, endpoint, _) = plane.webhook_of(&caller, &name)?;
    let mut act = acting.act(&plane, kind, name.clone(), Some(reason));
    act.tenant = endpoint.tenant().map(str::to_owned);
    let (webhooks, wanted) = (webhooks.clone(), WebhookAct { name: name.clone(), change, act });
    let is_done = plane.acted(async move { webhooks.act(wanted).await }).await??;
    if !is_done {
        return Err(Problem::not_known_yet());
    }
    tracing::info!(endpoint = name, act = kind.as_str(), "an endpoint of webhooks was acted on");
    plane.show_webhook(&caller, &name).await
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
    ) -> Result<(&Webhooks, Arc<Endpoint>, Arc<Deliveries>), Problem> {
        let found = self.webhooks.as_ref().and_then(|webhooks| {
            let (endpoint, deliveries) = webhooks
                .endpoints()
                .into_iter()
                .find(|(endpoint, _)| endpoint.name() == name && sees(caller, endpoint))?;
            Some((webhooks, endpoint, deliveries))
        });
        found.ok_or_else(|| {
            let detail = "No endpoint of webhooks has this name in the configuration.";
            Problem::new(Code::UnknownWebhook, detail)
        })
    }

    /// All endpoints that the caller sees.
    pub(super) async fn show_webhooks(&self, caller: &Caller) -> Shown {
        let Some(webhooks) = &self.webhooks else { return Ok(Json(json!({ "webhooks": [] }))) };
        let endpoints = webhooks.endpoints();
        if endpoints.is_empty() {
            return Ok(Json(json!({ "webhooks": [] })));
        }
        let seen = self.limited(webhooks.look()).await?;
        let seen_by = endpoints.iter().filter(|(endpoint, _)| sees(caller, endpoint));
        let shown: Vec<Value> = seen_by
            .map(|(endpoint, deliveries)| shown(endpoint, deliveries, seen.row(endpoint.name()), seen.ends))
            .collect();
        Ok(Json(json!({ "webhooks": shown })))
    }

    async fn show_webhook(&self, caller: &Caller, name: &str) -> Shown {
        let (webhooks, endpoint, deliveries) = self.webhook_of(caller, name)?;
        let seen = self.limited(webhooks.look()).await?;
        Ok(Json(shown(&endpoint, &deliveries, seen.row(name), seen.ends)))
    }
}

/// Events that an endpoint was not told of yet, whether it wants them or not.
pub(super) fn lag(state: &WebhookState, ends: LogEnds, log: ToldLog) -> u64 {
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
