//! `GET /api/v1/profiles/cpu`: where processor time goes, from now on for some seconds, as a file for pprof's tools. `GET
//! /api/v1/allocator`: what the allocator holds.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::Value;
use tokio::task::{JoinError, spawn_blocking};

use super::acting::Acting;
use super::control_plane::ControlPlane;
use super::problem::{Code, Problem};
use super::tenant::Tenant;
use crate::orders::ActKind;
use crate::profiles::{CpuProfiler, allocator_statistics};

/// What a profile takes at most, so that its answer begins before `admin.request_timeout_ms`.
pub(super) const SECONDS_MAX: u16 = 20;
const SECONDS_DEFAULT: u16 = 10;
/// Each sample interrupts the engine: more of them would be seen in what is measured.
pub(super) const HERTZ_MAX: u16 = 999;
/// Not 100: what happens in step with a clock shall be met like everything else.
const HERTZ_DEFAULT: u16 = 99;

/// The query, as text: errors shall name the field.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProfileQuery {
    seconds: Option<String>,
    hertz: Option<String>,
}

fn number(field: &'static str, given: Option<&str>, default: u16, max: u16) -> Result<u16, Problem> {
    match given.map(str::parse) {
        None => Ok(default),
        Some(Ok(number)) if (1..=max).contains(&number) => Ok(number),
        Some(_) => {
            let rule = format!("must be a whole number from 1 to {max}");
            Err(Problem::field(field, rule).with("max", max))
        }
    }
}

/// Takes a profile, one at a time. Who goes away ends it.
pub(super) async fn cpu(
    State(plane): State<Arc<ControlPlane>>,
    acting: Acting,
    query: Result<Query<ProfileQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|rejection| Problem::field("query", rejection.body_text()))?;
    let seconds = number("seconds", query.seconds.as_deref(), SECONDS_DEFAULT, SECONDS_MAX)?;
    let hertz = number("hertz", query.hertz.as_deref(), HERTZ_DEFAULT, HERTZ_MAX)?;
    let one = Arc::clone(&plane.profiling).try_acquire_owned().map_err(|_| {
        Problem::new(Code::ProfileUnderWay, "Another profile is being taken.")
            .header(header::RETRY_AFTER, "5")
    })?;
    // Beside it: a profile may be what tells why the store does not answer.
    plane.tell_beside(acting, ActKind::ProfileTaken, format!("cpu, {seconds} s, {hertz} Hz"));
    let started = spawn_blocking(move || CpuProfiler::start(hertz)).await;
    let profiler = started.map_err(cut_short)?.map_err(|error| failed(&error))?;
    tokio::time::sleep(Duration::from_secs(seconds.into())).await;
    let finished = spawn_blocking(move || {
        let file = profiler.finish();
        // Until then no other one could begin.
        drop(one);
        file
    });
    let file = finished.await.map_err(cut_short)?.map_err(|error| failed(&error))?;
    let fields = [
        (header::CONTENT_TYPE, "application/octet-stream"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"cpu.pb.gz\""),
    ];
    Ok((fields, file).into_response())
}

/// What the allocator holds.
pub(super) async fn allocator(_: Tenant) -> Result<Json<Value>, Problem> {
    allocator_statistics().map(Json).map_err(|error| failed(&error))
}

fn cut_short(_: JoinError) -> Problem {
    Problem::new(Code::Internal, "The profile was cut short.")
}

fn failed(error: &str) -> Problem {
    tracing::error!(error, "a profile could not be taken");
    Problem::new(Code::Internal, format!("It could not be taken: {error}."))
}
