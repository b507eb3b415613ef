//! What was asked and what came back, in the words of the engine's contract.

use serde::{Deserialize, Serialize};

macro_rules! named {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[repr(u8)]
        pub enum $name { $($(#[$doc])* #[serde(rename = $text)] $variant,)+ }

        impl $name {
            /// Every value, in the order of the declaration.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];

            /// The name in files and reports.
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $text,)+ }
            }
        }
    };
}

named! {
    /// What a latency is measured of.
    Path {
        /// A purchase request until its decision, all outcomes.
        Seckill = "seckill",
        /// A winning purchase request until its order is known to be durable.
        Order = "order",
        /// A checkout request until its final answer.
        Checkout = "checkout",
        /// A cancellation.
        Cancel = "cancel",
        /// The public sale page.
        Page = "page",
        /// A buyer looking up an order.
        Lookup = "lookup",
        /// A registration at the sale's waiting room.
        Register = "register",
        /// A look at the room's public document.
        Room = "room",
        /// From when the first visitor read that nothing is left until another one did.
        SoldOutHeard = "sold-out-heard",
    }
}

named! {
    /// The outcome of one request, as its buyer sees it.
    Outcome {
        /// 201: the order is durable.
        Won = "won",
        /// 202 to a purchase: accepted, durability not known yet.
        Pending = "pending",
        /// 200 to a purchase: the same idempotency key again.
        Replay = "replay",
        /// A 202 that a later look-up found durable.
        WonLater = "won-later",
        /// A 202 that a later look-up found rejected.
        LostLater = "lost-later",
        /// Paid.
        Paid = "paid",
        /// 202 to a checkout: the payment's outcome is not known yet.
        Paying = "paying",
        /// 402.
        PaymentDeclined = "payment-declined",
        /// Cancelled on the buyer's wish.
        Cancelled = "cancelled",
        /// 200 to a page or a look-up.
        Found = "found",
        /// 201 to a registration.
        Registered = "registered",
        /// Not the buyer's turn.
        WaitingRoom = "waiting-room",
        /// The waiting room opens later.
        QueueClosed = "queue-closed",
        /// Nothing left.
        SoldOut = "sold-out",
        /// The buyer's limit is reached.
        AlreadyPurchased = "already-purchased",
        /// Too early.
        SaleNotStarted = "sale-not-started",
        /// Paused by its operator.
        SalePaused = "sale-paused",
        /// Too late.
        SaleEnded = "sale-ended",
        /// Asked too often.
        RateLimited = "rate-limited",
        /// Risk check said no.
        RiskRejected = "risk-rejected",
        /// The order ran out of time to pay.
        OrderExpired = "order-expired",
        /// The order was cancelled before.
        OrderCancelled = "order-cancelled",
        /// Too late to cancel: paid.
        OrderPaid = "order-paid",
        /// Too early to cancel: a payment is under way.
        PaymentInProgress = "payment-in-progress",
        /// 503: the engine sheds load.
        Overloaded = "overloaded",
        /// 503: the payment gateway is cut off.
        PaymentUnavailable = "payment-unavailable",
        /// An answer that this request should not get: wrong identity, unknown sale or order, bad quantity, other status.
        Unexpected = "unexpected",
        /// No answer within the time-out.
        TimedOut = "timed-out",
        /// No connection.
        ConnectFailed = "connect-failed",
        /// The connection ended before the answer.
        ConnectionLost = "connection-lost",
        /// Not HTTP, or not the body that was promised.
        Malformed = "malformed",
        /// Due, but never sent: no connection came free before the run ended.
        Unsent = "unsent",
    }
}

/// How many [`Outcome`]s there are.
pub const OUTCOMES: usize = Outcome::ALL.len();

impl Outcome {
    /// Whether it counts into the error rate: every outcome that is not one of the business answers.
    pub fn is_error(self) -> bool {
        self as u8 >= Outcome::Overloaded as u8
    }

    /// Whether the engine may have acted on the request although no answer arrived.
    pub fn is_unknown(self) -> bool {
        matches!(self, Outcome::TimedOut | Outcome::ConnectionLost | Outcome::Malformed)
    }
}

