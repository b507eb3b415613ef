//! A request's body while it comes: who reads frames puts pieces into it, who answers waits for the whole.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

use bytes::BytesMut;

use super::super::arena;

/// The body of one request at a time.
#[derive(Debug, Default)]
pub struct Body {
    bytes: RefCell<BytesMut>,
    state: Cell<State>,
    waker: RefCell<Option<Waker>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    Open,
    #[default]
    Whole,
    TooLarge,
}

impl Body {
    /// Begins anew, without or with pieces to come.
    pub fn begin(&self, is_open: bool) {
        self.bytes.take();
        self.state.set(if is_open { State::Open } else { State::Whole });
        self.waker.take();
    }

    /// Adds a piece. A body that grows above `bytes_max` ends there, and nothing of it is kept.
    pub fn add(&self, piece: &[u8], bytes_max: usize) {
        if self.state.get() != State::Open {
            return;
        }
        let mut bytes = self.bytes.borrow_mut();
        if bytes.len() + piece.len() > bytes_max {
            *bytes = BytesMut::new();
            return self.end_as(State::TooLarge);
        }
        if bytes.is_empty() {
            *bytes = arena::room(piece.len());
        }
        bytes.extend_from_slice(piece);
    }

    /// Nothing more comes.
    pub fn end(&self) {
        if self.state.get() == State::Open {
            self.end_as(State::Whole);
        }
    }

    /// Whether there is something to wait for.
    pub fn is_open(&self) -> bool {
        self.state.get() == State::Open
    }

    /// Whether it is not read any more.
    pub fn is_too_large(&self) -> bool {
        self.state.get() == State::TooLarge
    }

    /// The whole body, when it has come; `None` if it is larger than it may be.
    pub async fn whole(&self) -> Option<BytesMut> {
        poll_fn(|context| match self.state.get() {
            State::Open => {
                *self.waker.borrow_mut() = Some(context.waker().clone());
                Poll::Pending
            }
            State::Whole => Poll::Ready(Some(self.bytes.take())),
            State::TooLarge => Poll::Ready(None),
        })
        .await
    }

    fn end_as(&self, state: State) {
        self.state.set(state);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}
