//! One order on its way to the store, and everybody who waits to hear of it.
//!
//! The buyer's own request waits on the ticket, and so does every further click of that buyer, until the order is
//! resolved. Waiting is a plain future: any runtime can drive it, and dropping it costs nothing.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use smallvec::SmallVec;

use super::sync::Mutex;
use crate::domain::{Offer, OrderId, Rejection};

/// How the order's way to the store ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// The order survives anything from now on.
    Durable,
    /// There is no order, and its units are back on sale.
    Refused,
    /// There is no order, and its units are back on sale: the buyer has another one, made at another node.
    Rejected(Rejection),
    /// There is no new order, and its units are back on sale: the same request made this order at another node.
    Replay(OrderId),
    /// The store failed while it was asked: only the next start of the engine can tell.
    Unknown,
}

/// The place where an order's [`Resolution`] is announced.
#[derive(Debug, Default)]
pub struct Ticket {
    offer: Offer,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    resolution: Option<Resolution>,
    waiting: SmallVec<[Waker; 1]>,
}

impl Ticket {
    /// A ticket that is not resolved, of an order that was offered so.
    pub fn new(offer: Offer) -> Self {
        Self { offer, state: Mutex::new(State::default()) }
    }

    /// What the order says once it is durable.
    pub fn offer(&self) -> Offer {
        self.offer
    }

    /// Announces how it ended. The first word stands; later ones are ignored.
    pub fn resolve(&self, resolution: Resolution) {
        let woken = {
            let mut state = self.state.lock();
            if state.resolution.is_some() {
                return;
            }
            state.resolution = Some(resolution);
            std::mem::take(&mut state.waiting)
        };
        // Woken outside the lock, so that a waiter that runs at once does not wait for it.
        woken.into_iter().for_each(Waker::wake);
    }

    /// How it ended, if it has.
    pub fn resolution(&self) -> Option<Resolution> {
        self.state.lock().resolution
    }

    /// Waits until the order is resolved.
    pub fn resolved(&self) -> Resolved<'_> {
        Resolved { ticket: self }
    }
}

/// Future of [`Ticket::resolved`].
#[must_use = "futures do nothing unless polled"]
#[derive(Debug)]
pub struct Resolved<'a> {
    ticket: &'a Ticket,
}

impl Future for Resolved<'_> {
    type Output = Resolution;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Resolution> {
        let mut state = self.ticket.state.lock();
        if let Some(resolution) = state.resolution {
            return Poll::Ready(resolution);
        }
        // A task that is polled again without having been woken must not be listed twice.
        if !state.waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            state.waiting.push(context.waker().clone());
        }
        Poll::Pending
    }
}
