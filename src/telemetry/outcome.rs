//! What is measured (the three paths) and what can become of a request (the outcomes).

use crate::domain::Rejection;

/// The paths whose latency is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Path {
    /// A purchase request, from the socket until the decision; every outcome.
    Seckill,
    /// A winning purchase request, from the socket until its order is durable.
    Order,
    /// A checkout request, from the socket until the final answer.
    Checkout,
}

impl Path {
    /// All paths.
    pub const ALL: [Self; 3] = [Self::Seckill, Self::Order, Self::Checkout];

    /// The name in metrics, in the admin API and in file names.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Seckill => "seckill",
            Self::Order => "order",
            Self::Checkout => "checkout",
        }
    }

    /// The path with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|path| path.name() == name)
    }

    /// The outcomes that have a histogram of their own on this path. Every other one is recorded as
    /// [`Outcome::Other`], which each path has: a histogram takes memory on every core.
    pub const fn outcomes(self) -> &'static [Outcome] {
        use Outcome as O;
        match self {
            Self::Seckill => &[
                O::Won,
                O::Replayed,
                O::BadRequest,
                O::Unauthorized,
                O::Forbidden,
                O::UnknownSale,
                O::IdempotencyKeyReused,
                O::QuantityNotAllowed,
                O::AlreadyPurchased,
                O::SaleNotStarted,
                O::SalePaused,
                O::SaleEnded,
                O::WaitingRoom,
                O::SoldOut,
                O::RateLimited,
                O::TooManyReleases,
                O::Overloaded,
                O::Other,
            ],
            Self::Order => &[O::Durable, O::Pending, O::Overloaded, O::Other],
            Self::Checkout => &[
                O::Paid,
                O::Paying,
                O::PaymentDeclined,
                O::RiskRejected,
                O::OrderExpired,
                O::OrderCancelled,
                O::PaymentUnavailable,
                O::UnknownOrder,
                O::BadRequest,
                O::Unauthorized,
                O::Forbidden,
                O::Overloaded,
                O::Other,
            ],
        }
    }
}

/// What became of a request. One code each, the same in metrics, statistics and problem bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Admitted: a unit is held for the buyer.
    Won,
    /// The same idempotency key again: told of the first order.
    Replayed,
    /// The winner's order is durable.
    Durable,
    /// The winner was told to poll: the order was not durable in time.
    Pending,
    /// Paid.
    Paid,
    /// The payment's outcome is not known yet.
    Paying,
    /// An order, a sale page or a cancellation was answered as asked.
    Served,
    /// Not a request that can be understood: framing, headers, body, JSON, size.
    BadRequest,
    /// No valid buyer identity.
    Unauthorized,
    /// The origin's secret is wrong or missing.
    Forbidden,
    /// No such route.
    NotFound,
    /// As [`Rejection::UnknownSale`].
    UnknownSale,
    /// As [`Rejection::IdempotencyKeyReused`].
    IdempotencyKeyReused,
    /// As [`Rejection::QuantityNotAllowed`].
    QuantityNotAllowed,
    /// As [`Rejection::AlreadyPurchased`].
    AlreadyPurchased,
    /// As [`Rejection::NotStarted`].
    SaleNotStarted,
    /// As [`Rejection::Paused`].
    SalePaused,
    /// As [`Rejection::Ended`].
    SaleEnded,
    /// As [`Rejection::WaitingRoom`].
    WaitingRoom,
    /// As [`Rejection::SoldOut`].
    SoldOut,
    /// As [`Rejection::RateLimited`].
    RateLimited,
    /// As [`Rejection::TooManyReleases`].
    TooManyReleases,
    /// As [`Rejection::Overloaded`].
    Overloaded,
    /// No such order, or another buyer's.
    UnknownOrder,
    /// The payment was declined.
    PaymentDeclined,
    /// The risk check refused the payment.
    RiskRejected,
    /// The time to pay is over.
    OrderExpired,
    /// The buyer has given the order up.
    OrderCancelled,
    /// The order is paid and cannot be cancelled.
    OrderPaid,
    /// A payment is under way: the order cannot be cancelled.
    PaymentInProgress,
    /// The payment gateway does not answer, or is not asked for now.
    PaymentUnavailable,
    /// None of the above.
    Other,
}

