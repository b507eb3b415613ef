//! What the model's servers answer to a node, and what its machine and its memory make of it.

use seckill::domain::KnownNode;
use seckill::ledger::lease::{Answer, Ask, Errand, Progress};

use crate::book::Count;
use crate::breaks::Break;
use crate::wire;
use crate::world::{Instance, NODES, Node, World};

/// Up to this epoch a node that finds the book behind has no patience with another one that is opening it.
const EPOCHS_OUTDONE: Count = 3;

impl World {
    /// The store does what node `n` asks.
    fn store_answers(&mut self, n: usize, ask: &Ask, instance: &Instance) -> Answer {
        match ask {
            Ask::Units => Answer::Units(self.store.units(instance.total)),
            Ask::Incarnations => {
                // Itself first: as the other one would hear it.
                let nodes = [n, 1 - n].map(|n| KnownNode {
                    node: wire::node(n),
                    incarnation: self.store.incarnation[n].into(),
                    may_live: !self.is_fenced(n),
                });
                Answer::Incarnations(nodes.into())
            }
            Ask::Fence(node, life) => {
                let incarnation = &mut self.store.incarnation[usize::from(node.number())];
                let is_over = u64::from(*incarnation) > *life;
                *incarnation += Count::from(!is_over);
                Answer::Fenced((!is_over).then_some((*incarnation).into()))
            }
            Ask::EndEpoch(seen) => {
                let seen = wire::count(*seen);
                let is_shared = instance.broken == Some(Break::SharesEpochs);
                self.store.epoch =
                    if is_shared { self.store.epoch.max(seen + 1) } else { self.store.epoch.max(seen) + 1 };
                Answer::Epoch(self.store.epoch.into())
            }
            Ask::Share { .. } => {
                let share = wire::share(ask).and_then(|wanted| self.store.set_share(n, wanted, instance));
                Answer::Share(share.map(Into::into))
            }
            Ask::Release { node, life } => {
                self.store.release_share(usize::from(node.number()), *life);
                Answer::Released
            }
            other => unreachable!("{other:?} is not the store's to answer"),
        }
    }

    /// What node `n` hears when it asks the store, or Redis about beats or the book. `None` when it is not heard itself.
    pub fn answers(&mut self, n: usize, ask: &Ask, instance: &Instance) -> Option<Answer> {
        match ask {
            Ask::Beat(..) if self.redis_refuses => None,
            Ask::Beat(node, _) => {
                let other = usize::from(node.number());
                let is_silent = !self.nodes[other].beats() || self.nodes[n].is_mistaken;
                if is_silent {
                    self.nodes[n].found_silent = wire::count(self.nodes[other].life.incarnation());
                }
                Some(Answer::Silent(is_silent))
            }
            Ask::Book => {
                let is_valid = self.redis.valid_book(instance.broken).is_some();
                let server = wire::server_id(self.redis.id);
                let lost = seckill::ledger::lease::Book { lost: true, server, ..Default::default() };
                Some(Answer::Book(self.redis.book.map_or(lost, |book| wire::read(&book, is_valid))))
            }
            _ if self.nodes[n].is_cut_off => None,
            Ask::Fence(node, _) => {
                let other = usize::from(node.number());
                let life = wire::count(self.nodes[other].life.incarnation());
                // Who comes back, or beats again, right after it was found silent was not heard in time.
                let is_excused = self.nodes[n].is_mistaken || self.nodes[n].found_silent == life;
                let beats = self.nodes[other].beats() && !is_excused;
                let was_fenced = self.is_fenced(other);
                let answer = self.store_answers(n, ask, instance);
                self.living_ended |= beats && !was_fenced && self.is_fenced(other);
                Some(answer)
            }
            _ => Some(self.store_answers(n, ask, instance)),
        }
    }

    /// The node reads in the store what its machine wants to know next.
    pub fn reads(&mut self, n: usize, instance: &Instance) {
        while let Some(ask @ (Ask::Units | Ask::Incarnations)) = self.nodes[n].lessee.ask() {
            match self.answers(n, &ask, instance) {
                Some(answer) => self.hears(n, answer),
                None => self.does_not_hear(n),
            }
            if ask == Ask::Incarnations && instance.reads_apart {
                return;
            }
        }
    }

    /// The node's machine hears an answer, and its memory follows.
    pub fn hears(&mut self, n: usize, answer: Answer) {
        if self.nodes[n].lessee.needs_others(&answer) {
            self.nodes.iter_mut().for_each(|node| node.rests = false);
        }
        let progress = self.nodes[n].lessee.heard(answer);
        self.follows(n, progress);
    }

    pub fn does_not_hear(&mut self, n: usize) {
        let progress = self.nodes[n].lessee.unheard();
        self.follows(n, progress);
    }

    fn follows(&mut self, n: usize, progress: Progress) {
        let waits = self.waits_for_an_opener(n);
        let node = &mut self.nodes[n];
        if !node.lessee.is_busy() {
            (node.is_mistaken, node.found_silent) = (false, 0);
        }
        match progress {
            Progress::Done(units) => node.stock += wire::count(units),
            Progress::Fenced { known } => node.ends_its_life(known),
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
    pub fn waits_for_an_opener(&self, n: usize) -> bool {
        let opens = |node: &Node| {
            // Whoever has found another one silent reads the store for that.
            let is_asked = match node.lessee.ask() {
                Some(Ask::EndEpoch(_) | Ask::Incarnations | Ask::Open(_)) => true,
                Some(Ask::Units) => node.found_silent == 0,
                _ => false,
            };
            node.up && is_asked
        };
        self.store.epoch > EPOCHS_OUTDONE && (0..NODES).any(|other| other != n && opens(&self.nodes[other]))
    }
}

impl Node {
    pub fn ends_its_life(&mut self, known: u64) {
        self.life.end_below(known);
        self.rests = false;
        if self.life.drops_stock() {
            self.stock = 0;
        }
    }
}

/// The batch of node `n` meets the store: its fence, then its guard. What the guard refuses is off sale for good, with all
/// that the node has; what the fence refuses goes with the node's life.
pub fn commit(next: &mut World, n: usize, instance: &Instance) {
    let acknowledged_first = instance.broken == Some(Break::AcknowledgesFirst);
    let has_guard = instance.broken != Some(Break::SellsWithoutShare);
    let is_fenced = next.is_fenced(n) && instance.broken != Some(Break::NoFence);
    let node = &mut next.nodes[n];
    let units = std::mem::take(&mut node.in_flight);
    let is_oversold = has_guard && next.store.durable[n] + units > next.store.share[n].granted;
    if !is_fenced && !is_oversold {
        next.store.durable[n] += units;
        return;
    }
    next.acknowledged_lost |= acknowledged_first;
    next.refused |= !is_fenced;
    node.stock += units;
    if is_fenced {
        node.ends_its_life(0);
    } else {
        let refused = std::mem::take(&mut node.stock);
        node.lessee.refused(refused.into());
    }
}
