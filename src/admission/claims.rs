//! Which buyer holds which orders of one sale: the per-buyer limit, and the memory behind idempotency keys.
//!
//! A *claim* is a buyer's hold on units of the sale. It is in flight until its order is durable, durable while the order
//! holds units, and is released when the order is cancelled or expires. A released claim stays only if it has an
//! idempotency key, so that a late repeat of that request still hears of its order; how often a buyer has released is
//! remembered in any case, so that nobody takes units off sale again and again without ever paying.
//!
//! The map's shard lock is held for one look or one change and never across anything else.

use std::sync::Arc;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use smallvec::SmallVec;

use super::sync::SchedulePoint;
use super::ticket::{Resolution, Ticket};
use crate::domain::{BuyerName, IdempotencyKey, KeyName, Offer, Order, OrderId, Refusal, Rejection, Units};

/// Released claims with a key that are remembered for one buyer; older ones are forgotten first.
const RELEASED_KEYS_MAX: usize = 16;

/// What a buyer asks for, as far as claims are concerned.
#[derive(Clone, Copy, Debug)]
pub struct ClaimRequest<'a> {
    /// Who asks.
    pub buyer: BuyerName<'a>,
    /// For how many units, and what the order would say.
    pub offer: Offer,
    /// The client's name of this attempt.
    pub idempotency_key: Option<KeyName<'a>>,
    /// Units the sale allows one buyer.
    pub per_buyer_limit: Units,
    /// How often the buyer may have let units of the sale go before; 0 sets no limit.
    pub releases_max: u32,
}

/// What the buyer has claimed before answers the request: no new claim.
#[derive(Debug)]
pub enum PriorClaim {
    /// A refusal.
    Rejected(Refusal),
    /// The same request made this durable order before.
    Replay(OrderId),
    /// An order of this buyer is on its way.
    InFlight(OrderInFlight),
}

/// An order of the buyer that is on its way to the store: what it becomes answers the request, too.
#[derive(Debug)]
pub struct OrderInFlight {
    /// The order.
    pub order_id: OrderId,
    /// Whether this is the same request again (same idempotency key), or another one that would pass the limit.
    pub replay: bool,
    /// Where its resolution is announced.
    pub ticket: Arc<Ticket>,
}

#[derive(Debug)]
enum ClaimState {
    InFlight(Arc<Ticket>),
    Durable,
    Released,
}

#[derive(Debug)]
struct Claim {
    order_id: OrderId,
    quantity: Units,
    state: ClaimState,
    idempotency_key: Option<IdempotencyKey>,
}

/// Orders of one buyer in one sale that are remembered after their claims are gone: beyond them the oldest are forgotten.
const PAST_ORDERS_MAX: usize = 64;

/// The claims of one buyer, oldest first.
#[derive(Debug, Default)]
struct BuyerClaims {
    claims: SmallVec<[Claim; 1]>,
    /// Orders whose claims were released and are gone, oldest first. Boxed: most buyers have none.
    #[expect(clippy::box_collection, reason = "eight bytes for each of many buyers, and not 24")]
    past: Option<Box<Vec<OrderId>>>,
    /// How many of the buyer's claims were ever released.
    releases: u32,
}

/// Parts of the map with a lock each, a power of two. A part that grows holds its lock while it moves its buyers: with
/// many parts each moves few, and those who wait for it are few. 128 bytes each.
const MAP_PARTS: usize = 64;

/// All claims of one sale.
#[derive(Debug)]
pub struct Claims {
    buyers: DashMap<Box<str>, BuyerClaims, ahash::RandomState>,
    looks: SchedulePoint,
}

impl Default for Claims {
    fn default() -> Self {
        let hasher = ahash::RandomState::new();
        Self {
            buyers: DashMap::with_hasher_and_shard_amount(hasher, MAP_PARTS),
            looks: SchedulePoint::default(),
        }
    }
}

impl Claims {
    /// What the buyer's claims say about a request, without changing anything: nothing against it, and which order the
    /// buyer holds, if any.
    ///
    /// # Errors
    /// [`PriorClaim`] when the request is answered by what the buyer has, or is for a quantity that nobody may have.
    #[inline]
    pub fn prior(&self, request: &ClaimRequest<'_>) -> Result<Option<OrderId>, PriorClaim> {
        self.looks.pass();
        match self.buyers.get(request.buyer.as_str()) {
            Some(claims) => claims.answer(request),
            None => check_quantity(request, None).map(|()| None),
        }
    }

    /// The buyer's latest order that holds units, if there is one.
    pub fn held(&self, buyer: &str) -> Option<OrderId> {
        self.buyers.get(buyer)?.held()
    }

