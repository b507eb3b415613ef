//! `POST /seckill/{campaign}/{sku}`: from the request to the decision, and from the decision to the durable order.

use std::fmt;
use std::sync::Arc;

use http::StatusCode;
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

use super::data_plane::{DataPlane, store_is_away};
use super::identity::Buyer;
use super::json::{JsonObject, json_object};
use super::order_view::OrderView;
use super::problem::{self, ProblemAnswer};
use super::refusal::refused;
use super::reply::{Field, Reply, retry_after_s};
use super::request::Request;
use crate::admission::{Accepted, LiveSale, OrderInFlight, Placed, Purchase, Resolution, Ticket};
use crate::domain::{BuyerName, KeyName, Nanos, OrderId, Refusal, Units};
use crate::telemetry::{Outcome, Path};
use crate::traces::Begun;

/// What a purchase's body says.
#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct PurchaseBody {
    /// Units asked for. No body, or none in it, asks for one.
    #[serde(default = "one", deserialize_with = "whole")]
    quantity: i128,
}

fn one() -> i128 {
    1
}

fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i128, D::Error> {
    deserializer.deserialize_any(WholeNumber)
}

/// Reads a whole number however JSON writes it: 2, 2.0 and 2e0 are the same to it, and some clients write them so.
struct WholeNumber;

impl Visitor<'_> for WholeNumber {
    type Value = i128;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number")
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<i128, E> {
        Ok(number.into())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<i128, E> {
        Ok(number.into())
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<i128, E> {
        let is_whole = number.fract() == 0.0;
        is_whole.then_some(number as i128).ok_or_else(|| E::invalid_value(Unexpected::Float(number), &self))
    }
}

impl PurchaseBody {
    /// Reads the body.
    ///
    /// # Errors
    /// What is wrong with it, in words for whoever sent it.
    pub fn parse(body: &[u8]) -> Result<Self, String> {
        if body.is_empty() {
            return Ok(Self { quantity: one() });
        }
        json_object(body).map_err(|error| format!("The body must be empty or {{\"quantity\":n}}: {error}."))
    }

    /// Units asked for. A number that no stock has is as good as the largest, and less than none is as bad as none.
    pub(super) fn quantity(&self) -> Units {
        self.quantity.clamp(0, Units::MAX.into()) as Units
    }
}

/// A purchase that has, or may be getting, an order.
pub(super) struct AcceptedPurchase<'a> {
    pub accepted: Accepted,
    pub sale: Arc<LiveSale>,
    pub buyer: Buyer<'a>,
    /// The span of the request, if it has won and a trace tells of it.
    pub span: Option<Begun>,
}

impl DataPlane {
    /// Decides, then waits for the order to be durable if there is one.
    pub(super) async fn purchase(&self, request: &Request<'_>, campaign: &str, sku: &str) -> Reply {
        let decided = match self.decide(request, campaign, sku) {
            Ok(Some(accepted)) => Ok(accepted),
            // On the heap: every request's future would be as large as this one's.
            Ok(None) => Box::pin(self.decide_archived(request, campaign, sku)).await,
            Err(answer) => Err(answer),
        };
        let decided = decided.map_err(|answer| answer.reply(&request.id));
        let outcome = match &decided {
            Ok(AcceptedPurchase { accepted: Accepted::Placed(_), .. }) => Outcome::Won,
            Ok(AcceptedPurchase {
                accepted: Accepted::InFlight(OrderInFlight { replay: false, .. }),
                ..
            }) => Outcome::AlreadyPurchased,
            Ok(_) => Outcome::Replayed,
            Err(reply) => reply.outcome,
        };
        self.record(request, Path::Seckill, outcome);
        let (reply, order, span) = match decided {
            Err(reply) => (reply, None, None),
            Ok(AcceptedPurchase { accepted, sale, buyer, span }) => match accepted {
                Accepted::Placed(placed) => {
                    let order = placed.order_id;
                    (self.placed(request, &sale, buyer.name(), placed).await, Some(order), span)
                }
                Accepted::InFlight(OrderInFlight { order_id, replay, ticket }) => {
                    let reply = self.in_flight(request, &sale, buyer.name(), order_id, replay, &ticket).await;
                    (reply, Some(order_id), None)
                }
                Accepted::Replay(order_id) => {
                    (self.replay(request, &sale, buyer.name(), order_id).await, Some(order_id), None)
                }
            },
        };
        self.trace_purchase(request, span, order, &reply);
        reply
    }

