//! What admission refuses, as answers: each with its cure.

use super::problem::{self, ProblemAnswer};
use super::reply::{Field, retry_after_s, seconds_until};
use super::request::Request;
use crate::domain::{Nanos, RateScope, Refusal, Rejection};

/// The answer to a refusal, with its cure. Who holds an order hears of it, whatever is refused.
pub(super) fn refused(refusal: &Refusal, request: &Request<'_>) -> ProblemAnswer {
    let answer = rejected(&refusal.rejection, request);
    match refusal.order_id() {
        Some(order_id) => answer.order(order_id),
        None => answer,
    }
}

/// The answer to a rejection, with its cure.
pub(super) fn rejected(rejection: &Rejection, request: &Request<'_>) -> ProblemAnswer {
    match *rejection {
        Rejection::SoldOut => problem::SOLD_OUT.answer(),
        Rejection::UnknownSale => problem::UNKNOWN_SALE.answer(),
        Rejection::IdempotencyKeyReused => problem::IDEMPOTENCY_KEY_REUSED.answer(),
        Rejection::QuantityNotAllowed { per_buyer_limit } => {
            problem::QUANTITY_NOT_ALLOWED.answer().number("per_buyer_limit", per_buyer_limit)
        }
        Rejection::AlreadyPurchased { .. } => problem::ALREADY_PURCHASED.answer(),
        Rejection::NotStarted { starts_at } => {
            let wait_ms = starts_at.ms_since(request.arrived.wall).max(0) as u64;
            problem::SALE_NOT_STARTED
                .answer()
                .time("starts_at", starts_at)
                .time("server_time", request.arrived.wall)
                .with(Field::RetryAfter(seconds_until(Nanos(wait_ms.saturating_mul(1_000_000)))))
        }
        Rejection::Paused => {
            problem::SALE_PAUSED.answer().with(Field::RetryAfter(retry_after_s(Nanos(5 * Nanos::SECOND.0))))
        }
        Rejection::Ended => problem::SALE_ENDED.answer(),
        Rejection::WaitingRoom { reason, retry_after } => problem::WAITING_ROOM
            .answer_with(request.path.len() + reason.as_str().len())
            .text("reason", reason.as_str())
            .text_of("queue", &[request.path, "/queue"])
            .with(Field::RetryAfter(retry_after_s(retry_after))),
        Rejection::RateLimited { scope, rate, retry_after } => {
            let wait_s = seconds_until(retry_after);
            // A buyer's own next click is due at a known moment; of a crowd that waits for the same one, few get it.
            let come_back_s = if scope == RateScope::Buyer { wait_s } else { retry_after_s(retry_after) };
            problem::RATE_LIMITED.answer().with(Field::RetryAfter(come_back_s)).with(Field::RateLimit {
                scope,
                wait_s,
                rate,
            })
        }
        Rejection::TooManyReleases { releases_max } => {
            problem::TOO_MANY_RELEASES.answer().number("releases_max", releases_max)
        }
        Rejection::Overloaded => {
            problem::OVERLOADED.answer().with(Field::RetryAfter(retry_after_s(Nanos::SECOND)))
        }
    }
}
