//! An order store in memory, with the fence and the guard of a real one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::Duration;

use seckill::domain::{KnownNode, NodeId, SaleId, SaleUnits, Share};
use seckill::orders::{Audit, LeaseStore, LeftBook, StoreError, WantedShare};

use crate::node::{SALE, sale_key};

/// How long a question waits for a store that does not answer: several beats of an agent.
const QUESTION_MAX: Duration = Duration::from_millis(200);

/// What became of a batch of one order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    Durable,
    Fenced,
    Oversold,
}

#[derive(Debug, Default)]
struct Inner {
    incarnations: BTreeMap<NodeId, u64>,
    /// Nodes whose life was ended.
    ended: BTreeSet<NodeId>,
    epoch: u64,
    total: u64,
    revision: u64,
    returned: u64,
    settled: BTreeMap<NodeId, u64>,
    /// Units, and the life and turn that has them.
    shares: BTreeMap<NodeId, (u64, (u64, u64))>,
    refusals: u64,
    /// The sale has ended.
    has_ended: bool,
    /// Whether a node has said that the book is forgotten.
    is_forgotten: bool,
}

impl Inner {
    fn shares(&self) -> impl Iterator<Item = Share> {
        self.shares.iter().map(|(&node, &(granted, (life, _)))| Share { node, life, granted })
    }
}

/// The store that all nodes of a test share. It knows one sale.
#[derive(Debug)]
pub struct MemoryStore(Mutex<Inner>);

impl MemoryStore {
    pub fn new(total: u64) -> Self {
        Self(Mutex::new(Inner { total, revision: 1, epoch: 1, ..Inner::default() }))
    }

    /// Commits `units` of a node in one of its lives.
    pub fn commit(&self, node: NodeId, incarnation: u64, units: u64) -> Committed {
        let mut inner = self.0.lock().unwrap();
        if inner.incarnations.get(&node) != Some(&incarnation) {
            return Committed::Fenced;
        }
        let sold = inner.settled.get(&node).copied().unwrap_or_default();
        if sold + units > inner.shares.get(&node).copied().unwrap_or_default().0 {
            inner.refusals += 1;
            return Committed::Oversold;
        }
        *inner.settled.entry(node).or_default() += units;
        Committed::Durable
    }

    /// The operator changes the stock.
    pub fn resize(&self, total: u64) {
        let mut inner = self.0.lock().unwrap();
        inner.total = total;
        inner.revision += 1;
    }

    /// Sold orders expire.
    pub fn expire(&self, units: u64) {
        self.0.lock().unwrap().returned += units;
    }

    pub fn sold(&self) -> u64 {
        let inner = self.0.lock().unwrap();
        inner.settled.values().sum::<u64>() - inner.returned
    }

    /// Batches that the guard refused: the protocol never lets it come to that.
    pub fn refusals(&self) -> u64 {
        self.0.lock().unwrap().refusals
    }

    /// A new life of the node begins, above `known`.
    pub fn begin_life(&self, node: NodeId, known: u64) -> u64 {
        let mut inner = self.0.lock().unwrap();
        inner.ended.remove(&node);
        let incarnation = inner.incarnations.entry(node).or_default();
        *incarnation = known.max(*incarnation) + 1;
        *incarnation
    }

    /// The life `life` of the node is ended, if it is not over.
    pub fn end_life(&self, node: NodeId, life: u64) -> Option<u64> {
        let mut inner = self.0.lock().unwrap();
        let incarnation = inner.incarnations.entry(node).or_default();
        if *incarnation > life {
            return None;
        }
        *incarnation = life + 1;
        inner.ended.insert(node);
        Some(life + 1)
    }

    /// The present life of the node.
    pub fn life_of(&self, node: NodeId) -> u64 {
        self.0.lock().unwrap().incarnations.get(&node).copied().unwrap_or_default()
    }

    pub fn look(&self) -> SaleUnits {
        let inner = self.0.lock().unwrap();
        SaleUnits {
            epoch: inner.epoch,
            total: inner.total,
            revision: inner.revision,
            sold: inner.settled.values().sum::<u64>() - inner.returned,
            returned: inner.returned,
            settled: inner.settled.iter().map(|(node, units)| (*node, *units)).collect(),
            shares: inner.shares().collect(),
        }
    }

    fn set_share(&self, node: NodeId, turn: (u64, u64), units: u64) -> Option<u64> {
        let mut inner = self.0.lock().unwrap();
        if inner.incarnations.get(&node) != Some(&turn.0) {
            return None;
        }
        let lent: u64 = inner.shares().map(|share| share.granted).sum();
        let spare = if inner.has_ended { 0 } else { (inner.total + inner.returned).saturating_sub(lent) };
        let sold = inner.settled.get(&node).copied().unwrap_or_default();
        let (share, of) = inner.shares.entry(node).or_default();
        if *of <= turn {
            (*share, *of) = (sold.max(units.min(*share + spare)), turn);
        }
        Some(*share)
    }