    /// Claims the request's units for the buyer, unless [`Claims::prior`] now answers it.
    ///
    /// # Errors
    /// As [`Claims::prior`], and [`Rejection::TooManyReleases`].
    pub fn claim<'a>(
        &'a self,
        request: &ClaimRequest<'a>,
        order_id: OrderId,
    ) -> Result<ClaimGuard<'a>, PriorClaim> {
        let ticket = Arc::new(Ticket::new(request.offer));
        let idempotency_key = request.idempotency_key.map(IdempotencyKey::from);
        let claim = Claim {
            order_id,
            quantity: request.offer.quantity,
            state: ClaimState::InFlight(Arc::clone(&ticket)),
            idempotency_key,
        };
        self.looks.pass();
        match self.buyers.entry(request.buyer.as_str().into()) {
            Entry::Occupied(mut entry) => {
                entry.get().answer(request)?;
                entry.get().check_releases(request)?;
                entry.get_mut().claims.push(claim);
            }
            Entry::Vacant(entry) => {
                check_quantity(request, None)?;
                entry.insert(BuyerClaims { claims: SmallVec::from_buf([claim]), past: None, releases: 0 });
            }
        }
        Ok(ClaimGuard { claims: self, buyer: request.buyer.as_str(), order_id, ticket: Some(ticket) })
    }

    /// The order of a claim in flight is durable now.
    pub fn confirm(&self, buyer: &str, order_id: OrderId) {
        self.looks.pass();
        if let Some(mut claims) = self.buyers.get_mut(buyer)
            && let Some(claim) = claims.claims.iter_mut().find(|claim| claim.order_id == order_id)
        {
            claim.state = ClaimState::Durable;
        }
    }

    /// The order was cancelled or expired: its units no longer count, its key is remembered.
    pub fn release(&self, buyer: &str, order_id: OrderId) {
        self.looks.pass();
        if let Some(mut claims) = self.buyers.get_mut(buyer)
            && let Some(claim) = claims.claims.iter_mut().find(|claim| claim.order_id == order_id)
        {
            if !matches!(claim.state, ClaimState::Released) {
                claim.state = ClaimState::Released;
                claims.releases = claims.releases.saturating_add(1);
            }
            claims.forget_old_releases();
        }
    }

    /// There never was an order: the claim leaves no trace.
    pub fn withdraw(&self, buyer: &str, order_id: OrderId) {
        self.looks.pass();
        self.buyers.remove_if_mut(buyer, |_, claims| {
            claims.claims.retain(|claim| claim.order_id != order_id);
            claims.claims.is_empty() && claims.releases == 0
        });
    }

    /// Puts a durable order in its place: when the engine starts, or when another node made it. An order that has its
    /// claim keeps it.
    pub fn restore(&self, order: &Order) {
        let placed = &order.placed;
        let state = if order.status.holds_units() { ClaimState::Durable } else { ClaimState::Released };
        let claim = Claim {
            order_id: placed.id,
            quantity: placed.quantity,
            state,
            idempotency_key: placed.idempotency_key.clone(),
        };
        let mut claims = self.buyers.entry(placed.buyer.as_str().into()).or_default();
        if claims.orders().any(|known| known == placed.id) {
            return;
        }
        claims.releases = claims.releases.saturating_add(u32::from(!order.status.holds_units()));
        claims.claims.push(claim);
        claims.forget_old_releases();
    }

    /// The buyer's orders in this sale, in no order: those on their way, those that hold units, and the latest of those that
    /// were let go.
    pub fn orders_of(&self, buyer: &str) -> Vec<OrderId> {
        self.buyers.get(buyer).map_or_else(Vec::new, |claims| claims.orders().collect())
    }

    /// Buyers with a claim, those who have released all of theirs included.
    pub fn buyers(&self) -> usize {
        self.buyers.len()
    }

    /// What the buyer's order in flight says, if there is one of this number.
    pub fn offer_in_flight(&self, buyer: &str, order_id: OrderId) -> Option<Offer> {
        let claims = self.buyers.get(buyer)?;
        let claim = claims.claims.iter().find(|claim| claim.order_id == order_id)?;
        match &claim.state {
            ClaimState::InFlight(ticket) => Some(ticket.offer()),
            ClaimState::Durable | ClaimState::Released => None,
        }
    }
}

