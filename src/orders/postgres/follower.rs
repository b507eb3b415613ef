//! What the other nodes did, taken over into this node's memory.
//!
//! Buyers: nothing depends on it being quick, for the store refuses what memory does not know yet; it makes the refusals
//! cheap, and it frees a claim here when the order was given up there. Sales: one that was made elsewhere is on the board
//! with an empty stock, which its lease agent fills; terms that changed elsewhere replace those on the board; one that was
//! deleted elsewhere is on it no more, and one that was archived is let go. Orders of a node
//! that fell silent: they get their deadlines here, and their payments are somebody's to finish.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::deadlines::Deadlines;
use super::super::events::EventKind;
use super::super::store::StoreError;
use super::applied_watermark::UnplacedEvents;
use super::change_feed::{ChangedSale, PgChangeFeed};
use super::failure_detector::FailureDetector;
use super::settings::PostgresSettings;
use crate::admission::{Admission, LiveSale};
use crate::domain::{NodeId, OrderId, Sale, SaleId};

/// Events that are read at once.
const PAGE: usize = 1_000;
/// Pages of one look: who is far behind must still give signs of life.
const PAGES_A_LOOK: usize = 32;

/// What a [`Follower`] is made of.
#[derive(Debug)]
pub struct FollowerParts {
    /// The store.
    pub feed: PgChangeFeed,
    /// This node's memory.
    pub admission: Arc<Admission>,
    /// When orders that nobody else looks after run out of time.
    pub deadlines: Arc<Deadlines>,
    /// The last event that a start has read ([`Recovered::last_event`](crate::orders::Recovered::last_event)).
    pub after_event: u64,
    /// The last change of a sale that it has read ([`Recovered::last_change`](crate::orders::Recovered::last_change)).
    pub after_change: u64,
    /// Counters of a sale's stock.
    pub shards: usize,
    /// Sales that may be on the board.
    pub sales_max: usize,
}

/// Follows a store that several nodes share.
#[derive(Debug)]
pub struct Follower {
    parts: FollowerParts,
    /// The number of the last change of a sale that memory knows.
    after_change: u64,
    /// Whether there was more to read than one look takes.
    is_behind: bool,
    unplaced: UnplacedEvents,
    detector: FailureDetector,
    beat_at: Instant,
    /// How far this node's order numbers are complete, as the others last heard.
    told_through: Option<OrderId>,
}

impl Follower {
    /// A follower that has seen nothing but what the start has read.
    pub fn new(parts: FollowerParts) -> Self {
        let PostgresSettings { silent_ms_max, beat_ms, .. } = *parts.feed.settings();
        let [silent_after, beat] = [silent_ms_max, beat_ms].map(|ms| Duration::from_millis(ms.into()));
        let detector = FailureDetector::new(parts.feed.node(), silent_after, beat);
        // From the first change on: what the start has read already is looked at again, and is as it was.
        Self {
            parts,
            after_change: 0,
            is_behind: false,
            unplaced: UnplacedEvents::default(),
            detector,
            beat_at: Instant::now(),
            told_through: None,
        }
    }

    /// How long to wait between two looks.
    pub fn pause(&self) -> Duration {
        let pause_ms = if self.is_behind { 0 } else { self.parts.feed.settings().follow_ms };
        Duration::from_millis(pause_ms.into())
    }

    /// Takes over what is new, gives a sign of life when it is time for one, and answers with the payments
    /// (order and number) of silent nodes that are this node's to finish from now on. Blocks.
    ///
    /// # Errors
    /// The store does not answer; the next look goes on from the same place.
    pub fn look(&mut self) -> Result<Vec<(OrderId, u32)>, StoreError> {
        let looked = self.catch_up().and_then(|_| self.look_around());
        if looked.is_err() {
            self.detector.restart(Instant::now());
        }
        looked
    }

    /// Takes over what has happened to orders and sales. Says how many events and changes that were. Blocks.
    ///
    /// # Errors
    /// As [`Follower::look`].
    pub fn catch_up(&mut self) -> Result<usize, StoreError> {
        let began = Instant::now();
        let ends = self.parts.feed.log_ends()?;
        let mut taken = 0;
        // Sales first, and events only as far as these sales were known: one of a sale that is not on the board is lost.
        if ends.last_change > self.after_change {
            taken += self.take_changes(ends.last_change)?;
        }
        for _ in 0..PAGES_A_LOOK {
            let new = ends.last_event.saturating_sub(self.parts.after_event);
            if new == 0 {
                break;
            }
            taken += self.take_events(PAGE.min(new as usize))?;
        }
        self.parts.feed.watermark().saw_event(ends.last_event);
        self.tell_how_far(ends.newest_order)?;
        self.is_behind = ends.last_event > self.parts.after_event;
        if !self.is_behind
            && let Some(moment) = self.unplaced.taken_at(began, ends.unplaced)
        {
            self.parts.feed.watermark().advance(moment);
        }
        Ok(taken)
    }

    /// Tells the others how far this node's order numbers are complete, as long as that is below an order of anybody's: who
    /// follows the orders waits for it.
    fn tell_how_far(&mut self, newest: Option<OrderId>) -> Result<(), StoreError> {
        if self.told_through < newest {
            let through = self.parts.admission.flight().complete_through(newest);
            self.parts.feed.complete_through(through)?;
            self.told_through = Some(through);
        }
        Ok(())
    }

