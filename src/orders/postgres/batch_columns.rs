//! A batch as the columns that `commit_batch` takes.

use std::collections::HashMap;

use super::super::events::EventKind;
use super::super::graces::Graces;
use super::super::refund_record::RefundRecord;
use super::super::store::Batch;
use super::super::transition::{Applied, Transition};
use super::refunds::RefundColumns;
use super::rows::{column, text};
use super::session::Parameter;
use super::trail::TrailColumns;
use crate::domain::{EpochMs, NewOrder, Order, OrderStatus};

/// New orders, column by column.
#[derive(Default)]
pub struct NewOrders<'a> {
    placed: i32,
    group_end: Vec<i32>,
    order: Vec<i64>,
    sale: Vec<i32>,
    buyer: Vec<&'a str>,
    quantity: Vec<i32>,
    amount: Vec<i64>,
    created: Vec<i64>,
    pay_before: Vec<i64>,
    key: Vec<Option<&'a str>>,
    status: Vec<i16>,
}

impl<'a> NewOrders<'a> {
    /// The batch's purchases in groups, each of one sale, sorted by buyer, with every buyer at most once; then what was
    /// refused. Two batches that name the same buyers lock them in the same order.
    pub fn of(batch: &'a Batch) -> Self {
        let mut placed: Vec<(u32, &NewOrder)> = batch.placed.iter().map(|order| (0, order)).collect();
        placed.sort_unstable_by_key(|(_, order)| (order.sale, order.buyer.as_str(), order.id));
        let mut repeats = false;
        for next in 1..placed.len() {
            let (round, before) = placed[next - 1];
            let (_, order) = placed[next];
            if before.sale == order.sale && before.buyer == order.buyer {
                placed[next].0 = round + 1;
                repeats = true;
            }
        }
        if repeats {
            // Stable: within a round, sales and buyers stay sorted.
            placed.sort_by_key(|(round, _)| *round);
        }

        let mut columns = Self::default();
        let mut group = None;
        for (round, order) in placed {
            let group_before = group.replace((round, order.sale));
            if group_before.is_some() && group_before != group {
                columns.end_group();
            }
            columns.push(order, OrderStatus::PrePay);
        }
        if group.is_some() {
            columns.end_group();
        }
        columns.placed = column(columns.order.len());
        for order in &batch.rejected {
            columns.push(order, OrderStatus::Rejected);
        }
        columns
    }

    fn end_group(&mut self) {
        self.group_end.push(column(self.order.len()));
    }

    fn push(&mut self, order: &'a NewOrder, status: OrderStatus) {
        self.order.push(column(order.id.number()));
        self.sale.push(column(order.sale.0));
        self.buyer.push(order.buyer.as_str());
        self.quantity.push(column(order.quantity));
        self.amount.push(column(order.amount.0));
        self.created.push(order.created_at.0);
        self.pay_before.push(order.pay_before.0);
        // The key of an order that was never made stays free.
        let made = status != OrderStatus::Rejected;
        self.key.push(order.idempotency_key.as_ref().filter(|_| made).map(|key| key.as_str()));
        self.status.push(status.code().into());
    }

    /// The columns, in the order of the function's parameters.
    pub fn parameters(&self) -> [Parameter<'_>; 11] {
        [
            &self.placed,
            &self.group_end,
            &self.order,
            &self.sale,
            &self.buyer,
            &self.quantity,
            &self.amount,
            &self.created,
            &self.pay_before,
            &self.key,
            &self.status,
        ]
    }
}

/// Steps of durable orders, column by column: one row an order that changes, one event a step that counts.
#[derive(Default)]
pub struct Steps {
    order: Vec<i64>,
    was_status: Vec<i16>,
    was_attempt: Vec<i32>,
    /// Of orders that expire: the deadline that was over.
    was_pay_before: Vec<Option<i64>>,
    status: Vec<i16>,
    attempt: Vec<i32>,
    paid_at: Vec<Option<i64>>,
    method: Vec<Option<String>>,
    was_direction: Vec<i16>,
    was_gateway: Vec<Option<String>>,
    gateway: Vec<Option<String>>,
    key_form: Vec<i16>,
    direction: Vec<i16>,
    why: Vec<Option<String>>,
    frees_units: Vec<bool>,
    was_refunds: Vec<i32>,
    refunds: Vec<i32>,
    refund_cents: Vec<i64>,
    refund_restock: Vec<i32>,
    refunded_cents: Vec<i64>,
    restocked: Vec<i32>,
    restocks: Vec<i32>,
    event_order: Vec<i64>,
    event_kind: Vec<i16>,
    event_at: Vec<i64>,
    settled_order: Vec<i64>,
    settled_attempt: Vec<i32>,
    settled_status: Vec<i16>,
    settled_at: Vec<i64>,
    settled_because: Vec<String>,
    /// What the trail tells of them.
    pub(super) acts: TrailColumns,
    /// Refunds that begin or end with them.
    pub(super) refund_records: RefundColumns,
}

