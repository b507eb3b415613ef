//! The decision: may this buyer have these units, now?
//!
//! # Protocol of the atomics
//!
//! `opens_until` is the latest start that a sale may have to be open, written by whoever guards the calendar and by
//! nobody else. It decides alone and publishes nothing: relaxed.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::board::Board;
use super::bucket::TokenBucket;
use super::buyer_rates::BuyerRates;
use super::claims::{ClaimRequest, OrderInFlight, PriorClaim};
use super::flight::Flight;
use super::live_sale::LiveSale;
use super::order_ids::OrderIds;
use super::queue::{Queue, QueuedOrder};
use super::sync::{AtomicI64, Ordering};
use super::tally::Decided;
use super::ticket::Ticket;
use super::waiting_room::Rooms;
use crate::domain::{
    BuyerId, BuyerName, Cents, EpochMs, IdempotencyKey, KeyName, Nanos, OrderId, RateScope, Refusal,
    Rejection, SaleId, SalePhase, SaleTerms, SpanContext, Units,
};

/// What a buyer asks of a sale.
#[derive(Clone, Copy, Debug)]
pub struct Purchase<'a> {
    /// Who asks.
    pub buyer: BuyerName<'a>,
    /// For how many units.
    pub quantity: Units,
    /// The client's name of this attempt.
    pub idempotency_key: Option<KeyName<'a>>,
    /// The buyer's pass of the sale's waiting room, unchecked.
    pub pass: Option<&'a [u8]>,
}

/// The time of a request on both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// For the sale's window and the order's times.
    pub wall: EpochMs,
    /// For the token buckets.
    pub mono: Nanos,
}

/// A purchase that has, or may be getting, an order.
#[derive(Debug)]
pub enum Accepted {
    /// A new order, on its way to the store.
    Placed(Placed),
    /// An order of this buyer is on its way already.
    InFlight(OrderInFlight),
    /// The same request made this durable order before.
    Replay(OrderId),
}

/// A new order, and where to hear that it is durable.
#[derive(Debug)]
pub struct Placed {
    /// The order.
    pub order_id: OrderId,
    /// Its units.
    pub quantity: Units,
    /// What they cost.
    pub amount: Cents,
    /// When it was admitted.
    pub created_at: EpochMs,
    /// Until when it may be paid.
    pub pay_before: EpochMs,
    /// Where its resolution is announced.
    pub ticket: Arc<Ticket>,
}

/// The node's own limits, beside those of each sale. By default there are none.
#[derive(Debug, Default)]
pub struct NodeLimits {
    /// How fast one buyer may ask for what writes or calls out: purchases, payments, cancellations.
    pub buyer_rates: Option<BuyerRates>,
    /// How fast one buyer may look orders up.
    pub lookup_rates: Option<BuyerRates>,
    /// How fast all sales of the node together admit.
    pub node_bucket: Option<TokenBucket>,
    /// How often one buyer may take units of one sale and let them go again; 0 sets no limit.
    pub releases_max: u32,
}

/// Everything a purchase is decided with.
#[derive(Debug)]
pub struct Admission {
    board: Board,
    limits: ArcSwap<NodeLimits>,
    queue: Queue,
    flight: Arc<Flight>,
    opens_until: AtomicI64,
    rooms: Rooms,
}

impl Admission {
    /// Admission over an empty board. `buyer_rates` and `node_bucket` are the node's own limits, if it has any.
    pub fn new(
        queue: Queue,
        ids: OrderIds,
        buyer_rates: Option<BuyerRates>,
        node_bucket: Option<TokenBucket>,
    ) -> Self {
        let limits = NodeLimits { buyer_rates, node_bucket, ..NodeLimits::default() };
        let opens_until = AtomicI64::new(i64::MAX);
        let flight = Arc::new(Flight::new(ids));
        let (board, limits) = (Board::default(), ArcSwap::from_pointee(limits));
        Self { board, limits, queue, flight, opens_until, rooms: Rooms::default() }
    }

    /// Replaces the node's own limits while it sells. The new ones begin with full buckets for everybody.
    pub fn set_limits(&self, limits: NodeLimits) {
        self.limits.store(Arc::new(limits));
    }

    /// Keeps sales closed that start after `bound`, for as long as nobody knows whether their time has come. `None` lets
    /// the calendar decide alone. What is open stays open.
    pub fn hold_openings(&self, bound: Option<EpochMs>) {
        self.opens_until.store(bound.map_or(i64::MAX, |bound| bound.0), Ordering::Relaxed);
    }

