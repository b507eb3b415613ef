//! What a [`Lessee`](super::Lessee) can be sent out to do, what it asks for on the way, and what comes of it.

use super::book::{Book, BookReply, Caller, Chunk, Movement, Rebuild, ServerId};
use crate::domain::{KnownNode, NodeId, SaleUnits};

/// Something that the node does about the sale, in one or more steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Errand {
    /// Join the book in this life: what a former life was lent and did not sell is this one's stock.
    Join,
    /// Tell a newer book what this node holds.
    Announce,
    /// Read store and book.
    Compare,
    /// Ask for units.
    Borrow {
        /// How many.
        chunk: Chunk,
        /// Whether others may hand some back for it.
        starves: bool,
    },
    /// Have the store's share be what this node was lent.
    Share,
    /// Say what was handed back so far.
    HandBack,
    /// Read what this node has sold, and say it.
    Settle,
    /// Say that this node has sold so many units.
    SettleKnown(u64),
    /// Say that so many units came back.
    Return(u64),
    /// Read the sale's total, and say it.
    Resize,
    /// Say that the total is `.0` units since its revision `.1`.
    ResizeKnown(u64, u64),
    /// Take back what a silent node did not sell.
    Reclaim(Silent),
    /// End the epoch `seen`, and open the book anew on the server that was seen.
    Reopen {
        /// The epoch.
        seen: u64,
        /// The server.
        server: ServerId,
    },
    /// The store refused what this node was lent: end the epoch, unless somebody has, and open the book anew.
    Recount,
}

/// A node that is silent and holds units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Silent {
    /// The node.
    pub node: NodeId,
    /// Its life that holds them.
    pub incarnation: u64,
    /// The book's epoch.
    pub epoch: u64,
}

/// What a lessee wants done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Read the sale's units in the store.
    Units,
    /// Read in the store which nodes there are, and their incarnations.
    Incarnations,
    /// Say that this node lives, and hear whether that one is silent still in this life of it.
    Beat(NodeId, u64),
    /// End this life of the node in the store, if it is not over.
    Fence(NodeId, u64),
    /// End the epoch of the sale in the store.
    EndEpoch(u64),
    /// Have this node's share in the store be so many units, as far as there are.
    Share {
        /// Its life, in whose name the share is from then on.
        incarnation: u64,
        /// Grows within a life whenever such a call is given up: one that comes late changes nothing then.
        turn: u64,
        /// Units in all, sold ones included.
        units: u64,
    },
    /// Take from the share of a node what a life of it, which is over, did not sell.
    Release {
        /// The node.
        node: NodeId,
        /// The life: what a later one has in its share is its own.
        life: u64,
    },
    /// Read the book.
    Book,
    /// Send the movement, once.
    Move(Caller, Movement),
    /// Open the book anew, once.
    Open(Box<Rebuild>),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The sale's units.
    Units(SaleUnits),
    /// The nodes and their incarnations.
    Incarnations(Vec<KnownNode>),
    /// Whether the node is silent still, now that this one was heard.
    Silent(bool),
    /// The life is over: ended now, with the number that follows it and that nobody else is given, or ended before.
    Fenced(Option<u64>),
    /// The epoch that is the present one now.
    Epoch(u64),
    /// What the share is now. `None`: this life of the node is over.
    Share(Option<u64>),
    /// That life has no unsold units in the share any more.
    Released,
    /// The book.
    Book(Book),
    /// The answer to a movement, or to the opening of a book.
    Reply(BookReply),
}

/// What an answer means for the errand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There is another step to take.
    GoesOn,
    /// The errand is dropped for what must be done first, which is the next step.
    Diverted,
    /// It is done. So many units are this node's from now on, and off sale.
    Done(u64),
    /// It came to nothing: others must act first, or nobody answered.
    NotNow,
    /// The book is older than the epoch: somebody is about to open a newer one, unless he died.
    Behind {
        /// The book's epoch.
        seen: u64,
        /// The server.
        server: ServerId,
    },
    /// This life of the node is over: the book knows the life `known`, which may be a later one.
    Fenced {
        /// The node's incarnation in the book.
        known: u64,
    },
    /// Store and book are read.
    Compared(SaleUnits, Book),
}
