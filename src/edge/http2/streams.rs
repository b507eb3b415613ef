//! The streams of a connection on which something is still to come or to be sent.

use std::rc::Rc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::future::AbortHandle;

use super::body::Body;
use super::request_head::RequestHead;

/// Streams for which there is room while there are none: as many as have their place in a few KiB.
const KEPT_MAX: usize = 32;

/// One request that is under way.
#[derive(Debug)]
pub struct Stream {
    pub number: u32,
    /// Bytes of the answer that the client has room for. Below zero when it has taken room back.
    pub send_window: i64,
    /// The same for the request's body, and what of it was read since we last said so.
    pub receive_window: i64,
    pub read: u32,
    /// Bytes of the body that are to come, if the header says how many.
    pub due: Option<u64>,
    /// Where the body goes, until it has ended.
    pub body: Option<Rc<Body>>,
    /// The request, until somebody answers it.
    pub request: Option<Box<RequestHead>>,
    /// Who answers it, where that takes a while.
    pub answering: Option<Answering>,
    /// What of the answer is still to be sent.
    pub unsent: Option<Unsent>,
}

/// The rest of an answer.
#[derive(Debug)]
pub struct Unsent {
    pub body: Bytes,
    /// When the client was sent some of the answer last.
    pub since: Instant,
}

/// An answer that is being made: it is given up with its stream.
#[derive(Debug)]
pub struct Answering(pub AbortHandle);

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The streams, in the order of their numbers.
#[derive(Debug, Default)]
pub struct Streams(Vec<Stream>);

impl Streams {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds one whose number is above all others.
    pub fn add(&mut self, stream: Stream) {
        debug_assert!(
            self.0.last().is_none_or(|last| last.number < stream.number),
            "streams are opened in order"
        );
        self.0.push(stream);
    }

    /// The one with this number.
    pub fn get(&mut self, number: u32) -> Option<&mut Stream> {
        let place = self.place(number)?;
        self.0.get_mut(place)
    }

    /// Takes one out.
    pub fn remove(&mut self, number: u32) -> Option<Stream> {
        let removed = self.place(number).map(|place| self.0.remove(place));
        if self.0.is_empty() {
            self.0.shrink_to(KEPT_MAX);
        }
        removed
    }

    /// All of them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.0.iter_mut()
    }

    /// The numbers of those of which part of an answer is unsent.
    pub fn unsent(&self) -> impl Iterator<Item = (u32, Instant)> {
        self.0.iter().filter_map(|stream| Some((stream.number, stream.unsent.as_ref()?.since)))
    }

    /// For how many there is room.
    #[cfg(test)]
    pub fn room(&self) -> usize {
        self.0.capacity()
    }

    /// Gives all of them up.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Most often the newest is meant.
    fn place(&self, number: u32) -> Option<usize> {
        match self.0.last() {
            Some(last) if last.number == number => Some(self.0.len() - 1),
            _ => self.0.binary_search_by_key(&number, |stream| stream.number).ok(),
        }
    }
}