    /// Where the sale is in its life at `now`: what its window says, unless its opening is held
    /// ([`Admission::hold_openings`]) or it is stopped together with others ([`Board::set_stops`]).
    pub fn phase(&self, sale: &LiveSale, now: EpochMs) -> SalePhase {
        self.phase_of(&sale.terms, sale.is_stopped, now)
    }

    /// The same of a sale that need not be on the board.
    #[inline]
    pub fn phase_of(&self, terms: &SaleTerms, is_stopped: bool, now: EpochMs) -> SalePhase {
        let phase = match terms.phase(now) {
            SalePhase::Open if is_stopped => SalePhase::Paused,
            phase => phase,
        };
        let has_opened = matches!(phase, SalePhase::Open | SalePhase::Paused);
        if has_opened && terms.starts_at.0 > self.opens_until.load(Ordering::Relaxed) {
            return SalePhase::Upcoming;
        }
        phase
    }

    /// Takes one click of the buyer for a request about an order that writes or calls out: it counts like a purchase.
    ///
    /// # Errors
    /// [`Rejection::RateLimited`].
    pub fn take_click(&self, tenant: &str, buyer: BuyerName<'_>, now: Nanos) -> Result<(), Rejection> {
        take_of(self.limits.load().buyer_rates.as_ref(), tenant, buyer, now)
    }

    /// Takes one look of the buyer at an order.
    ///
    /// # Errors
    /// [`Rejection::RateLimited`].
    pub fn take_lookup(&self, tenant: &str, buyer: BuyerName<'_>, now: Nanos) -> Result<(), Rejection> {
        take_of(self.limits.load().lookup_rates.as_ref(), tenant, buyer, now)
    }

    /// The live sales.
    pub fn board(&self) -> &Board {
        &self.board
    }

    /// What the waiting rooms of this node share.
    pub fn rooms(&self) -> &Rooms {
        &self.rooms
    }

    /// The order numbers that are on their way to the store.
    pub fn flight(&self) -> &Flight {
        &self.flight
    }

    /// The queue to the order writers.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Holds `quantity` units of the sale for the buyer, or says why not.
    ///
    /// Reads first, in the order in which it is cheap and honest to refuse; then what can be given back, each as a
    /// guard. After the marked line nothing can fail. `home` is the stock shard of the calling thread.
    ///
    /// # Errors
    /// The first [`Rejection`] in the column below, with the order that the buyer holds all the same. None of them has taken a unit, a claim or a place; a purchase that
    /// gets past a token bucket has used its token.
    pub fn purchase(
        &self,
        sale: &LiveSale,
        request: &Purchase<'_>,
        home: usize,
        now: Moment,
    ) -> Result<Accepted, Refusal> {
        self.purchase_in_trace(sale, request, home, now, || None)
    }

    /// The same for a purchase that a trace may tell of: `span` is asked for the one that waits for the order, when there is
    /// an order. It must not fail.
    ///
    /// # Errors
    /// As [`Admission::purchase`].
    pub fn purchase_in_trace(
        &self,
        sale: &LiveSale,
        request: &Purchase<'_>,
        home: usize,
        now: Moment,
        span: impl FnOnce() -> Option<SpanContext>,
    ) -> Result<Accepted, Refusal> {
        let decided = match self.try_purchase(sale, request, home, now, span) {
            Ok(placed) => Ok(Accepted::Placed(placed)),
            Err(PriorClaim::Rejected(refusal)) => Err(refusal),
            Err(PriorClaim::Replay(order_id)) => Ok(Accepted::Replay(order_id)),
            Err(PriorClaim::InFlight(order)) => Ok(Accepted::InFlight(order)),
        };
        let counted = match &decided {
            Ok(Accepted::Placed(_)) => Decided::Won,
            Ok(Accepted::Replay(_) | Accepted::InFlight(_)) => Decided::Replayed,
            Err(refusal) => Decided::Rejected(refusal.rejection),
        };
        sale.state.tally().count(home, counted);
        decided
    }

