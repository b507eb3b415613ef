//! What a client's frames cost. The protocol lets it send some that ask for work and carry no request: pings,
//! settings, window updates, resets; and requests that are broken end alone. A connection has credit for some of
//! either; answers and time give credit back. So whoever floods a connection loses it, and one that many share is not
//! lost by what few of them send.

use std::time::{Duration, Instant};

use http2_wire::frame::{FrameHead, flag, kind};

/// In which credit that was used comes back without an answer.
const PERIOD: Duration = Duration::from_secs(10);
/// Frames that an answer pays for: the request's own, what opens the window for the answer, and as many again.
const PAID_BY_ANSWER: u32 = 4;
/// Bytes of an answer's body that pay for one more. There are clients that open both windows again for each 4 KiB that
/// they have read.
const BYTES_PAY_ONE: usize = 2 * 1024;

/// The credit of one connection.
#[derive(Debug)]
pub struct Credit {
    most: Left,
    left: Left,
    full_at: Instant,
}

/// What it is good for.
#[derive(Clone, Copy, Debug)]
struct Left {
    frames: u32,
    errors: usize,
}

/// There is none left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overdrawn;

impl Credit {
    /// Full: for so many frames, and for so many requests that are broken.
    pub fn new(frames: u32, errors: usize, now: Instant) -> Self {
        let most = Left { frames, errors };
        Self { most, left: most, full_at: now }
    }

    /// One request was answered. It pays for a broken one, too, which costs less.
    pub fn pay(&mut self) {
        self.give_back(PAID_BY_ANSWER);
        self.left.errors = self.left.errors.saturating_add(1).min(self.most.errors);
    }

    /// So many bytes of bodies were sent.
    pub fn pay_for_body(&mut self, bytes: usize) {
        self.give_back((bytes / BYTES_PAY_ONE) as u32);
    }

    fn give_back(&mut self, frames: u32) {
        self.left.frames = self.left.frames.saturating_add(frames).min(self.most.frames);
    }

    /// Takes the price of a frame; pieces of a body are free.
    ///
    /// # Errors
    /// [`Overdrawn`].
    pub fn charge(&mut self, frame: FrameHead, now: Instant) -> Result<(), Overdrawn> {
        if frame.kind == kind::DATA && (frame.length > 0 || frame.has(flag::END_STREAM)) {
            return Ok(());
        }
        if now.saturating_duration_since(self.full_at) >= PERIOD {
            (self.full_at, self.left) = (now, self.most);
        }
        self.left.frames = self.left.frames.checked_sub(1).ok_or(Overdrawn)?;
        Ok(())
    }

    /// Takes the price of a request that is broken.
    ///
    /// # Errors
    /// [`Overdrawn`].
    pub fn charge_error(&mut self) -> Result<(), Overdrawn> {
        self.left.errors = self.left.errors.checked_sub(1).ok_or(Overdrawn)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn frame(kind: u8, flags: u8, length: usize) -> FrameHead {
        FrameHead { length, kind, flags, stream: 1 }
    }

    #[test]
    fn answers_and_time_give_credit_back_and_bodies_cost_none() {
        let now = Instant::now();
        let mut credit = Credit::new(4, 1, now);
        let ping = frame(kind::PING, 0, 8);
        for free in [frame(kind::DATA, 0, 1), frame(kind::DATA, flag::END_STREAM, 0)] {
            (0..100).for_each(|_| credit.charge(free, now).unwrap());
        }
        (0..4).for_each(|_| credit.charge(ping, now).unwrap());
        assert_eq!(credit.charge(frame(kind::DATA, 0, 0), now), Err(Overdrawn));
        credit.pay();
        (0..4).for_each(|_| credit.charge(ping, now).unwrap());
        assert_eq!(credit.charge(ping, now + PERIOD / 2), Err(Overdrawn));
        (0..4).for_each(|_| credit.charge(ping, now + PERIOD).unwrap());
        assert_eq!(credit.charge(ping, now + PERIOD), Err(Overdrawn));
    }

    #[test]
    fn answers_and_time_make_errors_good() {
        let now = Instant::now();
        let mut credit = Credit::new(4, 2, now);
        let both = |credit: &mut Credit| {
            (0..2).for_each(|_| credit.charge_error().unwrap());
            assert_eq!(credit.charge_error(), Err(Overdrawn));
        };
        both(&mut credit);
        credit.pay();
        credit.charge_error().unwrap();
        assert_eq!(credit.charge_error(), Err(Overdrawn));
        credit.charge(frame(kind::HEADERS, 0, 1), now + PERIOD).unwrap();
        both(&mut credit);
    }
}