    fn release_share(&self, node: NodeId, life: u64) {
        let mut inner = self.0.lock().unwrap();
        let sold = inner.settled.get(&node).copied().unwrap_or_default();
        if let Some((share, of)) = inner.shares.get_mut(&node)
            && of.0 <= life
        {
            *share = sold;
        }
    }

    pub fn incarnations(&self) -> Vec<KnownNode> {
        let inner = self.0.lock().unwrap();
        let known = |(&node, &incarnation): (&NodeId, &u64)| KnownNode {
            node,
            incarnation,
            may_live: !inner.ended.contains(&node),
        };
        inner.incarnations.iter().map(known).collect()
    }

    /// None once the sale has ended.
    pub fn end_epoch(&self, seen: u64) -> Option<u64> {
        let mut inner = self.0.lock().unwrap();
        if inner.has_ended {
            return None;
        }
        inner.epoch = inner.epoch.max(seen) + 1;
        Some(inner.epoch)
    }

    /// An operator ends the sale for good: what was not sold is nobody's.
    pub fn end_sale(&self) {
        let mut inner = self.0.lock().unwrap();
        inner.has_ended = true;
        let Inner { shares, settled, .. } = &mut *inner;
        for (node, (share, _)) in shares {
            *share = settled.get(node).copied().unwrap_or_default();
        }
    }

    /// Whether the sale has ended, and whether its book was said to be forgotten.
    pub fn ending(&self) -> (bool, bool) {
        let inner = self.0.lock().unwrap();
        (inner.has_ended, inner.is_forgotten)
    }
}

/// The store as one node's ledger sees it.
#[derive(Debug)]
pub struct NodeStore {
    pub store: Arc<MemoryStore>,
    pub node: NodeId,
    /// The life that the node's batches name.
    pub life: Arc<AtomicU64>,
    /// Whether the store does not answer this node.
    pub is_away: Arc<AtomicBool>,
}

impl NodeStore {
    fn answers(&self) -> Result<&MemoryStore, StoreError> {
        if self.is_away.load(Ordering::SeqCst) {
            // As a server that hangs, and not as one that refuses: each question costs its whole time.
            sleep(QUESTION_MAX);
            return Err(StoreError::transient("the line is cut"));
        }
        Ok(&self.store)
    }
}

impl LeaseStore for NodeStore {
    fn begin_life(&self, known: u64) -> Result<u64, StoreError> {
        let life = self.answers()?.begin_life(self.node, known);
        self.life.store(life, Ordering::SeqCst);
        Ok(life)
    }

    fn newest_order(&self) -> Result<Option<seckill::domain::OrderId>, StoreError> {
        Ok(None)
    }

    fn end_life(&self, node: NodeId, life: u64) -> Result<Option<u64>, StoreError> {
        Ok(self.answers()?.end_life(node, life))
    }

    fn incarnations(&self) -> Result<Vec<KnownNode>, StoreError> {
        Ok(self.answers()?.incarnations())
    }

    fn end_epoch(&self, _: SaleId, seen: u64) -> Result<Option<u64>, StoreError> {
        Ok(self.answers()?.end_epoch(seen))
    }

    fn set_share(&self, wanted: WantedShare) -> Result<Option<u64>, StoreError> {
        Ok(self.answers()?.set_share(self.node, (wanted.life, wanted.turn), wanted.units))
    }

    fn release_share(&self, _: SaleId, node: NodeId, life: u64) -> Result<(), StoreError> {
        self.answers()?.release_share(node, life);
        Ok(())
    }

    fn units(&self, _: SaleId) -> Result<Option<SaleUnits>, StoreError> {
        let store = self.answers()?;
        Ok((!store.ending().0).then(|| store.look()))
    }

    fn left_books(&self, ended: &[SaleId], _: usize) -> Result<Vec<LeftBook>, StoreError> {
        let store = self.answers()?;
        let (has_ended, is_forgotten) = store.ending();
        let is_left = has_ended && (!is_forgotten || ended.contains(&SALE));
        let left = is_left.then(|| LeftBook { sale: SALE, key: sale_key(), last_epoch: store.look().epoch });
        Ok(left.into_iter().collect())
    }

    fn books_forgotten(&self, sales: &[SaleId]) -> Result<(), StoreError> {
        self.answers()?.0.lock().unwrap().is_forgotten |= sales.contains(&SALE);
        Ok(())
    }

    /// Buyers have no memory in this world.
    fn followed_until(&self) -> Option<std::time::Instant> {
        Some(std::time::Instant::now())
    }

    fn audit(&self, _: SaleId) -> Result<Option<(Audit, SaleUnits)>, StoreError> {
        let view = self.answers()?.look();
        let units = |units| u32::try_from(units).unwrap();
        let audit = Audit {
            total: units(view.total),
            sold_by_guard: units(view.sold),
            held: view.sold,
            ..Audit::default()
        };
        Ok(Some((audit, view)))
    }
}
