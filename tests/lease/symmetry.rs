//! Which node is which does not matter: two worlds that differ in nothing else are one to the search, or it would look at
//! everything twice.
//!
//! A world's fingerprint is made of what each node knows, has in the store and in the books, and has sent, told as that node
//! sees it (itself first, then the other one); of the two in no order; and of what belongs to neither.

use std::hash::{BuildHasher, Hash, Hasher};

use ahash::RandomState;

use crate::book::{Book, Call, Caller, Server};
use crate::step::Step;
use crate::world::{Begins, Faults, Instance, Late, NODES, Store, World};

/// A hasher to which one node is number 0, and the other one number 1. Nothing but the number of a node is hashed as `u16`.
struct SeenFrom<H> {
    node: u16,
    inner: H,
}

impl<H: Hasher> Hasher for SeenFrom<H> {
    fn write(&mut self, bytes: &[u8]) {
        self.inner.write(bytes);
    }

    fn write_u8(&mut self, number: u8) {
        self.inner.write_u8(number);
    }

    fn write_u16(&mut self, node: u16) {
        self.inner.write_u16(node ^ self.node);
    }

    fn write_u64(&mut self, number: u64) {
        self.inner.write_u64(number);
    }

    fn write_usize(&mut self, number: usize) {
        self.inner.write_usize(number);
    }

    fn finish(&self) -> u64 {
        self.inner.finish()
    }
}

impl World {
    /// The same for worlds that differ in which node is which, and, but for one in some 10^19 pairs, for no others.
    pub fn fingerprint(&self, state: &RandomState) -> u64 {
        let Self {
            store,
            redis: Server { id, book },
            replica,
            backup,
            nodes,
            late,
            faults,
            redis_refuses,
            book_was_wrong,
            living_ended,
            acknowledged_lost,
            refused,
        } = self;
        let mut sides: [u64; NODES] = std::array::from_fn(|n| {
            let mut seen = SeenFrom { node: n as u16, inner: state.build_hasher() };
            nodes[n].hash(&mut seen);
            side_of_store(store, n).hash(&mut seen);
            backup.as_ref().map(|backup| side_of_store(backup, n)).hash(&mut seen);
            book.map(|book| book.accounts[n]).hash(&mut seen);
            replica.map(|replica| replica.accounts[n]).hash(&mut seen);
            // In no order.
            let sent = late.iter().flatten().map(|late| state.hash_one(side_of_late(late, n)));
            sent.fold(0, u64::wrapping_add).hash(&mut seen);
            seen.finish()
        });
        sides.sort_unstable();
        let books = (book.as_ref().map(head_of_book), replica.as_ref().map(head_of_book));
        let stores = (head_of_store(store), backup.as_ref().map(head_of_store));
        let flags = [redis_refuses, book_was_wrong, living_ended, acknowledged_lost, refused];
        state.hash_one((sides, stores, id, books, faults, flags))
    }
}

fn side_of_store(store: &Store, n: usize) -> impl Hash + use<> {
    let Store { epoch: _, returned: _, incarnation, durable, share } = *store;
    (incarnation[n], durable[n], share[n])
}

fn head_of_store(store: &Store) -> impl Hash + use<> {
    (store.epoch, store.returned)
}

fn head_of_book(book: &Book<NODES>) -> impl Hash + use<> {
    let Book { server, epoch, total, revision, returned, accounts: _ } = *book;
    (server, epoch, total, revision, returned)
}

/// A call that is late, as node `n` sees it: whose it is, and the others' numbers after its own.
fn side_of_late(late: &Late, n: usize) -> impl Hash + use<> {
    match *late {
        Late::Share(node, share) => (Some(node ^ n), Some(share), None),
        Late::Call(Caller { node, incarnation, epoch }, call) => {
            // Whoever opens a book does it in nobody's name.
            let whose = !matches!(call, Call::Rebuild { .. });
            let mut call = call;
            if let Call::Rebuild { incarnations, .. } = &mut call {
                incarnations.rotate_left(n);
            }
            (whose.then_some(usize::from(node) ^ n), None, Some((incarnation, epoch, call)))
        }
    }
}

const EVERYTHING: Faults = Faults {
    crash: 1,
    lost_reply: 1,
    late: 2,
    rollback: 1,
    flush: 1,
    false_suspicion: 1,
    expiry: 1,
    restore: 1,
    refusal: 1,
    cut: 1,
    wrong_book: 0,
    rest: 1,
};

/// Whether the one happens to a node as the other does to the other node.
fn is_mirrored(one: &Step, other: &Step) -> bool {
    if matches!((one, other), (Step::Arrive(_), Step::Arrive(_))) {
        return true;
    }
    let swapped = format!("{one:?}").replace("(0", "(#").replace("(1", "(0").replace("(#", "(1");
    swapped == format!("{other:?}")
}

/// Two histories side by side, in which the nodes have changed places.
#[test]
fn what_happens_to_the_one_node_or_to_the_other_comes_to_the_same() {
    let instance = Instance {
        total: 2,
        granted_max: 2,
        faults: EVERYTHING,
        begins: Begins::Open,
        reads_apart: false,
        broken: None,
    };
    let state = RandomState::new();
    let prints = |steps: &[(Step, World)]| {
        let mut prints: Vec<_> = steps.iter().map(|(_, next)| next.fingerprint(&state)).collect();
        prints.sort_unstable();
        prints
    };
    let (mut steps, mut others) = (Vec::new(), Vec::new());
    for history in 0..150_usize {
        let (mut world, mut mirror) = (World::begin(&instance), World::begin(&instance));
        for length in 0..60 {
            world.steps(&instance, &mut steps);
            mirror.steps(&instance, &mut others);
            assert_eq!(prints(&steps), prints(&others), "history {history}, {length} steps long");
            if steps.is_empty() {
                break;
            }
            let (step, next) = steps.swap_remove((history * 7 + length * (history + 3)) % steps.len());
            let print = next.fingerprint(&state);
            let is_like_it = |(other, next): &(Step, World)| {
                is_mirrored(&step, other) && next.fingerprint(&state) == print
            };
            let place = others.iter().position(is_like_it);
            let place = place.unwrap_or_else(|| panic!("{step:?} is no step of the other node"));
            (world, mirror) = (next, others.swap_remove(place).1);
        }
    }
}
