//! The streams that are open, each in the lane that asked. They are found by number, and numbers only grow: so a number's
//! lane stands where the number says.

use std::collections::VecDeque;

use super::decode::Head;

/// The largest number that a stream may have.
const NUMBER_MAX: u32 = i32::MAX as u32;

/// Bytes of memory that a lane keeps for the next answer.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// What is open in a lane.
#[derive(Debug, Default)]
pub struct Stream {
    /// Its number; 0 if nothing is open.
    pub number: u32,
    /// What has come of the answer: its head,
    pub head: Option<Head>,
    /// and its body, as far as there is more to come.
    pub body: Vec<u8>,
    /// Bytes of the answer's body that the server may still send.
    pub receive_window: i64,
    /// Bytes of the request's body that the server has room for.
    pub send_window: i64,
    /// What of that has not been sent.
    pub unsent: Vec<u8>,
}

/// All streams of a connection.
#[derive(Debug)]
pub struct Streams {
    lanes: Vec<Stream>,
    /// The lane of each number from `first` on, as long as it is open.
    order: VecDeque<Option<u32>>,
    /// Odd, as all of them.
    first: u32,
    next: u32,
    open: usize,
}

impl Streams {
    /// None is open.
    pub fn new(lanes: u32) -> Self {
        Self {
            lanes: std::iter::repeat_with(Stream::default).take(lanes as usize).collect(),
            order: VecDeque::new(),
            first: 1,
            next: 1,
            open: 0,
        }
    }

    /// How many are open.
    pub fn open_count(&self) -> usize {
        self.open
    }

    /// Whether all numbers have been used.
    pub fn are_used_up(&self) -> bool {
        self.next > NUMBER_MAX
    }

    /// Whether a stream of this number has ever been opened.
    pub fn has_begun(&self, number: u32) -> bool {
        number % 2 == 1 && number < self.next
    }

    /// Opens the next one in a lane that has none.
    pub fn open(&mut self, lane: u32, send_window: i64, receive_window: i64) -> &mut Stream {
        let number = self.next;
        self.next += 2;
        self.order.push_back(Some(lane));
        self.open += 1;
        let stream = &mut self.lanes[lane as usize];
        stream.body.clear();
        stream.body.shrink_to(KEPT_BYTES_MAX);
        stream.unsent.clear();
        (stream.number, stream.head) = (number, None);
        (stream.send_window, stream.receive_window) = (send_window, receive_window);
        stream
    }

    /// The lane in which this number is open.
    pub fn lane_of(&self, number: u32) -> Option<u32> {
        let place = number.checked_sub(self.first)? / 2;
        self.order.get(place as usize).copied().flatten()
    }

    /// What is open in a lane, and what was when nothing is.
    pub fn at(&mut self, lane: u32) -> &mut Stream {
        &mut self.lanes[lane as usize]
    }

    /// Ends what is open in a lane. Returns its number.
    pub fn close(&mut self, lane: u32) -> Option<u32> {
        let stream = &mut self.lanes[lane as usize];
        let number = std::mem::take(&mut stream.number);
        let place = number.checked_sub(self.first)? / 2;
        self.order[place as usize] = None;
        self.open -= 1;
        while let Some(None) = self.order.front() {
            self.order.pop_front();
            self.first += 2;
        }
        Some(number)
    }

    /// Keeps the memory of an answer that came in pieces for the next one that does.
    pub fn put_away(&mut self, lane: u32, mut body: Vec<u8>) {
        body.clear();
        body.shrink_to(KEPT_BYTES_MAX);
        self.lanes[lane as usize].body = body;
    }

    /// The lanes of numbers above this one, the newest first.
    pub fn above(&self, last: u32) -> Vec<u32> {
        let numbered = (self.first..).step_by(2).zip(&self.order);
        let mut lanes: Vec<u32> =
            numbered.filter(|(number, _)| *number > last).filter_map(|(_, lane)| *lane).collect();
        lanes.reverse();
        lanes
    }

    /// Everything that is open.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut Stream)> {
        (0..).zip(&mut self.lanes).filter(|(_, stream)| stream.number > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lead_to_lanes_whatever_ends_first() {
        let mut streams = Streams::new(3);
        let numbers = [2, 0, 1].map(|lane| streams.open(lane, 10, 20).number);
        assert_eq!((numbers, streams.open_count()), ([1, 3, 5], 3));
        assert_eq!(numbers.map(|number| streams.lane_of(number)), [Some(2), Some(0), Some(1)]);
        assert_eq!(streams.close(0), Some(3));
        assert_eq!(streams.close(0), None);
        assert_eq!(streams.open(0, 10, 20).number, 7);
        assert_eq!(
            [1, 3, 5, 7, 9].map(|number| streams.lane_of(number)),
            [Some(2), None, Some(1), Some(0), None]
        );
        assert_eq!((streams.above(1), streams.above(0)), (vec![0, 1], vec![0, 1, 2]));
        streams.close(2);
        assert_eq!((streams.first, streams.order.len()), (5, 2));
        assert_eq!((streams.lane_of(1), streams.lane_of(7)), (None, Some(0)));
        assert_eq!([0, 2, 7, 9].map(|number| streams.has_begun(number)), [false, false, true, false]);
        assert_eq!(
            streams.iter_mut().map(|(lane, stream)| (lane, stream.number)).collect::<Vec<_>>(),
            [(0, 7), (1, 5)]
        );
        streams.close(1);
        streams.close(0);
        assert_eq!((streams.open_count(), streams.order.len(), streams.first), (0, 0, 9));
    }
}