impl BuyerClaims {
    fn answer(&self, request: &ClaimRequest<'_>) -> Result<Option<OrderId>, PriorClaim> {
        if let Some(key) = request.idempotency_key {
            let same_key =
                |claim: &&Claim| claim.idempotency_key.as_ref().is_some_and(|k| k.as_str() == key.as_str());
            if let Some(claim) = self.claims.iter().find(same_key) {
                if claim.quantity != request.offer.quantity {
                    return Err(rejected(Rejection::IdempotencyKeyReused, self.held()));
                }
                return Err(match &claim.state {
                    ClaimState::InFlight(ticket) => claim.in_flight(ticket, true),
                    ClaimState::Durable | ClaimState::Released => PriorClaim::Replay(claim.order_id),
                });
            }
        }
        check_quantity(request, self.held())?;
        let active = || self.claims.iter().rev().filter(|claim| !matches!(claim.state, ClaimState::Released));
        let claimed: Units = active().map(|claim| claim.quantity).sum();
        if claimed.saturating_add(request.offer.quantity) <= request.per_buyer_limit {
            return Ok(self.held());
        }
        // A durable order is an answer at once; one in flight has to be waited for.
        if let Some(claim) = active().find(|claim| matches!(claim.state, ClaimState::Durable)) {
            return Err(rejected(Rejection::AlreadyPurchased { order_id: claim.order_id }, None));
        }
        match active().find_map(|claim| match &claim.state {
            ClaimState::InFlight(ticket) => Some(claim.in_flight(ticket, false)),
            _ => None,
        }) {
            Some(prior) => Err(prior),
            None => Ok(None),
        }
    }

    fn check_releases(&self, request: &ClaimRequest<'_>) -> Result<(), PriorClaim> {
        let ClaimRequest { releases_max, .. } = *request;
        if releases_max > 0 && self.releases >= releases_max {
            return Err(rejected(Rejection::TooManyReleases { releases_max }, self.held()));
        }
        Ok(())
    }

    /// The latest durable order that holds units; without one, the latest that is on its way.
    fn held(&self) -> Option<OrderId> {
        let latest = |wanted: fn(&ClaimState) -> bool| {
            self.claims.iter().rev().find(|claim| wanted(&claim.state)).map(|claim| claim.order_id)
        };
        latest(|state| matches!(state, ClaimState::Durable))
            .or_else(|| latest(|state| matches!(state, ClaimState::InFlight(_))))
    }

    fn orders(&self) -> impl Iterator<Item = OrderId> {
        let past = self.past.iter().flat_map(|past| past.iter().copied());
        past.chain(self.claims.iter().map(|claim| claim.order_id))
    }

    /// Remembers that there was an order, and nothing else of it.
    fn remember(&mut self, order_id: OrderId) {
        let past = self.past.get_or_insert_default();
        if past.len() == PAST_ORDERS_MAX {
            past.remove(0);
        }
        past.push(order_id);
    }

    fn forget_old_releases(&mut self) {
        let releases = |claims: &SmallVec<[Claim; 1]>| {
            claims.iter().filter(|claim| matches!(claim.state, ClaimState::Released)).count()
        };
        let is_forgotten =
            |claim: &Claim| matches!(claim.state, ClaimState::Released) && claim.idempotency_key.is_none();
        while let Some(place) = self.claims.iter().position(is_forgotten) {
            let forgotten = self.claims.remove(place);
            self.remember(forgotten.order_id);
        }
        while releases(&self.claims) > RELEASED_KEYS_MAX {
            if let Some(oldest) =
                self.claims.iter().position(|claim| matches!(claim.state, ClaimState::Released))
            {
                let forgotten = self.claims.remove(oldest);
                self.remember(forgotten.order_id);
            }
        }
    }
}

impl Claim {
    fn in_flight(&self, ticket: &Arc<Ticket>, replay: bool) -> PriorClaim {
        PriorClaim::InFlight(OrderInFlight { order_id: self.order_id, replay, ticket: Arc::clone(ticket) })
    }
}

fn check_quantity(request: &ClaimRequest<'_>, holds: Option<OrderId>) -> Result<(), PriorClaim> {
    let ClaimRequest { offer: Offer { quantity, .. }, per_buyer_limit, .. } = *request;
    if quantity == 0 || quantity > per_buyer_limit {
        return Err(rejected(Rejection::QuantityNotAllowed { per_buyer_limit }, holds));
    }
    Ok(())
}

fn rejected(rejection: Rejection, holds: Option<OrderId>) -> PriorClaim {
    PriorClaim::Rejected(Refusal::new(rejection, holds))
}

/// A claim in the hand of one purchase: kept or, when dropped, gone without a trace.
#[must_use = "dropping the guard gives the claim back"]
#[derive(Debug)]
pub struct ClaimGuard<'a> {
    claims: &'a Claims,
    buyer: &'a str,
    order_id: OrderId,
    /// `None` once the claim has been kept.
    ticket: Option<Arc<Ticket>>,
}

impl ClaimGuard<'_> {
    /// The claim is the order's now; whoever resolves the ticket also confirms or withdraws the claim.
    pub fn keep(mut self) -> Arc<Ticket> {
        self.ticket.take().expect("a claim is kept once")
    }
}

impl Drop for ClaimGuard<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.claims.withdraw(self.buyer, self.order_id);
            // Clicks that came meanwhile wait on this ticket: they are told to try again.
            ticket.resolve(Resolution::Refused);
        }
    }
}
