//! The store goes back in time: it is restored from a copy, or a standby takes over that does not have everything.

use crate::book::Count;
use crate::breaks::Break;
use crate::step::Step;
use crate::world::{Instance, Late, NODES, Node, Store, World};

/// Each timeline has so many epochs of its own: those of a later one are above all of those before.
pub const EPOCHS_OF_A_TIMELINE: Count = 64;

impl World {
    /// A copy is made of the store, or the store is what the copy was, and all nodes start over. Orders that were lost with it
    /// are the store's to answer for; the stock must be whole again.
    pub fn goes_back(&self, instance: &Instance) -> Option<(Step, Self)> {
        if self.faults.restore == 0 {
            return None;
        }
        let mut next = self.clone();
        let Some(copy) = next.backup.take() else {
            next.backup = Some(next.store);
            return Some((Step::CopyStore, next));
        };
        next.faults.restore -= 1;
        let begun = instance.faults.restore - next.faults.restore;
        let keeps = instance.broken == Some(Break::KeepsItsTimeline);
        let epoch = if keeps { copy.epoch } else { begun * EPOCHS_OF_A_TIMELINE + 1 };
        next.store = Store { epoch, ..copy };
        // What was on its way to the store that was is lost with it.
        next.late = next.late.map(|late| late.filter(|late| matches!(late, Late::Call(..))));
        next.late.sort_unstable_by(|a, b| b.cmp(a));
        for n in 0..NODES {
            next.nodes[n] = Node::new(n, false, copy.incarnation[n], instance.broken);
        }
        Some((Step::Restore, next))
    }
}
