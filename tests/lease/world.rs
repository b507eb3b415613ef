//! The whole system as one small value: the order store, one Redis, two nodes, messages that are late; and what must hold
//! of it. What happens to it is in `walk`.
//!
//! A node's half of the protocol is the crate's own [`Lessee`] and [`NodeLife`]; here are only its memory (units on sale
//! and on their way to the store), and models of the store, the writer and Redis.

use seckill::domain::SaleUnits;
use seckill::ledger::lease::{Ask, Errand, Lessee, NodeLife};

use crate::book::{Account, Book, Call, Caller, Count, Server};
use crate::breaks::{Break, rules};
use crate::wire;

pub const NODES: usize = 2;

/// How often each fault may happen in one history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Faults {
    /// A node dies with its memory.
    pub crash: Count,
    /// A call is carried out and its answer is lost.
    pub lost_reply: Count,
    /// A call arrives after its sender gave up on it.
    pub late: Count,
    /// Redis goes back to an older book, or to none, as another server.
    pub rollback: Count,
    /// Redis loses the book and stays the same server.
    pub flush: Count,
    /// A node that runs is taken for dead.
    pub false_suspicion: Count,
    /// An order expires.
    pub expiry: Count,
    /// The store goes back to what it was, and all nodes start over.
    pub restore: Count,
    /// Redis answers reads and takes no writes, for so long that everybody seems silent.
    pub refusal: Count,
    /// A node's line to the store is cut, perhaps for good.
    pub cut: Count,
    /// The book forgets a unit that a node holds.
    pub wrong_book: Count,
    /// Nobody looks at the sale at a node, and no buyer comes there, until something happens to it or somebody calls.
    pub rest: Count,
}

/// What the order store keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Store {
    pub epoch: Count,
    pub returned: Count,
    pub incarnation: [Count; NODES],
    pub durable: [Count; NODES],
    pub share: [Share; NODES],
}

/// What a node may sell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share {
    /// The life that has it.
    pub life: Count,
    /// Grows within a life whenever a call was given up.
    pub turn: Count,
    /// Units in all.
    pub granted: Count,
}

impl Store {
    pub fn sold(&self) -> Count {
        self.durable.iter().sum::<Count>() - self.returned
    }

    /// As a node reads it.
    pub fn units(&self, total: Count) -> SaleUnits {
        wire::units(self, total)
    }

    /// Units above all shares.
    fn unshared(&self, total: Count) -> Count {
        (total + self.returned).saturating_sub(self.share.iter().map(|share| share.granted).sum())
    }

    /// Has a node's share be what it asks for, as far as there are units. `None` when that life of it is over.
    pub fn set_share(&mut self, n: usize, wanted: Share, instance: &Instance) -> Option<Count> {
        if wanted.life != self.incarnation[n] {
            return None;
        }
        let is_bounded = instance.broken != Some(Break::TrustsAnyServerWithoutGuard);
        let spare = if is_bounded { self.unshared(instance.total) } else { wanted.granted };
        let takes_late_calls = instance.broken == Some(Break::IgnoresTurns);
        let share = self.share[n];
        if (share.life, share.turn) <= (wanted.life, wanted.turn) || takes_late_calls {
            let granted = self.durable[n].max(wanted.granted.min(share.granted + spare));
            self.share[n] = Share { granted, ..wanted };
        }
        Some(self.share[n].granted)
    }

    /// Takes from a share what a life did not sell.
    pub fn release_share(&mut self, n: usize, life: u64) {
        if u64::from(self.share[n].life) <= life {
            self.share[n].granted = self.durable[n];
        }
    }
}

/// A node: its machine, and its memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Node {
    pub up: bool,
    pub life: NodeLife,
    pub lessee: Lessee,
    pub stock: Count,
    pub in_flight: Count,
    /// The store does not hear it, and has not for long.
    pub is_cut_off: bool,
    /// Nobody looks at the sale here.
    pub rests: bool,
    /// It looks after a node that it takes for silent by mistake.
    pub is_mistaken: bool,
    /// The life of the other node that it has just found silent; 0 for none.
    pub found_silent: Count,
}