    /// The whole decision; nothing in it waits. `None` when the sale is not on the board.
    fn decide<'a>(
        &self,
        request: &Request<'a>,
        campaign: &str,
        sku: &str,
    ) -> Result<Option<AcceptedPurchase<'a>>, ProblemAnswer> {
        let body =
            PurchaseBody::parse(request.body).map_err(|wrong| problem::BAD_REQUEST.detailed(&wrong))?;
        let idempotency_key = idempotency_key(request)?;
        let tuning = self.tuning();
        let early = self.buyer_before_tenant(&tuning, request)?;
        let tenant = tuning.tenants.of(&request.head, early.as_ref().and_then(Buyer::tenant))?;
        let sales = self.admission.board().sales();
        let Some(sale) = sales.by_name(&tenant, campaign, sku) else { return Ok(None) };
        let buyer = match early {
            Some(buyer) => buyer,
            None => self.buyer(&tuning, request)?,
        };
        let purchase = Purchase {
            buyer: buyer.name(),
            quantity: body.quantity(),
            idempotency_key,
            pass: request.head.pass(),
        };
        let mut span = None;
        let begin_span = || {
            span = self.begin_span(request);
            span.map(|begun| begun.context)
        };
        let (home, arrived) = (request.home, request.arrived);
        match self.admission.purchase_in_trace(sale, &purchase, home, arrived, begin_span) {
            Ok(accepted) => Ok(Some(AcceptedPurchase { accepted, sale: Arc::clone(sale), buyer, span })),
            Err(refusal) => Err(refused(&refusal, request)),
        }
    }

    /// The winner's own request.
    async fn placed(
        &self,
        request: &Request<'_>,
        sale: &LiveSale,
        buyer: BuyerName<'_>,
        placed: Placed,
    ) -> Reply {
        let ack_wait = self.ack_wait(request);
        let resolved = tokio::time::timeout(ack_wait, placed.ticket.resolved()).await;
        let reply = match resolved {
            Ok(Resolution::Durable) => {
                let order = OrderView::of_placed(sale, buyer.as_str(), &placed).object();
                let reply = Reply::json(StatusCode::CREATED, Outcome::Durable, order);
                reply.with(Field::Location(placed.order_id))
            }
            Ok(resolution) => self.not_placed(request, sale, buyer, placed.order_id, resolution).await,
            Err(_late) => pending(placed.order_id),
        };
        self.record(request, Path::Order, reply.outcome);
        reply
    }

    /// The store did not take the order: what counts instead, or that it should be tried again.
    async fn not_placed(
        &self,
        request: &Request<'_>,
        sale: &LiveSale,
        buyer: BuyerName<'_>,
        order_id: OrderId,
        resolution: Resolution,
    ) -> Reply {
        match resolution {
            Resolution::Rejected(rejection) => {
                let holds = sale.state.claims().held(buyer.as_str());
                refused(&Refusal::new(rejection, holds), request).reply(&request.id)
            }
            Resolution::Replay(first) => self.replay(request, sale, buyer, first).await,
            Resolution::Durable | Resolution::Refused | Resolution::Unknown => {
                not_stored(resolution, order_id).reply(&request.id)
            }
        }
    }

    /// A further click while the buyer's order is on its way: what becomes of the order answers it.
    async fn in_flight(
        &self,
        request: &Request<'_>,
        sale: &LiveSale,
        buyer: BuyerName<'_>,
        order_id: OrderId,
        replay: bool,
        ticket: &Ticket,
    ) -> Reply {
        let ack_wait = self.ack_wait(request);
        match tokio::time::timeout(ack_wait, ticket.resolved()).await {
            Ok(Resolution::Durable) if replay => self.replay(request, sale, buyer, order_id).await,
            Ok(Resolution::Durable) => already_purchased(order_id).reply(&request.id),
            Ok(Resolution::Replay(first)) if !replay => already_purchased(first).reply(&request.id),
            Ok(resolution) => self.not_placed(request, sale, buyer, order_id, resolution).await,
            Err(_late) => pending(order_id),
        }
    }

    /// The same request again: the first answer's order, as it is now.
    async fn replay(
        &self,
        request: &Request<'_>,
        sale: &LiveSale,
        buyer: BuyerName<'_>,
        order_id: OrderId,
    ) -> Reply {
        match self.desk.order_of(sale.key.tenant(), buyer.as_str(), order_id).await {
            Ok(Some(order)) => {
                let order = OrderView::of_order(sale, &order).object();
                Reply::json(StatusCode::OK, Outcome::Replayed, order).with(Field::Location(order_id))
            }
            Ok(None) => problem::UNKNOWN_ORDER.answer().order(order_id).reply(&request.id),
            Err(error) => store_is_away(request, &error).reply(&request.id),
        }
    }
}

