//! Refusals and errors as `application/problem+json` (RFC 9457).
//!
//! Each kind is one constant of this file; its `type` leads to the page that says what helps. The bytes before the
//! members that vary are put together by the compiler, so that a refusal costs two copies and the request id. How it is
//! counted, and what it is called over gRPC, stands beside the status: a kind without them does not compile.

use http::StatusCode;

use super::json::JsonObject;
use super::reply::{Content, Field, Fields, Keep, Reply};
use super::request_id::RequestId;
use super::rpc_code::RpcCode;
use crate::domain::{EpochMs, OrderId};
use crate::openapi::ProblemKind;
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
    kind: ProblemKind,
}

impl From<&Problem> for ProblemKind {
    fn from(problem: &Problem) -> Self {
        problem.kind
    }
}

macro_rules! problems {
    ($(
        $(#[$doc:meta])*
        $name:ident = $status:ident $number:literal $outcome:ident $rpc:ident $code:literal $title:literal
            means $detail:literal
            helped by $cure:literal;
    )*) => {
        $(
            $(#[$doc])*
            pub const $name: Problem = Problem {
                status: StatusCode::$status,
                outcome: Outcome::$outcome,
                opening: concat!(
                    "{\"type\":\"/problems/", $code, "\",\"title\":\"", $title, "\",\"status\":", $number,
                    ",\"code\":\"", $code, "\",\"detail\":\""
                ),
                detail: $detail,
                kind: ProblemKind { status: $number, code: $code, meaning: $detail, cure: $cure },
            };
        )*

        /// All kinds, as the pages and the description of the plane tell them.
        pub const KINDS: &[ProblemKind] = &[$($name.kind),*];

        /// Each code, and what it is answered with over gRPC.
        pub const RPC_CODES: &[(&str, RpcCode)] = &[$(($code, RpcCode::$rpc)),*];

        #[cfg(test)]
        const ALL: &[&Problem] = &[$(&$name),*];
    };
}

/// The codes of all problems.
#[cfg(test)]
pub fn codes() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|kind| kind.code)
}

