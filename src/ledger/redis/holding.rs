//! What this node holds of one sale, as it counts it itself, and what the book's answers make of that. No I/O.

use super::movements::{Caller, Reply, Verdict};
use crate::domain::NodeId;

/// Where this node stands with the sale's book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It has not registered in this life.
    Unregistered,
    /// It counts in the book's epoch.
    Current,
    /// It has announced what it holds to a newer book and has not heard the answer: its counters stand still.
    Announcing,
}

/// What an answer asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing more.
    Done,
    /// Others must act first; ask again later.
    Wait,
    /// A newer book wants to hear what this node holds.
    Announce {
        /// The newer book's epoch.
        epoch: u64,
    },
    /// The book must be opened anew.
    Rebuild,
    /// This life of the node is over: drop everything and begin another.
    Rejoin,
}

/// This node's line, counted by itself. `granted - handed_back` are its units: sold, in flight and on sale.
#[derive(Clone, Debug)]
pub struct Holding {
    /// How it stands.
    pub standing: Standing,
    /// The epoch it counts in.
    pub epoch: u64,
    /// Units it was granted, as far as it has heard.
    pub granted: u64,
    /// Units it took off sale to hand them back.
    pub handed_back: u64,
    /// Units handed back that the book has confirmed.
    pub confirmed_back: u64,
}

impl Holding {
    /// A node that has yet to register.
    pub fn new() -> Self {
        Self { standing: Standing::Unregistered, epoch: 0, granted: 0, handed_back: 0, confirmed_back: 0 }
    }

    /// How this node names itself to the book.
    pub fn caller(&self, node: NodeId, incarnation: u64) -> Caller {
        Caller { node, incarnation, epoch: self.epoch }
    }

    /// Units sold, in flight and on sale: what it announces.
    pub fn held(&self) -> u64 {
        self.granted - self.handed_back
    }

    /// The answer to its registration in `epoch`, with `durable` units sold in former lives. Returns the units that are
    /// its stock again.
    pub fn registered(&mut self, epoch: u64, durable: u64, reply: &Reply) -> u64 {
        *self = Self {
            standing: Standing::Current,
            epoch,
            granted: reply.granted,
            handed_back: reply.handed_back,
            confirmed_back: reply.handed_back,
        };
        self.held().saturating_sub(durable)
    }

    /// The answer to an announcement to the book of `epoch`: it counts on from what it said.
    pub fn announced(&mut self, epoch: u64) {
        *self = Self {
            standing: Standing::Current,
            epoch,
            granted: self.held(),
            handed_back: 0,
            confirmed_back: 0,
        };
    }

    /// The answer to a lease. Returns the units that are new, counted from what this node had seen: a lost answer is made
    /// good by the next one.
    pub fn leased(&mut self, reply: &Reply) -> u64 {
        let new = reply.granted.saturating_sub(self.granted);
        self.granted += new;
        new
    }

    /// What an answer in the present epoch asks for.
    pub fn outcome(&self, reply: &Reply) -> Outcome {
        match reply.verdict {
            Verdict::Ok => Outcome::Done,
            Verdict::Behind | Verdict::Rebuilding => Outcome::Wait,
            Verdict::OldEpoch => Outcome::Announce { epoch: reply.epoch },
            // In its own epoch it has announced already: that epoch began twice.
            Verdict::Lost | Verdict::Awaited => Outcome::Rebuild,
            Verdict::OldIncarnation | Verdict::Unregistered => Outcome::Rejoin,
        }
    }
}

impl Default for Holding {
    fn default() -> Self {
        Self::new()
    }
}