/// One kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// `GET /seckill/{campaign}/{sku}`
    Page,
    /// `POST /seckill/{campaign}/{sku}`
    Purchase,
    /// `GET /orders/{id}`
    Lookup,
    /// `POST /orders/{id}/checkout`
    Checkout,
    /// `DELETE /orders/{id}`
    Cancel,
    /// `POST /seckill/{campaign}/{sku}/queue`
    Register,
    /// `GET /seckill/{campaign}/{sku}/queue`
    Wait,
}

impl Action {
    /// Where its latency is counted.
    pub fn path(self) -> Path {
        match self {
            Action::Page => Path::Page,
            Action::Purchase => Path::Seckill,
            Action::Lookup => Path::Lookup,
            Action::Checkout => Path::Checkout,
            Action::Cancel => Path::Cancel,
            Action::Register => Path::Register,
            Action::Wait => Path::Room,
        }
    }

    /// What an answer with this status and problem code means to the one who asked.
    pub fn classify(self, status: u16, code: &[u8]) -> Outcome {
        match (self, status) {
            (Action::Purchase, 201) => Outcome::Won,
            (Action::Purchase, 202) => Outcome::Pending,
            (Action::Purchase, 200) => Outcome::Replay,
            (Action::Checkout, 200) => Outcome::Paid,
            (Action::Checkout, 202) => Outcome::Paying,
            (Action::Cancel, 200) => Outcome::Cancelled,
            (Action::Page | Action::Lookup | Action::Wait, 200) => Outcome::Found,
            (Action::Register, 201) => Outcome::Registered,
            (_, 402) => Outcome::PaymentDeclined,
            (_, 503) if code == b"payment-unavailable" => Outcome::PaymentUnavailable,
            (_, 503) => Outcome::Overloaded,
            (_, 429) => Outcome::RateLimited,
            (_, 403 | 409 | 410) => refusal(code),
            _ => Outcome::Unexpected,
        }
    }
}

fn refusal(code: &[u8]) -> Outcome {
    match code {
        b"sold-out" => Outcome::SoldOut,
        b"waiting-room" => Outcome::WaitingRoom,
        b"queue-closed" => Outcome::QueueClosed,
        b"already-purchased" => Outcome::AlreadyPurchased,
        b"sale-not-started" => Outcome::SaleNotStarted,
        b"sale-paused" => Outcome::SalePaused,
        b"sale-ended" => Outcome::SaleEnded,
        b"risk-rejected" => Outcome::RiskRejected,
        b"order-expired" => Outcome::OrderExpired,
        b"order-cancelled" => Outcome::OrderCancelled,
        b"order-paid" => Outcome::OrderPaid,
        b"payment-in-progress" => Outcome::PaymentInProgress,
        _ => Outcome::Unexpected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_the_contract_words_them() {
        let table: [(Action, u16, &[u8], Outcome, bool); 17] = [
            (Action::Register, 201, b"", Outcome::Registered, false),
            (Action::Purchase, 403, b"waiting-room", Outcome::WaitingRoom, false),
            (Action::Wait, 200, b"", Outcome::Found, false),
            (Action::Purchase, 201, b"", Outcome::Won, false),
            (Action::Purchase, 202, b"", Outcome::Pending, false),
            (Action::Purchase, 200, b"", Outcome::Replay, false),
            (Action::Purchase, 409, b"sold-out", Outcome::SoldOut, false),
            (Action::Purchase, 409, b"no-such-code", Outcome::Unexpected, true),
            (Action::Purchase, 410, b"sale-ended", Outcome::SaleEnded, false),
            (Action::Purchase, 429, b"rate-limited", Outcome::RateLimited, false),
            (Action::Purchase, 503, b"overloaded", Outcome::Overloaded, true),
            (Action::Purchase, 404, b"unknown-sale", Outcome::Unexpected, true),
            (Action::Purchase, 500, b"", Outcome::Unexpected, true),
            (Action::Checkout, 200, b"", Outcome::Paid, false),
            (Action::Checkout, 402, b"payment-declined", Outcome::PaymentDeclined, false),
            (Action::Checkout, 503, b"payment-unavailable", Outcome::PaymentUnavailable, true),
            (Action::Cancel, 409, b"order-paid", Outcome::OrderPaid, false),
        ];
        for (action, status, code, expected, error) in table {
            let outcome = action.classify(status, code);
            assert_eq!(outcome, expected, "{action:?} {status}");
            assert_eq!(outcome.is_error(), error, "{outcome:?}");
        }
    }
}
