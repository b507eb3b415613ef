//! The whole system as one small value: the order store, one Redis, two nodes, messages that are late; and every step
//! that can happen to it.
//!
//! Two things are left out because they change nothing. A call and its answer are one step, unless the answer is lost
//! or the call comes late: a node waits for its answer before it calls again, and what others do meanwhile does not read
//! its memory. Settling is left out: `available` does not depend on it.

use crate::book::{Book, Call, Caller, Count, Line, Server, Verdict};
use crate::breaks::Break;

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
}

/// What the order store keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Store {
    pub epoch: Count,
    pub returned: Count,
    pub incarnation: [Count; NODES],
    pub durable: [Count; NODES],
}

impl Store {
    pub fn sold(&self) -> Count {
        self.durable.iter().sum::<Count>() - self.returned
    }
}

/// A node's memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Node {
    pub up: bool,
    pub registered: bool,
    /// It has sent an announcement and not heard the answer.
    pub announcing: bool,
    pub incarnation: Count,
    pub epoch: Count,
    pub granted: Count,
    pub handed_back: Count,
    pub stock: Count,
    pub in_flight: Count,
}

/// Somebody who reclaims a silent node's units, between his steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Reclaim {
    pub node: Count,
    pub incarnation: Count,
    pub durable: Option<Count>,
}

/// A call that its sender no longer waits for.
pub type Late = Option<(Caller, Call<NODES>)>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub store: Store,
    pub redis: Server<NODES>,
    /// What a replica has, if one was cut off.
    pub replica: Option<Book<NODES>>,
    pub nodes: [Node; NODES],
    pub reclaim: Option<Reclaim>,
    /// The epoch that somebody raised to open a new book, and the server's life that he saw.
    pub rebuild: Option<(Count, Count)>,
    pub late: [Late; 2],
    pub faults: Faults,
    /// A buyer heard of an order that no store has.
    pub acknowledged_lost: bool,
}

/// The size of the instance, and the protocol that runs in it.
#[derive(Clone, Copy, Debug)]
pub struct Instance {
    pub total: Count,
    /// No node is lent more than this, summed over its life; bounds the histories.
    pub granted_max: Count,
    pub faults: Faults,
    pub broken: Option<Break>,
}

