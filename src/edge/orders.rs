//! `/orders/{id}`: looking up, paying for and cancelling an order. Only its buyer knows that it exists.

use http::StatusCode;
use serde::Deserialize;
use tracing::{Instrument, field};

use super::data_plane::{DataPlane, store_is_away};
use super::identity::Buyer;
use super::json::json_object;
use super::order_view::OrderView;
use super::problem::{self, Problem, ProblemAnswer};
use super::refusal::rejected;
use super::reply::{Field, Reply, retry_after_s};
use super::request::Request;
use super::spans::tell_checkout;
use crate::checkout::{CancelAnswer, PayAnswer};
use crate::domain::{Nanos, Order, OrderId};
use crate::telemetry::{Outcome, Path};
use crate::traces::within;

/// What a checkout's body says.
#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct CheckoutBody {
    payment_method: String,
}

impl CheckoutBody {
    /// Reads the body.
    ///
    /// # Errors
    /// What is wrong with it, in words for whoever sent it.
    pub fn parse(body: &[u8]) -> Result<Self, String> {
        json_object(body)
            .map_err(|error| format!("The body must be {{\"payment_method\":\"...\"}}: {error}."))
    }
}

/// What a buyer wants of an order: each has a rate of its own.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ask {
    /// To read it.
    Look,
    /// To pay it or to give it up: that writes, or calls out.
    Act,
}

impl DataPlane {
    /// Looks an order up.
    pub(super) async fn order(&self, request: &Request<'_>, id: &str) -> Reply {
        match self.own_order(request, id, Ask::Look).await {
            Ok(order) => self.order_reply(request, StatusCode::OK, Outcome::Served, &order).await,
            Err(answer) => answer.reply(&request.id),
        }
    }

    /// The order with this id, if it is the asking buyer's, who may `ask` so and so often.
    pub(super) async fn own_order(
        &self,
        request: &Request<'_>,
        id: &str,
        ask: Ask,
    ) -> Result<Order, ProblemAnswer> {
        let (tenant, buyer) = self.tenant_and_buyer(request)?;
        // Before the store is asked: that is what a flood would cost.
        match ask {
            Ask::Look => self.admission.take_lookup(&tenant, buyer.name(), request.arrived.mono),
            Ask::Act => self.admission.take_click(&tenant, buyer.name(), request.arrived.mono),
        }
        .map_err(|rejection| rejected(&rejection, request))?;
        let id: OrderId = id.parse().map_err(|_| problem::UNKNOWN_ORDER.answer())?;
        let found = self
            .desk
            .order_of(&tenant, buyer.name().as_str(), id)
            .await
            .map_err(|error| store_is_away(request, &error))?;
        found.ok_or_else(|| problem::UNKNOWN_ORDER.answer())
    }