    fn take_changes(&mut self, last_change: u64) -> Result<usize, StoreError> {
        // Sales that ended before the start had none of its places on the board.
        let ended_after = self.after_change.max(self.parts.after_change);
        let changed = self.parts.feed.sales_changed_after(self.after_change, ended_after)?;
        self.parts.admission.board().set_stops(self.parts.feed.stops()?);
        let taken = changed.len();
        for sale in changed {
            self.after_change = sale.change();
            match sale {
                ChangedSale::Live(sale) => self.take_sale(sale),
                ChangedSale::Archived(sale) => self.let_go(&sale),
                ChangedSale::Deleted(sale, _) => self.take_off(sale),
            }
        }
        // The last one may have been a stop.
        self.after_change = self.after_change.max(last_change);
        Ok(taken)
    }

    fn take_sale(&self, sale: Sale) {
        let board = self.parts.admission.board();
        let sales = board.sales();
        match sales.by_id(sale.id) {
            // Made here; the word that says so to whoever lends the stock may have been lost.
            Some(live) if live.version >= sale.version => board.stir(live),
            Some(live) => {
                board.change_terms(&sale);
                if live.terms == sale.terms {
                    return;
                }
                tracing::info!(sale = %sale.key, "the terms of a sale were changed at another node");
            }
            // It was read before this engine archived it.
            None if board.archived().may_have(sale.key.tenant(), sale.key.campaign(), sale.key.sku()) => {}
            None if sales.live() >= self.parts.sales_max => {
                tracing::error!(
                    sale = %sale.key, sales = sales.live(),
                    "a sale of another node is not sold here: the board is full; raise ledger.sales_max and restart"
                );
            }
            None => {
                tracing::info!(sale = %sale.key, "a sale was made at another node");
                board.publish_new(LiveSale::lent(sale, self.parts.shards));
            }
        }
    }

    /// Of one that this node does not sell it keeps the name: buyers may ask for it.
    fn let_go(&self, archived: &Sale) {
        let board = self.parts.admission.board();
        if board.sales().by_id(archived.id).is_some_and(|live| !live.is_archived) {
            tracing::info!(sale = %archived.key, sold = archived.sold, "a sale was archived at another node");
        }
        board.let_go(archived);
    }

    fn take_off(&self, deleted: SaleId) {
        let board = self.parts.admission.board();
        let live = board.sales().by_id(deleted).cloned();
        if let Some(live) = live {
            tracing::info!(sale = %live.key, "a sale was deleted at another node");
            board.remove_all(&[deleted]);
        }
    }

    fn take_events(&mut self, limit: usize) -> Result<usize, StoreError> {
        let events = self.parts.feed.events_after(self.parts.after_event, limit)?;
        let board = self.parts.admission.board();
        let sales = board.sales();
        for event in &events {
            let placed = &event.order.placed;
            self.parts.after_event = event.seq;
            // A sale that this node does not sell has no claims here.
            let Some(sale) = sales.by_id(placed.sale) else { continue };
            let claims = sale.state.claims();
            match event.kind {
                // This node's own orders have their claims since before they were durable.
                EventKind::Created if placed.id.node() != self.parts.feed.node() => {
                    claims.restore(&event.order);
                }
                EventKind::Created | EventKind::Paid | EventKind::Extended => {}
                EventKind::Cancelled | EventKind::Expired => {
                    claims.release(placed.buyer.as_str(), placed.id);
                    sale.state.note_units_came_back();
                }
                EventKind::Refunded => {
                    claims.keep_only(placed.buyer.as_str(), placed.id, event.order.units_held());
                    if event.refund.as_ref().is_some_and(|refund| refund.restock > 0) {
                        sale.state.note_units_came_back();
                    }
                }
            }
            board.stir(sale);
        }
        Ok(events.len())
    }

    /// Gives a sign of life when it is time for one, and takes over the open orders of silent nodes whose heir this one
    /// is: those that wait for their payment get their deadlines, the payments under way are the answer. Blocks.
    ///
    /// # Errors
    /// As [`Follower::look`].
    pub fn look_around(&mut self) -> Result<Vec<(OrderId, u32)>, StoreError> {
        let now = Instant::now();
        if now < self.beat_at {
            return Ok(Vec::new());
        }
        let feed = &self.parts.feed;
        let heartbeats = feed.heartbeat()?;
        self.beat_at = now + Duration::from_millis(feed.settings().beat_ms.into());
        let left = self.detector.observe(&heartbeats, Instant::now());
        if left.is_empty() {
            return Ok(Vec::new());
        }
        let nodes: Vec<NodeId> = left.iter().map(|heartbeat| heartbeat.node).collect();
        let open = feed.open_orders_of(&nodes)?;
        // Who began a refund concludes from a gateway that cannot be reached that nothing was given back: not after this node has
        // asked for it. So that life ends first. What it has concluded until then is found by whoever asks: the order is read again.
        let has_begun = |node| open.iter().any(|order| order.refunded_by == Some(node));
        for silent in left.iter().filter(|silent| has_begun(silent.node)) {
            if !feed.end_life(silent)? {
                // It is back, and looks after its own.
                return Ok(Vec::new());
            }
        }
        left.into_iter().for_each(|heartbeat| self.detector.inherited(heartbeat));
        if !open.is_empty() {
            tracing::warn!(
                ?nodes,
                orders = open.len(),
                "the open orders of silent nodes are looked after here"
            );
        }
        let waiting = open.iter().filter(|order| order.payment.is_none());
        self.parts.deadlines.enter_all(waiting.map(|order| (order.pay_before, order.id)));
        Ok(open.iter().filter_map(|order| Some((order.id, order.payment?))).collect())
    }
}
