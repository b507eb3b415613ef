//! Why a purchase is refused. A rejection is an expected answer, not an error, and carries its cure.

use super::identity::OrderId;
use super::sale::{Rate, Units};
use super::time::{EpochMs, Nanos};
use super::waiting_room::RoomRefusal;

/// Whose rate a refusal speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateScope {
    /// The buyer's own clicks.
    Buyer,
    /// All admissions of the sale on this node.
    Sale,
    /// All admissions of this node.
    Node,
}

/// The refusals of a purchase, in the order in which admission looks for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// No such sale for this tenant.
    UnknownSale,
    /// The same idempotency key came with another request before.
    IdempotencyKeyReused,
    /// The quantity is 0 or above what one buyer may have.
    QuantityNotAllowed {
        /// The sale's limit a buyer.
        per_buyer_limit: Units,
    },
    /// The buyer holds a durable order, and this purchase would pass the limit.
    AlreadyPurchased {
        /// The buyer's latest order.
        order_id: OrderId,
    },
    /// The sale opens later.
    NotStarted {
        /// When.
        starts_at: EpochMs,
    },
    /// The operator stopped the sale for now.
    Paused,
    /// The sale is over.
    Ended,
    /// The sale has a waiting room, and the buyer is not admitted.
    WaitingRoom {
        /// Why not.
        reason: RoomRefusal,
        /// When to come back at the earliest.
        retry_after: Nanos,
    },
    /// All units are sold or held, or fewer are left than were asked for.
    SoldOut,
    /// The buyer, the sale or the node is asked faster than it admits.
    RateLimited {
        /// Whose rate it is.
        scope: RateScope,
        /// The rate that was passed.
        rate: Rate,
        /// When to come back at the earliest.
        retry_after: Nanos,
    },
    /// The buyer has taken units of this sale and let them go again as often as one may.
    TooManyReleases {
        /// How often that is.
        releases_max: u32,
    },
    /// The queue is full or the store does not answer.
    Overloaded,
}

/// A rejection, and what its buyer has all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub rejection: Rejection,
    /// The buyer's latest order in this sale that holds units: who has one hears of it, whatever is refused.
    pub holds: Option<OrderId>,
}

impl Refusal {
    /// A refusal of a buyer who holds this order, if any.
    pub const fn new(rejection: Rejection, holds: Option<OrderId>) -> Self {
        Self { rejection, holds }
    }

    /// The order that the buyer is told of.
    pub const fn order_id(&self) -> Option<OrderId> {
        match self.rejection {
            Rejection::AlreadyPurchased { order_id } => Some(order_id),
            _ => self.holds,
        }
    }
}

impl From<Refusal> for Rejection {
    fn from(refusal: Refusal) -> Self {
        refusal.rejection
    }
}

impl Rejection {
    /// The stable code in the API, the metrics and the load test.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::UnknownSale => "unknown-sale",
            Self::IdempotencyKeyReused => "idempotency-key-reused",
            Self::QuantityNotAllowed { .. } => "quantity-not-allowed",
            Self::AlreadyPurchased { .. } => "already-purchased",
            Self::NotStarted { .. } => "sale-not-started",
            Self::Paused => "sale-paused",
            Self::Ended => "sale-ended",
            Self::WaitingRoom { .. } => "waiting-room",
            Self::SoldOut => "sold-out",
            Self::RateLimited { .. } => "rate-limited",
            Self::TooManyReleases { .. } => "too-many-releases",
            Self::Overloaded => "overloaded",
        }
    }
}
