//! What the contract says of a single order, without a database: a part of the model of `contract`.

use seckill::domain::{
    Cents, Order, OrderAction, OrderStatus, PaymentDirection, PaymentJournal, PaymentNote, RefundEnd,
    RefundRequest, RefundStep, Restock, Units,
};
use seckill::orders::{EventKind, Transition};

/// The refund that a step is about: `place` says which one it is of its batch, `begun` how many the order had when the batch
/// was made, and `of_earlier` that it is about another than the latest.
pub fn refund_step(
    action: OrderAction,
    place: usize,
    begun: u32,
    of_earlier: bool,
) -> Option<Box<RefundStep>> {
    let step = match action {
        OrderAction::BeginRefund | OrderAction::RecordRefund => RefundStep::New {
            request: RefundRequest {
                number: of_earlier.then_some(begun),
                amount: [None, Some(Cents(3)), Some(Cents(5)), Some(Cents(0))][place % 4],
                restock: [Restock::All, Restock::Units(0), Restock::Units(1)][place % 3],
            },
            reason: format!("given back at {place}"),
        },
        OrderAction::AbortRefund | OrderAction::ConfirmRefund => RefundStep::End(RefundEnd {
            // Some are about refunds that begin in the same batch.
            number: if of_earlier { begun } else { begun + (place % 2) as u32 },
            why: (action == OrderAction::AbortRefund).then(|| format!("refused at {place}")),
            only_in_life: None,
        }),
        _ => return None,
    };
    Some(Box::new(step))
}

/// The order after a step of a refund, and what is told of it; `None` when it does not take it.
pub fn refunded(order: &Order, step: &Transition) -> Option<(Order, Option<EventKind>)> {
    let mut next = order.clone();
    match (order.status, step.action, step.refund.as_deref()?) {
        (
            OrderStatus::Paid,
            OrderAction::BeginRefund | OrderAction::RecordRefund,
            RefundStep::New { request, .. },
        ) => {
            let left = order.placed.amount.0 - order.refunds.refunded.0;
            let amount = request.amount.map_or(left, |amount| amount.0);
            let restock = match request.restock {
                Restock::All => held(order),
                Restock::Units(units) => units,
            };
            let is_next = request.number.is_none_or(|number| number == order.refunds.begun + 1);
            if !is_next || amount == 0 || amount > left || restock > held(order) {
                return None;
            }
            next.refunds.begun += 1;
            next.refunds.amount = Cents(amount);
            next.refunds.restock = restock;
            next.status = OrderStatus::Refunding;
            Some(if step.action == OrderAction::RecordRefund { made(next) } else { (next, None) })
        }
        (OrderStatus::Refunding, OrderAction::ConfirmRefund, RefundStep::End(end))
            if end.number == order.refunds.begun =>
        {
            Some(made(next))
        }
        (OrderStatus::Refunding, OrderAction::AbortRefund, RefundStep::End(end))
            if end.number == order.refunds.begun =>
        {
            next.refunds.amount = Cents(0);
            next.refunds.restock = 0;
            next.status = OrderStatus::Paid;
            Some((next, None))
        }
        _ => None,
    }
}

fn made(mut order: Order) -> (Order, Option<EventKind>) {
    order.refunds.refunded.0 += order.refunds.amount.0;
    order.refunds.restocked += order.refunds.restock;
    let is_whole = order.refunds.refunded == order.placed.amount;
    order.status = if is_whole { OrderStatus::Refunded } else { OrderStatus::Paid };
    (order, Some(EventKind::Refunded))
}

/// Units that the order has.
pub fn held(order: &Order) -> Units {
    match order.status {
        OrderStatus::PrePay | OrderStatus::Paying => order.placed.quantity,
        OrderStatus::Paid | OrderStatus::Refunding | OrderStatus::Refunded => {
            order.placed.quantity - order.refunds.restocked
        }
        OrderStatus::Pending | OrderStatus::Cancelled | OrderStatus::Expired | OrderStatus::Rejected => 0,
    }
}

/// The contract's table once more, with the deadline and what is told.
pub fn status_after(order: &Order, step: &Transition) -> Option<(OrderStatus, Option<EventKind>)> {
    let late = step.at >= order.placed.pay_before;
    let of_latest = step.payment_attempt == Some(order.payment_attempt);
    Some(match (order.status, step.action) {
        (OrderStatus::PrePay, OrderAction::BeginPayment) if !late => (OrderStatus::Paying, None),
        (OrderStatus::PrePay, OrderAction::Cancel) => (OrderStatus::Cancelled, Some(EventKind::Cancelled)),
        (OrderStatus::PrePay, OrderAction::Expire) if late => {
            (OrderStatus::Expired, Some(EventKind::Expired))
        }
        (OrderStatus::Paying, OrderAction::NotePayment) if of_latest && noted(order, step).is_some() => {
            (OrderStatus::Paying, None)
        }
        (OrderStatus::Paying, OrderAction::AbortPayment) if of_latest => (OrderStatus::PrePay, None),
        (OrderStatus::Paying, OrderAction::ConfirmPayment) if of_latest => {
            (OrderStatus::Paid, Some(EventKind::Paid))
        }
        _ => return None,
    })
}

/// The journal after the step's note; `None` when the note does not follow it.
pub fn noted(order: &Order, step: &Transition) -> Option<PaymentJournal> {
    use PaymentDirection::{GoingOn, LettingGo, Undecided};
    let PaymentJournal { gateway, key_form, direction } = order.payment.clone();
    Some(match (step.payment_note.clone()?, &direction) {
        (PaymentNote::Gateway(name), _) if gateway.is_none() => {
            PaymentJournal { gateway: Some(name), key_form, direction }
        }
        (PaymentNote::Direction(direction), Undecided) => PaymentJournal { gateway, key_form, direction },
        (PaymentNote::TurnBack { why }, Undecided | GoingOn) => {
            PaymentJournal { gateway, key_form, direction: LettingGo { why } }
        }
        _ => return None,
    })
}
