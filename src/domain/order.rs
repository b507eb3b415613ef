//! An order and its whole life, as one table.

use std::fmt;

use super::identity::{BuyerId, IdempotencyKey, OrderId, SaleId};
use super::money::Cents;
use super::payment::PaymentJournal;
use super::refund::Refunds;
use super::sale::Units;
use super::time::EpochMs;

/// What an order says from the moment of its admission on, whatever becomes of the sale's terms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// Units.
    pub quantity: Units,
    /// What they cost together.
    pub amount: Cents,
    /// When the order was admitted.
    pub created_at: EpochMs,
    /// Until when it may be paid.
    pub pay_before: EpochMs,
}

/// Where an order is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrderStatus {
    /// Admitted, not yet durable.
    Pending,
    /// Durable, waits for its payment.
    PrePay,
    /// A payment is under way, or its outcome is not known.
    Paying,
    /// Paid; perhaps a part was given back.
    Paid,
    /// Given up by its buyer. Final.
    Cancelled,
    /// Not paid in time. Final.
    Expired,
    /// Admitted, but the store refused it. Final.
    Rejected,
    /// Paid, and a refund is under way, or its outcome is not known.
    Refunding,
    /// All that was paid was given back. Final.
    Refunded,
}

/// What can happen to an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OrderAction {
    /// The store has it.
    Persist,
    /// The store refused it.
    Reject,
    /// A payment starts.
    BeginPayment,
    /// The journal of the payment under way gets an entry.
    NotePayment,
    /// The payment is known not to have happened.
    AbortPayment,
    /// The payment is known to have happened.
    ConfirmPayment,
    /// The buyer gives it up.
    Cancel,
    /// The time to pay is over.
    Expire,
    /// A refund starts.
    BeginRefund,
    /// The refund is known not to have happened.
    AbortRefund,
    /// The refund is known to have happened.
    ConfirmRefund,
    /// What was paid was given back by another way than the gateway.
    RecordRefund,
}

/// The action has no meaning in this status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IllegalTransition {
    /// The status the order has.
    pub from: OrderStatus,
    /// What was asked of it.
    pub action: OrderAction,
}

impl fmt::Display for IllegalTransition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an order that is {} cannot {:?}", self.from, self.action)
    }
}

impl std::error::Error for IllegalTransition {}

impl OrderStatus {
    /// All statuses, in the order of their codes.
    pub const ALL: [Self; 9] = [
        Self::Pending,
        Self::PrePay,
        Self::Paying,
        Self::Paid,
        Self::Cancelled,
        Self::Expired,
        Self::Rejected,
        Self::Refunding,
        Self::Refunded,
    ];

    /// The transition table. Everything that is not listed is illegal. An order that gives back a part only is `Paid` where
    /// this says `Refunded`.
    ///
    /// # Errors
    /// [`IllegalTransition`] when `action` has no meaning here.
    pub const fn after(self, action: OrderAction) -> Result<Self, IllegalTransition> {
        use {OrderAction as A, OrderStatus as S};
        Ok(match (self, action) {
            (S::Pending, A::Persist) => S::PrePay,
            (S::Pending, A::Reject) => S::Rejected,
            (S::PrePay, A::BeginPayment) => S::Paying,
            (S::PrePay, A::Cancel) => S::Cancelled,
            (S::PrePay, A::Expire) => S::Expired,
            (S::Paying, A::NotePayment) => S::Paying,
            (S::Paying, A::AbortPayment) => S::PrePay,
            (S::Paying, A::ConfirmPayment) => S::Paid,
            (S::Paid, A::BeginRefund) => S::Refunding,
            (S::Paid, A::RecordRefund) => S::Refunded,
            (S::Refunding, A::AbortRefund) => S::Paid,
            (S::Refunding, A::ConfirmRefund) => S::Refunded,
            (from, action) => return Err(IllegalTransition { from, action }),
        })
    }