impl Node {
    /// Just started, or down.
    pub fn new(n: usize, up: bool, incarnation: Count, broken: Option<Break>) -> Self {
        let (node, incarnation) = (wire::node(n), incarnation.into());
        Self {
            up,
            life: NodeLife::new(rules(broken), node, incarnation),
            lessee: Lessee::new(rules(broken), node, incarnation),
            stock: 0,
            in_flight: 0,
            is_cut_off: false,
            rests: false,
            is_mistaken: false,
            found_silent: 0,
        }
    }

    /// Whether it may begin an errand.
    pub fn is_free(&self) -> bool {
        self.up && !self.life.is_over() && !self.lessee.is_busy()
    }

    /// The epoch that it counts in, once it has joined.
    fn epoch(&self) -> Option<Count> {
        let mut lessee = self.lessee.clone();
        lessee.unheard();
        lessee.begin(Errand::SettleKnown(0));
        match lessee.ask()? {
            Ask::Move(caller, _) => Some(wire::count(caller.epoch)),
            _ => None,
        }
    }

    /// Whether it gives signs of life.
    pub fn beats(&self) -> bool {
        self.up && self.life.beats(self.is_cut_off)
    }
}

/// A call that its sender no longer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Late {
    /// To the books.
    Call(Caller, Call<NODES>),
    /// To the store: what the share of this node is to be.
    Share(usize, Share),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub store: Store,
    pub redis: Server<NODES>,
    /// What a replica has, if one was cut off.
    pub replica: Option<Book<NODES>>,
    /// What was copied of the store, if a copy was made.
    pub backup: Option<Store>,
    pub nodes: [Node; NODES],
    pub late: [Option<Late>; 2],
    pub faults: Faults,
    pub redis_refuses: bool,
    /// The book forgot a unit: more is lent than there is until it is counted anew.
    pub book_was_wrong: bool,
    /// A node was fenced that lived and beat.
    pub living_ended: bool,
    /// A buyer heard of an order that no store has.
    pub acknowledged_lost: bool,
    /// The store refused what a node sold in its present life.
    pub refused: bool,
}

/// The size of the instance, and the protocol that runs in it.
#[derive(Clone, Copy, Debug)]
pub struct Instance {
    pub total: Count,
    /// No node is lent more than this in an epoch; bounds the histories.
    pub granted_max: Count,
    pub faults: Faults,
    pub begins: Begins,
    /// Anything may happen from one reading of the store to the next, while a book is opened. Otherwise they are one.
    pub reads_apart: bool,
    pub broken: Option<Break>,
}

/// How a history begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begins {
    /// Both nodes have just started in their first lives; the sale's first book is open and nothing is lent.
    Open,
    /// The same, and the sale was just made: there is no book yet.
    FirstBook,
    /// The same, where the second node has died, and nobody has the patience to find that out.
    FirstBookAlone,
}

/// What must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Property {
    /// The store never sells more than the total.
    NeverOversold,
    /// What nodes can still sell, what may be lent and what is sold are never more than the total together.
    NeverOverLeased,
    /// What a node that was not fenced puts on sale, the store takes.
    NeverRefused,
    /// Who was told of an order has one.
    NeverUnacknowledged,
    /// A life of a node that lives and gives signs of life is ended by mistake only.
    NeverEndsTheLiving,
    /// From every state, without further faults, a state can be reached in which no unit is missing.
    AlwaysHeals,
}