    /// Whose customer asks, and who. Copied: the settings may change while the store is asked.
    pub(super) fn tenant_and_buyer<'a>(
        &self,
        request: &Request<'a>,
    ) -> Result<(String, Buyer<'a>), ProblemAnswer> {
        let tuning = self.tuning();
        let early = self.buyer_before_tenant(&tuning, request)?;
        let tenant = tuning.tenants.of(&request.head, early.as_ref().and_then(Buyer::tenant))?.into_owned();
        let buyer = match early {
            Some(buyer) => buyer,
            None => self.buyer(&tuning, request)?,
        };
        Ok((tenant, buyer))
    }

    /// An answer that is the order, whether its sale is live or archived.
    pub(super) async fn order_reply(
        &self,
        request: &Request<'_>,
        status: StatusCode,
        outcome: Outcome,
        order: &Order,
    ) -> Reply {
        match self.desk.sale_of(order.placed.sale).await {
            Ok(Some(sale)) => Reply::json(status, outcome, OrderView::of_order(&sale, order).object()),
            Ok(None) => problem::UNKNOWN_ORDER.reply(&request.id),
            Err(error) => store_is_away(request, &error).reply(&request.id),
        }
    }

    /// Pays for an order.
    pub(super) async fn checkout(&self, request: &Request<'_>, id: &str) -> Reply {
        let span = self.open_checkout_span(request);
        // Whatever is logged because of it names the request.
        let lines =
            tracing::error_span!("checkout", request_id = request.id.as_str(), trace_id = field::Empty);
        if let Some(span) = &span {
            lines.record("trace_id", format!("{:032x}", span.context().trace_id));
        }
        // On the heap: every request's future would be as large as this one's.
        let paying = Box::pin(within(span.clone(), self.try_checkout(request, id)).instrument(lines));
        let reply = match paying.await {
            Ok(reply) => reply,
            Err(answer) => answer.reply(&request.id),
        };
        self.record(request, Path::Checkout, reply.outcome);
        if let Some(span) = &span {
            tell_checkout(span, request, id, &reply);
        }
        reply
    }

    async fn try_checkout(&self, request: &Request<'_>, id: &str) -> Result<Reply, ProblemAnswer> {
        let body =
            CheckoutBody::parse(request.body).map_err(|wrong| problem::BAD_REQUEST.detailed(&wrong))?;
        let order = self.own_order(request, id, Ask::Act).await?;
        let (id, pay_before) = (order.placed.id, order.placed.pay_before);
        let refused = match self.checkout.pay(order, &body.payment_method).await {
            PayAnswer::Paid(order) => {
                return Ok(self.order_reply(request, StatusCode::OK, Outcome::Paid, &order).await);
            }
            PayAnswer::Paying(order) => {
                return Ok(self
                    .order_reply(request, StatusCode::ACCEPTED, Outcome::Paying, &order)
                    .await
                    .with(Field::Location(order.placed.id))
                    .with(Field::RetryAfter(retry_after_s(Nanos::SECOND))));
            }
            PayAnswer::Declined { reason } => {
                problem::PAYMENT_DECLINED.answer().text("reason", &reason).time("pay_before", pay_before)
            }
            PayAnswer::RiskRejected { reason } => {
                problem::RISK_REJECTED.answer().text("reason", &reason).time("pay_before", pay_before)
            }
            PayAnswer::TooManyAttempts { attempts_max } => problem::TOO_MANY_ATTEMPTS
                .answer()
                .number("attempts_max", attempts_max)
                .time("pay_before", pay_before),
            PayAnswer::Expired => problem::ORDER_EXPIRED.answer().time("pay_before", pay_before),
            PayAnswer::Cancelled => problem::ORDER_CANCELLED.answer(),
            PayAnswer::Refunded => problem::ORDER_REFUNDED.answer(),
            PayAnswer::Rejected => problem::ORDER_REJECTED.answer(),
            PayAnswer::Pending => come_back(&problem::ORDER_PENDING, Nanos::SECOND),
            PayAnswer::MethodNotAllowed => problem::PAYMENT_METHOD_NOT_ALLOWED.answer(),
            PayAnswer::Unavailable { retry_after_ms } => {
                come_back(&problem::PAYMENT_UNAVAILABLE, nanos(retry_after_ms))
            }
        };
        Err(refused.order(id))
    }

    /// Gives an order up.
    pub(super) async fn cancel(&self, request: &Request<'_>, id: &str) -> Reply {
        match self.try_cancel(request, id).await {
            Ok(reply) => reply,
            Err(answer) => answer.reply(&request.id),
        }
    }

    async fn try_cancel(&self, request: &Request<'_>, id: &str) -> Result<Reply, ProblemAnswer> {
        let order = self.own_order(request, id, Ask::Act).await?;
        let id = order.placed.id;
        let refused = match self.checkout.cancel(order).await {
            CancelAnswer::Cancelled(order) => {
                return Ok(self.order_reply(request, StatusCode::OK, Outcome::Served, &order).await);
            }
            CancelAnswer::AlreadyPaid => problem::ORDER_PAID.answer(),
            CancelAnswer::Refunded => problem::ORDER_REFUNDED.answer(),
            CancelAnswer::PaymentInProgress => come_back(&problem::PAYMENT_IN_PROGRESS, Nanos::SECOND),
            CancelAnswer::Expired => problem::ORDER_EXPIRED.answer(),
            CancelAnswer::Rejected => problem::ORDER_REJECTED.answer(),
            CancelAnswer::Pending => come_back(&problem::ORDER_PENDING, Nanos::SECOND),
            CancelAnswer::Unavailable { retry_after_ms } => {
                come_back(&problem::OVERLOADED, nanos(retry_after_ms))
            }
        };
        Err(refused.order(id))
    }
}

/// A refusal that time cures.
fn come_back(problem: &Problem, wait: Nanos) -> ProblemAnswer {
    problem.answer().with(Field::RetryAfter(retry_after_s(wait)))
}

fn nanos(ms: u64) -> Nanos {
    Nanos(ms.saturating_mul(1_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkout_names_its_payment_method() {
        let body = CheckoutBody::parse(br#" {"payment_method":"card"} "#).unwrap();
        assert_eq!(body.payment_method, "card");
        for bad in ["", "{}", r#"["card"]"#, r#"{"payment_method":1}"#, r#"{"payment_method":"card","x":1}"#]
        {
            assert!(CheckoutBody::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
