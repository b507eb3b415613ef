//! `GET /orders`: the asking buyer's own orders, the newest first, a page at a time.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use http::StatusCode;

use super::data_plane::{DataPlane, store_is_away};
use super::json::JsonObject;
use super::order_view::OrderView;
use super::problem::{self, ProblemAnswer};
use super::refusal::rejected;
use super::reply::Reply;
use super::request::Request;
use crate::domain::{OrderId, SaleKey};
use crate::orders::WantedOrders;
use crate::telemetry::Outcome;

/// Orders of one answer at most: some 30 KiB.
const ORDERS_MAX: usize = 100;
const ORDERS_USUAL: usize = 20;

/// What the query asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Page<'a> {
    campaign: Option<&'a str>,
    sku: Option<&'a str>,
    limit: Option<usize>,
    before: Option<OrderId>,
}

impl<'a> Page<'a> {
    fn parse(query: &'a str) -> Result<Self, String> {
        let mut page = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let is_second = match name {
                "campaign" => page.campaign.replace(name_in(name, value)?).is_some(),
                "sku" => page.sku.replace(name_in(name, value)?).is_some(),
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=ORDERS_MAX).contains(limit));
                    let limit = limit.ok_or_else(|| format!("limit must be 1 to {ORDERS_MAX}."))?;
                    page.limit.replace(limit).is_some()
                }
                "before" => {
                    let before = value.parse().map_err(|_| "before must be an order_id.".to_owned())?;
                    page.before.replace(before).is_some()
                }
                _ => return Err("The query may have campaign, sku, limit and before.".into()),
            };
            if is_second {
                return Err(format!("{name} may be given once only."));
            }
        }
        Ok(page)
    }
}

fn name_in<'a>(name: &str, value: &'a str) -> Result<&'a str, String> {
    let is_name = SaleKey::check_part(value).is_ok();
    is_name.then_some(value).ok_or_else(|| format!("{name} must be 1 to 64 characters of A-Z a-z 0-9 . _ -."))
}

impl DataPlane {
    /// Lists the buyer's orders.
    pub(super) async fn orders(&self, request: &Request<'_>) -> Reply {
        self.try_orders(request).await.unwrap_or_else(|answer| answer.reply(&request.id))
    }

    async fn try_orders(&self, request: &Request<'_>) -> Result<Reply, ProblemAnswer> {
        let page = Page::parse(request.query).map_err(|wrong| problem::BAD_REQUEST.detailed(&wrong))?;
        let (tenant, buyer) = self.tenant_and_buyer(request)?;
        self.admission
            .take_lookup(&tenant, buyer.name(), request.arrived.mono)
            .map_err(|rejection| rejected(&rejection, request))?;
        let limit = page.limit.unwrap_or(ORDERS_USUAL);
        let wanted = WantedOrders {
            tenant,
            buyer: buyer.name().as_str().to_owned(),
            campaign: page.campaign.map(str::to_owned),
            sku: page.sku.map(str::to_owned),
            before: page.before,
            limit,
        };
        let orders = self.desk.orders_of(wanted).await.map_err(|error| store_is_away(request, &error))?;
        let mut list = vec![b'['];
        let mut known = HashMap::new();
        for order in &orders {
            let id = order.placed.sale;
            if let Entry::Vacant(place) = known.entry(id) {
                // On the board, or archived.
                place.insert(self.desk.sale_of(id).await.map_err(|error| store_is_away(request, &error))?);
            }
            let Some(Some(sale)) = known.get(&id) else { continue };
            if list.len() > 1 {
                list.push(b',');
            }
            list.extend(OrderView::of_order(sale, order).object());
        }
        list.push(b']');
        let mut object = JsonObject::with_capacity(list.len() + 64);
        object.json("orders", &list);
        match orders.last().filter(|_| orders.len() == limit) {
            Some(last) => object.order_id("before", last.placed.id),
            None => object.null("before"),
        };
        Ok(Reply::json(StatusCode::OK, Outcome::Served, object.finish()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_says_which_orders() {
        assert_eq!(Page::parse(""), Ok(Page::default()));
        let page = Page::parse("campaign=11.11&sku=phone&limit=100").unwrap();
        assert_eq!((page.campaign, page.sku, page.limit), (Some("11.11"), Some("phone"), Some(100)));
        for wrong in [
            "campaign=",
            "sku=a%20b",
            "limit=0",
            "limit=101",
            "limit=x",
            "before=x",
            "limit=1&limit=2",
            "campain=a",
        ] {
            assert!(Page::parse(wrong).is_err(), "{wrong}");
        }
    }
}
