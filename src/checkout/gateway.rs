//! What a payment gateway must do: Try (hold), Confirm (capture), Cancel (void), tell the truth later (status), and give
//! back (refund).

use std::fmt;

use super::remote_call::Answer;
use crate::domain::{BuyerId, Cents, Currency, Order, OrderId, PaymentKeyForm, StoreIdentity, Units};

/// One attempt to pay an order, as this engine's store numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttemptId {
    /// The order that is paid.
    pub order: OrderId,
    /// Counts the payments begun for the order, from 1.
    pub attempt: u32,
}

impl AttemptId {
    /// The order's latest attempt.
    pub fn latest(order: &Order) -> Self {
        Self { order: order.placed.id, attempt: order.payment_attempt }
    }
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.order, self.attempt)
    }
}

/// Names one attempt at the gateway. Every call about it carries the same key, so that a repeat is no second payment.
///
/// Order numbers are unique within one store only; the store's identity makes the key unique at a gateway that serves
/// several. Written `<store>-<order>-<attempt>`, or `<order>-<attempt>` for an attempt that was begun so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PaymentKey {
    /// The store that the order is in; `None` for an attempt begun before stores had an identity.
    pub store: Option<StoreIdentity>,
    /// The attempt.
    pub attempt: AttemptId,
}

impl PaymentKey {
    /// The key of the order's latest attempt, in the form that the attempt was begun with.
    pub fn of(order: &Order, store: StoreIdentity) -> Self {
        let store = match order.payment.key_form {
            PaymentKeyForm::Plain => None,
            PaymentKeyForm::OfStore => Some(store),
        };
        Self { store, attempt: AttemptId::latest(order) }
    }
}

impl fmt::Display for PaymentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(store) = self.store {
            write!(f, "{store}-")?;
        }
        self.attempt.fmt(f)
    }
}

/// An amount of money: minor units of a currency, as ISO 4217 has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Money {
    /// How much.
    pub amount: Cents,
    /// Of which currency.
    pub currency: Currency,
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} minor units of {}", self.amount.0, self.currency)
    }
}

/// The money to set aside, from whom, for what and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// The payment's name.
    pub key: PaymentKey,
    /// How many units it buys.
    pub quantity: Units,
    /// How much, in which currency.
    pub money: Money,
    /// Who pays.
    pub buyer: BuyerId,
    /// The payment method as the buyer gave it.
    pub method: String,
}

impl Charge {
    /// Whether there is nothing to pay.
    pub fn is_free(&self) -> bool {
        self.money.amount == Cents(0)
    }
}

/// How a payment stands at the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PaymentState {
    /// The gateway has never heard of the key.
    NotFound,
    /// The gateway works on it and will know later.
    Processing,
    /// The money is set aside for us. Nothing has been taken.
    Held,
    /// The buyer's bank said no. Final.
    Declined {
        /// Why, in a word the buyer may see.
        reason: String,
    },
    /// The money is taken. Final.
    Captured,
    /// Nothing is set aside and never will be under this key. Final.
    Voided,
}

/// A payment as the gateway knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// How it stands.
    pub state: PaymentState,
    /// The money it is about; always told of a payment that is held or captured.
    pub money: Option<Money>,
}

/// Names one refund of a payment that was captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RefundKey {
    /// The payment.
    pub payment: PaymentKey,
    /// Counts the refunds of its order, from 1.
    pub number: u32,
}

/// Written `<payment>-r<number>`.
impl fmt::Display for RefundKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-r{}", self.payment, self.number)
    }
}

/// What is given back. Every call about it carries the same key, so that a repeat is no second refund.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefundOrder {
    /// Its name.
    pub key: RefundKey,
    /// How much.
    pub money: Money,
}

/// How a refund stands at the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefundProgress {
    /// The gateway does not know the payment.
    NotFound,
    /// The gateway works on it and will know later.
    Processing,
    /// The money is given back. Final.
    Refunded,
    /// It is not given back and never will be under this key. Final.
    Refused {
        /// Why, in a word for the operator.
        reason: String,
    },
}

/// A refund as the gateway knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundTold {
    /// How it stands.
    pub progress: RefundProgress,
    /// The money it is about; always told of one that is made.
    pub money: Option<Money>,
}

/// A payment gateway. Each call answers with the payment as it is after the call.
///
/// All calls are idempotent by key, and calls about one key take effect one after the other:
///
/// - `hold` of a new key ends in `Held` or `Declined`, after `Processing` if need be; of a known key it changes nothing
///   and answers what is, or [`KeyReused`](super::CallError::KeyReused) if the key is of another payment.
/// - `capture` turns `Held` into `Captured` and changes nothing else.
/// - `void` turns `Held` **and `NotFound`** into `Voided` and changes nothing else. An unknown key is thereby used up:
///   a hold that was sent before the void and arrives after it takes no effect. Without this rule an engine that
///   gave a payment up could later have taken the money for it.
/// - `status` changes nothing.
/// - `refund` of a new number of a captured payment ends in `Refunded` or `Refused`, after `Processing` if need be; of a
///   known number it changes nothing and answers what is, or [`KeyReused`](super::CallError::KeyReused) if that was about
///   other money.
///
/// A [`CallError`](super::CallError) whose [outcome is known](super::CallError::is_outcome_known) promises that this
/// call had no effect. Dropping the future gives up waiting, not the call.
pub trait PaymentGateway: Send + Sync {
    /// Sets money aside: the Try.
    fn hold<'a>(&'a self, charge: &'a Charge) -> Answer<'a, Payment>;

    /// Takes what was set aside: the Confirm.
    fn capture(&self, key: PaymentKey) -> Answer<'_, Payment>;

    /// Lets go of what was set aside, and of what may still come: the Cancel.
    fn void(&self, key: PaymentKey) -> Answer<'_, Payment>;

    /// Asks what became of a payment.
    fn status(&self, key: PaymentKey) -> Answer<'_, Payment>;

    /// Gives back what was taken, or a part of it.
    fn refund<'a>(&'a self, refund: &'a RefundOrder) -> Answer<'a, RefundTold>;

    /// Whether it moves no money and remembers nothing over a restart of this process. A real gateway that does not know
    /// a payment any more which it had held contradicts itself, and nothing is concluded from it.
    fn forgets(&self) -> bool {
        false
    }
}
