//! What connections that speak HTTP/2 do, and why they had to be ended.

use super::counter::{Counter, Gauge};

/// Why the engine ended a connection that its client would have gone on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Http2End {
    /// It sent more of what asks for work and carries no request than it may.
    Flood,
    /// It sent what is no HTTP/2.
    Malformed,
    /// It did not open its window for an answer.
    Unread,
}

impl Http2End {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Flood, Self::Malformed, Self::Unread];

    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Flood => "flood",
            Self::Malformed => "malformed",
            Self::Unread => "unread",
        }
    }
}

/// The connections that speak HTTP/2.
#[derive(Debug, Default)]
pub struct Http2Records {
    /// Open ones.
    pub connections: Gauge,
    ended: [Counter; Http2End::ALL.len()],
}

impl Http2Records {
    /// One was ended.
    pub fn ended(&self, why: Http2End) {
        self.ended[why as usize].increment();
    }

    /// How many were ended for this.
    pub fn count(&self, why: Http2End) -> u64 {
        self.ended[why as usize].value()
    }
}
