//! Which buyer holds which orders of one sale: the per-buyer limit, and the memory behind idempotency keys.
//!
//! A *claim* is a buyer's hold on units of the sale. It is in flight until its order is durable, durable while the order
//! holds units, and is released when the order is cancelled or expires. A released claim stays only if it has an
//! idempotency key, so that a late repeat of that request still hears of its order; how often a buyer has released is
//! remembered in any case, so that nobody takes units off sale again and again without ever paying. Units that go back on
//! sale with a refund leave the claim, too, and are no such release: they were paid.
//!
//! Nearly all buyers have one durable order and nothing else, and of these the map keeps no more than that. Whatever is more
//! (an order in flight, a key, further orders, releases) stands in a box of its own for as long as it is there.

use std::sync::Arc;

use smallvec::SmallVec;

use super::buyer_map::BuyerMap;
use super::ticket::{Resolution, Ticket};
use crate::domain::{
    BuyerName, IdempotencyKey, KeyName, NewOrder, Offer, Order, OrderId, Refusal, Rejection, Units,
};

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
    /// Units that were asked for: part of what the request was.
    quantity: Units,
    /// Units that it holds, as long as it is not released.
    held: Units,
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

/// What the map keeps of a buyer.
#[derive(Debug)]
enum Kept {
    /// One durable order that holds units, and nothing else.
    One { order_id: OrderId, quantity: Units },
    /// Whatever else there is.
    All(Box<BuyerClaims>),
}

impl Kept {
    fn look<R>(&self, look: impl FnOnce(&BuyerClaims) -> R) -> R {
        match self {
            Self::One { order_id, quantity } => look(&BuyerClaims::one(*order_id, *quantity)),
            Self::All(claims) => look(claims),
        }
    }

    fn into_claims(self) -> BuyerClaims {
        match self {
            Self::One { order_id, quantity } => BuyerClaims::one(order_id, quantity),
            Self::All(claims) => *claims,
        }
    }
}

impl From<BuyerClaims> for Kept {
    fn from(claims: BuyerClaims) -> Self {
        match &claims.claims[..] {
            [Claim { order_id, quantity, held, state: ClaimState::Durable, idempotency_key: None }]
                if held == quantity && claims.past.is_none() && claims.releases == 0 =>
            {
                Self::One { order_id: *order_id, quantity: *quantity }
            }
            _ => Self::All(Box::new(claims)),
        }
    }
}

/// All claims of one sale.
#[derive(Debug)]
pub struct Claims {
    buyers: BuyerMap<Kept>,
}

impl Default for Claims {
    fn default() -> Self {
        Self::sized_for(0)
    }
}

impl Claims {
    /// No claims, of a sale of so many units: as many buyers are expected, and more may come.
    pub fn sized_for(units: Units) -> Self {
        Self { buyers: BuyerMap::sized_for(units as usize) }
    }

    /// Shows the buyer's claims; `None` when there are none.
    fn look<R>(&self, buyer: &str, look: impl FnOnce(&BuyerClaims) -> R) -> Option<R> {
        self.buyers.look(buyer, |kept| kept.map(|kept| kept.look(look)))
    }

    /// Changes the buyer's claims, if there are any.
    fn change(&self, buyer: &str, change: impl FnOnce(&mut BuyerClaims)) {
        self.buyers.change(buyer, |kept| {
            let kept = kept.map(|kept| {
                let mut claims = kept.into_claims();
                change(&mut claims);
                claims
            });
            (kept.filter(|claims| !claims.is_nothing()).map(Kept::from), ())
        });
    }

    /// What the buyer's claims say about a request, without changing anything: nothing against it, and which order the
    /// buyer holds, if any.
    ///
    /// # Errors
    /// [`PriorClaim`] when the request is answered by what the buyer has, or is for a quantity that nobody may have.
    #[inline]
    pub fn prior(&self, request: &ClaimRequest<'_>) -> Result<Option<OrderId>, PriorClaim> {
        match self.look(request.buyer.as_str(), |claims| claims.answer(request)) {
            Some(answer) => answer,
            None => check_quantity(request, None).map(|()| None),
        }
    }

