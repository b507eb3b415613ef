//! The search index, as operators see it and have it built anew.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::acting::Acting;
use super::control_plane::ControlPlane;
use super::problem::{Code, Problem};
use super::rfc3339::rfc3339;
use super::sale_acts::only_reason;
use super::tenant::Tenant;
use crate::orders::ActKind;
use crate::search::{RebuildState, Search};
use crate::telemetry::{Exposition, Kind};

/// `GET /api/v1/search`
pub(super) async fn show(State(plane): State<Arc<ControlPlane>>, _: Tenant) -> Result<Json<Value>, Problem> {
    plane.show_search().await
}

/// `POST /api/v1/search/rebuild` with `{"reason"}`: asked for in the trail, where the engine that writes finds it, whichever
/// that is.
pub(super) async fn rebuild(
    State(plane): State<Arc<ControlPlane>>,
    acting: Acting,
    body: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let reason = only_reason(body)?;
    let index = plane.search()?.settings().index.clone();
    let mut act = acting.act(&plane, ActKind::SearchRebuildAsked, index, Some(reason));
    act.tenant = None;
    let desk = plane.desk.clone();
    plane.acted(async move { desk.tell(act).await }).await??;
    tracing::info!("a rebuild of the search index was asked for");
    Ok((StatusCode::ACCEPTED, plane.show_search().await?))
}

impl ControlPlane {
    fn search(&self) -> Result<&Search, Problem> {
        self.search.as_ref().ok_or_else(|| {
            Problem::new(Code::NoSearch, "No search server is configured: search.kind is \"off\".")
        })
    }

    /// How far the index follows.
    pub(super) async fn show_search(&self) -> Result<Json<Value>, Problem> {
        let search = self.search()?;
        let rebuild = self.limited(search.rebuild()).await?;
        let standing = search.progress().standing();
        Ok(Json(json!({
            "kind": search.settings().kind,
            "index": search.settings().index,
            "writer": standing.is_writer,
            "pending": standing.late,
            "lag_s": (standing.lag_s * 10.0).round() / 10.0,
            "refused": standing.refusals,
            "by_this_node": {
                "written": standing.written,
                "removed": standing.removed,
                "refused": standing.refused,
                "failures": standing.failures,
            },
            "last_written_at": standing.last_written.map(rfc3339),
            "last_failure": standing.last_failure.map(|(at, why)| json!({ "at": rfc3339(at), "why": why })),
            "rebuild": rebuild.as_ref().map(shown),
        })))
    }

    /// The figures for `GET /metrics`.
    pub(super) fn expose_search(&self, page: &mut Exposition) {
        let Some(search) = &self.search else { return };
        let standing = search.progress().standing();
        const DOCUMENTS: &str = "seckill_search_documents_total";
        page.family(
            DOCUMENTS,
            Kind::Counter,
            "Documents of sales that this engine had, by what became of them.",
        );
        for (outcome, count) in
            [("written", standing.written), ("removed", standing.removed), ("refused", standing.refused)]
        {
            page.sample(DOCUMENTS, &[("outcome", outcome)], count as f64);
        }
        const FAILURES: &str = "seckill_search_failures_total";
        page.family(FAILURES, Kind::Counter, "Requests to the search server that failed.");
        page.sample(FAILURES, &[], standing.failures as f64);
        for (name, help, value) in [
            (
                "seckill_search_writer",
                "1 at the engine that writes the search index.",
                f64::from(u8::from(standing.is_writer)),
            ),
            ("seckill_search_pending_documents", "Documents of sales that are late.", standing.late as f64),
            (
                "seckill_search_lag_seconds",
                "For how long the oldest of the documents that are late is.",
                standing.lag_s,
            ),
            (
                "seckill_search_refused_documents",
                "Documents that the search index does not take as they are.",
                standing.refusals as f64,
            ),
        ] {
            page.family(name, Kind::Gauge, help);
            page.sample(name, &[], value);
        }
    }
}

fn shown(rebuild: &RebuildState) -> Value {
    let (state, ended_at, documents, why) = match &rebuild.ended {
        None => ("asked", None, None, None),
        Some((at, Ok(documents))) => ("done", Some(*at), Some(*documents), None),
        Some((at, Err(why))) => ("failed", Some(*at), None, Some(why)),
    };
    json!({
        "state": state,
        "asked_at": rfc3339(rebuild.asked_at),
        "ended_at": ended_at.map(rfc3339),
        "documents": documents,
        "why": why,
    })
}