/// A step, as a trace names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Begin,
    Admit(usize),
    Commit(usize),
    Rejoin(usize),
    Call(usize, &'static str),
    SendHandBack(usize),
    Fence(usize),
    CountDurable(usize),
    SendReclaim(usize),
    RaiseEpoch,
    SendRebuild,
    Arrive(usize),
    // From here on: faults, and what healing must not wait for.
    Crash(usize),
    Restart(usize),
    Expire(usize),
    Suspect(usize),
    CutReplica,
    FailOver,
    Flush,
    AnswerLost(usize, &'static str),
    CallDelayed(usize, &'static str),
}

impl Step {
    /// Whether the step is part of healing, or something that needs it.
    pub fn heals(&self) -> bool {
        !matches!(
            self,
            Self::Crash(_)
                | Self::Restart(_)
                | Self::Expire(_)
                | Self::Suspect(_)
                | Self::CutReplica
                | Self::FailOver
                | Self::Flush
                | Self::AnswerLost(..)
                | Self::CallDelayed(..)
        )
    }
}

/// What must hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Property {
    /// The store never sells more than the total.
    NeverOversold,
    /// What nodes can still sell, what may be lent and what is sold are never more than the total together.
    NeverOverLeased,
    /// Who was told of an order has one.
    NeverUnacknowledged,
    /// From every state, without further faults, a state can be reached in which no unit is missing.
    AlwaysHeals,
}

impl World {
    /// Everything up, nothing lent.
    pub fn begin(instance: &Instance) -> Self {
        let node = Node { up: true, registered: true, incarnation: 1, epoch: 1, ..Node::default() };
        let line = Line { incarnation: 1, ..Line::default() };
        let book =
            Book { life: 0, epoch: 1, total: instance.total, revision: 1, returned: 0, lines: [line; NODES] };
        Self {
            store: Store { epoch: 1, returned: 0, incarnation: [1; NODES], durable: [0; NODES] },
            redis: Server { life: 0, book: Some(book) },
            replica: None,
            nodes: [node; NODES],
            reclaim: None,
            rebuild: None,
            late: [None; 2],
            faults: instance.faults,
            acknowledged_lost: false,
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
        let claims =
            i16::from(self.can_be_sold(instance)) + i16::from(self.store.sold()) + self.lendable(instance);
        (claims > i16::from(instance.total)).then_some(Property::NeverOverLeased)
    }

    /// Whether every unit is sold, in the hands of a node that can sell it, or lendable.
    pub fn whole(&self, instance: &Instance) -> bool {
        let known =
            i16::from(self.can_be_sold(instance)) + i16::from(self.store.sold()) + self.lendable(instance);
        let current =
            self.redis.valid_book(instance.broken).is_some_and(|book| book.epoch == self.store.epoch);
        current && known == i16::from(instance.total)
    }

    /// Units of nodes whose batches the store would take.
    fn can_be_sold(&self, instance: &Instance) -> Count {
        let fenced = |n: usize| {
            self.nodes[n].incarnation != self.store.incarnation[n] && instance.broken != Some(Break::NoFence)
        };
        (0..NODES)
            .filter(|&n| self.nodes[n].up && !fenced(n))
            .map(|n| self.nodes[n].stock + self.nodes[n].in_flight)
            .sum()
    }

    fn lendable(&self, instance: &Instance) -> i16 {
        let open = self.redis.valid_book(instance.broken).filter(|book| book.awaited() == 0);
        open.map_or(0, |book| book.available().max(0))
    }

    /// Every step that can happen now, with the world after it.
    pub fn steps(&self, instance: &Instance, out: &mut Vec<(Step, World)>) {
        out.clear();
        let mut walk = Walk { world: self, instance, out };
        for n in 0..NODES {
            walk.purchase(n);
            walk.life_and_death(n);
            walk.node_calls(n);
            walk.expiry(n);
            walk.fencing(n);
        }
        walk.reclaiming();
        walk.rebuilding();
        walk.redis_faults();
        walk.late_arrivals();
    }
}

/// Collects the steps of one world.
struct Walk<'a> {
    world: &'a World,
    instance: &'a Instance,
    out: &'a mut Vec<(Step, World)>,
}

impl Walk<'_> {
    fn broken(&self, by: Break) -> bool {
        self.instance.broken == Some(by)
    }

    fn push(&mut self, step: Step, change: impl FnOnce(&mut World)) {
        let mut next = *self.world;
        change(&mut next);
        self.out.push((step, next));
    }

    /// A call to Redis in its three fates: answered, carried out with the answer lost, late. `given_up` is what the
    /// sender does when he hears nothing.
    fn call(
        &mut self,
        step: Step,
        (node, name): (usize, &'static str),
        (from, call): (Caller, Call<NODES>),
        answered: impl FnOnce(&mut World, Verdict),
        given_up: impl Fn(&mut World),
    ) {
        let broken = self.instance.broken;
        self.push(step, |next| {
            let verdict = next.redis.run(from, call, broken);
            answered(next, verdict);
        });
        if self.world.faults.lost_reply > 0 {
            self.push(Step::AnswerLost(node, name), |next| {
                next.faults.lost_reply -= 1;
                next.redis.run(from, call, broken);
                given_up(next);
            });
        }
        if self.world.faults.late > 0
            && let Some(slot) = self.world.late.iter().position(Option::is_none)
        {
            self.push(Step::CallDelayed(node, name), |next| {
                next.faults.late -= 1;
                next.late[slot] = Some((from, call));
                next.late.sort_unstable_by(|a, b| b.cmp(a));
                given_up(next);
            });
        }
    }

    /// A unit goes from stock to the queue, and from the queue to the store.
    fn purchase(&mut self, n: usize) {
        let node = self.world.nodes[n];
        if node.up && node.stock > 0 && node.in_flight == 0 {
            self.push(Step::Admit(n), |next| {
                next.nodes[n].stock -= 1;
                next.nodes[n].in_flight = 1;
            });
        }
        if node.up && node.in_flight > 0 {
            let acknowledged_first = self.broken(Break::AcknowledgesFirst);
            let instance = *self.instance;
            self.push(Step::Commit(n), |next| commit(next, n, &instance, acknowledged_first));
        }
    }

    fn life_and_death(&mut self, n: usize) {
        let node = self.world.nodes[n];
        if node.up && self.world.faults.crash > 0 {
            let acknowledged_first = self.broken(Break::AcknowledgesFirst);
            self.push(Step::Crash(n), |next| {
                next.faults.crash -= 1;
                next.acknowledged_lost |= acknowledged_first && node.in_flight > 0;
                next.nodes[n] = Node { incarnation: node.incarnation, ..Node::default() };
            });
        }
        let keeps_incarnation = self.broken(Break::KeepsIncarnation);
        if !node.up {
            self.push(Step::Restart(n), |next| {
                if !keeps_incarnation {
                    next.store.incarnation[n] += 1;
                }
                let incarnation = next.store.incarnation[n];
                next.nodes[n] = Node { up: true, incarnation, ..Node::default() };
            });
        }
        if node.up && !node.registered && node.incarnation < self.world.store.incarnation[n] {
            self.push(Step::Rejoin(n), |next| {
                next.store.incarnation[n] += 1;
                next.nodes[n].incarnation = next.store.incarnation[n];
            });
        }
    }

    fn node_calls(&mut self, n: usize) {
        let node = self.world.nodes[n];
        if !node.up {
            return;
        }
        let keeps_stock = self.broken(Break::KeepsStockWhenFenced);
        let from = Caller { node: n as Count, incarnation: node.incarnation, epoch: node.epoch };
        let durable = self.world.store.durable[n];
        if !node.registered {
            if node.incarnation == self.world.store.incarnation[n] {
                self.register(n);
            }
            return;
        }
        let twice = self.broken(Break::AnnouncesTwice);
        let asked = self.world.redis.valid_book(self.instance.broken).is_some_and(|book| {
            book.epoch > node.epoch || twice && book.epoch == node.epoch && book.lines[n].awaited
        });
        if asked || node.announcing {
            let epoch = self.world.redis.book.map_or(node.epoch, |book| book.epoch);
            let held = match self.broken(Break::AnnouncesGranted) {
                true => node.granted,
                false => node.granted - node.handed_back,
            };
            let call = (Caller { epoch, ..from }, Call::Announce { held, durable });
            self.call(
                Step::Call(n, "announce"),
                (n, "announce"),
                call,
                |next, verdict| match verdict {
                    Verdict::Ok => {
                        let node = &mut next.nodes[n];
                        (node.epoch, node.granted, node.handed_back) = (epoch, held, 0);
                        node.announcing = false;
                    }
                    other => notice(&mut next.nodes[n], other, keeps_stock),
                },
                |next| next.nodes[n].announcing = true,
            );
            return;
        }

        if node.granted < self.instance.granted_max {
            let call = Call::Lease { seen: node.granted, divisor: 2, chunk_min: 1, chunk_max: 1 };
            let in_book = self.world.redis.book.map_or(0, |book| book.lines[n].granted);
            let seen = if self.broken(Break::ForgetsSeen) { in_book } else { node.granted };
            self.call(
                Step::Call(n, "lease"),
                (n, "lease"),
                (from, call),
                |next, verdict| match (verdict, next.redis.book) {
                    (Verdict::Ok, Some(book)) => {
                        let node = &mut next.nodes[n];
                        let line = book.lines[n];
                        node.stock += line.granted.saturating_sub(seen);
                        node.granted = line.granted;
                    }
                    (other, _) => notice(&mut next.nodes[n], other, keeps_stock),
                },
                |_| {},
            );
        }
        self.hand_back(n, from, keeps_stock);
        let returned = self.world.store.returned;
        if self.world.redis.book.is_some_and(|book| book.returned < returned) {
            let call = match self.broken(Break::ReturnsByAdding) {
                true => Call::Return { returned: 1 },
                false => Call::Return { returned },
            };
            self.call(
                Step::Call(n, "return"),
                (n, "return"),
                (from, call),
                |next, verdict| notice(&mut next.nodes[n], verdict, keeps_stock),
                |_| {},
            );
        }
    }

    /// After its incarnation was raised in the store, nobody else adds to the node's durable orders.
    fn register(&mut self, n: usize) {
        let node = self.world.nodes[n];
        let forgets_sold = self.broken(Break::ForgetsSold);
        let durable = self.world.store.durable[n];
        let epoch = self.world.store.epoch;
        let from = Caller { node: n as Count, incarnation: node.incarnation, epoch };
        let awaited =
            self.world.redis.valid_book(self.instance.broken).is_some_and(|book| book.lines[n].awaited);
        let (name, call) = match awaited {
            true => ("announce", Call::Announce { held: durable, durable }),
            false => ("register", Call::Register),
        };
        self.call(
            Step::Call(n, name),
            (n, name),
            (from, call),
            |next, verdict| {
                if let (Verdict::Ok, Some(book)) = (verdict, next.redis.book) {
                    let line = book.lines[n];
                    let sold = if forgets_sold { 0 } else { durable };
                    let node = &mut next.nodes[n];
                    node.registered = true;
                    node.epoch = epoch;
                    (node.granted, node.handed_back) = (line.granted, line.handed_back);
                    node.stock += (line.granted - line.handed_back).saturating_sub(sold);
                }
            },
            |_| {},
        );
    }

    fn hand_back(&mut self, n: usize, from: Caller, keeps_stock: bool) {
        let node = self.world.nodes[n];
        let on_sale = self.broken(Break::HandsBackOnSale);
        let known = self.world.redis.book.map_or(0, |book| book.lines[n].handed_back);
        // A unit off sale first; or once more a figure that was not confirmed.
        let mut sizes = [None; 2];
        if node.stock > 0 && !(on_sale && node.handed_back > known) {
            sizes[0] = Some(node.handed_back + 1);
        }
        if node.handed_back > known {
            sizes[1] = Some(node.handed_back);
        }
        for handed_back in sizes.into_iter().flatten() {
            let call = match self.broken(Break::MergesByAdding) {
                true => Call::HandBack { handed_back: handed_back.saturating_sub(known) },
                false => Call::HandBack { handed_back },
            };
            let off_sale = move |node: &mut Node| {
                let units = handed_back - node.handed_back;
                node.handed_back = handed_back;
                node.stock -= units;
            };
            self.call(
                Step::SendHandBack(n),
                (n, "hand_back"),
                (from, call),
                |next, verdict| {
                    off_sale(&mut next.nodes[n]);
                    notice(&mut next.nodes[n], verdict, keeps_stock);
                },
                |next| {
                    if !on_sale {
                        off_sale(&mut next.nodes[n]);
                    }
                },
            );
        }
    }

    fn expiry(&mut self, n: usize) {
        let store = &self.world.store;
        if self.world.faults.expiry > 0 && store.sold() > 0 && store.durable[n] > 0 {
            let twice = self.broken(Break::ReturnsTwice) && self.world.nodes[n].up;
            self.push(Step::Expire(n), |next| {
                next.faults.expiry -= 1;
                next.store.returned += 1;
                if twice {
                    next.nodes[n].stock += 1;
                }
            });
        }
    }

    /// Somebody begins to take a silent node's units back: rightly, or because it is slow.
    fn fencing(&mut self, n: usize) {
        if self.world.reclaim.is_some() || self.broken(Break::NeverReclaims) {
            return;
        }
        let node = self.world.nodes[n];
        let fences = !self.broken(Break::ReclaimsByTimeAlone) && !self.broken(Break::CountsBeforeFencing);
        let counts_first = self.broken(Break::CountsBeforeFencing);
        let begin = |next: &mut World| {
            if fences {
                next.store.incarnation[n] += 1;
            }
            let incarnation = next.store.incarnation[n];
            let durable = counts_first.then_some(next.store.durable[n]);
            next.reclaim = Some(Reclaim { node: n as Count, incarnation, durable });
        };
        let book = self.world.redis.valid_book(self.instance.broken);
        let holds = book.is_some_and(|book| {
            let line = book.lines[n];
            line.awaited || line.granted - line.handed_back.min(line.granted) > self.world.store.durable[n]
        });
        if !node.up && holds {
            self.push(Step::Fence(n), begin);
        } else if node.up && self.world.faults.false_suspicion > 0 {
            self.push(Step::Suspect(n), |next| {
                next.faults.false_suspicion -= 1;
                begin(next);
            });
        }
    }

    fn reclaiming(&mut self) {
        let Some(reclaim) = self.world.reclaim else { return };
        let n = usize::from(reclaim.node);
        let Some(durable) = reclaim.durable else {
            self.push(Step::CountDurable(n), |next| {
                next.reclaim = Some(Reclaim { durable: Some(next.store.durable[n]), ..reclaim });
            });
            return;
        };
        let mut incarnation = reclaim.incarnation;
        let fences_late = self.broken(Break::CountsBeforeFencing);
        if fences_late {
            incarnation = self.world.store.incarnation[n] + 1;
        }
        let from = Caller { node: reclaim.node, incarnation, epoch: self.world.store.epoch };
        let done = move |next: &mut World| {
            if fences_late {
                next.store.incarnation[n] = incarnation;
            }
            next.reclaim = None;
        };
        self.call(
            Step::SendReclaim(n),
            (n, "reclaim"),
            (from, Call::Reclaim { durable }),
            |next, _| done(next),
            done,
        );
    }

    /// A book that is lost, or older than the store's epoch, is opened anew.
    fn rebuilding(&mut self) {
        match self.world.rebuild {
            None => {
                let book = self.world.redis.valid_book(self.instance.broken);
                // A node that has announced and is asked again in the same epoch: the book of that epoch began twice.
                let began_twice = |book: &Book<NODES>| {
                    let nodes = self.world.nodes.iter().zip(book.lines);
                    nodes
                        .into_iter()
                        .any(|(node, line)| node.registered && node.epoch == book.epoch && line.awaited)
                };
                if book.is_none_or(|book| book.epoch < self.world.store.epoch || began_twice(book)) {
                    self.push(Step::RaiseEpoch, |next| {
                        next.store.epoch += 1;
                        next.rebuild = Some((next.store.epoch, next.redis.life));
                    });
                }
            }
            Some((epoch, life)) => {
                let store = &self.world.store;
                let call = Call::Rebuild {
                    life,
                    total: self.instance.total,
                    revision: 1,
                    returned: store.returned,
                    incarnations: match self.broken(Break::RebuildForgetsIncarnations) {
                        true => [0; NODES],
                        false => store.incarnation,
                    },
                };
                let from = Caller { node: 0, incarnation: 0, epoch };
                // Who hears nothing sends the same again.
                let done = |next: &mut World, _| next.rebuild = None;
                self.call(Step::SendRebuild, (0, "rebuild"), (from, call), done, |_| {});
            }
        }
    }

    fn redis_faults(&mut self) {
        let world = self.world;
        if world.faults.rollback > 0 {
            if world.replica.is_none()
                && let Some(book) = world.redis.book
            {
                self.push(Step::CutReplica, |next| next.replica = Some(book));
            }
            self.push(Step::FailOver, |next| {
                next.faults.rollback -= 1;
                next.redis = Server { life: next.redis.life + 1, book: next.replica.take() };
            });
        }
        if world.faults.flush > 0 && world.redis.book.is_some() {
            self.push(Step::Flush, |next| {
                next.faults.flush -= 1;
                next.redis.book = None;
            });
        }
    }

    fn late_arrivals(&mut self) {
        for (slot, late) in self.world.late.iter().enumerate() {
            let Some((from, call)) = *late else { continue };
            let broken = self.instance.broken;
            self.push(Step::Arrive(slot), |next| {
                next.redis.run(from, call, broken);
                next.late[slot] = None;
                next.late.sort_unstable_by(|a, b| b.cmp(a));
            });
        }
    }
}

/// The batch of node `n` meets the store: its fence, then its guard.
fn commit(next: &mut World, n: usize, instance: &Instance, acknowledged_first: bool) {
    let has_guard = instance.broken != Some(Break::TrustsAnyLifeWithoutGuard);
    let has_fence = instance.broken != Some(Break::NoFence);
    let node = &mut next.nodes[n];
    let fenced = node.incarnation != next.store.incarnation[n];
    let units = node.in_flight;
    node.in_flight = 0;
    if fenced && has_fence {
        next.acknowledged_lost |= acknowledged_first;
        notice(node, Verdict::OldIncarnation, instance.broken == Some(Break::KeepsStockWhenFenced));
    } else if has_guard && next.store.sold() + units > instance.total {
        next.acknowledged_lost |= acknowledged_first;
        node.handed_back += node.stock + units;
        node.stock = 0;
    } else {
        next.store.durable[n] += units;
    }
}

/// What a node does about an answer that is not the one it asked for.
fn notice(node: &mut Node, verdict: Verdict, keeps_stock: bool) {
    if matches!(verdict, Verdict::OldIncarnation | Verdict::Unregistered) {
        let stock = if keeps_stock { node.stock } else { 0 };
        *node = Node { up: true, incarnation: node.incarnation, stock, ..Node::default() };
    }
}
