//! Orders and events as NDJSON. Who goes on from the last line that he has seen misses nothing: no order comes later with a
//! lower number than one that was shown, and no row is passed over because this node does not know its sale yet.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use hyper::body::Frame;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::control_plane::ControlPlane;
use super::feed_marks::Mark;
use super::order_json::order_json;
use super::paging::{self, ndjson};
use super::problem::{Problem, invalid_name};
use super::tenant::{Tenant, name_in_query};
use crate::admission::LiveSale;
use crate::domain::{BuyerId, Order, OrderId, OrderStatus, SaleId};
use crate::orders::{CompleteOrders, Event, OrderFilter, StoreError, TenantSales, event_json};

/// Rows of one read of the store: bounds the memory of an answer, and how long a read takes.
const PAGE_ROWS: usize = 512;
/// Rows of an answer that does not name its limit.
const LIMIT_DEFAULT: usize = 1_000;
/// Rows that are looked at for each line that `admin.page_rows_max` allows: an answer that has found less by then ends, and
/// says that there is more.
const LOOKED_AT: usize = 10;
/// Bytes of an answer: one that would have more ends earlier, and says that there is more.
const PAGE_BYTES_MAX: usize = 4 << 20;
/// Bytes that are handed to the connection at once.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces that wait for a slow client.
const PIECES_AHEAD: usize = 2;
/// How long to wait before looking again whether the orders that were on their way have arrived.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The query of both feeds, as text: errors shall name the field.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FeedQuery {
    campaign: Option<String>,
    sku: Option<String>,
    buyer: Option<String>,
    status: Option<String>,
    after: Option<String>,
    limit: Option<String>,
}

impl FeedQuery {
    fn limit(&self, rows_max: usize) -> Result<usize, Problem> {
        paging::limit(self.limit.as_deref(), LIMIT_DEFAULT, rows_max, paging::BY_SETTING)
    }

    fn buyer(&self) -> Result<Option<BuyerId>, Problem> {
        let name = self.buyer.as_deref().map(BuyerId::new).transpose();
        name.map_err(|rule| invalid_name("buyer", rule))
    }

    fn status(&self) -> Result<Option<OrderStatus>, Problem> {
        let Some(wanted) = self.status.as_deref() else { return Ok(None) };
        let known = OrderStatus::ALL.into_iter().find(|status| status.as_str() == wanted);
        known.map(Some).ok_or_else(|| {
            let all: Vec<_> = OrderStatus::ALL.iter().map(|status| status.as_str()).collect();
            Problem::field("status", format!("must be one of {}", all.join(", ")))
        })
    }

    fn after(&self) -> Option<&str> {
        self.after.as_deref().filter(|text| !text.is_empty())
    }
}

fn parsed(query: Result<Query<FeedQuery>, QueryRejection>) -> Result<FeedQuery, Problem> {
    let Query(query) = query.map_err(|rejection| Problem::field("query", rejection.body_text()))?;
    let (campaign, sku) = (name_in_query("campaign", query.campaign)?, name_in_query("sku", query.sku)?);
    Ok(FeedQuery { campaign, sku, ..query })
}

/// The rows that a caller is shown.
struct Shown {
    tenant: String,
    campaign: Option<String>,
    sku: Option<String>,
    buyer: Option<BuyerId>,
    status: Option<OrderStatus>,
}

impl Shown {
    /// The only sale, if the caller named one: the store can look for it alone.
    async fn only_sale(&self, plane: &ControlPlane) -> Result<Option<SaleId>, Problem> {
        let (Some(campaign), Some(sku)) = (&self.campaign, &self.sku) else { return Ok(None) };
        Ok(Some(plane.any_sale(&self.tenant, campaign, sku).await?.id))
    }

    /// Whether the caller is shown rows of this sale.
    fn is_wanted(&self, sale: &LiveSale) -> bool {
        let wanted = |part: &Option<String>, name: &str| part.as_deref().is_none_or(|part| part == name);
        sale.key.tenant() == self.tenant
            && wanted(&self.campaign, sale.key.campaign())
            && wanted(&self.sku, sale.key.sku())
    }

