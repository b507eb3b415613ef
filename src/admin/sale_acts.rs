//! What an operator does to a running sale with one call: pause it, let it go on, end it.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::acting::Acting;
use super::control_plane::ControlPlane;
use super::fields::{Fields, required};
use super::problem::Problem;
use super::sales::sale_name;
use crate::domain::SaleEdit;
use crate::orders::ActKind;

/// The longest pause that ends by itself: a week.
const PAUSE_S_MAX: u32 = 7 * 24 * 3600;

type Body = Result<Bytes, BytesRejection>;

/// `POST /api/v1/campaigns/{campaign}/{sku}/pause` with `{"reason","for_s"}`: nobody buys until the sale is resumed, or so
/// many seconds are over. The end is part of the sale, as its window is: every node keeps it, whatever is started anew.
pub(super) async fn pause(
    State(plane): State<Arc<ControlPlane>>,
    acting: Acting,
    Path(name): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = Fields::of_body(body)?;
    let for_s: Option<u32> = fields.number("for_s")?.value();
    let reason = required("reason", fields.reason()?)?;
    fields.finish(&["for_s", "reason"])?;
    if for_s.is_some_and(|for_s| for_s == 0 || for_s > PAUSE_S_MAX) {
        return Err(Problem::field("for_s", format!("must be 1 to {PAUSE_S_MAX}")));
    }
    let paused_until = for_s.map(|for_s| plane.now().plus_ms(i64::from(for_s) * 1_000));
    let edit = SaleEdit { paused: Some(true), paused_until, ..SaleEdit::default() };
    plane.act_on_sale(&acting, name, &headers, ActKind::CampaignPaused, edit, reason).await
}

/// `POST /api/v1/campaigns/{campaign}/{sku}/resume` with `{"reason"}`.
pub(super) async fn resume(
    State(plane): State<Arc<ControlPlane>>,
    acting: Acting,
    Path(name): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let reason = only_reason(body)?;
    let edit = SaleEdit { paused: Some(false), ..SaleEdit::default() };
    plane.act_on_sale(&acting, name, &headers, ActKind::CampaignResumed, edit, reason).await
}

/// `POST /api/v1/campaigns/{campaign}/{sku}/end` with `{"reason"}`: the sale is over from now on. Who holds an order may
/// still pay it. One that has not begun never does.
pub(super) async fn end(
    State(plane): State<Arc<ControlPlane>>,
    acting: Acting,
    Path(name): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let reason = only_reason(body)?;
    let edit = SaleEdit { ended_at: Some(plane.now()), ..SaleEdit::default() };
    plane.act_on_sale(&acting, name, &headers, ActKind::CampaignEnded, edit, reason).await
}

/// The reason, which is all that the body says.
pub(super) fn only_reason(body: Body) -> Result<String, Problem> {
    let mut fields = Fields::of_body(body)?;
    let reason = required("reason", fields.reason()?)?;
    fields.finish(&["reason"])?;
    Ok(reason)
}

impl ControlPlane {
    async fn act_on_sale(
        &self,
        acting: &Acting,
        (campaign, sku): (String, String),
        headers: &HeaderMap,
        kind: ActKind,
        edit: SaleEdit,
        reason: String,
    ) -> Result<Response, Problem> {
        let live = self.live_sale(&acting.tenant, &campaign, &sku).await?;
        let act = acting.act(self, kind, sale_name(&live.key), Some(reason));
        self.change_sale(&live, headers, edit, act).await
    }
}
