//! Every step that can happen to a world: buyers, nodes and their calls, faults.
//!
//! A node does what its machine asks for, one ask a step. To keep the instances small an errand and its first ask are one
//! step, what is read in the store is read with the step before (but for the units of a node that was just fenced), and
//! settling is done only where the answer tells the node something, for `available` does not depend on it.

use seckill::ledger::lease::{
    Answer, Ask, Chunk, Errand, Membership, Progress, left_behind, repairs, silent_holders,
};

use crate::book::{Call, Caller, Count, Server, Verdict};
use crate::breaks::{Break, rules};
use crate::wire;
use crate::world::{Instance, NODES, Node, World};

/// Up to this epoch a node that finds the book behind has no patience with another one that is opening it.
const EPOCHS_OUTDONE: Count = 2;

/// A step, as a trace names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Begin,
    Admit(usize),
    Commit(usize),
    BeginLife(usize),
    Read(usize),
    Fence(usize),
    EndEpoch(usize),
    Call(usize, &'static str),
    Arrive(usize),
    /// A node that nobody else is left to stand in for.
    StartAlone(usize),
    // From here on: faults, and what healing must not wait for.
    Crash(usize),
    Restart(usize),
    Expire(usize),
    CutReplica,
    FailOver,
    Flush,
    CopyStore,
    Restore,
    Suspect(usize),
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
                | Self::CopyStore
                | Self::Restore
                | Self::AnswerLost(..)
                | Self::CallDelayed(..)
        )
    }
}

impl World {
    /// Every step that can happen now, with the world after it.
    pub fn steps(&self, instance: &Instance, out: &mut Vec<(Step, World)>) {
        out.clear();
        let mut walk = Walk { world: self, instance, out };
        for n in 0..NODES {
            walk.purchase(n);
            walk.life_and_death(n);
            walk.goes_on(n);
            walk.errands(n);
            walk.reclaims(n);
            walk.expiry(n);
        }
        walk.redis_faults();
        walk.out.extend(self.goes_back(instance));
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
        let mut next = self.world.clone();
        change(&mut next);
        self.out.push((step, next));
    }

    /// A unit goes from stock to the queue, and from the queue to the store.
    fn purchase(&mut self, n: usize) {
        let node = &self.world.nodes[n];
        if node.up && !node.life.is_over() && node.stock > 0 && node.in_flight == 0 {
            self.push(Step::Admit(n), |next| {
                next.nodes[n].stock -= 1;
                next.nodes[n].in_flight = 1;
            });
        }
        if node.up && node.in_flight > 0 {
            let instance = *self.instance;
            self.push(Step::Commit(n), |next| commit(next, n, &instance));
        }
    }

    fn life_and_death(&mut self, n: usize) {
        let (node, broken) = (&self.world.nodes[n], self.instance.broken);
        if node.up && self.world.faults.crash > 0 {
            let acknowledged = self.broken(Break::AcknowledgesFirst) && node.in_flight > 0;
            let incarnation = wire::count(node.life.incarnation());
            self.push(Step::Crash(n), |next| {
                next.faults.crash -= 1;
                next.acknowledged_lost |= acknowledged;
                next.nodes[n] = Node::new(n, false, incarnation, broken);
            });
        }
        if !node.up {
            let alone = self.world.nodes.iter().all(|node| !node.up);
            let step = if alone { Step::StartAlone(n) } else { Step::Restart(n) };
            let raises = Count::from(!self.broken(Break::KeepsIncarnation));
            self.push(step, |next| {
                next.store.incarnation[n] += raises;
                next.nodes[n] = Node::new(n, true, next.store.incarnation[n], broken);
            });
        }
        if node.up && !node.lessee.is_busy() && node.life.may_begin_again(node.in_flight.into()) {
            self.push(Step::BeginLife(n), |next| {
                next.store.incarnation[n] += 1;
                let incarnation = next.store.incarnation[n].into();
                let node = &mut next.nodes[n];
                if node.life.drops_stock() {
                    node.stock = 0;
                }
                node.life.begin(incarnation);
                node.lessee.begin_life(incarnation);
            });
        }
    }