    fn try_purchase(
        &self,
        sale: &LiveSale,
        request: &Purchase<'_>,
        home: usize,
        now: Moment,
        span: impl FnOnce() -> Option<SpanContext>,
    ) -> Result<Placed, PriorClaim> {
        let claims = sale.state.claims();
        let stock = sale.state.stock();
        let wanted = ClaimRequest {
            buyer: request.buyer,
            offer: sale.offer(request.quantity, now.wall),
            idempotency_key: request.idempotency_key,
            per_buyer_limit: sale.terms.per_buyer_limit,
            releases_max: 0,
        };

        let holds = claims.prior(&wanted)?; // Replay, InFlight, KeyReused, QuantityNotAllowed, AlreadyPurchased
        let refused = |rejection| PriorClaim::Rejected(Refusal::new(rejection, holds));
        self.check_open(sale, now.wall).map_err(refused)?; // NotStarted, Paused, Ended
        if let Some(room) = sale.terms.waiting_room() {
            self.check_room(sale, room, request, now).map_err(refused)?; // WaitingRoom
        }
        self.check_stock(sale, stock.may_have(home, request.quantity)).map_err(refused)?; // SoldOut, Overloaded
        let limits = self.limits.load();
        check_rates(&limits, sale, request.buyer, now.mono).map_err(refused)?; // RateLimited
        let wanted = ClaimRequest { releases_max: limits.releases_max, ..wanted };
        let number = Number::take(&self.flight, sale.id, home, now.wall);
        let order_id = number.id;
        let claim = claims.claim(&wanted, order_id)?; // as above, against a simultaneous click; TooManyReleases
        let place = self.queue.place().map_err(refused)?; // Overloaded
        let units = stock.take(home, request.quantity).ok_or_else(|| refused(self.turn_away(sale)))?;
        let buyer = BuyerId::from(request.buyer);
        let idempotency_key = request.idempotency_key.map(IdempotencyKey::from);
        let order = sale.new_order(order_id, buyer, wanted.offer, idempotency_key);

        // After this point the purchase must succeed.
        self.board.stir(sale);
        let ticket = claim.keep();
        let placed = Placed {
            order_id,
            quantity: units.keep(),
            amount: order.amount,
            created_at: order.created_at,
            pay_before: order.pay_before,
            ticket: Arc::clone(&ticket),
        };
        number.keep();
        let (state, flight) = (Arc::clone(&sale.state), Arc::clone(&self.flight));
        place.push(QueuedOrder::new(order, state, home, flight, ticket, span()));
        Ok(placed)
    }

    fn check_open(&self, sale: &LiveSale, now: EpochMs) -> Result<(), Rejection> {
        match self.phase(sale, now) {
            SalePhase::Open => Ok(()),
            SalePhase::Upcoming => Err(Rejection::NotStarted { starts_at: sale.terms.starts_at }),
            SalePhase::Paused => Err(Rejection::Paused),
            SalePhase::Ended => Err(Rejection::Ended),
        }
    }

    fn check_stock(&self, sale: &LiveSale, may_have: bool) -> Result<(), Rejection> {
        if may_have { Ok(()) } else { Err(self.turn_away(sale)) }
    }

    /// Turns the buyer away and notes that demand was not met. "Sold out" is final: while other nodes hold unsold units, the
    /// buyer is asked to come back.
    fn turn_away(&self, sale: &LiveSale) -> Rejection {
        // The crowd behind the first one costs nothing more.
        if sale.state.note_unmet_demand() {
            self.board.stir(sale);
        }
        if sale.state.more_may_come() { Rejection::Overloaded } else { Rejection::SoldOut }
    }
}

/// An order number in the hand of a purchase that may still be refused: dropped, it is nobody's for good.
struct Number<'a> {
    id: OrderId,
    flight: &'a Flight,
    home: usize,
}

impl<'a> Number<'a> {
    fn take(flight: &'a Flight, sale: SaleId, home: usize, now: EpochMs) -> Self {
        Self { id: flight.depart(sale, home, now), flight, home }
    }

    /// The order that is queued under this number sees to it.
    fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Number<'_> {
    fn drop(&mut self) {
        self.flight.arrive(self.id, self.home);
    }
}

/// The buyer's own rate first: a buyer who clicks too fast must not use up the sale's.
fn check_rates(
    limits: &NodeLimits,
    sale: &LiveSale,
    buyer: BuyerName<'_>,
    now: Nanos,
) -> Result<(), Rejection> {
    take_of(limits.buyer_rates.as_ref(), sale.key.tenant(), buyer, now)?;
    let shared = [(RateScope::Sale, sale.bucket.as_deref()), (RateScope::Node, limits.node_bucket.as_ref())];
    for (scope, bucket) in shared {
        if let Some(bucket) = bucket {
            bucket.take(now).map_err(|retry_after| Rejection::RateLimited {
                scope,
                rate: bucket.rate(),
                retry_after,
            })?;
        }
    }
    Ok(())
}

fn take_of(
    rates: Option<&BuyerRates>,
    tenant: &str,
    buyer: BuyerName<'_>,
    now: Nanos,
) -> Result<(), Rejection> {
    let Some(rates) = rates else { return Ok(()) };
    rates.take(tenant, buyer.as_str(), now).map_err(|retry_after| Rejection::RateLimited {
        scope: RateScope::Buyer,
        rate: rates.rate(),
        retry_after,
    })
}