impl World {
    /// How the instance begins. A sale is made in epoch 1, and its first book is of epoch 2.
    pub fn begin(instance: &Instance) -> Self {
        let account = Account { incarnation: 1, ..Account::default() };
        let book = Book {
            server: 0,
            epoch: 2,
            total: instance.total,
            revision: 1,
            returned: 0,
            accounts: [account; NODES],
        };
        let book = (instance.begins == Begins::Open).then_some(book);
        let epoch = book.map_or(1, |book| book.epoch);
        let is_up = |n: usize| n == 0 || instance.begins != Begins::FirstBookAlone;
        Self {
            store: Store {
                epoch,
                returned: 0,
                incarnation: [1; NODES],
                durable: [0; NODES],
                share: [Share::default(); NODES],
            },
            redis: Server { id: 0, book },
            replica: None,
            backup: None,
            nodes: std::array::from_fn(|n| Node::new(n, is_up(n), 1, instance.broken)),
            late: [None; 2],
            faults: instance.faults,
            redis_refuses: false,
            book_was_wrong: false,
            living_ended: false,
            acknowledged_lost: false,
            refused: false,
        }
    }

    /// The property that this state breaks, if it breaks one that can be seen in a single state.
    pub fn breaks(&self, instance: &Instance) -> Option<Property> {
        if self.store.sold() > instance.total {
            return Some(Property::NeverOversold);
        }
        if self.acknowledged_lost {
            return Some(Property::NeverUnacknowledged);
        }
        if self.living_ended {
            return Some(Property::NeverEndsTheLiving);
        }
        if self.refused {
            return Some(Property::NeverRefused);
        }
        let is_over_leased = self.known(instance, |_| true) > i16::from(instance.total);
        (is_over_leased && !self.book_was_wrong).then_some(Property::NeverOverLeased)
    }

    /// Whether every unit is sold, in the hands of a node that can sell it, or lendable.
    pub fn whole(&self, instance: &Instance) -> bool {
        let current =
            self.redis.valid_book(instance.broken).is_some_and(|book| book.epoch == self.store.epoch);
        // What a node that is cut off for good has in hand is nobody's; nor is what lies where no buyer comes, while buyers
        // come elsewhere.
        let buyers_come = self.nodes.iter().any(|node| node.up && !node.rests);
        let sells = |node: &Node| !(node.is_cut_off || node.rests && buyers_come);
        let is_known = self.known(instance, sells) == i16::from(instance.total);
        current && is_known && self.shares_fit(instance)
    }

    /// Whether the store takes all that nodes may sell, and lends all that the book may lend.
    fn shares_fit(&self, instance: &Instance) -> bool {
        let lends = i16::from(self.store.unshared(instance.total)) >= self.lendable(instance);
        let fits = |n: usize| {
            let node = &self.nodes[n];
            let units = self.store.durable[n] + node.stock + node.in_flight;
            !node.up || self.is_fenced(n) || units <= self.store.share[n].granted
        };
        lends && (0..NODES).all(fits)
    }

    /// Sold units, those that may be lent, and those of these nodes.
    fn known(&self, instance: &Instance, nodes: impl Fn(&Node) -> bool) -> i16 {
        i16::from(self.can_be_sold(instance, nodes)) + i16::from(self.store.sold()) + self.lendable(instance)
    }

    /// Units of those nodes whose batches the store would take.
    fn can_be_sold(&self, instance: &Instance, nodes: impl Fn(&Node) -> bool) -> Count {
        let sells = |n: usize| {
            let node = &self.nodes[n];
            node.up && nodes(node) && (!self.is_fenced(n) || instance.broken == Some(Break::NoFence))
        };
        (0..NODES).filter(|&n| sells(n)).map(|n| self.nodes[n].stock + self.nodes[n].in_flight).sum()
    }

    /// Whether the store knows a later life of the node.
    pub fn is_fenced(&self, n: usize) -> bool {
        self.nodes[n].life.incarnation() != u64::from(self.store.incarnation[n])
    }

    /// Units that the book would lend, to a node that counts in its epoch or may join it.
    fn lendable(&self, instance: &Instance) -> i16 {
        let open = self.redis.valid_book(instance.broken).filter(|book| {
            let counts = |node: &Node| node.up && node.epoch() == Some(book.epoch);
            book.awaited() == 0 && (book.epoch == self.store.epoch || self.nodes.iter().any(counts))
        });
        open.map_or(0, |book| book.available().max(0))
    }
}