    /// The node's errand goes on: what its machine asks for is done.
    fn goes_on(&mut self, n: usize) {
        if let Some(ask) = self.world.nodes[n].lessee.ask().filter(|_| self.world.nodes[n].up) {
            self.asks(n, ask, |_| {});
        }
    }

    /// The node begins an errand, and does the first thing that its machine asks for.
    fn begins(&mut self, n: usize, errand: Errand) {
        self.begins_after(n, errand, |_| {});
    }

    fn begins_after(&mut self, n: usize, errand: Errand, prepare: impl Fn(&mut World)) {
        let prepare = |next: &mut World| {
            prepare(next);
            next.nodes[n].lessee.begin(errand.clone());
        };
        let mut begun = self.world.clone();
        prepare(&mut begun);
        if let Some(ask) = begun.nodes[n].lessee.ask() {
            self.asks(n, ask, prepare);
        }
    }

    /// Something is asked, by a node that is as `prepare` leaves it.
    fn asks(&mut self, n: usize, ask: Ask, prepare: impl Fn(&mut World)) {
        let (instance, broken) = (*self.instance, self.instance.broken);
        let Some((from, call)) = wire::call(&ask) else {
            let step = match ask {
                Ask::Fence(_) => Step::Fence(n),
                Ask::EndEpoch(_) => Step::EndEpoch(n),
                _ => Step::Read(n),
            };
            self.push(step, |next| {
                prepare(next);
                let answer = next.store_answers(&ask, &instance);
                next.hears(n, answer);
                if step != Step::Fence(n) {
                    next.reads(n, &instance);
                }
            });
            return;
        };
        let name = name(&call);
        self.push(Step::Call(n, name), |next| {
            prepare(next);
            let verdict = next.redis.run(from, call, broken);
            // The books answer about the node that the call names.
            let reply = wire::reply(&next.redis, verdict, usize::from(from.node));
            next.hears(n, Answer::Reply(reply));
            next.reads(n, &instance);
        });
        if self.world.faults.lost_reply > 0 {
            self.push(Step::AnswerLost(n, name), |next| {
                prepare(next);
                next.faults.lost_reply -= 1;
                next.redis.run(from, call, broken);
                next.does_not_hear(n);
            });
        }
        if self.world.faults.late > 0
            && let Some(slot) = self.world.late.iter().position(Option::is_none)
        {
            self.push(Step::CallDelayed(n, name), |next| {
                prepare(next);
                next.faults.late -= 1;
                next.late[slot] = Some((from, call));
                next.late.sort_unstable_by(|a, b| b.cmp(a));
                next.does_not_hear(n);
            });
        }
    }

    /// Everything that a free node may begin, at any time.
    fn errands(&mut self, n: usize) {
        let node = &self.world.nodes[n];
        if !node.is_free() {
            return;
        }
        match node.lessee.membership() {
            Membership::Unregistered => return self.begins(n, Errand::Join),
            Membership::Announcing(_) => return self.begins(n, Errand::Announce),
            Membership::Current => {}
        }
        if node.lessee.granted() < u64::from(self.instance.granted_max) {
            let chunk = Chunk { divisor: 2, min: 1, max: 1 };
            self.begins(n, Errand::Borrow { chunk, starves: true });
        }
        if node.stock > 0 {
            self.begins_after(n, Errand::HandBack, |next| {
                next.nodes[n].stock -= 1;
                next.nodes[n].lessee.hand_back(1);
            });
        }
        if node.lessee.owes_units() {
            self.begins(n, Errand::HandBack);
        }
        self.left_behind(n);
        let settled = self.world.redis.book.map_or(0, |book| book.accounts[n].settled);
        if self.settling_tells(n, settled) {
            self.begins(n, Errand::SettleKnown(settled.into()));
        }
        if let Some(book) = self.world.redis.valid_book(self.instance.broken)
            && book.returned < self.world.store.returned
        {
            let adds = self.broken(Break::ReturnsByAdding);
            let store = self.world.store.units(self.instance.total);
            for errand in repairs(&wire::read(book, true), &store) {
                // A script that adds is told what is new, or it would be wrong at once.
                let errand = if adds { Errand::Return(1) } else { errand };
                self.begins(n, errand);
            }
        }
    }

