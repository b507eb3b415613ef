//! The words between a node and the book of a sale: movements, replies, and the book with its accounts. Values only; who
//! keeps the book is the wire's business.

use std::collections::BTreeMap;

use crate::domain::NodeId;

/// The identity of the server that keeps the books: it changes with every restart and every promotion of a replica.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ServerId {
    /// The server's run id.
    pub run: String,
    /// Its replication id.
    pub repl: String,
}

/// Who calls: a node in one of its lives, counting in an epoch of the sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Caller {
    /// The node.
    pub node: NodeId,
    /// Its life, numbered by the store.
    pub incarnation: u64,
    /// The sale's epoch, numbered by the store.
    pub epoch: u64,
}

/// How a lease is sized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Chunk {
    /// What is available is divided by this, at least 1.
    pub divisor: u64,
    /// Units, if as many are available.
    pub min: u64,
    /// Units at most.
    pub max: u64,
}

/// One movement, as the script of its name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Movement {
    /// The caller's incarnation is the current one.
    Register,
    /// Units to the caller, who has seen `seen` granted.
    Lease {
        /// The caller's `granted`.
        seen: u64,
        /// How many units.
        chunk: Chunk,
        /// Whether the caller has no unit on sale: others may hand some back for it.
        starves: bool,
    },
    /// Unsold units back; the sum of all that the caller handed back in this epoch.
    HandBack {
        /// Units.
        handed_back: u64,
    },
    /// The caller's units ever durable.
    Settle {
        /// Units.
        durable: u64,
    },
    /// The sale's units of cancelled and expired orders.
    Return {
        /// Units.
        returned: u64,
    },
    /// The sale's total as the operator changed it.
    Resize {
        /// Units.
        total: u64,
        /// The store's number of this total.
        revision: u64,
    },
    /// Everything that the (fenced) node of the caller did not sell.
    Reclaim {
        /// Units of that node ever durable.
        durable: u64,
    },
    /// What the caller holds, in a book that was opened anew.
    Announce {
        /// Units sold, in flight and on sale.
        held: u64,
        /// Units of them that are sold.
        durable: u64,
    },
}

/// A book to be opened anew.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Rebuild {
    /// Raised in the store for this one call.
    pub epoch: u64,
    /// The server that was seen.
    pub server: ServerId,
    /// Units ever put on sale.
    pub total: u64,
    /// The store's number of this total.
    pub revision: u64,
    /// Units of cancelled and expired orders.
    pub returned: u64,
    /// Every node that the store knows, with its incarnation, read after the epoch was raised.
    pub nodes: Vec<(NodeId, u64)>,
    /// Whether nothing is lent until each of them has said what it holds.
    pub waits: bool,
}

/// How the book answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Done, or done before.
    Ok,
    /// The server lost or rolled back the book: it must be opened anew.
    Lost,
    /// The book is older than the caller's epoch: somebody is about to open a new one.
    Behind,
    /// The book is newer than the caller's epoch.
    OldEpoch,
    /// The caller was fenced, or started again since.
    OldIncarnation,
    /// The caller's incarnation has not registered.
    Unregistered,
    /// The caller must first say what it holds.
    Awaited,
    /// Other nodes have not said yet what they hold.
    Rebuilding,
}

/// The answer to every movement: the verdict, and the book as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BookReply {
    /// How it was answered.
    pub verdict: Verdict,
    /// The server that answered.
    pub server: ServerId,
    /// The book's epoch.
    pub epoch: u64,
    /// The node's incarnation in the book.
    pub incarnation: u64,
    /// Units ever granted to the node in this epoch.
    pub granted: u64,
    /// Units that it handed back.
    pub handed_back: u64,
    /// Units of its orders ever durable, as far as it told.
    pub settled: u64,
    /// Units that may be lent; negative when more are lent than there are.
    pub available: i64,
    /// Units lent and not settled, over all nodes.
    pub leased: i64,
    /// Nodes that have not said what they hold.
    pub awaited: u64,
    /// Nodes that lately asked for units and got none.
    pub starving: u64,
}

/// A node's account in a book.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeAccount {
    /// Its incarnation.
    pub incarnation: u64,
    /// Units ever granted in this epoch.
    pub granted: u64,
    /// Units handed back.
    pub handed_back: u64,
    /// Units ever durable.
    pub settled: u64,
    /// Whether it has still to say what it holds.
    pub awaited: bool,
}

impl NodeAccount {
    /// Units lent to the node, sold ones included.
    pub fn held(&self) -> i64 {
        self.granted as i64 - self.handed_back as i64
    }

    /// Units lent to the node and not settled. Negative when it settled more than it was lent.
    pub fn leased(&self) -> i64 {
        self.held() - self.settled as i64
    }
}

/// A book as it was at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Book {
    /// Whether the server lost or rolled back the book, or never had it.
    pub lost: bool,
    /// The server that answered.
    pub server: ServerId,
    /// The book's epoch.
    pub epoch: u64,
    /// Units ever put on sale.
    pub total: u64,
    /// The store's number of this total.
    pub revision: u64,
    /// Units of cancelled and expired orders.
    pub returned: u64,
    /// The nodes, by number.
    pub accounts: BTreeMap<NodeId, NodeAccount>,
}

impl Book {
    /// Units that may be lent, once nobody is awaited.
    pub fn available(&self) -> i64 {
        let held: i64 = self.accounts.values().map(NodeAccount::held).sum();
        self.total as i64 - held + self.returned as i64
    }

    /// Units lent and not settled.
    pub fn leased(&self) -> i64 {
        self.accounts.values().map(NodeAccount::leased).sum()
    }

    /// Units sold, as far as the nodes told.
    pub fn sold(&self) -> i64 {
        self.accounts.values().map(|account| account.settled as i64).sum::<i64>() - self.returned as i64
    }
}
