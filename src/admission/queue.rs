//! The bounded queue between admission and the order writers.
//!
//! A purchase reserves its place before it takes a unit, so that a full queue is a refusal and never a lost winner.
//! A place is free again when a writer takes the order out.
//!
//! # Protocol of the atomics
//!
//! `waiting` counts places, reserved ones included; it is raised by compare-and-swap below the capacity only, so the
//! limit holds at every moment. `intake` is a switch that the writers turn; a purchase that read it just before may
//! still pass, and is resolved like any other. Neither publishes other data (the channel does): relaxed.

use std::sync::Arc;

use super::flight::Flight;
use super::live_sale::SaleState;
use super::sync::{AtomicU8, AtomicUsize, Ordering};
use super::ticket::{Resolution, Ticket};
use crate::domain::{NewOrder, Order, Rejection, SpanContext};

/// What wakes a writer.
#[derive(Debug)]
pub enum Arrival {
    /// An admitted purchase.
    Purchase(QueuedOrder),
    /// Work of another kind waits in the writer's own lists.
    Knock,
}

/// Whether purchases may enter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Intake {
    /// The writers keep up with the store.
    Open,
    /// The store does not answer at the moment.
    Stalled,
    /// The engine is stopping, or the store has failed for good.
    Closed,
}

/// The queue's entrance.
#[derive(Debug)]
pub struct Queue {
    arrivals: flume::Sender<Arrival>,
    waiting: AtomicUsize,
    capacity: usize,
    intake: AtomicU8,
}

impl Queue {
    /// A queue for at most `capacity` orders (at least one), and the writers' end of it.
    pub fn bounded(capacity: usize) -> (Self, flume::Receiver<Arrival>) {
        // The channel itself is unbounded: `waiting` is the bound, and it is known before anything else is taken.
        let (arrivals, exit) = flume::unbounded();
        let queue = Self {
            arrivals,
            waiting: AtomicUsize::new(0),
            capacity: capacity.max(1),
            intake: AtomicU8::new(Intake::Open as u8),
        };
        (queue, exit)
    }

    /// Reserves a place. Dropping it frees it.
    ///
    /// # Errors
    /// [`Rejection::Overloaded`] when the queue is full or its intake is not open.
    pub fn place(&self) -> Result<Place<'_>, Rejection> {
        if self.intake() != Intake::Open {
            return Err(Rejection::Overloaded);
        }
        self.waiting
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n < self.capacity).then_some(n + 1))
            .map(|_| Place { queue: self })
            .map_err(|_| Rejection::Overloaded)
    }

    /// Wakes a writer for work that is not a purchase. Takes no place.
    pub fn knock(&self) {
        // Without writers there is nobody to wake; whoever waits for the work hears of it through its own channel.
        let _ = self.arrivals.send(Arrival::Knock);
    }

    /// Frees the places of `orders` that a writer has taken out.
    pub fn leave(&self, orders: usize) {
        self.waiting.fetch_sub(orders, Ordering::Relaxed);
    }

    /// Orders waiting, reserved places included.
    pub fn depth(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// The most orders that may wait.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Whether purchases may enter.
    pub fn intake(&self) -> Intake {
        match self.intake.load(Ordering::Relaxed) {
            0 => Intake::Open,
            1 => Intake::Stalled,
            _ => Intake::Closed,
        }
    }

    /// Opens or stalls the intake. A closed one stays closed.
    pub fn set_intake(&self, intake: Intake) {
        let closed = Intake::Closed as u8;
        let change = |now: u8| (now != closed).then_some(intake as u8);
        let _ = self.intake.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change);
    }
}

/// A reserved place in the queue.
#[must_use = "dropping the place frees it"]
#[derive(Debug)]
pub struct Place<'a> {
    queue: &'a Queue,
}

impl Place<'_> {
    /// Fills the place. The order is resolved by a writer, or abandoned when there is none any more.
    pub fn push(self, order: QueuedOrder) {
        // A send that fails drops the order, which resolves its ticket as unknown.
        let _ = self.queue.arrivals.send(Arrival::Purchase(order));
        std::mem::forget(self);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.queue.leave(1);
    }
}

/// An admitted purchase on its way to the store. It is resolved exactly once; one that is dropped unresolved (a writer
/// died) is abandoned: its units stay taken, for the store may have it.
#[derive(Debug)]
pub struct QueuedOrder {
    order: NewOrder,
    sale: Arc<SaleState>,
    home: usize,
    flight: Arc<Flight>,
    /// `None` once resolved.
    ticket: Option<Arc<Ticket>>,
    span: Option<SpanContext>,
}

impl QueuedOrder {
    /// An order whose units, claim and number are kept.
    pub(super) fn new(
        order: NewOrder,
        sale: Arc<SaleState>,
        home: usize,
        flight: Arc<Flight>,
        ticket: Arc<Ticket>,
        span: Option<SpanContext>,
    ) -> Self {
        sale.enter_flight(order.quantity);
        Self { order, sale, home, flight, ticket: Some(ticket), span }
    }

    /// What is to become durable.
    pub fn order(&self) -> &NewOrder {
        &self.order
    }

    /// The span that waits for it, if a trace tells of it.
    pub fn span(&self) -> Option<SpanContext> {
        self.span
    }

    /// The sale it belongs to.
    pub fn sale(&self) -> &SaleState {
        &self.sale
    }

    /// The store has it: the claim stands, the buyer may hear.
    pub fn durable(mut self) {
        self.sale.claims().confirm(self.order.buyer.as_str(), self.order.id);
        self.resolve(Resolution::Durable);
    }

    /// The store certainly does not have it: claim and units go back, the buyer may hear.
    pub fn refused(mut self) {
        self.sale.claims().withdraw(self.order.buyer.as_str(), self.order.id);
        self.sale.stock().add(self.home, self.order.quantity);
        self.resolve(Resolution::Refused);
    }

    /// The store certainly does not have it, and its sale is about to be counted anew from the store: the claim goes
    /// back, the units do not.
    pub fn disowned(mut self) {
        self.sale.claims().withdraw(self.order.buyer.as_str(), self.order.id);
        self.resolve(Resolution::Refused);
    }

    /// The store certainly does not have it, for the buyer has `prior` from another node: the units go back, the claim
    /// is that order's, the buyer hears `resolution`.
    pub fn superseded(mut self, prior: &Order, resolution: Resolution) {
        self.sale.claims().withdraw(self.order.buyer.as_str(), self.order.id);
        self.sale.claims().restore(prior);
        self.sale.stock().add(self.home, self.order.quantity);
        self.resolve(resolution);
    }

    fn resolve(&mut self, resolution: Resolution) {
        if let Some(ticket) = self.ticket.take() {
            self.sale.leave_flight(self.order.quantity);
            // An order whose end nobody knows may still become durable: its number stays on its way.
            if resolution != Resolution::Unknown {
                self.flight.arrive(self.order.id, self.home);
            }
            ticket.resolve(resolution);
        }
    }
}

impl Drop for QueuedOrder {
    fn drop(&mut self) {
        self.resolve(Resolution::Unknown);
    }
}
