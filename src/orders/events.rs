//! What happened to orders, as a numbered log that others can follow.

use super::refund_record::RefundRecord;
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
    /// What was paid, or a part of it, was given back.
    Refunded,
}

impl EventKind {
    /// All kinds, in the order of their codes, which is also the order within one commit.
    pub const ALL: [Self; 6] =
        [Self::Created, Self::Paid, Self::Cancelled, Self::Expired, Self::Extended, Self::Refunded];

    /// The kind of event that an action of a durable order makes, if any.
    pub const fn of(action: OrderAction) -> Option<Self> {
        match action {
            OrderAction::Persist => Some(Self::Created),
            OrderAction::ConfirmPayment => Some(Self::Paid),
            OrderAction::Cancel => Some(Self::Cancelled),
            OrderAction::Expire => Some(Self::Expired),
            OrderAction::ConfirmRefund | OrderAction::RecordRefund => Some(Self::Refunded),
            OrderAction::Reject
            | OrderAction::BeginPayment
            | OrderAction::NotePayment
            | OrderAction::AbortPayment
            | OrderAction::BeginRefund
            | OrderAction::AbortRefund => None,
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

    /// What a block of events says of all that are in it: the kind and, of refunds, which one of its order.
    pub(super) const fn block_code(self, refund: u32) -> u16 {
        let number = if matches!(self, Self::Refunded) { refund as u16 } else { 0 };
        (number << 8) | self.code() as u16
    }

    /// The kind of a block with this code, and the number of the refund.
    pub(super) fn from_block_code(code: i64) -> Option<(Self, u32)> {
        let code = u16::try_from(code).ok()?;
        Some((Self::from_code((code & 0xff) as u8)?, u32::from(code >> 8)))
    }

    /// Where the order stood from then on; `None` where it stayed as it was, or where the event's refund says it.
    pub const fn status(self) -> Option<OrderStatus> {
        match self {
            Self::Created => Some(OrderStatus::PrePay),
            Self::Paid => Some(OrderStatus::Paid),
            Self::Cancelled => Some(OrderStatus::Cancelled),
            Self::Expired => Some(OrderStatus::Expired),
            Self::Extended | Self::Refunded => None,
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
            Self::Refunded => "order.refunded",
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
    /// The refund that was made, of an event that tells of one.
    pub refund: Option<RefundRecord>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::REFUNDS_MAX;

    #[test]
    fn a_block_says_which_refund_and_fits_its_column() {
        for kind in EventKind::ALL {
            for number in [1, REFUNDS_MAX] {
                let code = kind.block_code(number);
                let expected = if kind == EventKind::Refunded { number } else { 0 };
                assert_eq!(EventKind::from_block_code(i64::from(code)), Some((kind, expected)));
                assert!(i16::try_from(code).is_ok());
            }
        }
        assert_eq!(EventKind::from_block_code(6), None);
        assert_eq!(EventKind::from_block_code(-1), None);
    }
}