impl Outcome {
    /// All outcomes, in the order of their numbers.
    pub const ALL: [Self; 32] = [
        Self::Won,
        Self::Replayed,
        Self::Durable,
        Self::Pending,
        Self::Paid,
        Self::Paying,
        Self::Served,
        Self::BadRequest,
        Self::Unauthorized,
        Self::Forbidden,
        Self::NotFound,
        Self::UnknownSale,
        Self::IdempotencyKeyReused,
        Self::QuantityNotAllowed,
        Self::AlreadyPurchased,
        Self::SaleNotStarted,
        Self::SalePaused,
        Self::SaleEnded,
        Self::WaitingRoom,
        Self::SoldOut,
        Self::RateLimited,
        Self::TooManyReleases,
        Self::Overloaded,
        Self::UnknownOrder,
        Self::PaymentDeclined,
        Self::RiskRejected,
        Self::OrderExpired,
        Self::OrderCancelled,
        Self::OrderPaid,
        Self::PaymentInProgress,
        Self::PaymentUnavailable,
        Self::Other,
    ];

    /// The stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Won => "won",
            Self::Replayed => "replayed",
            Self::Durable => "durable",
            Self::Pending => "pending",
            Self::Paid => "paid",
            Self::Paying => "paying",
            Self::Served => "served",
            Self::BadRequest => "bad-request",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not-found",
            Self::UnknownSale => "unknown-sale",
            Self::IdempotencyKeyReused => "idempotency-key-reused",
            Self::QuantityNotAllowed => "quantity-not-allowed",
            Self::AlreadyPurchased => "already-purchased",
            Self::SaleNotStarted => "sale-not-started",
            Self::SalePaused => "sale-paused",
            Self::SaleEnded => "sale-ended",
            Self::WaitingRoom => "waiting-room",
            Self::SoldOut => "sold-out",
            Self::RateLimited => "rate-limited",
            Self::TooManyReleases => "too-many-releases",
            Self::Overloaded => "overloaded",
            Self::UnknownOrder => "unknown-order",
            Self::PaymentDeclined => "payment-declined",
            Self::RiskRejected => "risk-rejected",
            Self::OrderExpired => "order-expired",
            Self::OrderCancelled => "order-cancelled",
            Self::OrderPaid => "order-paid",
            Self::PaymentInProgress => "payment-in-progress",
            Self::PaymentUnavailable => "payment-unavailable",
            Self::Other => "other",
        }
    }
}

impl From<&Rejection> for Outcome {
    fn from(rejection: &Rejection) -> Self {
        match rejection {
            Rejection::UnknownSale => Self::UnknownSale,
            Rejection::IdempotencyKeyReused => Self::IdempotencyKeyReused,
            Rejection::QuantityNotAllowed { .. } => Self::QuantityNotAllowed,
            Rejection::AlreadyPurchased { .. } => Self::AlreadyPurchased,
            Rejection::NotStarted { .. } => Self::SaleNotStarted,
            Rejection::Paused => Self::SalePaused,
            Rejection::Ended => Self::SaleEnded,
            Rejection::WaitingRoom { .. } => Self::WaitingRoom,
            Rejection::SoldOut => Self::SoldOut,
            Rejection::RateLimited { .. } => Self::RateLimited,
            Rejection::TooManyReleases { .. } => Self::TooManyReleases,
            Rejection::Overloaded => Self::Overloaded,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{EpochMs, Nanos, NodeId, OrderId, Rate, RateScope, RoomRefusal};

    #[test]
    fn numbers_follow_the_list_and_codes_differ() {
        for (number, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, number);
            let same = Outcome::ALL.into_iter().filter(|other| other.code() == outcome.code()).count();
            assert_eq!(same, 1, "{}", outcome.code());
        }
    }

    #[test]
    fn a_rejection_keeps_its_code_and_has_a_histogram_on_the_seckill_path() {
        let rejections = [
            Rejection::UnknownSale,
            Rejection::IdempotencyKeyReused,
            Rejection::QuantityNotAllowed { per_buyer_limit: 1 },
            Rejection::AlreadyPurchased { order_id: OrderId::from_tick(1, NodeId::new(0).unwrap()) },
            Rejection::NotStarted { starts_at: EpochMs(1) },
            Rejection::Paused,
            Rejection::Ended,
            Rejection::WaitingRoom { reason: RoomRefusal::NoPass, retry_after: Nanos(1) },
            Rejection::SoldOut,
            Rejection::RateLimited {
                scope: RateScope::Sale,
                rate: Rate { per_s: 1, burst: 1 },
                retry_after: Nanos(1),
            },
            Rejection::TooManyReleases { releases_max: 1 },
            Rejection::Overloaded,
        ];
        for rejection in &rejections {
            let outcome = Outcome::from(rejection);
            assert_eq!(outcome.code(), rejection.code());
            assert!(Path::Seckill.outcomes().contains(&outcome));
        }
    }

    #[test]
    fn each_path_has_a_place_for_whatever_else_happens() {
        for path in Path::ALL {
            assert_eq!(path.outcomes().last(), Some(&Outcome::Other));
            assert_eq!(Path::from_name(path.name()), Some(path));
        }
        assert_eq!(Path::from_name("sold"), None);
    }
}
