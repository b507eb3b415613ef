//! Every step that can happen to a world: buyers, nodes and their calls, faults.
//!
//! A node does what its machine asks for, one ask a step. To keep the instances small an errand and its first ask are one
//! step, what is read in the store is read with the step before (but for the units of a node that was just fenced), and
//! settling is done only where the answer tells the node something, for `available` does not depend on it.

use seckill::ledger::lease::{Answer, Ask, Chunk, Errand, Membership, left_behind, repairs, silent_holders};

use crate::answers::commit;
use crate::book::{Call, Caller, Count, Server, Verdict};
use crate::breaks::{Break, rules};
use crate::going_back::EPOCHS_OF_A_TIMELINE;
use crate::step::Step;
use crate::wire;
use crate::world::{Instance, Late, NODES, Node, World};

/// From this epoch of a timeline on a node does not count a book anew.
const EPOCHS_COUNTED: Count = 6;

impl World {
    /// Every step that can happen now, with the world after it.
    pub fn steps(&self, instance: &Instance, out: &mut Vec<(Step, World)>) {
        out.clear();
        let mut walk = Walk { world: self, instance, out };
        for n in 0..NODES {
            walk.life_and_death(n);
            walk.expiry(n);
            walk.line_to_the_store(n);
            walk.out.extend(self.rests(n, instance));
            if !self.nodes[n].rests {
                walk.purchase(n);
                walk.goes_on(n);
                walk.errands(n);
                walk.reclaims(n);
            }
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
        if node.up && node.in_flight > 0 && !node.is_cut_off {
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
                let is_cut_off = next.nodes[n].is_cut_off;
                next.nodes[n] = Node { is_cut_off, ..Node::new(n, false, incarnation, broken) };
            });
        }
        if node.is_cut_off {
            return;
        }
        // It asks the store with every beat.
        if node.up && !node.life.is_over() && self.world.is_fenced(n) {
            self.push(Step::HearOfEnd(n), |next| next.nodes[n].ends_its_life(0));
        }
        if !node.up {
            let alone = self.world.nodes.iter().all(|node| !node.up || node.is_cut_off);
            let step = if alone { Step::StartAlone(n) } else { Step::Restart(n) };
            let raises = Count::from(!self.broken(Break::KeepsIncarnation));
            self.push(step, |next| {
                next.store.incarnation[n] += raises;
                next.nodes[n] = Node::new(n, true, next.store.incarnation[n], broken);
            });
        }
        if node.up && !node.lessee.is_busy() && node.life.may_begin_again(node.in_flight.into()) {
            self.push(Step::BeginLife(n), |next| {
                let known = wire::count(next.nodes[n].life.known());
                next.store.incarnation[n] = next.store.incarnation[n].max(known) + 1;
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
        // Who is cut off may ask the store for the same again and again: it would not be another history.
        let is_vain = self.world.nodes[n].is_cut_off && begun.nodes[n].lessee.owes_share();
        if let Some(ask) = begun.nodes[n].lessee.ask().filter(|_| !is_vain) {
            self.asks(n, ask, prepare);
        }
    }

    /// Something is asked, by a node that is as `prepare` leaves it.
    fn asks(&mut self, n: usize, ask: Ask, prepare: impl Fn(&mut World)) {
        let (instance, broken) = (*self.instance, self.instance.broken);
        let Some((from, call)) = wire::call(&ask) else {
            let step = match ask {
                Ask::Beat(..) => Step::Beat(n),
                Ask::Fence(..) => Step::Fence(n),
                Ask::EndEpoch(_) => Step::EndEpoch(n),
                Ask::Share { .. } => Step::Share(n),
                Ask::Release { .. } => Step::Release(n),
                _ => Step::Read(n),
            };
            let is_heard = !self.world.nodes[n].is_cut_off;
            if let Some(share) = wire::share(&ask).filter(|_| is_heard) {
                if self.world.faults.lost_reply > 0 {
                    self.push(Step::AnswerLost(n, "share"), |next| {
                        prepare(next);
                        next.faults.lost_reply -= 1;
                        next.answers(n, &ask, &instance);
                        next.does_not_hear(n);
                    });
                }
                self.delays(n, "share", Late::Share(n, share), &prepare);
            }
            self.push(step, |next| {
                prepare(next);
                match next.answers(n, &ask, &instance) {
                    Some(answer) => next.hears(n, answer),
                    None => next.does_not_hear(n),
                }
                if step != Step::Fence(n) {
                    next.reads(n, &instance);
                }
            });
            return;
        };
        let name = name(&call);
        if self.world.redis_refuses {
            self.push(Step::Call(n, name), |next| {
                prepare(next);
                next.does_not_hear(n);
            });
            return;
        }
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
        self.delays(n, name, Late::Call(from, call), &prepare);
    }

    /// What the node sends arrives when it has given up on it.
    fn delays(&mut self, n: usize, name: &'static str, sent: Late, prepare: &impl Fn(&mut World)) {
        if self.world.faults.late > 0
            && let Some(slot) = self.world.late.iter().position(Option::is_none)
        {
            self.push(Step::CallDelayed(n, name), |next| {
                prepare(next);
                next.faults.late -= 1;
                next.late[slot] = Some(sent);
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
        let may_be_lent = node.lessee.granted() < u64::from(self.instance.granted_max);
        if may_be_lent || self.world.nodes.iter().any(|node| node.rests) {
            // Whoever may be lent no more asks all the same, for nothing, where that calls the one who has it.
            let units = may_be_lent.into();
            self.begins(
                n,
                Errand::Borrow { chunk: Chunk { divisor: 2, min: units, max: units }, starves: true },
            );
        }
        // Others starve, which a node hears when it has settled. A book that forgot a unit is not confused further, for the
        // histories would have no end.
        if node.stock > 0 && self.instance.faults.wrong_book == 0 {
            self.begins_after(n, Errand::HandBack, |next| {
                next.nodes[n].stock -= 1;
                next.nodes[n].lessee.hand_back(1);
            });
        }
        // The same where a share that nobody lets go of has one book after another counted anew.
        if node.lessee.recounts() && self.world.store.epoch % EPOCHS_OF_A_TIMELINE < EPOCHS_COUNTED {
            self.begins(n, Errand::Recount);
        }
        if node.lessee.owes_units() {
            self.begins(n, Errand::HandBack);
        } else if node.lessee.owes_share() {
            self.begins(n, Errand::Share);
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
        // Who has waited long enough to open it could not, and would end one epoch after another.
        if self.world.redis_refuses {
            return;
        }
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

    /// The node takes a silent one's units back: rightly, or because that one is slow, or because nobody is heard while
    /// Redis takes no writes.
    fn reclaims(&mut self, n: usize) {
        let node = &self.world.nodes[n];
        if !node.is_free() || node.is_cut_off || node.lessee.membership() != Membership::Current {
            return;
        }
        let Some(book) = self.world.redis.valid_book(self.instance.broken) else { return };
        for other in (0..NODES).filter(|&other| other != n) {
            let is_mistaken = self.world.nodes[other].beats() && !self.world.redis_refuses;
            if is_mistaken && self.world.faults.false_suspicion == 0 {
                continue;
            }
            let store = self.world.store.units(self.instance.total);
            let book = wire::read(book, true);
            let named = |node, _| node == wire::node(other);
            for silent in silent_holders(rules(self.instance.broken), wire::node(n), &book, &store, named) {
                let from = self.out.len();
                self.begins_after(n, Errand::Reclaim(silent), |next| {
                    next.faults.false_suspicion -= Count::from(is_mistaken);
                    next.nodes[n].is_mistaken = is_mistaken;
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
                // The event comes to every node.
                next.nodes.iter_mut().for_each(|node| node.rests = false);
            });
        }
    }

    fn line_to_the_store(&mut self, n: usize) {
        let is_whole = self.world.nodes.iter().all(|node| !node.is_cut_off);
        if self.world.faults.cut > 0 && is_whole {
            self.push(Step::Cut(n), |next| {
                next.faults.cut -= 1;
                (next.nodes[n].is_cut_off, next.nodes[n].rests) = (true, false);
            });
        }
        if self.world.nodes[n].is_cut_off {
            self.push(Step::Mend(n), |next| next.nodes[n].is_cut_off = false);
        }
        let account = self.world.redis.book.map(|book| book.accounts[n]);
        let holds = account.is_some_and(|account| account.granted > account.handed_back + account.settled);
        if self.world.faults.wrong_book > 0 && holds {
            self.push(Step::ForgetUnit(n), |next| {
                next.faults.wrong_book -= 1;
                next.book_was_wrong = true;
                if let Some(book) = &mut next.redis.book {
                    book.accounts[n].handed_back += 1;
                }
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
        if world.redis_refuses {
            self.push(Step::TakeWrites, |next| next.redis_refuses = false);
        } else if world.faults.refusal > 0 {
            self.push(Step::RefuseWrites, |next| {
                next.faults.refusal -= 1;
                next.redis_refuses = true;
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
            let Some(late) = *late else { continue };
            let instance = self.instance;
            self.push(Step::Arrive(slot), |next| {
                match late {
                    Late::Call(from, call) if !next.redis_refuses => {
                        next.redis.run(from, call, instance.broken);
                    }
                    Late::Call(..) => {}
                    Late::Share(n, share) => {
                        next.store.set_share(n, share, instance);
                    }
                }
                next.late[slot] = None;
                next.late.sort_unstable_by(|a, b| b.cmp(a));
            });
        }
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
