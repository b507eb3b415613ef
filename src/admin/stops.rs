//! All sales stopped at once, of a tenant or of all, and going on.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use serde_json::{Value, json};

use super::acting::Acting;
use super::control_plane::ControlPlane;
use super::fields::{Fields, required};
use super::problem::{Code, Problem};
use super::tenant::Tenant;
use crate::admission::Sales;
use crate::domain::Stops;
use crate::orders::{ActKind, StopChange};

type Body = Result<Bytes, BytesRejection>;

/// `POST /api/v1/stop` with `{"reason","all"}`: nobody buys of the tenant's sales, or with `"all":true` of any, until they go
/// on. Who holds an order can pay it all the same.
pub(super) async fn stop(
    State(plane): State<Arc<ControlPlane>>,
    acting: Acting,
    body: Body,
) -> Result<Json<Value>, Problem> {
    change(&plane, acting, body, true).await
}

/// `POST /api/v1/go` with `{"reason","all"}`: they are as they were. A sale that is paused by itself stays so, and a tenant's
/// stop outlives that of all.
pub(super) async fn go(
    State(plane): State<Arc<ControlPlane>>,
    acting: Acting,
    body: Body,
) -> Result<Json<Value>, Problem> {
    change(&plane, acting, body, false).await
}

/// `GET /api/v1/stop`
pub(super) async fn show(State(plane): State<Arc<ControlPlane>>, Tenant(tenant): Tenant) -> Json<Value> {
    Json(shown(plane.admission.board().sales().stops(), &tenant))
}

async fn change(
    plane: &ControlPlane,
    acting: Acting,
    body: Body,
    is_stopped: bool,
) -> Result<Json<Value>, Problem> {
    let mut fields = Fields::of_body(body)?;
    let is_all = fields.flag("all")?.unwrap_or(false);
    let reason = required("reason", fields.reason()?)?;
    fields.finish(&["all", "reason"])?;
    if is_all && acting.is_bound() {
        let detail = format!("This token is for the tenant {} only; leave `all` out.", acting.tenant);
        return Err(Problem::new(Code::ForeignTenant, detail));
    }
    let tenant = (!is_all).then(|| acting.tenant.clone());
    if tenant.as_deref().is_some_and(|tenant| !is_known(&plane.admission.board().sales(), tenant)) {
        let detail = format!("This engine has no sale of the tenant {}; nothing was changed.", acting.tenant);
        return Err(Problem::new(Code::UnknownTenant, detail));
    }
    let kind = if is_stopped { ActKind::SalesStopped } else { ActKind::SalesResumed };
    let mut act = acting.act(plane, kind, "sales".into(), Some(reason));
    act.tenant.clone_from(&tenant);
    let (desk, change) = (Arc::clone(&plane.sales), StopChange { tenant, is_stopped, act });
    let stops = plane.acted(async move { desk.change_stops(change).await }).await??;
    tracing::warn!(all = stops.all, tenants = ?stops.tenants, act = kind.as_str(), "what is stopped was changed");
    Ok(Json(shown(&stops, &acting.tenant)))
}

/// Whether the tenant has sales, or is stopped. What is stopped is kept for good: a name that nobody sells under would be one
/// more each time, and whoever mistypes one in a hurry has to hear that nothing has stopped.
fn is_known(sales: &Sales, tenant: &str) -> bool {
    sales.stops().tenants.contains(tenant) || sales.iter().any(|sale| sale.key.tenant() == tenant)
}

/// What is stopped, as far as it is this tenant's business.
fn shown(stops: &Stops, tenant: &str) -> Value {
    json!({ "stopped": stops.concern(tenant), "by_tenant": stops.tenants.contains(tenant), "by_all": stops.all })
}