impl Steps {
    /// Decides each transition, with deadlines moved by `graces`, on the orders as they were `read`, or as the batch places them. What is `Done` is so only
    /// once the columns are committed. What `is_barred` is refused.
    pub fn decide(
        batch: &Batch,
        read: Vec<Order>,
        graces: &Graces,
        is_barred: impl Fn(&Transition) -> bool,
    ) -> (Self, Vec<Applied>) {
        let mut steps = Self::default();
        if batch.transitions.is_empty() {
            return (steps, Vec::new());
        }
        let placed = batch.placed.iter().map(|order| Order::persisted(order.clone()));
        let mut orders: HashMap<_, _> =
            placed.chain(read).map(|order| (order.placed.id, (order.clone(), order))).collect();
        let mut applied = Vec::with_capacity(batch.transitions.len());
        for transition in &batch.transitions {
            let Some((_, order)) = orders.get_mut(&transition.order) else {
                applied.push(Applied::UnknownOrder);
                continue;
            };
            let was = order.clone();
            if is_barred(transition) || !transition.advance(order, graces) {
                applied.push(Applied::Refused(order.clone()));
                continue;
            }
            applied.push(Applied::Done(order.clone()));
            if let Some(reason) = &transition.settled_because {
                steps.settle(order, transition.at, reason);
            }
            if let Some(act) = &transition.act {
                steps.acts.push(&act.moved(&was, order));
            }
            if let Some(record) = RefundRecord::of_step(transition, &was, order) {
                steps.refund_records.push(order.placed.id, &record);
            }
            if let Some(kind) = EventKind::of(transition.action) {
                steps.event_order.push(column(transition.order.number()));
                steps.event_kind.push(column(kind.block_code(order.refunds.begun)));
                steps.event_at.push(transition.at.0);
            }
        }
        for (was, order) in orders.into_values().filter(|(was, order)| was != order) {
            steps.order.push(column(order.placed.id.number()));
            steps.was_status.push(was.status.code().into());
            steps.was_attempt.push(column(was.payment_attempt));
            let expires = order.status == OrderStatus::Expired;
            steps.was_pay_before.push(expires.then_some(was.placed.pay_before.0));
            steps.status.push(order.status.code().into());
            steps.attempt.push(column(order.payment_attempt));
            steps.paid_at.push(order.paid_at.map(|at| at.0));
            steps.method.push(order.payment_method.as_deref().map(text));
            steps.was_direction.push(was.payment.direction.code().into());
            steps.was_gateway.push(was.payment.gateway.as_deref().map(text));
            steps.gateway.push(order.payment.gateway.as_deref().map(text));
            steps.key_form.push(order.payment.key_form.code().into());
            steps.direction.push(order.payment.direction.code().into());
            steps.why.push(order.payment.direction.why().map(text));
            steps.frees_units.push(was.status.holds_units() && !order.status.holds_units());
            steps.was_refunds.push(column(was.refunds.begun));
            steps.refunds.push(column(order.refunds.begun));
            steps.refund_cents.push(column(order.refunds.amount.0));
            steps.refund_restock.push(column(order.refunds.restock));
            steps.refunded_cents.push(column(order.refunds.refunded.0));
            steps.restocked.push(column(order.refunds.restocked));
            steps.restocks.push(column(order.refunds.restocked - was.refunds.restocked));
        }
        (steps, applied)
    }

    /// Whether an order expires.
    pub fn expires(&self) -> bool {
        self.was_pay_before.iter().any(Option::is_some)
    }

    fn settle(&mut self, order: &Order, at: EpochMs, reason: &str) {
        self.settled_order.push(column(order.placed.id.number()));
        self.settled_attempt.push(column(order.payment_attempt));
        self.settled_status.push(order.status.code().into());
        self.settled_at.push(at.0);
        self.settled_because.push(text(reason));
    }

    /// The columns, in the order of the function's parameters.
    pub fn parameters(&self) -> [Parameter<'_>; 30] {
        [
            &self.order,
            &self.was_status,
            &self.was_attempt,
            &self.was_pay_before,
            &self.status,
            &self.attempt,
            &self.paid_at,
            &self.method,
            &self.was_direction,
            &self.was_gateway,
            &self.gateway,
            &self.key_form,
            &self.direction,
            &self.why,
            &self.frees_units,
            &self.was_refunds,
            &self.refunds,
            &self.refund_cents,
            &self.refund_restock,
            &self.refunded_cents,
            &self.restocked,
            &self.restocks,
            &self.event_order,
            &self.event_kind,
            &self.event_at,
            &self.settled_order,
            &self.settled_attempt,
            &self.settled_status,
            &self.settled_at,
            &self.settled_because,
        ]
    }
}
