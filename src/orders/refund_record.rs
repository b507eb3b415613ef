//! A refund as the store keeps it, beside its order.

use super::transition::Transition;
use crate::domain::{Cents, EpochMs, Order, OrderAction, OrderStatus, RefundStep, Units};

/// How a refund stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefundState {
    /// It is under way, or its outcome is not known.
    UnderWay,
    /// The money was given back.
    Made,
    /// It came to nothing.
    Dropped,
}

impl RefundState {
    const ALL: [Self; 3] = [Self::UnderWay, Self::Made, Self::Dropped];

    /// The number that the stores keep. Never change one that has been released.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The state with this number.
    pub const fn from_code(code: u8) -> Option<Self> {
        if (code as usize) < Self::ALL.len() { Some(Self::ALL[code as usize]) } else { None }
    }

    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnderWay => "under_way",
            Self::Made => "made",
            Self::Dropped => "dropped",
        }
    }
}

/// One refund of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundRecord {
    /// Its number, counted from 1 for each order.
    pub number: u32,
    /// How it stands.
    pub state: RefundState,
    /// How much it gives back.
    pub amount: Cents,
    /// Units that it puts back on sale.
    pub restock: Units,
    /// When it was begun.
    pub begun_at: EpochMs,
    /// When it was made, or came to nothing.
    pub ended_at: Option<EpochMs>,
    /// Why it was asked for.
    pub reason: String,
    /// Why it came to nothing, or what an operator said of it.
    pub why: Option<String>,
    /// Given back by this one and all before it, once it is made.
    pub refunded: Cents,
}

impl RefundRecord {
    /// What a step that moved an order from `was` to `now` makes of the record of its latest refund. `None` when it is about
    /// no refund. Of one that ends, what is about its beginning stands in the store already.
    pub(super) fn of_step(step: &Transition, was: &Order, now: &Order) -> Option<Self> {
        let state = match step.action {
            OrderAction::BeginRefund => RefundState::UnderWay,
            OrderAction::ConfirmRefund | OrderAction::RecordRefund => RefundState::Made,
            OrderAction::AbortRefund => RefundState::Dropped,
            _ => return None,
        };
        let (reason, why) = match step.refund.as_deref()? {
            RefundStep::New { reason, .. } => (reason.clone(), None),
            RefundStep::End(end) => (String::new(), end.why.clone()),
        };
        // One that came to nothing keeps what it would have been.
        let terms = if state == RefundState::Dropped { &was.refunds } else { &now.refunds };
        Some(Self {
            number: now.refunds.begun,
            state,
            amount: terms.amount,
            restock: terms.restock,
            begun_at: step.at,
            ended_at: (state != RefundState::UnderWay).then_some(step.at),
            reason,
            why,
            refunded: now.refunds.refunded,
        })
    }

    /// Where its order stood when it was made.
    pub fn order_status(&self, paid: Cents) -> OrderStatus {
        if self.refunded >= paid { OrderStatus::Refunded } else { OrderStatus::Paid }
    }
}