    /// What the query of the page behind the row with this mark says.
    fn next_page(&self, after: String, limit: usize) -> Vec<(&'static str, String)> {
        let parts = [
            ("campaign", self.campaign.as_deref()),
            ("sku", self.sku.as_deref()),
            ("buyer", self.buyer.as_ref().map(BuyerId::as_str)),
            ("status", self.status.map(OrderStatus::as_str)),
        ];
        let wanted = parts.into_iter().filter_map(|(field, part)| Some((field, part?.to_owned())));
        [("after", after), ("limit", limit.to_string())].into_iter().chain(wanted).collect()
    }
}

/// Which rows, and how far they have been read.
enum Rows {
    Orders { filter: OrderFilter, after: Option<OrderId> },
    Events { after: u64 },
}

impl Rows {
    /// Up to where they have been read.
    fn read_through(&self) -> Mark {
        match self {
            Self::Orders { after, .. } => after.map(OrderId::number),
            Self::Events { after } => Some(*after),
        }
    }

    /// Reads on behind this number.
    fn go_on_from(&mut self, mark: Mark) {
        match self {
            Self::Orders { after, .. } => *after = mark.and_then(OrderId::from_number),
            Self::Events { after } => *after = mark.unwrap_or(*after),
        }
    }

    /// What `after` names to go on behind what was read.
    fn mark(&self) -> Option<String> {
        match self {
            Self::Orders { after, .. } => after.map(|id| id.to_string()),
            Self::Events { after } => Some(after.to_string()),
        }
    }
}

/// A row that was read.
enum Row {
    Order(Order),
    Event(Event),
}

impl Row {
    fn sale(&self) -> SaleId {
        match self {
            Self::Order(order) => order.placed.sale,
            Self::Event(event) => event.order.placed.sale,
        }
    }

    /// What `after` names to go on behind this row.
    fn mark(&self) -> String {
        match self {
            Self::Order(order) => order.placed.id.to_string(),
            Self::Event(event) => event.seq.to_string(),
        }
    }

    fn json(&self, sale: &LiveSale) -> Value {
        match self {
            Self::Order(order) => order_json(sale, order),
            Self::Event(event) => event_json(sale, event),
        }
    }
}

/// What one read of the store gave.
struct Read {
    rows: Vec<Row>,
    /// Whether there are no further rows to show at the moment.
    is_end: bool,
    /// Of orders: up to where nothing is missing, and the highest number that is durable.
    complete: Option<(OrderId, Option<OrderId>)>,
}

/// A feed that is being read for one answer.
struct Feed {
    plane: Arc<ControlPlane>,
    shown: Shown,
    rows: Rows,
    /// Lines that the answer may have.
    limit: usize,
    /// The sales of the rows so far.
    known: HashMap<SaleId, Option<Arc<LiveSale>>>,
}

/// The lines of one answer.
#[derive(Default)]
struct Page {
    text: String,
    lines: usize,
    /// The mark of the last line, or of the last row that was looked at.
    last: Option<String>,
    /// Whether there is, or will be, more behind it.
    has_more: bool,
}

impl Feed {
    /// What tells this feed from others, if what it shows does not change: sale and buyer of an order are what they are, its
    /// status is not.
    fn lasting_name(&self) -> Option<String> {
        let shown = self.shown.next_page(String::new(), 0);
        let kind = if matches!(self.rows, Rows::Orders { .. }) { "orders" } else { "events" };
        self.shown.status.is_none().then(|| format!("{kind} of {}: {shown:?}", self.shown.tenant))
    }

