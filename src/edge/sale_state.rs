//! `GET /seckill/{campaign}/{sku}`: the public state of a sale, for pages and the CDN in front of them.

use http::StatusCode;

use super::data_plane::DataPlane;
use super::identity::Buyer;
use super::problem::ProblemAnswer;
use super::reply::{Keep, Reply};
use super::request::Request;
use crate::telemetry::Outcome;

impl DataPlane {
    /// What anybody may know of a sale. Needs no identity, so that a CDN can answer for us.
    pub(super) async fn sale_state(&self, request: &Request<'_>, campaign: &str, sku: &str) -> Reply {
        let shown = match self.try_sale_state(request, campaign, sku) {
            Ok(Some(reply)) => Ok(reply),
            Ok(None) => Box::pin(self.archived_state(request, campaign, sku)).await,
            Err(answer) => Err(answer),
        };
        shown.unwrap_or_else(|answer| answer.reply(&request.id))
    }

    /// `None` when the sale is not on the board.
    fn try_sale_state(
        &self,
        request: &Request<'_>,
        campaign: &str,
        sku: &str,
    ) -> Result<Option<Reply>, ProblemAnswer> {
        let (tuning, now) = (self.tuning(), request.arrived.wall);
        // Without a token it is the default tenant's; with one the page is made for its bearer, and for nobody else.
        let in_token = tuning.tenants.are_in_tokens() && request.head.authorization.is_some();
        let bearer = if in_token { Some(self.buyer(&tuning, request)?) } else { None };
        let tenant = tuning.tenants.of(&request.head, bearer.as_ref().and_then(Buyer::tenant))?;
        let sales = self.admission.board().sales();
        let Some(sale) = sales.by_name(&tenant, campaign, sku) else { return Ok(None) };
        let phase = self.admission.phase(sale, now);
        let body = tuning.sale_state.object(sale, phase, now, request.head.platform);
        let kept = if in_token { Keep::NoStore } else { tuning.sale_state.kept() };
        Ok(Some(Reply::json(StatusCode::OK, Outcome::Served, body).kept(kept)))
    }
}
