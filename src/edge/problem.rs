//! Refusals and errors as `application/problem+json` (RFC 9457).
//!
//! Each kind is one constant of this file. The bytes before the members that vary are put together by the compiler, so
//! that a refusal costs two copies and the request id.

use http::StatusCode;

use super::json::JsonObject;
use super::reply::{Content, Field, Fields, Keep, Reply};
use super::request_id::RequestId;
use crate::domain::{EpochMs, OrderId};
use crate::telemetry::Outcome;

/// A kind of problem.
#[derive(Debug)]
pub struct Problem {
    /// The status it is answered with.
    pub status: StatusCode,
    /// How it is counted.
    pub outcome: Outcome,
    /// `{"type":…` up to the opening quote of the detail.
    opening: &'static str,
    detail: &'static str,
}

macro_rules! problems {
    ($($(#[$doc:meta])* $name:ident = $status:ident $number:literal $outcome:ident $code:literal $title:literal $detail:literal;)*) => {
        $(
            $(#[$doc])*
            pub const $name: Problem = Problem {
                status: StatusCode::$status,
                outcome: Outcome::$outcome,
                opening: concat!(
                    "{\"type\":\"urn:seckill:problem:", $code, "\",\"title\":\"", $title, "\",\"status\":", $number,
                    ",\"code\":\"", $code, "\",\"detail\":\""
                ),
                detail: $detail,
            };
        )*

        #[cfg(test)]
        const ALL: &[(&str, Problem)] = &[$(($code, $name)),*];
    };
}

/// The codes of all problems.
#[cfg(test)]
pub fn codes() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|(code, _)| *code)
}

problems! {
    /// The request cannot be understood.
    BAD_REQUEST = BAD_REQUEST 400 BadRequest "bad-request" "Bad request" "The request is malformed.";
    /// The body did not arrive in time.
    BODY_TIMEOUT = REQUEST_TIMEOUT 408 BadRequest "body-timeout" "Request timeout" "The body did not arrive in time.";
    /// The body is above the limit.
    BODY_TOO_LARGE = PAYLOAD_TOO_LARGE 413 BadRequest "body-too-large" "Body too large" "The body is larger than this address accepts.";
    /// The expectation cannot be met by this front end.
    EXPECTATION_FAILED = EXPECTATION_FAILED 417 BadRequest "expectation-failed" "Expectation failed" "Send the body without Expect.";
    /// No such path.
    NOT_FOUND = NOT_FOUND 404 NotFound "not-found" "Not found" "There is nothing at this path.";
    /// The path has other methods.
    METHOD_NOT_ALLOWED = METHOD_NOT_ALLOWED 405 NotFound "method-not-allowed" "Method not allowed" "This path has other methods; see Allow.";
    /// No buyer in a trusted header.
    NO_USER = UNAUTHORIZED 401 Unauthorized "unauthorized" "Unauthorized" "X-User-ID must name the buyer: 1 to 128 visible ASCII characters.";
    /// No valid token.
    NO_TOKEN = UNAUTHORIZED 401 Unauthorized "unauthorized" "Unauthorized" "Authorization must hold a valid bearer token that names the buyer.";
    /// The request did not pass the gateway.
    FOREIGN_ORIGIN = FORBIDDEN 403 Forbidden "forbidden" "Forbidden" "Requests are taken from the gateway only.";
    /// A page of another site, whose visitor did not ask for this.
    CROSS_SITE = FORBIDDEN 403 Forbidden "cross-site" "Cross-site request" "Pages of this origin may not do this; the operator lists those that may in edge.cors.origins.";
    /// The request names no tenant.
    NO_TENANT = BAD_REQUEST 400 BadRequest "tenant-missing" "Tenant missing" "The request does not say whose sale it is about.";
    /// The request names a tenant that it may not name.
    TENANT_NOT_ALLOWED = FORBIDDEN 403 Forbidden "tenant-not-allowed" "Tenant not allowed" "The request names a tenant that it may not name here.";
    /// No such sale.
    UNKNOWN_SALE = NOT_FOUND 404 UnknownSale "unknown-sale" "Unknown sale" "There is no such campaign and SKU for this tenant.";
    /// The key was used for something else.
    IDEMPOTENCY_KEY_REUSED = UNPROCESSABLE_ENTITY 422 IdempotencyKeyReused "idempotency-key-reused" "Idempotency key reused" "This Idempotency-Key came with another request before.";
    /// Zero, or above the limit.
    QUANTITY_NOT_ALLOWED = UNPROCESSABLE_ENTITY 422 QuantityNotAllowed "quantity-not-allowed" "Quantity not allowed" "The quantity must be 1 to per_buyer_limit.";
    /// The buyer has what one buyer may have.
    ALREADY_PURCHASED = CONFLICT 409 AlreadyPurchased "already-purchased" "Already purchased" "This buyer has what one buyer may have; see order_id.";
    /// Too early.
    SALE_NOT_STARTED = CONFLICT 409 SaleNotStarted "sale-not-started" "Sale not started" "The sale opens at starts_at.";
    /// Paused by the operator.
    SALE_PAUSED = CONFLICT 409 SalePaused "sale-paused" "Sale paused" "The sale is paused and goes on later.";
    /// Too late.
    SALE_ENDED = GONE 410 SaleEnded "sale-ended" "Sale ended" "The sale is over.";
    /// Not the buyer's turn.
    WAITING_ROOM = FORBIDDEN 403 WaitingRoom "waiting-room" "Waiting room" "Buyers of this sale wait: register at queue, and buy with the pass once it is admitted.";
    /// Registration opens later.
    QUEUE_CLOSED = CONFLICT 409 Other "queue-closed" "Queue closed" "The waiting room opens at opens_at.";
    /// The sale has no waiting room.
    NO_QUEUE = NOT_FOUND 404 NotFound "no-queue" "No queue" "This sale has no waiting room: whoever comes may buy.";
    /// Whoever watches the door of the waiting room said no.
    REGISTRATION_REFUSED = FORBIDDEN 403 Other "registration-refused" "Registration refused" "The check of who joins the waiting room refused this buyer.";
    /// Nobody can be asked who watches the door, and nobody is let in without.
    REGISTRATION_UNAVAILABLE = SERVICE_UNAVAILABLE 503 Overloaded "registration-unavailable" "Registration unavailable" "Nobody can join the waiting room at the moment.";
    /// Nothing left.
    SOLD_OUT = CONFLICT 409 SoldOut "sold-out" "Sold out" "All units are sold or held.";
    /// Too fast.
    RATE_LIMITED = TOO_MANY_REQUESTS 429 RateLimited "rate-limited" "Rate limited" "Requests come faster than they are admitted; see Retry-After.";
    /// Units taken and let go again, too often.
    TOO_MANY_RELEASES = CONFLICT 409 TooManyReleases "too-many-releases" "Too many releases" "This buyer has let units of this sale go as often as one buyer may.";
    /// Payments tried and failed, too often.
    TOO_MANY_ATTEMPTS = CONFLICT 409 Other "too-many-attempts" "Too many attempts" "As many payments of this order were tried as may be; it waits until pay_before and can be cancelled.";
    /// The queue is full, or the store does not answer.
    OVERLOADED = SERVICE_UNAVAILABLE 503 Overloaded "overloaded" "Overloaded" "The engine cannot take the request now; nothing was bought by it.";
    /// No such order of this buyer.
    UNKNOWN_ORDER = NOT_FOUND 404 UnknownOrder "unknown-order" "Unknown order" "This buyer has no such order.";
    /// The payment was declined.
    PAYMENT_DECLINED = PAYMENT_REQUIRED 402 PaymentDeclined "payment-declined" "Payment declined" "The payment was declined; the order waits for another one until pay_before.";
    /// The risk check said no.
    RISK_REJECTED = FORBIDDEN 403 RiskRejected "risk-rejected" "Risk rejected" "The risk check refused this payment.";
    /// The time to pay is over.
    ORDER_EXPIRED = CONFLICT 409 OrderExpired "order-expired" "Order expired" "The time to pay is over and the units are back on sale.";
    /// The buyer gave it up.
    ORDER_CANCELLED = CONFLICT 409 OrderCancelled "order-cancelled" "Order cancelled" "The order was cancelled.";
    /// What was paid is given back.
    ORDER_REFUNDED = CONFLICT 409 Other "order-refunded" "Order refunded" "The order was paid and its money given back.";
    /// The order is on its way to the store.
    ORDER_PENDING = CONFLICT 409 Other "order-pending" "Order pending" "The order is not durable yet; ask again in a moment.";
    /// Nobody takes this method.
    PAYMENT_METHOD_NOT_ALLOWED = UNPROCESSABLE_ENTITY 422 BadRequest "payment-method-not-allowed" "Payment method not allowed" "This payment method is not accepted.";
    /// Admitted and then refused by the store.
    ORDER_REJECTED = CONFLICT 409 Other "order-rejected" "Order rejected" "The order was not accepted by the store and holds no units.";
    /// Paid orders stay.
    ORDER_PAID = CONFLICT 409 OrderPaid "order-paid" "Order paid" "The order is paid and cannot be cancelled.";
    /// A payment is on its way.
    PAYMENT_IN_PROGRESS = CONFLICT 409 PaymentInProgress "payment-in-progress" "Payment in progress" "A payment is under way; the order can be cancelled when it is known to have failed.";
    /// The gateway is out of reach.
    PAYMENT_UNAVAILABLE = SERVICE_UNAVAILABLE 503 PaymentUnavailable "payment-unavailable" "Payment unavailable" "Payments cannot be made now; the order waits until pay_before.";
}

impl Problem {
    /// The answer as it stands, for this request.
    #[inline]
    pub fn reply(&self, id: &RequestId<'_>) -> Reply {
        self.answer().reply(id)
    }

    /// An answer to which members and fields can be added.
    pub fn answer(&self) -> ProblemAnswer {
        self.answer_with(0)
    }

    /// The same, of which so many bytes of text are told besides.
    pub fn answer_with(&self, bytes: usize) -> ProblemAnswer {
        ProblemAnswer {
            status: self.status,
            outcome: self.outcome,
            object: JsonObject::after(&[self.opening, self.detail, "\""], ROOM_BYTES + bytes),
            fields: Fields::new(),
        }
    }

    /// An answer with a detail of its own instead of the usual one.
    pub fn detailed(&self, detail: &str) -> ProblemAnswer {
        let mut object = JsonObject::after(&[self.opening], detail.len() + ROOM_BYTES);
        object.end_text(detail);
        ProblemAnswer { status: self.status, outcome: self.outcome, object, fields: Fields::new() }
    }
}

/// Room for the members that vary: the request id and two times.
const ROOM_BYTES: usize = 128;

/// A problem that is being written.
#[derive(Debug)]
pub struct ProblemAnswer {
    status: StatusCode,
    outcome: Outcome,
    object: JsonObject,
    fields: Fields,
}

impl ProblemAnswer {
    /// With the order that the refusal is about.
    #[must_use]
    pub fn order(mut self, id: OrderId) -> Self {
        self.object.order_id("order_id", id);
        self
    }

    /// With a time.
    #[must_use]
    pub fn time(mut self, name: &str, value: EpochMs) -> Self {
        self.object.time(name, value);
        self
    }

    /// With a text.
    #[must_use]
    pub fn text(mut self, name: &str, value: &str) -> Self {
        self.object.text(name, value);
        self
    }

    /// With a text that is put together of parts.
    #[must_use]
    pub fn text_of(mut self, name: &str, parts: &[&str]) -> Self {
        self.object.text_of(name, parts);
        self
    }

    /// With a number.
    #[must_use]
    pub fn number(mut self, name: &str, value: u32) -> Self {
        self.object.number(name, value);
        self
    }

    /// With a header field.
    #[must_use]
    pub fn with(mut self, field: Field) -> Self {
        self.fields.push(field);
        self
    }

    /// The finished answer to this request.
    pub fn reply(mut self, id: &RequestId<'_>) -> Reply {
        self.object.text("instance", id.as_str());
        Reply {
            status: self.status,
            outcome: self.outcome,
            content: Content::Problem,
            body: self.object.finish(),
            keep: Keep::NoStore,
            fields: self.fields,
            shown_to: Vec::new(),
            close: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_json_that_says_what_its_status_line_says() {
        let id = RequestId::Echoed("a\"b\\c");
        for (code, problem) in ALL {
            let reply = problem.reply(&id);
            let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
            assert_eq!(body["status"], problem.status.as_u16(), "{code}");
            assert_eq!(body["code"], *code);
            assert_eq!(body["type"], format!("urn:seckill:problem:{code}"));
            assert_eq!(body["instance"], "a\"b\\c");
            assert!(
                !body["detail"].as_str().unwrap().is_empty() && !body["title"].as_str().unwrap().is_empty()
            );
            assert_eq!(reply.content.media_type(), "application/problem+json");
        }
    }

    #[test]
    fn members_and_details_are_added() {
        let id = RequestId::Echoed("r");
        let reply =
            BAD_REQUEST.detailed("a \"quoted\" word").number("n", 3).time("at", EpochMs(0)).reply(&id);
        let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(body["detail"], "a \"quoted\" word");
        assert_eq!(body["n"], 3);
        assert_eq!(body["at"], "1970-01-01T00:00:00.000Z");
    }
}