    /// Reads one answer. One of orders without a line is the end of the feed: everything that was durable when this was called
    /// has been shown. So it waits for orders that are on their way below one that is durable; with lines to show it does not.
    async fn page(&mut self) -> Result<Page, Problem> {
        let (feed, asked_after) = (self.lasting_name(), self.rows.read_through());
        if let Some(feed) = &feed {
            self.rows.go_on_from(self.plane.feed_marks.go_on_from(feed, asked_after));
        }
        let give_up_at = Instant::now() + Duration::from_millis(self.plane.settings.request_timeout_ms) / 2;
        let looked_at_max = self.plane.settings.page_rows_max.saturating_mul(LOOKED_AT);
        let (mut page, mut looked_at) = (Page::default(), 0);
        let mut due = None;
        loop {
            let read = self.read().await?;
            looked_at += read.rows.len();
            for row in read.rows {
                let Some(sale) = self.sale(row.sale()).await? else { continue };
                if self.shown.is_wanted(&sale) && !page.push(&row, &sale, self.limit) {
                    return Ok(page);
                }
            }
            if let Some(feed) = feed.as_deref().filter(|_| page.lines == 0) {
                self.plane.feed_marks.note(feed, asked_after, self.rows.read_through());
            }
            let (through, newest) = read.complete.unzip();
            // What became durable after the first look need not be waited for.
            let due = due.get_or_insert(newest.flatten());
            match (read.is_end, through) {
                // What is not remembered would begin anew: it has all the time that a request has.
                (false, _)
                    if looked_at >= looked_at_max || (feed.is_some() && Instant::now() > give_up_at) =>
                {
                    return self.cut_short(page);
                }
                (false, _) => {}
                (true, Some(through)) if *due > Some(through) => {
                    if page.lines > 0 {
                        page.has_more = true;
                        return Ok(page);
                    }
                    if Instant::now() > give_up_at {
                        return Err(Problem::orders_on_their_way());
                    }
                    sleep(LOOK_AGAIN).await;
                }
                (true, _) => return Ok(page),
            }
        }
    }

    /// The answer as far as it has come. An empty one says only of events that there may be more.
    fn cut_short(&self, page: Page) -> Result<Page, Problem> {
        if page.lines == 0 && matches!(self.rows, Rows::Orders { .. }) {
            return Err(Problem::search_goes_on());
        }
        Ok(Page { last: self.rows.mark(), has_more: true, ..page })
    }

    async fn read(&mut self) -> Result<Read, StoreError> {
        let desk = &self.plane.desk;
        match &mut self.rows {
            Rows::Orders { filter, after } => {
                let reading = desk.complete_orders(filter.clone(), *after, PAGE_ROWS);
                let found = self.plane.in_bulk(reading).await?;
                let CompleteOrders { orders, looked_through, through, newest } = found;
                // A node that joins later numbers its orders above the newest durable one, not above what is complete here.
                *after = (*after).max(newest.map(|newest| newest.min(looked_through)));
                let is_end = looked_through >= through;
                let rows = orders.into_iter().map(Row::Order).collect();
                Ok(Read { rows, is_end, complete: Some((through, newest)) })
            }
            Rows::Events { after } => {
                let events = self.plane.in_bulk(desk.events_after(*after, PAGE_ROWS)).await?;
                *after = events.last().map_or(*after, |event| event.seq);
                let is_end = events.len() < PAGE_ROWS;
                Ok(Read { rows: events.into_iter().map(Row::Event).collect(), is_end, complete: None })
            }
        }
    }

    /// The sale of a row: from the board, or from the store when it is archived, or another node has just made it. A row is
    /// never passed over because this node does not know its sale. `None` when the sale was deleted: the row is of a purchase
    /// that was under way then, and was refused.
    async fn sale(&mut self, id: SaleId) -> Result<Option<Arc<LiveSale>>, StoreError> {
        if let Some(sale) = self.known.get(&id) {
            return Ok(sale.clone());
        }
        let found = self.plane.in_bulk(self.plane.desk.sale_of(id)).await?;
        self.known.insert(id, found.clone());
        Ok(found)
    }

