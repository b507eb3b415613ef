//! Orders and events as NDJSON, read from the store page by page while the client takes them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use hyper::body::Frame;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::access::Tenant;
use super::problem::{Problem, invalid_name};
use super::{ControlPlane, rfc3339};
use crate::admission::LiveSale;
use crate::domain::{Order, OrderId, SaleId};
use crate::orders::{Event, StoreError};

/// Rows of one read of the store: bounds the memory of an answer, and how long a read takes.
const PAGE_ROWS: usize = 512;
/// Rows of an answer that does not name its limit.
const LIMIT_DEFAULT: usize = 1_000;
/// Pages that wait for a slow client.
const PAGES_AHEAD: usize = 2;

/// The query of both feeds, as text: errors shall name the field.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FeedQuery {
    campaign: Option<String>,
    sku: Option<String>,
    after: Option<String>,
    limit: Option<String>,
}

impl FeedQuery {
    fn limit(&self, rows_max: usize) -> Result<usize, Problem> {
        match self.limit.as_deref() {
            None | Some("") => Ok(LIMIT_DEFAULT.min(rows_max)),
            Some(text) => match text.parse::<usize>() {
                Ok(rows) if rows > 0 => Ok(rows.min(rows_max)),
                _ => Err(Problem::field("limit", "must be a whole number from 1")),
            },
        }
    }

    fn after(&self) -> Option<&str> {
        self.after.as_deref().filter(|text| !text.is_empty())
    }
}

fn parsed(query: Result<Query<FeedQuery>, QueryRejection>) -> Result<FeedQuery, Problem> {
    query.map(|Query(query)| query).map_err(|rejection| Problem::field("query", rejection.body_text()))
}

/// The sales whose rows a caller is shown.
struct Shown {
    tenant: String,
    campaign: Option<String>,
    sku: Option<String>,
}

impl Shown {
    /// The only sale, if the caller named one: the store can look for it alone.
    fn only_sale(&self, plane: &ControlPlane) -> Result<Option<SaleId>, Problem> {
        let (Some(campaign), Some(sku)) = (&self.campaign, &self.sku) else { return Ok(None) };
        let sales = plane.admission.board().sales();
        sales.by_name(&self.tenant, campaign, sku).map(|sale| Some(sale.id)).ok_or_else(Problem::unknown_sale)
    }

    /// The line of an order, if it is of one of these sales.
    fn line(
        &self,
        plane: &ControlPlane,
        order: &Order,
        to_json: impl FnOnce(&LiveSale) -> Value,
    ) -> Option<String> {
        let sales = plane.admission.board().sales();
        let sale = sales.by_id(order.placed.sale)?;
        let key = &sale.key;
        let wanted = |part: &Option<String>, name: &str| part.as_deref().is_none_or(|part| part == name);
        if key.tenant() != self.tenant
            || !wanted(&self.campaign, key.campaign())
            || !wanted(&self.sku, key.sku())
        {
            return None;
        }
        Some(format!("{}\n", to_json(sale)))
    }
}

/// An order of `sale` as the feed shows it.
pub(super) fn order_json(sale: &LiveSale, order: &Order) -> Value {
    let Order { placed, status, paid_at, .. } = order;
    json!({
        "order_id": placed.id.to_string(),
        "tenant": sale.key.tenant(),
        "campaign": sale.key.campaign(),
        "sku": sale.key.sku(),
        "buyer": placed.buyer.as_str(),
        "quantity": placed.quantity,
        "amount_cents": placed.amount.0,
        "currency": sale.terms.currency.as_str(),
        "status": status.as_str(),
        "created_at": rfc3339(placed.created_at),
        "pay_before": rfc3339(placed.pay_before),
        "paid_at": paid_at.map(rfc3339),
    })
}

/// An event of `sale` as the feed shows it and as it is relayed.
pub fn event_json(sale: &LiveSale, event: &Event) -> Value {
    let placed = &event.order.placed;
    json!({
        "seq": event.seq,
        "type": event.kind.as_str(),
        "order_id": placed.id.to_string(),
        "campaign": sale.key.campaign(),
        "sku": sale.key.sku(),
        "tenant": sale.key.tenant(),
        "buyer": placed.buyer.as_str(),
        "quantity": placed.quantity,
        "at": rfc3339(event.at),
        "pay_before": rfc3339(placed.pay_before),
    })
}

