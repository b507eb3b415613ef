//! `GET /api/v1/trail`: what operators did, as NDJSON.

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::caller::Caller;
use super::control_plane::ControlPlane;
use super::paging::{self, ndjson};
use super::problem::Problem;
use super::rfc3339::rfc3339;
use super::tenant::Tenant;
use crate::orders::TrailEntry;

/// Entries of an answer that does not name its limit.
const LIMIT_DEFAULT: usize = 100;
/// Entries of an answer at most. Each has some kilobytes at most, so that an answer has some megabytes.
const LIMIT_MAX: usize = 1_000;

/// The query, as text: errors shall name the field.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TrailQuery {
    after: Option<String>,
    limit: Option<String>,
}

impl TrailQuery {
    fn after(&self) -> Result<u64, Problem> {
        let given = self.after.as_deref().filter(|text| !text.is_empty());
        given.map_or(Ok(0), str::parse).map_err(|_| Problem::field("after", "must be the seq of an entry"))
    }
}

/// The entries about the tenant's sales and orders, and those about all tenants', oldest first. Who is bound to a tenant
/// sees that tenant's only; such a page may be shorter than its limit, or empty, and still have a next one.
pub(super) async fn show(
    State(plane): State<Arc<ControlPlane>>,
    Extension(caller): Extension<Caller>,
    Tenant(tenant): Tenant,
    query: Result<Query<TrailQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|rejection| Problem::field("query", rejection.body_text()))?;
    let after = query.after()?;
    let limit = paging::limit(query.limit.as_deref(), LIMIT_DEFAULT, LIMIT_MAX, "")?;
    // One more than is shown tells whether there is more.
    let mut entries = plane.limited(plane.desk.trail_after(&tenant, after, limit + 1)).await?;
    let has_more = entries.len() > limit;
    entries.truncate(limit);
    let is_seen = |entry: &&TrailEntry| caller.tenant.is_none() || entry.tenant.is_some();
    let lines: String =
        entries.iter().filter(is_seen).map(|entry| entry_json(entry).to_string() + "\n").collect();
    let next = entries.last().filter(|_| has_more);
    let next = next.map(|last| [("after", last.seq.to_string()), ("limit", limit.to_string())]);
    Ok(ndjson(lines, next.as_ref().map(|said| ("/api/v1/trail", &said[..]))))
}

pub(super) fn entry_json(entry: &TrailEntry) -> Value {
    json!({
        "seq": entry.seq,
        "at": rfc3339(entry.at),
        "who": entry.actor.who,
        "role": entry.actor.role,
        "address": entry.actor.address,
        "request_id": entry.actor.request_id,
        "tenant": entry.tenant,
        "act": entry.kind,
        "object": entry.object,
        "from": entry.from,
        "to": entry.to,
        "reason": entry.reason,
    })
}
