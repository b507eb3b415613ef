//! `GET /api/v1/live`: the whole picture once a second, as server-sent events.
//!
//! One task makes the snapshots, for all viewers together and only while there is one. Each viewer is sent the newest when its
//! connection takes one: who is slow misses those in between and has no backlog.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use futures_util::stream::unfold;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::caller::Caller;
use super::control_plane::ControlPlane;
use super::live_sampler::Sampler;
use super::live_snapshot::Snapshot;
use super::problem::{Code, Problem};
use super::tenant::Tenant;

/// From one snapshot to the next.
const EVERY: Duration = Duration::from_secs(1);

/// The engine told the admin plane to end.
#[derive(Clone, Debug)]
pub(super) struct Stopped(pub watch::Receiver<bool>);

/// The snapshots from now on; the task that makes them runs by then.
fn watch(plane: &Arc<ControlPlane>) -> watch::Receiver<Option<Arc<Snapshot>>> {
    let (snapshots, is_first) = plane.live.watch();
    if is_first {
        tokio::spawn(sample(Arc::clone(plane)));
    }
    snapshots
}

/// The newest snapshot, of all tenants, for whoever looks at a page.
pub(super) async fn newest(plane: &Arc<ControlPlane>) -> Value {
    plane.live.look();
    let mut snapshots = watch(plane);
    let first = tokio::time::timeout(EVERY, snapshots.wait_for(Option::is_some)).await;
    let newest = first.ok().and_then(Result::ok);
    newest.as_deref().and_then(Option::as_ref).map_or(Value::Null, |snapshot| snapshot.to_json())
}

/// Makes snapshots while somebody watches.
async fn sample(plane: Arc<ControlPlane>) {
    let mut sampler = Sampler::new(&plane);
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if plane.live.ends() {
            // What is new to the next viewer is not what was seen long ago.
            plane.live.show(None);
            return;
        }
        let snapshot = sampler.sample(&plane).await;
        plane.live.show(Some(snapshot));
    }
}

/// The tenant that a viewer asks for, or is bound to; `None` for all.
pub(super) struct WatchedTenant(Option<String>);

impl<S: Sync> FromRequestParts<S> for WatchedTenant {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let is_bound = parts.extensions.get::<Caller>().is_some_and(|caller| caller.tenant.is_some());
        if !is_bound && !parts.headers.contains_key("x-tenant-id") {
            return Ok(Self(None));
        }
        Tenant::from_request_parts(parts, state).await.map(|Tenant(tenant)| Self(Some(tenant)))
    }
}

/// A viewer: who it is, what it waits for, and its place.
struct Viewer {
    plane: Arc<ControlPlane>,
    /// Of its request.
    headers: HeaderMap,
    snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    stopped: watch::Receiver<bool>,
    tenant: Option<String>,
    _place: OwnedSemaphorePermit,
}

impl Viewer {
    /// The next snapshot, once the connection takes one. `None` ends the answer: the engine stops, or the viewer is none
    /// any more.
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        loop {
            tokio::select! {
                changed = self.snapshots.changed() => changed.ok()?,
                _ = self.stopped.wait_for(|stopped| *stopped) => return None,
            }
            let newest = self.snapshots.borrow_and_update().clone();
            let Some(snapshot) = newest else { continue };
            if !self.plane.still_sees(&self.headers, self.tenant.as_deref()) {
                return None;
            }
            let event = Event::default()
                .event("snapshot")
                .id(snapshot.seq.to_string())
                .data(&*snapshot.for_tenant(self.tenant.as_deref()));
            return Some((Ok(event), self));
        }
    }

    fn events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        unfold(self, Self::next)
    }
}

/// `GET /api/v1/live`
pub(super) async fn live(
    State(plane): State<Arc<ControlPlane>>,
    WatchedTenant(tenant): WatchedTenant,
    Extension(Stopped(stopped)): Extension<Stopped>,
    headers: HeaderMap,
) -> Response {
    let Some(place) = plane.live.place() else {
        let detail = format!(
            "There are {} viewers, as many as admin.live_viewers_max allows.",
            plane.live.viewers_max()
        );
        return Problem::new(Code::TooManyViewers, detail).header(header::RETRY_AFTER, "5").into_response();
    };
    let snapshots = watch(&plane);
    let viewer = Viewer { plane, headers, snapshots, stopped, tenant, _place: place };
    Sse::new(viewer.events()).into_response()
}