/// Which rows, and how far they have been read.
enum Rows {
    Orders { sale: Option<SaleId>, after: Option<OrderId> },
    Events { after: u64 },
}

/// An answer that is being written.
struct Feed {
    plane: Arc<ControlPlane>,
    shown: Shown,
    rows: Rows,
    /// Lines that may still be written.
    left: usize,
}

impl Feed {
    /// The next lines; `None` at the end of the rows or of the limit.
    async fn next_page(&mut self) -> Result<Option<Bytes>, StoreError> {
        while self.left > 0 {
            let (lines, rows) = self.read().await?;
            if rows < PAGE_ROWS && lines.is_empty() {
                return Ok(None);
            }
            if !lines.is_empty() {
                self.left -= lines.len().min(self.left);
                return Ok(Some(Bytes::from(lines.concat())));
            }
        }
        Ok(None)
    }

    /// The lines among the next rows, at most as many as are left, and how many rows were read.
    async fn read(&mut self) -> Result<(Vec<String>, usize), StoreError> {
        let _permit = self.plane.store_permit().await;
        match &mut self.rows {
            Rows::Orders { sale, after } => {
                let orders = self.plane.desk.orders_after(*sale, *after, PAGE_ROWS).await?;
                *after = orders.last().map(|order| order.placed.id).or(*after);
                let lines = orders
                    .iter()
                    .filter_map(|order| self.shown.line(&self.plane, order, |sale| order_json(sale, order)));
                Ok((lines.take(self.left).collect(), orders.len()))
            }
            Rows::Events { after } => {
                let events = self.plane.desk.events_after(*after, PAGE_ROWS).await?;
                *after = events.last().map_or(*after, |event| event.seq);
                let line = |event: &Event| {
                    self.shown.line(&self.plane, &event.order, |sale| event_json(sale, event))
                };
                Ok((events.iter().filter_map(line).take(self.left).collect(), events.len()))
            }
        }
    }

    /// The answer. Its first page is read before the status line, so that a store that is away is told as such; when
    /// it fails later the connection is cut, and the client sees that lines are missing.
    async fn answer(mut self) -> Result<Response, Problem> {
        let patience = Duration::from_millis(self.plane.settings.request_timeout_ms);
        let first = self.next_page().await?;
        let (pages, body) = mpsc::channel(PAGES_AHEAD);
        if let Some(first) = first {
            // The channel is empty and has room.
            let _ = pages.try_send(Ok(first));
            tokio::spawn(async move {
                while let Some(page) = self.next_page().await.transpose() {
                    let failed = page.is_err();
                    // A client that takes nothing for so long, or went away, ends the reading.
                    if pages.send_timeout(page, patience).await.is_err() || failed {
                        return;
                    }
                }
            });
        }
        let body = Body::new(PageBody(body));
        Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], body).into_response())
    }
}

/// A body made of the pages that come through a channel.
struct PageBody(mpsc::Receiver<Result<Bytes, StoreError>>);

impl hyper::body::Body for PageBody {
    type Data = Bytes;
    type Error = StoreError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StoreError>>> {
        self.0.poll_recv(context).map(|page| page.map(|page| page.map(Frame::data)))
    }
}

/// `GET /api/v1/orders`
pub(super) async fn orders(
    State(plane): State<Arc<ControlPlane>>,
    Tenant(tenant): Tenant,
    query: Result<Query<FeedQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let query = parsed(query)?;
    let left = query.limit(plane.settings.page_rows_max)?;
    let after = query.after().map(str::parse).transpose().map_err(|rule| invalid_name("after", rule))?;
    let shown = Shown { tenant, campaign: query.campaign, sku: query.sku };
    let sale = shown.only_sale(&plane)?;
    Feed { plane, shown, rows: Rows::Orders { sale, after }, left }.answer().await
}

/// `GET /api/v1/events`
pub(super) async fn events(
    State(plane): State<Arc<ControlPlane>>,
    Tenant(tenant): Tenant,
    query: Result<Query<FeedQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let query = parsed(query)?;
    let left = query.limit(plane.settings.page_rows_max)?;
    let after = query.after().map_or(Ok(0), str::parse);
    let after = after.map_err(|_| Problem::field("after", "must be the seq of an event"))?;
    let shown = Shown { tenant, campaign: query.campaign, sku: query.sku };
    shown.only_sale(&plane)?;
    Feed { plane, shown, rows: Rows::Events { after }, left }.answer().await
}