    /// The answer. It is read whole before the status line: a store that is away is told as such, and whether it is the
    /// last one stands in the header.
    async fn answer(mut self, path: &str) -> Result<Response, Problem> {
        let answers = Arc::clone(&self.plane.feed_answers);
        let place = answers.acquire_owned().await.expect("the semaphore is never closed");
        let plane = Arc::clone(&self.plane);
        let reading = async move {
            let page = self.page().await;
            (self, page)
        };
        let (feed, page) = plane.bulk_reads.run(reading).await?;
        let page = page?;
        let patience = Duration::from_millis(feed.plane.settings.request_timeout_ms);
        let next = page.last.filter(|_| page.has_more);
        let next = next.map(|after| feed.shown.next_page(after, feed.limit));
        let (pieces, body) = mpsc::channel(PIECES_AHEAD);
        tokio::spawn(async move {
            let mut text = Bytes::from(page.text);
            while !text.is_empty() {
                let piece = text.split_to(PIECE_BYTES.min(text.len()));
                // A client that takes nothing for so long, or went away, ends the answer: its memory is free again.
                if pieces.send_timeout(piece, patience).await.is_err() {
                    break;
                }
            }
            drop(place);
        });
        Ok(ndjson(Body::new(PieceBody(body)), next.as_deref().map(|said| (path, said))))
    }
}

impl Page {
    /// Adds a line, unless the page is full; then it only says that there is more.
    fn push(&mut self, row: &Row, sale: &LiveSale, limit: usize) -> bool {
        self.has_more = self.lines == limit || self.text.len() >= PAGE_BYTES_MAX;
        if !self.has_more {
            self.text.push_str(&row.json(sale).to_string());
            self.text.push('\n');
            self.lines += 1;
            self.last = Some(row.mark());
        }
        !self.has_more
    }
}

/// A body made of the pieces that come through a channel.
struct PieceBody(mpsc::Receiver<Bytes>);

impl hyper::body::Body for PieceBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

/// `GET /api/v1/orders`
pub(super) async fn orders(
    State(plane): State<Arc<ControlPlane>>,
    Tenant(tenant): Tenant,
    query: Result<Query<FeedQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let query = parsed(query)?;
    let limit = query.limit(plane.settings.page_rows_max)?;
    let after = query.after().map(str::parse).transpose().map_err(|rule| invalid_name("after", rule))?;
    let (buyer, status) = (query.buyer()?, query.status()?);
    let shown = Shown { tenant, campaign: query.campaign, sku: query.sku, buyer, status };
    let sale = shown.only_sale(&plane).await?;
    let (tenant, campaign, sku) = (shown.tenant.clone(), shown.campaign.clone(), shown.sku.clone());
    let filter = OrderFilter {
        sale,
        sales: sale.is_none().then_some(TenantSales { tenant, campaign, sku }),
        buyer: shown.buyer.as_ref().map(|name| name.as_str().to_owned()),
        status,
    };
    let rows = Rows::Orders { filter, after };
    Feed { plane, shown, rows, limit, known: HashMap::new() }.answer("/api/v1/orders").await
}

/// `GET /api/v1/events`
pub(super) async fn events(
    State(plane): State<Arc<ControlPlane>>,
    Tenant(tenant): Tenant,
    query: Result<Query<FeedQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let query = parsed(query)?;
    let limit = query.limit(plane.settings.page_rows_max)?;
    let after = query.after().map_or(Ok(0), str::parse);
    let after = after.map_err(|_| Problem::field("after", "must be the seq of an event"))?;
    if query.buyer.is_some() || query.status.is_some() {
        let field = if query.buyer.is_some() { "buyer" } else { "status" };
        return Err(Problem::field(field, "is for orders: events cannot be filtered by it"));
    }
    let shown = Shown { tenant, campaign: query.campaign, sku: query.sku, buyer: None, status: None };
    shown.only_sale(&plane).await?;
    let rows = Rows::Events { after };
    Feed { plane, shown, rows, limit, known: HashMap::new() }.answer("/api/v1/events").await
}