pub(super) fn idempotency_key<'a>(request: &Request<'a>) -> Result<Option<KeyName<'a>>, ProblemAnswer> {
    let Some(key) = request.head.idempotency_key else { return Ok(None) };
    let key = std::str::from_utf8(key).unwrap_or_default();
    KeyName::new(key).map(Some).map_err(|rule| problem::BAD_REQUEST.detailed(&format!("{rule}.")))
}

/// 202: the order exists and is not durable yet.
fn pending(order_id: OrderId) -> Reply {
    let mut object = JsonObject::with_capacity(64);
    object.order_id("order_id", order_id).text("status", "pending");
    Reply::json(StatusCode::ACCEPTED, Outcome::Pending, object.finish())
        .with(Field::Location(order_id))
        .with(Field::RetryAfter(retry_after_s(Nanos::SECOND)))
}

/// 503: the store refused the order, or failed while it had it.
fn not_stored(resolution: Resolution, order_id: OrderId) -> ProblemAnswer {
    let answer = match resolution {
        Resolution::Unknown => problem::OVERLOADED
            .detailed("The store failed while it had the order. Look the order up later before buying again.")
            .order(order_id),
        _ => problem::OVERLOADED.answer(),
    };
    answer.with(Field::RetryAfter(retry_after_s(Nanos::SECOND)))
}

fn already_purchased(order_id: OrderId) -> ProblemAnswer {
    problem::ALREADY_PURCHASED.answer().order(order_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_empty_or_says_the_quantity() {
        for (body, quantity) in [
            ("", 1),
            ("{}", 1),
            (r#"{"quantity":3}"#, 3),
            (" {\"quantity\" : 0}\n", 0),
            (r#"{"quantity":18446744073709551615}"#, Units::MAX),
            (r#"{"quantity":18446744073709551616}"#, Units::MAX),
            (r#"{"quantity":-1}"#, 0),
            (r#"{"quantity":2.0}"#, 2),
            (r#"{"quantity":2e0}"#, 2),
            (r#"{"quantity":1e300}"#, Units::MAX),
        ] {
            assert_eq!(PurchaseBody::parse(body.as_bytes()).unwrap().quantity(), quantity, "{body}");
        }
        let bad = [
            "x",
            "[1]",
            r#"{"quantity":1.5}"#,
            r#"{"quantity":"1"}"#,
            r#"{"qty":1}"#,
            r#"{"quantity":1}{"quantity":2}"#,
            r#"{"quantity":1,"quantity":2}"#,
            r#"{"quantity":1e-3}"#,
            r#"{"quantity":null}"#,
            r#"{"quantity":true}"#,
            "\u{feff}{}",
        ];
        for body in bad {
            assert!(PurchaseBody::parse(body.as_bytes()).is_err(), "{body}");
        }
    }
}
