//! The end of a campaign, as operators ask for it: archived, or deleted.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::acting::Acting;
use super::control_plane::ControlPlane;
use super::etag::{NotEntityTags, versions};
use super::fields::Fields;
use super::problem::Problem;
use super::sales::{sale_name, tagged};
use crate::admission::LiveSale;
use crate::domain::Sale;
use crate::orders::ActKind;

type Body = Result<Bytes, BytesRejection>;

/// `POST /api/v1/campaigns/{campaign}/{sku}/archive` with `{"reason"}`, which may be left out: a sale that is over and has
/// nothing open leaves memory and the tables of running sales. Its orders stay where they are looked for.
pub(super) async fn archive(
    State(plane): State<Arc<ControlPlane>>,
    acting: Acting,
    Path(name): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let sale = plane.end_for_good(&acting, name, &headers, ActKind::CampaignArchived, body).await?;
    Ok(tagged(&sale, Json(plane.describe(&sale))))
}

/// `DELETE /api/v1/campaigns/{campaign}/{sku}`: a sale without durable orders is no more. A reason may be given in the body.
pub(super) async fn delete(
    State(plane): State<Arc<ControlPlane>>,
    acting: Acting,
    Path(name): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    plane.end_for_good(&acting, name, &headers, ActKind::CampaignDeleted, body).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

impl ControlPlane {
    /// Archives a sale, or deletes it where that is the act, and answers with it as it was last.
    async fn end_for_good(
        &self,
        acting: &Acting,
        (campaign, sku): (String, String),
        headers: &HeaderMap,
        kind: ActKind,
        body: Body,
    ) -> Result<Sale, Problem> {
        let reason = reason(body)?;
        let live = self.live_sale(&acting.tenant, &campaign, &sku).await?;
        let if_version = if_version(headers, &live)?;
        let act = acting.act(self, kind, sale_name(&live.key), reason);
        let desk = Arc::clone(&self.sales);
        let ended = self.acted(async move {
            match kind {
                ActKind::CampaignDeleted => desk.delete(&live.key, if_version, act).await,
                _ => desk.archive(&live.key, if_version, act).await,
            }
        });
        Ok(ended.await??)
    }
}

/// Why, if the caller says so; without a body he does not.
fn reason(body: Body) -> Result<Option<String>, Problem> {
    if body.as_ref().is_ok_and(|body| body.is_empty()) {
        return Ok(None);
    }
    let mut fields = Fields::of_body(body)?;
    let reason = fields.reason()?.value();
    fields.finish(&["reason"])?;
    Ok(reason)
}

fn if_version(headers: &HeaderMap, live: &LiveSale) -> Result<Option<Vec<u64>>, Problem> {
    versions(headers, live.id)
        .map_err(|NotEntityTags| Problem::malformed("If-Match must be *, or entity tags as ETag gives them."))
}