    /// Whether the order waits to be paid, or for the end of a payment.
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Pending | Self::PrePay | Self::Paying)
    }

    /// Whether the order's units are sold, but for those that a refund put back on sale; see [`Order::units_held`].
    pub const fn holds_units(self) -> bool {
        matches!(self, Self::PrePay | Self::Paying | Self::Paid | Self::Refunding | Self::Refunded)
    }

    /// The number that the stores keep. Never change one that has been released.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The status with this number.
    pub const fn from_code(code: u8) -> Option<Self> {
        if (code as usize) < Self::ALL.len() { Some(Self::ALL[code as usize]) } else { None }
    }

    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::PrePay => "pre_pay",
            Self::Paying => "paying",
            Self::Paid => "paid",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Rejected => "rejected",
            Self::Refunding => "refunding",
            Self::Refunded => "refunded",
        }
    }
}

impl fmt::Display for OrderStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl OrderAction {
    /// All actions.
    pub const ALL: [Self; 12] = [
        Self::Persist,
        Self::Reject,
        Self::BeginPayment,
        Self::NotePayment,
        Self::AbortPayment,
        Self::ConfirmPayment,
        Self::Cancel,
        Self::Expire,
        Self::BeginRefund,
        Self::AbortRefund,
        Self::ConfirmRefund,
        Self::RecordRefund,
    ];
}

/// A purchase that was admitted and is to become durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewOrder {
    /// Its number, from admission.
    pub id: OrderId,
    /// The sale it belongs to.
    pub sale: SaleId,
    /// Who buys.
    pub buyer: BuyerId,
    /// How many units, at least 1.
    pub quantity: Units,
    /// What they cost together.
    pub amount: Cents,
    /// When it was admitted.
    pub created_at: EpochMs,
    /// Until when it may be paid.
    pub pay_before: EpochMs,
    /// The client's name of this attempt.
    pub idempotency_key: Option<IdempotencyKey>,
}

/// An order as the store has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// What was ordered.
    pub placed: NewOrder,
    /// Where it is in its life.
    pub status: OrderStatus,
    /// When it was paid.
    pub paid_at: Option<EpochMs>,
    /// How many payments were begun: names the latest attempt at the gateway. 0 before the first.
    pub payment_attempt: u32,
    /// The payment method of the latest attempt, as the buyer gave it.
    pub payment_method: Option<String>,
    /// What is known of the latest attempt.
    pub payment: PaymentJournal,
    /// What was given back of what it paid.
    pub refunds: Refunds,
}

impl Order {
    /// The order as it is the moment it becomes durable.
    pub fn persisted(placed: NewOrder) -> Self {
        Self {
            placed,
            status: OrderStatus::PrePay,
            paid_at: None,
            payment_attempt: 0,
            payment_method: None,
            payment: PaymentJournal::default(),
            refunds: Refunds::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_or_paid_goes_on_and_the_rest_is_final() {
        for status in OrderStatus::ALL {
            let moves = OrderAction::ALL.iter().filter(|&&action| status.after(action).is_ok()).count();
            let goes_on = status.is_open() || matches!(status, OrderStatus::Paid | OrderStatus::Refunding);
            assert_eq!(moves > 0, goes_on, "{status}");
        }
    }

    #[test]
    fn the_table_has_the_arrows_of_the_contract_and_the_journals() {
        let arrows: Vec<String> = OrderStatus::ALL
            .iter()
            .flat_map(|&from| {
                OrderAction::ALL
                    .iter()
                    .filter_map(move |&action| from.after(action).ok().map(|to| format!("{from}>{to}")))
            })
            .collect();
        assert_eq!(
            arrows,
            [
                "pending>pre_pay",
                "pending>rejected",
                "pre_pay>paying",
                "pre_pay>cancelled",
                "pre_pay>expired",
                "paying>paying",
                "paying>pre_pay",
                "paying>paid",
                "paid>refunding",
                "paid>refunded",
                "refunding>paid",
                "refunding>refunded"
            ]
        );
    }

    #[test]
    fn a_unit_goes_back_on_sale_only_from_pre_pay() {
        for from in OrderStatus::ALL {
            for action in OrderAction::ALL {
                if let Ok(to) = from.after(action)
                    && from.holds_units()
                    && !to.holds_units()
                {
                    assert_eq!(from, OrderStatus::PrePay);
                }
            }
        }
    }

    #[test]
    fn codes_round_trip() {
        for status in OrderStatus::ALL {
            assert_eq!(OrderStatus::from_code(status.code()), Some(status));
        }
        assert_eq!(OrderStatus::from_code(9), None);
    }
}
