//! A sale rests at a node: nobody looks at it there, and no buyer comes, until something happens to it or somebody calls.

use seckill::ledger::lease::{Drift, Membership, MemoryView, agree, compare};

use crate::step::Step;
use crate::wire;
use crate::world::{Instance, World};

impl World {
    /// The books agree at node `n`, and nobody looks at the sale there any more; or somebody does again.
    pub fn rests(&self, n: usize, instance: &Instance) -> Vec<(Step, Self)> {
        let change = |step, change: &dyn Fn(&mut Self)| {
            let mut next = self.clone();
            change(&mut next);
            (step, next)
        };
        if self.nodes[n].rests {
            let wakes = |next: &mut Self| next.nodes[n].rests = false;
            let is_other_silent = (0..self.nodes.len()).any(|other| other != n && !self.nodes[other].beats());
            let silent = is_other_silent.then(|| change(Step::LookAtAll(n), &wakes));
            return silent.into_iter().chain([change(Step::BuyerComes(n), &wakes)]).collect();
        }
        let may_rest = self.faults.rest > 0 && self.is_done_with(n, instance);
        let rests = may_rest.then(|| {
            change(Step::Rest(n), &|next| {
                next.faults.rest -= 1;
                next.nodes[n].rests = true;
            })
        });
        rests.into_iter().collect()
    }

    /// Whether a comparison finds nothing to do.
    fn is_done_with(&self, n: usize, instance: &Instance) -> bool {
        let node = &self.nodes[n];
        let is_at_something =
            node.is_cut_off || node.lessee.owes_units() || node.lessee.owes_share() || node.lessee.recounts();
        if is_at_something || !node.is_free() || node.lessee.membership() != Membership::Current {
            return false;
        }
        let Some(book) = self.redis.valid_book(instance.broken) else { return false };
        let (me, book) = (wire::node(n), wire::read(book, true));
        let store = self.store.units(instance.total);
        let memory = MemoryView {
            on_sale: node.stock.into(),
            in_flight: node.in_flight.into(),
            held: node.lessee.held(),
        };
        // Settling is done here only where it tells the node something.
        let drift = Drift { unsettled: 0, ..compare(me, memory, &book, &store) };
        agree(me, &memory, &drift, &book, &store)
    }
}