    /// The buyer's latest order that holds units, if there is one.
    pub fn held(&self, buyer: &str) -> Option<OrderId> {
        self.buyers.look(buyer, |kept| kept?.look(BuyerClaims::held))
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
            held: request.offer.quantity,
            state: ClaimState::InFlight(Arc::clone(&ticket)),
            idempotency_key,
        };
        self.buyers.change(request.buyer.as_str(), |kept| {
            let allowed = match &kept {
                Some(kept) => kept.look(|claims| {
                    claims.answer(request)?;
                    claims.check_releases(request)
                }),
                None => check_quantity(request, None),
            };
            if let Err(prior) = allowed {
                return (kept, Err(prior));
            }
            let mut claims = kept.map_or_else(BuyerClaims::default, Kept::into_claims);
            claims.claims.push(claim);
            (Some(Kept::from(claims)), Ok(()))
        })?;
        Ok(ClaimGuard { claims: self, buyer: request.buyer.as_str(), order_id, ticket: Some(ticket) })
    }

    /// The order of a claim in flight is durable now.
    pub fn confirm(&self, buyer: &str, order_id: OrderId) {
        self.change(buyer, |claims| {
            if let Some(claim) = claims.claims.iter_mut().find(|claim| claim.order_id == order_id) {
                claim.state = ClaimState::Durable;
            }
        });
    }

    /// The order was cancelled or expired: its units no longer count, its key is remembered.
    pub fn release(&self, buyer: &str, order_id: OrderId) {
        self.change(buyer, |claims| {
            let Some(claim) = claims.claims.iter_mut().find(|claim| claim.order_id == order_id) else {
                return;
            };
            if !matches!(claim.state, ClaimState::Released) {
                claim.state = ClaimState::Released;
                claims.releases = claims.releases.saturating_add(1);
            }
            claims.forget_old_releases();
        });
    }

    /// Units of the order went back on sale with a refund: it holds so many from now on. Said again it changes nothing.
    pub fn keep_only(&self, buyer: &str, order_id: OrderId, units: Units) {
        self.change(buyer, |claims| {
            let Some(claim) = claims.claims.iter_mut().find(|claim| claim.order_id == order_id) else {
                return;
            };
            claim.held = claim.held.min(units);
            if units == 0 {
                claim.state = ClaimState::Released;
            }
            claims.forget_old_releases();
        });
    }

    /// There never was an order: the claim leaves no trace.
    pub fn withdraw(&self, buyer: &str, order_id: OrderId) {
        self.change(buyer, |claims| claims.claims.retain(|claim| claim.order_id != order_id));
    }

    /// Puts a durable order in its place by its number, whichever comes first: when the engine starts, or when another node
    /// made it. An order that has its claim keeps it.
    pub fn restore(&self, order: &Order) {
        let NewOrder { id: order_id, quantity, idempotency_key, .. } = &order.placed;
        let (order_id, quantity, held) = (*order_id, *quantity, order.units_held());
        self.buyers.change(order.placed.buyer.as_str(), |kept| {
            // Nearly all, of the millions that a start finds.
            if kept.is_none() && held == quantity && idempotency_key.is_none() {
                return (Some(Kept::One { order_id, quantity }), ());
            }
            let mut claims = kept.map_or_else(BuyerClaims::default, Kept::into_claims);
            if !claims.orders().any(|known| known == order_id) {
                claims.releases = claims.releases.saturating_add(u32::from(!order.status.holds_units()));
                let state = if held > 0 { ClaimState::Durable } else { ClaimState::Released };
                let place = place_among(claims.claims.iter().map(|claim| claim.order_id), order_id);
                let idempotency_key = idempotency_key.clone();
                claims.claims.insert(place, Claim { order_id, quantity, held, state, idempotency_key });
                claims.forget_old_releases();
            }
            (Some(Kept::from(claims)), ())
        });
    }

    /// The buyer's orders in this sale, in no order: those on their way, those that hold units, and the latest of those that
    /// were let go.
    pub fn orders_of(&self, buyer: &str) -> Vec<OrderId> {
        self.buyers.look(buyer, |kept| {
            kept.map_or_else(Vec::new, |kept| kept.look(|claims| claims.orders().collect()))
        })
    }

    /// Buyers with a claim, those who have released all of theirs included.
    pub fn buyers(&self) -> usize {
        self.buyers.len()
    }

    /// What the buyer's order in flight says, if there is one of this number.
    pub fn offer_in_flight(&self, buyer: &str, order_id: OrderId) -> Option<Offer> {
        self.buyers.look(buyer, |kept| match kept? {
            // Durable.
            Kept::One { .. } => None,
            Kept::All(claims) => {
                let claim = claims.claims.iter().find(|claim| claim.order_id == order_id)?;
                match &claim.state {
                    ClaimState::InFlight(ticket) => Some(ticket.offer()),
                    ClaimState::Durable | ClaimState::Released => None,
                }
            }
        })
    }
}

impl BuyerClaims {
    fn one(order_id: OrderId, quantity: Units) -> Self {
        let state = ClaimState::Durable;
        let claim = Claim { order_id, quantity, held: quantity, state, idempotency_key: None };
        Self { claims: SmallVec::from_buf([claim]), past: None, releases: 0 }
    }

    /// Whether nothing is to be remembered.
    fn is_nothing(&self) -> bool {
        self.claims.is_empty() && self.past.is_none() && self.releases == 0
    }

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
        let claimed: Units = active().map(|claim| claim.held).sum();
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
        let place = place_among(past.iter().copied(), order_id);
        past.insert(place, order_id);
        if past.len() > PAST_ORDERS_MAX {
            past.remove(0);
        }
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

/// Where an order stands among others that are sorted by their numbers. Nearly always it is the newest.
fn place_among(
    mut others: impl DoubleEndedIterator<Item = OrderId> + ExactSizeIterator,
    order: OrderId,
) -> usize {
    others.rposition(|other| other < order).map_or(0, |before| before + 1)
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

#[cfg(all(test, not(feature = "model")))]
mod tests;