    /// The book is older than the store's epoch, and whoever was about to open it may be gone.
    fn left_behind(&mut self, n: usize) {
        let Some(book) = self.world.redis.valid_book(self.instance.broken) else { return };
        if book.epoch < self.world.store.epoch && !self.world.waits_for_an_opener(n) {
            let (book, store) = (wire::read(book, true), self.world.store.units(self.instance.total));
            if let Some(errand) = left_behind(rules(self.instance.broken), &book, &store) {
                self.begins(n, errand);
            }
        }
    }

    /// Whether the answer to a settling would be news.
    fn settling_tells(&self, n: usize, settled: Count) -> bool {
        let node = &self.world.nodes[n];
        let mut lessee = node.lessee.clone();
        lessee.begin(Errand::SettleKnown(settled.into()));
        let call: Option<(Caller, Call<NODES>)> = lessee.ask().and_then(|ask| wire::call(&ask));
        let Some((from, call)) = call else { return false };
        let mut server: Server<NODES> = self.world.redis;
        let verdict = server.run(from, call, self.instance.broken);
        let granted = server.book.map_or(0, |book| book.accounts[n].granted);
        verdict != Verdict::Ok || u64::from(granted) != node.lessee.granted()
    }

    /// The node takes a silent one's units back: rightly, or because that one is slow.
    fn reclaims(&mut self, n: usize) {
        let node = &self.world.nodes[n];
        if !node.is_free() || node.lessee.membership() != Membership::Current {
            return;
        }
        let Some(book) = self.world.redis.valid_book(self.instance.broken) else { return };
        for other in (0..NODES).filter(|&other| other != n) {
            let is_mistaken = self.world.nodes[other].up;
            if is_mistaken && self.world.faults.false_suspicion == 0 {
                continue;
            }
            let store = self.world.store.units(self.instance.total);
            let book = wire::read(book, true);
            let named = |node| node == wire::node(other);
            for silent in silent_holders(rules(self.instance.broken), wire::node(n), &book, &store, named) {
                let from = self.out.len();
                self.begins_after(n, Errand::Reclaim(silent), |next| {
                    next.faults.false_suspicion -= Count::from(is_mistaken);
                });
                // A mistake is not part of healing.
                for (step, _) in self.out[from..].iter_mut().filter(|_| is_mistaken) {
                    *step = Step::Suspect(n);
                }
            }
        }
    }

