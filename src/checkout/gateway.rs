//! What a payment gateway must do: Try (hold), Confirm (capture), Cancel (void), and tell the truth later (status).

use std::fmt;

use super::call::Answer;
use crate::domain::{BuyerId, Cents, Currency, Order, OrderId, Units};

/// Names one payment at the gateway: the order and the number of the attempt to pay it. Every call about this payment
/// carries the same key, so that a repeat is no second payment. Written `<order id>-<attempt>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PaymentKey {
    /// The order that is paid.
    pub order: OrderId,
    /// Counts the payments begun for the order, from 1.
    pub attempt: u32,
}

impl PaymentKey {
    /// The key of the order's latest attempt.
    pub fn of(order: &Order) -> Self {
        Self { order: order.placed.id, attempt: order.payment_attempt }
    }
}

impl fmt::Display for PaymentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.order, self.attempt)
    }
}

/// The money to set aside, from whom, for what and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// The payment's name.
    pub key: PaymentKey,
    /// How many units it buys.
    pub quantity: Units,
    /// How much.
    pub amount: Cents,
    /// In which currency.
    pub currency: Currency,
    /// Who pays.
    pub buyer: BuyerId,
    /// The payment method as the buyer gave it.
    pub method: String,
}

/// A payment as the gateway knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PaymentState {
    /// The gateway has never heard of the key.
    NotFound,
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

/// A payment gateway. Each call answers with the payment as it is after the call.
///
/// All calls are idempotent by key, and calls about one key take effect one after the other:
///
/// - `hold` of a new key ends in `Held` or `Declined`; of a known key it changes nothing and answers what is.
/// - `capture` turns `Held` into `Captured` and changes nothing else.
/// - `void` turns `Held` **and `NotFound`** into `Voided` and changes nothing else. An unknown key is thereby used up:
///   a hold that was sent before the void and arrives after it takes no effect. Without this rule an engine that
///   gave a payment up could later have taken the money for it.
/// - `status` changes nothing.
///
/// A [`CallError`](super::CallError) that says `Busy` or `Invalid` promises that this call had no effect.
/// Dropping the future gives up waiting, not the call.
pub trait PaymentGateway: Send + Sync {
    /// Sets money aside: the Try.
    fn hold<'a>(&'a self, charge: &'a Charge) -> Answer<'a, PaymentState>;

    /// Takes what was set aside: the Confirm.
    fn capture(&self, key: PaymentKey) -> Answer<'_, PaymentState>;

    /// Lets go of what was set aside, and of what may still come: the Cancel.
    fn void(&self, key: PaymentKey) -> Answer<'_, PaymentState>;

    /// Asks what became of a payment.
    fn status(&self, key: PaymentKey) -> Answer<'_, PaymentState>;
}
