//! The steps that a durable order takes, and whether it may: the rule that all stores share.

use super::graces::Graces;
use super::trail::Act;
use crate::domain::{
    EpochMs, Order, OrderAction, OrderId, OrderStatus, PaymentJournal, PaymentNote, RefundStep, Restock,
    SpanContext, Units,
};

/// A step in the life of a durable order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// The order.
    pub order: OrderId,
    /// The step, as in [`OrderStatus::after`](crate::domain::OrderStatus::after). `Persist` and `Reject` are the
    /// writers' own and refused here.
    pub action: OrderAction,
    /// When it happens. `BeginPayment` is refused from the order's deadline on, `Expire` before it.
    pub at: EpochMs,
    /// The payment method, for `BeginPayment`.
    pub payment_method: Option<String>,
    /// The configured name of the gateway, for `BeginPayment`; `None` for an order that costs nothing. For `BeginRefund` it is
    /// that of an order whose payment names none.
    pub payment_gateway: Option<String>,
    /// Which payment ends ([`Order::payment_attempt`]), for `ConfirmPayment`, `AbortPayment` and `NotePayment`: refused
    /// when the order is at another. What one node heard late of its own payment must not end another node's.
    pub payment_attempt: Option<u32>,
    /// The entry of `NotePayment`; refused when it does not follow what the journal says.
    pub payment_note: Option<PaymentNote>,
    /// The refund that `BeginRefund` and `RecordRefund` begin; refused when the order takes none such. The end of the latest
    /// for `AbortRefund` and `ConfirmRefund`; refused when the order is at another.
    pub refund: Option<Box<RefundStep>>,
    /// Why an operator ended the payment by hand, for `ConfirmPayment` and `AbortPayment`; kept beside the order.
    pub settled_because: Option<String>,
    /// The operator's act that asks for it, for the trail.
    pub act: Option<Box<Act>>,
    /// The span that waits for it, if a trace tells of it.
    pub span: Option<SpanContext>,
}

/// What became of a [`Transition`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// Durable; the order as it is now.
    Done(Order),
    /// The order's status (its deadline, its latest payment) does not allow it; the order as it is.
    Refused(Order),
    /// There is no such durable order.
    UnknownOrder,
}

impl Transition {
    /// A step that is about no payment and no refund: `Cancel` or `Expire`.
    pub const fn plain(order: OrderId, action: OrderAction, at: EpochMs) -> Self {
        Self {
            order,
            action,
            at,
            payment_method: None,
            payment_gateway: None,
            payment_attempt: None,
            payment_note: None,
            refund: None,
            settled_because: None,
            act: None,
            span: None,
        }
    }

    /// Moves the order on if its status, its deadline (moved by `graces`) and its payment allow it. `false` leaves it as it
    /// is.
    pub fn advance(&self, order: &mut Order, graces: &Graces) -> bool {
        if let Some(refund) = self.refund.as_deref() {
            return self.advance_refund(refund, order);
        }
        let pay_before = || graces.pay_before(&order.placed, self.at);
        let fits = match self.action {
            OrderAction::BeginPayment => self.at < pay_before(),
            OrderAction::Expire => self.at >= pay_before(),
            OrderAction::AbortPayment | OrderAction::ConfirmPayment | OrderAction::NotePayment => {
                self.payment_attempt == Some(order.payment_attempt)
            }
            OrderAction::Cancel => true,
            OrderAction::Persist
            | OrderAction::Reject
            | OrderAction::BeginRefund
            | OrderAction::AbortRefund
            | OrderAction::ConfirmRefund
            | OrderAction::RecordRefund => false,
        };
        let Ok(status) = order.status.after(self.action) else { return false };
        if !fits {
            return false;
        }
        if self.action == OrderAction::NotePayment
            && !self.payment_note.as_ref().is_some_and(|note| order.payment.note(note))
        {
            return false;
        }
        order.status = status;
        match self.action {
            OrderAction::BeginPayment => {
                order.payment_attempt += 1;
                order.payment_method.clone_from(&self.payment_method);
                order.payment = PaymentJournal::begun(self.payment_gateway.clone());
            }
            OrderAction::ConfirmPayment => order.paid_at = Some(self.at),
            _ => {}
        }
        true
    }

    fn advance_refund(&self, refund: &RefundStep, order: &mut Order) -> bool {
        match (self.action, refund) {
            (OrderAction::BeginRefund, RefundStep::New { request, .. }) if order.begin_refund(request) => {
                order.status = OrderStatus::Refunding;
                if order.payment.gateway.is_none() {
                    order.payment.gateway.clone_from(&self.payment_gateway);
                }
            }
            (OrderAction::RecordRefund, RefundStep::New { request, .. }) if order.begin_refund(request) => {
                order.make_refund();
            }
            (action, RefundStep::End(end))
                if order.status == OrderStatus::Refunding && end.number == order.refunds.begun =>
            {
                match action {
                    OrderAction::ConfirmRefund => order.make_refund(),
                    OrderAction::AbortRefund => {
                        order.drop_refund();
                        order.status = OrderStatus::Paid;
                    }
                    _ => return false,
                }
            }
            _ => return false,
        }
        true
    }

    /// Whether the order's deadline decides it.
    pub const fn asks_for_the_time(&self) -> bool {
        matches!(self.action, OrderAction::BeginPayment | OrderAction::Expire)
    }

    /// Whether a refund begins with it that puts units back on sale: an order of an archived sale takes none such.
    pub fn restocks(&self) -> bool {
        let asked = match self.refund.as_deref() {
            Some(RefundStep::New { request, .. }) => request.restock,
            Some(RefundStep::End(_)) | None => return false,
        };
        self.begins_refund() && asked != Restock::Units(0)
    }

    /// The life of this node in which it may be taken, if it may be in no other.
    pub fn only_in_life(&self) -> Option<u64> {
        match self.refund.as_deref() {
            Some(RefundStep::End(end)) => end.only_in_life,
            Some(RefundStep::New { .. }) | None => None,
        }
    }

    /// Whether a refund begins with it.
    pub const fn begins_refund(&self) -> bool {
        matches!(self.action, OrderAction::BeginRefund | OrderAction::RecordRefund)
    }

    /// Units that are free again when this step has made of an order what it is `now`.
    pub fn frees(&self, now: &Order) -> Units {
        match self.action {
            OrderAction::Cancel | OrderAction::Expire => now.placed.quantity,
            OrderAction::ConfirmRefund | OrderAction::RecordRefund => now.refunds.restock,
            _ => 0,
        }
    }
}
