//! Archived sales, as buyers see them: they have ended, and whoever bought of one hears of that order. Memory knows their names
//! only; what there is to say stands in the store.

use std::sync::Arc;

use http::StatusCode;

use super::data_plane::{DataPlane, busy, store_is_away};
use super::identity::Buyer;
use super::problem::{self, ProblemAnswer};
use super::purchase::{AcceptedPurchase, PurchaseBody, idempotency_key};
use super::refusal::{refused, rejected};
use super::reply::{Keep, Reply};
use super::request::Request;
use crate::admission::{LiveSale, Purchase};
use crate::domain::SaleKey;
use crate::orders::WantedOrders;
use crate::telemetry::{Dear, Outcome};

/// A buyer's latest orders of one sale, of which a late repeat may be: as many as memory would know.
const ORDERS_MAX: usize = 64;

impl DataPlane {
    /// Decides on a purchase of a sale that is not on the board, as if an archived one still were.
    pub(super) async fn decide_archived<'a>(
        &self,
        request: &Request<'a>,
        campaign: &str,
        sku: &str,
    ) -> Result<AcceptedPurchase<'a>, ProblemAnswer> {
        let sale = self.archived_sale(request, campaign, sku).await?;
        let (tenant, buyer) = self.tenant_and_buyer(request)?;
        self.admission
            .take_lookup(&tenant, buyer.name(), request.arrived.mono)
            .map_err(|rejection| rejected(&rejection, request))?;
        let wanted = WantedOrders {
            tenant,
            buyer: buyer.name().as_str().to_owned(),
            campaign: Some(campaign.to_owned()),
            sku: Some(sku.to_owned()),
            before: None,
            limit: ORDERS_MAX,
        };
        let orders = self.desk.orders_of(wanted).await.map_err(|error| store_is_away(request, &error))?;
        // The newest comes first.
        orders.iter().rev().for_each(|order| sale.state.claims().restore(order));
        let body =
            PurchaseBody::parse(request.body).map_err(|wrong| problem::BAD_REQUEST.detailed(&wrong))?;
        let idempotency_key = idempotency_key(request)?;
        let purchase =
            Purchase { buyer: buyer.name(), quantity: body.quantity(), idempotency_key, pass: None };
        match self.admission.purchase(&sale, &purchase, request.home, request.arrived) {
            Ok(accepted) => Ok(AcceptedPurchase { accepted, sale: Arc::new(sale), buyer, span: None }),
            Err(refusal) => Err(refused(&refusal, request)),
        }
    }

    /// The public state of a sale that is not on the board.
    pub(super) async fn archived_state(
        &self,
        request: &Request<'_>,
        campaign: &str,
        sku: &str,
    ) -> Result<Reply, ProblemAnswer> {
        let sale = self.archived_sale(request, campaign, sku).await?;
        let (tuning, now) = (self.tuning(), request.arrived.wall);
        let phase = self.admission.phase(&sale, now);
        let body = tuning.sale_state.object(&sale, phase, now, request.head.platform);
        let in_token = tuning.tenants.are_in_tokens() && request.head.authorization.is_some();
        let kept = if in_token { Keep::NoStore } else { tuning.sale_state.kept() };
        Ok(Reply::json(StatusCode::OK, Outcome::Served, body).kept(kept))
    }

    /// The archived sale of this name; nothing is asked for names that no archived sale has.
    pub(super) async fn archived_sale(
        &self,
        request: &Request<'_>,
        campaign: &str,
        sku: &str,
    ) -> Result<LiveSale, ProblemAnswer> {
        let tenant = self.tenant(request)?;
        let key = match SaleKey::new(&tenant, campaign, sku) {
            Ok(key) if self.admission.board().archived().may_have(&tenant, campaign, sku) => key,
            _ => return Err(problem::UNKNOWN_SALE.answer()),
        };
        if self.sheds(request, Dear::Look) {
            return Err(busy());
        }
        let found = self.desk.archived_sale(&key).await.map_err(|error| store_is_away(request, &error))?;
        found.map(LiveSale::off_board).ok_or_else(|| problem::UNKNOWN_SALE.answer())
    }

    /// Whose customer asks: of a public page anybody's.
    pub(super) fn tenant(&self, request: &Request<'_>) -> Result<String, ProblemAnswer> {
        let tuning = self.tuning();
        let in_token = tuning.tenants.are_in_tokens() && request.head.authorization.is_some();
        let bearer = if in_token { Some(self.buyer(&tuning, request)?) } else { None };
        Ok(tuning.tenants.of(&request.head, bearer.as_ref().and_then(Buyer::tenant))?.into_owned())
    }
}
