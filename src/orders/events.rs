//! What happened to orders, as a numbered log that others can follow.

use crate::domain::{EpochMs, Order, OrderAction, OrderStatus};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// An order became durable.
    Created,
    /// It was paid.
    Paid,
    /// Its buyer gave it up.
    Cancelled,
    /// It was not paid in time.
    Expired,
    /// Its deadline was moved to a later time.
    Extended,
}

impl EventKind {
    /// All kinds, in the order of their codes, which is also the order within one commit.
    pub const ALL: [Self; 5] = [Self::Created, Self::Paid, Self::Cancelled, Self::Expired, Self::Extended];

    /// The kind of event that an action of a durable order makes, if any.
    pub const fn of(action: OrderAction) -> Option<Self> {
        match action {
            OrderAction::Persist => Some(Self::Created),
            OrderAction::ConfirmPayment => Some(Self::Paid),
            OrderAction::Cancel => Some(Self::Cancelled),
            OrderAction::Expire => Some(Self::Expired),
            OrderAction::Reject
            | OrderAction::BeginPayment
            | OrderAction::NotePayment
            | OrderAction::AbortPayment => None,
        }
    }

    /// The number that the stores keep. Never change one that has been released.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The kind with this number.
    pub const fn from_code(code: u8) -> Option<Self> {
        if (code as usize) < Self::ALL.len() { Some(Self::ALL[code as usize]) } else { None }
    }

    /// Where the order stood from then on; `None` where it stayed as it was.
    pub const fn status(self) -> Option<OrderStatus> {
        match self {
            Self::Created => Some(OrderStatus::PrePay),
            Self::Paid => Some(OrderStatus::Paid),
            Self::Cancelled => Some(OrderStatus::Cancelled),
            Self::Expired => Some(OrderStatus::Expired),
            Self::Extended => None,
        }
    }

    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "order.created",
            Self::Paid => "order.paid",
            Self::Cancelled => "order.cancelled",
            Self::Expired => "order.expired",
            Self::Extended => "order.extended",
        }
    }
}

/// One event. Events of a sale are numbered in the order in which they became durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its number, growing from 1 without gaps.
    pub seq: u64,
    /// What happened.
    pub kind: EventKind,
    /// When.
    pub at: EpochMs,
    /// The order, as it is when the event is read.
    pub order: Order,
}