    fn expiry(&mut self, n: usize) {
        let store = &self.world.store;
        if self.world.faults.expiry > 0 && store.sold() > 0 && store.durable[n] > 0 {
            let twice = self.broken(Break::ReturnsTwice) && self.world.nodes[n].up;
            self.push(Step::Expire(n), |next| {
                next.faults.expiry -= 1;
                next.store.returned += 1;
                next.nodes[n].stock += Count::from(twice);
            });
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
                next.redis = Server { id: next.redis.id + 1, book: next.replica.take() };
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

impl World {
    /// The store does what it is asked.
    fn store_answers(&mut self, ask: &Ask, instance: &Instance) -> Answer {
        match ask {
            Ask::Units => Answer::Units(self.store.units(instance.total)),
            Ask::Incarnations => {
                let incarnations = self.store.incarnation.iter().enumerate();
                Answer::Incarnations(
                    incarnations.map(|(n, number)| (wire::node(n), (*number).into())).collect(),
                )
            }
            Ask::Fence(node) => {
                let life = &mut self.store.incarnation[usize::from(node.number())];
                *life += 1;
                Answer::Fenced((*life).into())
            }
            Ask::EndEpoch(seen) => {
                let seen = wire::count(*seen);
                let is_shared = instance.broken == Some(Break::SharesEpochs);
                self.store.epoch =
                    if is_shared { self.store.epoch.max(seen + 1) } else { self.store.epoch.max(seen) + 1 };
                Answer::Epoch(self.store.epoch.into())
            }
            other => unreachable!("{other:?} is not the store's to answer"),
        }
    }

    /// The node reads in the store what its machine wants to know next.
    fn reads(&mut self, n: usize, instance: &Instance) {
        while let Some(ask @ (Ask::Units | Ask::Incarnations)) = self.nodes[n].lessee.ask() {
            let answer = self.store_answers(&ask, instance);
            self.hears(n, answer);
        }
    }

    /// The node's machine hears an answer, and its memory follows.
    fn hears(&mut self, n: usize, answer: Answer) {
        let progress = self.nodes[n].lessee.heard(answer);
        self.follows(n, progress);
    }

    fn does_not_hear(&mut self, n: usize) {
        let progress = self.nodes[n].lessee.unheard();
        self.follows(n, progress);
    }

    fn follows(&mut self, n: usize, progress: Progress) {
        let waits = self.waits_for_an_opener(n);
        let node = &mut self.nodes[n];
        match progress {
            Progress::Done(units) => node.stock += wire::count(units),
            Progress::Fenced => node.ends_its_life(),
            // Patience is a matter of time: here it has run out, or the node would only ask again.
            Progress::Behind { seen, server } if !waits => {
                node.lessee.begin(Errand::Reopen { seen, server });
            }
            Progress::Behind { .. } | Progress::GoesOn | Progress::Diverted | Progress::NotNow => {}
            Progress::Compared(..) => unreachable!("nobody compares here"),
        }
    }
}

impl World {
    /// Whether a node that finds the book behind leaves it to the one that is opening it. Two may outdo each other once;
    /// without an end of it the histories would have none either. Who finds the book lost never waits.
    fn waits_for_an_opener(&self, n: usize) -> bool {
        let opens = |node: &Node| {
            node.up && matches!(node.lessee.ask(), Some(Ask::EndEpoch(_) | Ask::Incarnations | Ask::Open(_)))
        };
        self.store.epoch > EPOCHS_OUTDONE && (0..NODES).any(|other| other != n && opens(&self.nodes[other]))
    }
}

impl Node {
    fn ends_its_life(&mut self) {
        self.life.end();
        if self.life.drops_stock() {
            self.stock = 0;
        }
    }
}

/// The batch of node `n` meets the store: its fence, then its guard. A refused unit comes back to the stock, which goes with
/// the node's life.
fn commit(next: &mut World, n: usize, instance: &Instance) {
    let acknowledged_first = instance.broken == Some(Break::AcknowledgesFirst);
    let has_guard = instance.broken != Some(Break::TrustsAnyServerWithoutGuard);
    let is_fenced = next.is_fenced(n) && instance.broken != Some(Break::NoFence);
    let node = &mut next.nodes[n];
    let units = std::mem::take(&mut node.in_flight);
    let is_oversold = has_guard && next.store.sold() + units > instance.total;
    if !is_fenced && !is_oversold {
        next.store.durable[n] += units;
        return;
    }
    next.acknowledged_lost |= acknowledged_first;
    node.stock += units;
    node.ends_its_life();
    if !is_fenced {
        node.lessee.surrender();
    }
}

fn name(call: &Call<NODES>) -> &'static str {
    match call {
        Call::Register => "register",
        Call::Lease { .. } => "lease",
        Call::HandBack { .. } => "hand_back",
        Call::Settle { .. } => "settle",
        Call::Return { .. } => "return",
        Call::Resize { .. } => "resize",
        Call::Reclaim { .. } => "reclaim",
        Call::Rebuild { .. } => "rebuild",
        Call::Announce { .. } => "announce",
    }
}