problems! {
    /// The request cannot be understood.
    BAD_REQUEST = BAD_REQUEST 400 BadRequest InvalidArgument "bad-request" "Bad request"
        means "The request is malformed."
        helped by "Repair the request as the detail says; sending the same again gives the same answer.";
    /// The body did not arrive in time.
    BODY_TIMEOUT = REQUEST_TIMEOUT 408 BadRequest DeadlineExceeded "body-timeout" "Body timeout"
        means "The body did not arrive in time."
        helped by "Send the request again, with its body right behind the header.";
    /// The body is above the limit.
    BODY_TOO_LARGE = PAYLOAD_TOO_LARGE 413 BadRequest ResourceExhausted "body-too-large" "Body too large"
        means "The body is larger than this address accepts."
        helped by "Send less; body_bytes_max says how much is taken.";
    /// The expectation cannot be met by this front end.
    EXPECTATION_FAILED = EXPECTATION_FAILED 417 BadRequest InvalidArgument "expectation-failed" "Expectation failed"
        means "Send the body without Expect."
        helped by "Leave the Expect field out, and send the request again.";
    /// No such path.
    NOT_FOUND = NOT_FOUND 404 NotFound Unimplemented "not-found" "Not found"
        means "There is nothing at this path."
        helped by "Look at the path; GET /openapi.json lists those that there are.";
    /// The path has other methods.
    METHOD_NOT_ALLOWED = METHOD_NOT_ALLOWED 405 NotFound Unimplemented "method-not-allowed" "Method not allowed"
        means "This path has other methods; see Allow."
        helped by "Use one of the methods of the Allow field.";
    /// No buyer in a trusted header.
    NO_USER = UNAUTHORIZED 401 Unauthorized Unauthenticated "unauthorized" "Unauthorized"
        means "X-User-ID must name the buyer: 1 to 128 visible ASCII characters."
        helped by "Have the gateway that authenticates the buyer send the name.";
    /// No valid token.
    NO_TOKEN = UNAUTHORIZED 401 Unauthorized Unauthenticated "unauthorized" "Unauthorized"
        means "Authorization must hold a valid bearer token that names the buyer."
        helped by "Sign the buyer in again, and send the new token. The reason says what is wrong with this one.";
    /// The request did not pass the gateway.
    FOREIGN_ORIGIN = FORBIDDEN 403 Forbidden PermissionDenied "forbidden" "Forbidden"
        means "Requests are taken from the gateway only."
        helped by "Go through the shop's own address. Of the gateway: send X-Origin-Secret.";
    /// A page of another site, whose visitor did not ask for this.
    CROSS_SITE = FORBIDDEN 403 Forbidden PermissionDenied "cross-site" "Cross site"
        means "Pages of this origin may not do this; the operator lists those that may in edge.cors.origins."
        helped by "Buy on the shop's own pages. Of the operator: list the page's origin in edge.cors.origins.";
    /// The request names no tenant.
    NO_TENANT = BAD_REQUEST 400 BadRequest InvalidArgument "tenant-missing" "Tenant missing"
        means "The request does not say whose sale it is about."
        helped by "Name the tenant in the way of edge.tenant.from.";
    /// The request names a tenant that it may not name.
    TENANT_NOT_ALLOWED = FORBIDDEN 403 Forbidden PermissionDenied "tenant-not-allowed" "Tenant not allowed"
        means "The request names a tenant that it may not name here."
        helped by "Leave X-Tenant-ID out, or name the tenant that the request is for.";
    /// No such sale.
    UNKNOWN_SALE = NOT_FOUND 404 UnknownSale NotFound "unknown-sale" "Unknown sale"
        means "There is no such campaign and SKU for this tenant."
        helped by "Look at the campaign and the SKU; a sale that was deleted is unknown as well.";
    /// The key was used for something else.
    IDEMPOTENCY_KEY_REUSED = UNPROCESSABLE_ENTITY 422 IdempotencyKeyReused InvalidArgument "idempotency-key-reused" "Idempotency key reused"
        means "This Idempotency-Key came with another request before."
        helped by "Take a new key for another purchase, and the same one only for a repeat of the same purchase.";
    /// Zero, or above the limit.
    QUANTITY_NOT_ALLOWED = UNPROCESSABLE_ENTITY 422 QuantityNotAllowed InvalidArgument "quantity-not-allowed" "Quantity not allowed"
        means "The quantity must be 1 to per_buyer_limit."
        helped by "Ask for 1 to per_buyer_limit units.";
    /// The buyer has what one buyer may have.
    ALREADY_PURCHASED = CONFLICT 409 AlreadyPurchased AlreadyExists "already-purchased" "Already purchased"
        means "This buyer has what one buyer may have; see order_id."
        helped by "Go on with the order of order_id: look it up, pay for it, or let it go.";
    /// Too early.
    SALE_NOT_STARTED = CONFLICT 409 SaleNotStarted FailedPrecondition "sale-not-started" "Sale not started"
        means "The sale opens at starts_at."
        helped by "Come back at starts_at; server_time is the clock that counts.";
    /// Paused by the operator.
    SALE_PAUSED = CONFLICT 409 SalePaused FailedPrecondition "sale-paused" "Sale paused"
        means "The sale is paused and goes on later."
        helped by "Come back after Retry-After; nothing is lost by waiting.";
    /// Too late.
    SALE_ENDED = GONE 410 SaleEnded FailedPrecondition "sale-ended" "Sale ended"
        means "The sale is over."
        helped by "There is nothing to be had any more. Orders of the sale can still be looked up and paid.";
    /// Not the buyer's turn.
    WAITING_ROOM = FORBIDDEN 403 WaitingRoom FailedPrecondition "waiting-room" "Waiting room"
        means "Buyers of this sale wait: register at queue, and buy with the pass once it is admitted."
        helped by "Register with POST at queue, follow the room with GET there, and buy with the pass once it is admitted. The reason says what is missing.";
    /// Registration opens later.
    QUEUE_CLOSED = CONFLICT 409 Other FailedPrecondition "queue-closed" "Queue closed"
        means "The waiting room opens at opens_at."
        helped by "Come back at opens_at.";
    /// The sale has no waiting room.
    NO_QUEUE = NOT_FOUND 404 NotFound NotFound "no-queue" "No queue"
        means "This sale has no waiting room: whoever comes may buy."
        helped by "Buy without a pass.";
    /// Whoever watches the door of the waiting room said no.
    REGISTRATION_REFUSED = FORBIDDEN 403 Other PermissionDenied "registration-refused" "Registration refused"
        means "The check of who joins the waiting room refused this buyer."
        helped by "Nothing helps by itself; the reason is the check's own.";
    /// Nobody can be asked who watches the door, and nobody is let in without.
    REGISTRATION_UNAVAILABLE = SERVICE_UNAVAILABLE 503 Overloaded Unavailable "registration-unavailable" "Registration unavailable"
        means "Nobody can join the waiting room at the moment."
        helped by "Come back after Retry-After; nobody is ahead for having asked meanwhile.";
    /// Nothing left.
    SOLD_OUT = CONFLICT 409 SoldOut FailedPrecondition "sold-out" "Sold out"
        means "All units are sold or held."
        helped by "Units that are not paid come back on sale: look at the sale's state from time to time, until it has ended.";
    /// Too fast.
    RATE_LIMITED = TOO_MANY_REQUESTS 429 RateLimited ResourceExhausted "rate-limited" "Rate limited"
        means "Requests come faster than they are admitted; see Retry-After."
        helped by "Come back after Retry-After, and not before: an early try is refused as well.";
    /// Units taken and let go again, too often.
    TOO_MANY_RELEASES = CONFLICT 409 TooManyReleases FailedPrecondition "too-many-releases" "Too many releases"
        means "This buyer has let units of this sale go as often as one buyer may."
        helped by "Nothing helps for this sale; an order that is still held can be paid.";
    /// Payments tried and failed, too often.
    TOO_MANY_ATTEMPTS = CONFLICT 409 Other FailedPrecondition "too-many-attempts" "Too many attempts"
        means "As many payments of this order were tried as may be; it waits until pay_before and can be cancelled."
        helped by "Let the order go, or let it expire at pay_before.";
    /// The queue is full, or the store does not answer.
    OVERLOADED = SERVICE_UNAVAILABLE 503 Overloaded Unavailable "overloaded" "Overloaded"
        means "The engine cannot take the request now; nothing was bought by it."
        helped by "Come back after Retry-After, with the same Idempotency-Key. Where there is an order_id, look that order up first.";
    /// No such order of this buyer.
    UNKNOWN_ORDER = NOT_FOUND 404 UnknownOrder NotFound "unknown-order" "Unknown order"
        means "This buyer has no such order."
        helped by "Look at the order's number, and at who asks: only its buyer sees an order.";
    /// The payment was declined.
    PAYMENT_DECLINED = PAYMENT_REQUIRED 402 PaymentDeclined FailedPrecondition "payment-declined" "Payment declined"
        means "The payment was declined; the order waits for another one until pay_before."
        helped by "Pay in another way before pay_before; the reason is the payment gateway's.";
    /// The risk check said no.
    RISK_REJECTED = FORBIDDEN 403 RiskRejected PermissionDenied "risk-rejected" "Risk rejected"
        means "The risk check refused this payment."
        helped by "Another way to pay may be taken; the reason is the risk service's.";
    /// The time to pay is over.
    ORDER_EXPIRED = CONFLICT 409 OrderExpired FailedPrecondition "order-expired" "Order expired"
        means "The time to pay is over and the units are back on sale."
        helped by "Buy again, if units are left.";
    /// The buyer gave it up.
    ORDER_CANCELLED = CONFLICT 409 OrderCancelled FailedPrecondition "order-cancelled" "Order cancelled"
        means "The order was cancelled."
        helped by "Buy again, if units are left.";
    /// What was paid is given back.
    ORDER_REFUNDED = CONFLICT 409 Other FailedPrecondition "order-refunded" "Order refunded"
        means "The order was paid and its money given back."
        helped by "Nothing is left to be done with this order.";
    /// The order is on its way to the store.
    ORDER_PENDING = CONFLICT 409 Other Aborted "order-pending" "Order pending"
        means "The order is not durable yet; ask again in a moment."
        helped by "Come back after Retry-After.";
    /// Nobody takes this method.
    PAYMENT_METHOD_NOT_ALLOWED = UNPROCESSABLE_ENTITY 422 BadRequest InvalidArgument "payment-method-not-allowed" "Payment method not allowed"
        means "This payment method is not accepted."
        helped by "Name a payment method that the shop offers.";
    /// Admitted and then refused by the store.
    ORDER_REJECTED = CONFLICT 409 Other FailedPrecondition "order-rejected" "Order rejected"
        means "The order was not accepted by the store and holds no units."
        helped by "Buy again, if units are left.";
    /// Paid orders stay.
    ORDER_PAID = CONFLICT 409 OrderPaid FailedPrecondition "order-paid" "Order paid"
        means "The order is paid and cannot be cancelled."
        helped by "Ask the shop for the money back; an order that is paid is not cancelled by its buyer.";
    /// A payment is on its way.
    PAYMENT_IN_PROGRESS = CONFLICT 409 PaymentInProgress Aborted "payment-in-progress" "Payment in progress"
        means "A payment is under way; the order can be cancelled when it is known to have failed."
        helped by "Look the order up after Retry-After: it is paid then, or can be cancelled.";
    /// The gateway is out of reach.
    PAYMENT_UNAVAILABLE = SERVICE_UNAVAILABLE 503 PaymentUnavailable Unavailable "payment-unavailable" "Payment unavailable"
        means "Payments cannot be made now; the order waits until pay_before."
        helped by "Come back after Retry-After; the order and its units are kept until pay_before.";
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
    use crate::openapi::title_of;

    #[test]
    fn every_problem_is_json_that_says_what_its_status_line_says() {
        let id = RequestId::Echoed("a\"b\\c");
        for problem in ALL {
            let code = problem.kind.code;
            let reply = problem.reply(&id);
            let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
            assert_eq!(body["status"], problem.status.as_u16(), "{code}");
            assert_eq!((&body["code"], &body["title"]), (&code.into(), &title_of(code).into()));
            assert_eq!(body["type"], format!("{}{code}", ProblemKind::PATH));
            assert_eq!(problem.kind.status, problem.status.as_u16());
            assert_eq!(body["instance"], "a\"b\\c");
            assert!(!body["detail"].as_str().unwrap().is_empty() && !problem.kind.cure.is_empty());
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
