//! Bodies about campaigns.

#![allow(dead_code, reason = "only their schemas are used")]

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::admission::RoomState;
use crate::domain::{BeaconSource, BeaconState, RoomFailure, RoomMode};
use crate::openapi::{Count, Name, Time, all_optional, word_lists};

word_lists! {
    /// A campaign's state.
    SaleWord = ["upcoming", "open", "paused", "sold_out", "ended", "archived"];
    /// How buyers wait.
    ModeWord = RoomMode::ALL.map(RoomMode::as_str);
    /// What a sale does while nobody can tell who is admitted.
    FailureWord = [RoomFailure::Open, RoomFailure::Hold].map(RoomFailure::as_str);
    /// A beacon that is known: two networks of drand, and NIST's.
    SourceWord = BeaconSource::ALL.map(BeaconSource::as_str);
    /// How far a draw has come with its beacon.
    BeaconWord = BeaconState::ALL.map(BeaconState::as_str);
    /// A waiting room's state.
    RoomWord = RoomState::ALL.map(RoomState::as_str);
    /// Where the unsold units are.
    LedgerWord = ["embedded", "shared", "rebuilding", "unavailable"];
}

/// A text on one line that says why: at least one character that is no space.
pub enum Reason {}

impl JsonSchema for Reason {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Reason".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": 500,
            "pattern": r"^[^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$",
        })
    }
}

/// The same where an empty one is none.
pub enum ReasonIfAny {}

impl JsonSchema for ReasonIfAny {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ReasonIfAny".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "maxLength": 500, "pattern": r"^[^\u0000-\u001f\u007f-\u009f]*$" })
    }
}

/// The value of a beacon's round, or that there is to be none.
pub enum RoundValue {}

impl JsonSchema for RoundValue {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RoundValue".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "null"], "pattern": "^([0-9a-fA-F]{64}|[0-9a-fA-F]{128})$" })
    }
}

/// A campaign that is to be made.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct NewCampaign {
    campaign: Name,
    sku: Name,
    /// What buyers see; the SKU if it is not said. Plain text of at most 200 bytes.
    title: Option<String>,
    /// Of one unit, in the currency's smallest unit.
    #[schemars(range(max = 100_000_000_000_u64))]
    price_cents: u64,
    /// A code of ISO 4217 that has minor units; `USD` if it is not said.
    #[schemars(extend("pattern" = "^[A-Z]{3}$"))]
    currency: Option<String>,
    #[schemars(range(max = 100_000_000))]
    stock: u32,
    /// Units that one buyer may have; 1 if it is not said.
    #[schemars(range(min = 1, max = 100_000_000))]
    per_buyer_limit: Option<u32>,
    /// Now, if it is not said.
    starts_at: Option<Time>,
    /// Later than `starts_at`; never, if it is not said.
    ends_at: Option<Time>,
    /// 900 if it is not said.
    #[schemars(range(min = 1, max = 604_800))]
    pay_within_s: Option<u32>,
    /// Admissions a second on each node; as many as come, if it is not said.
    #[schemars(range(min = 1, max = 10_000_000))]
    rate_per_s: Option<u32>,
    /// Admissions at once, with `rate_per_s`; as many as that, if it is not said.
    #[schemars(range(min = 1, max = 10_000_000))]
    burst: Option<u32>,
    paused: Option<bool>,
    queue: Option<QueueChange>,
    reason: Option<ReasonIfAny>,
}

/// What is to change of a campaign; what is not said stays as it is.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, transform = all_optional)]
pub struct CampaignChange {
    /// All units, those that are sold included. Not together with `stock_delta`.
    #[schemars(range(max = 100_000_000))]
    stock: u32,
    /// Units more, or less, whatever the stock is now.
    stock_delta: i64,
    starts_at: Time,
    /// `null`: never.
    ends_at: Option<Time>,
    /// `null`: as many as come.
    #[schemars(range(min = 1, max = 10_000_000))]
    rate_per_s: Option<u32>,
    /// Needs a rate.
    #[schemars(range(min = 1, max = 10_000_000))]
    burst: Option<u32>,
    #[schemars(range(min = 1, max = 100_000_000))]
    per_buyer_limit: u32,
    title: String,
    #[schemars(range(max = 100_000_000_000_u64))]
    price_cents: u64,
    paused: bool,
    #[schemars(range(min = 1, max = 604_800))]
    pay_within_s: u32,
    queue: Option<QueueChange>,
    reason: Option<ReasonIfAny>,
}

/// How buyers of a sale wait; what is not said stays as it is. `null` in the place of all: they do not.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, transform = all_optional)]
pub struct QueueChange {
    mode: ModeWord,
    /// From when on they register; `null`: at any time.
    opens_at: Option<Time>,
    /// Admitted a second; `null`: as many as the engine can serve.
    #[schemars(range(min = 1, max = 10_000_000))]
    rate_per_s: Option<u32>,
    /// How long an admitted pass counts; `null`: 180.
    #[schemars(range(max = 86_400))]
    grace_s: Option<u32>,
    on_failure: FailureWord,
    /// Public randomness that the seed of a draw is mixed with; `null`: none. It cannot change once the sale has started.
    beacon: Option<BeaconRound>,
}

/// A round of a public beacon. It has to be drawn after registration has closed: of drand that is checked by its number.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct BeaconRound {
    source: SourceWord,
    /// Of NIST the index of a pulse.
    #[schemars(range(min = 1, max = 9_007_199_254_740_991_u64))]
    round: u64,
    /// How long the draw waits for the value before it is made without, from the start or the round on; 600 if it is not said.
    #[schemars(range(max = 86_400))]
    wait_s: Option<u32>,
}

/// The value of the round that was named.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct BeaconGiven {
    /// As hexadecimal digits: drand's `randomness`, NIST's `outputValue`. `null`: the draw is made without.
    value: RoundValue,
    reason: Reason,
}

/// Only why.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct OnlyReason {
    reason: Reason,
}

/// Why, if that is to be said.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct PerhapsReason {
    reason: Option<ReasonIfAny>,
}

/// A pause.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Pause {
    /// It ends by itself after so long; not before it is resumed, if this is not said.
    #[schemars(range(min = 1, max = 604_800))]
    for_s: Option<u32>,
    reason: Reason,
}

/// More time for all orders of a sale that wait to be paid.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SaleExtension {
    #[schemars(range(min = 1, max = 604_800))]
    by_s: u32,
    reason: Option<ReasonIfAny>,
}

/// What was given.
#[derive(JsonSchema)]
pub struct SaleExtended {
    campaign: Name,
    sku: Name,
    by_s: u32,
    /// To the orders of that moment.
    at: Time,
}

/// A campaign.
#[derive(JsonSchema)]
pub struct Campaign {
    tenant: Name,
    campaign: Name,
    sku: Name,
    title: String,
    state: SaleWord,
    price_cents: Count,
    currency: String,
    /// All units, those that are sold included.
    stock: Count,
    /// Units in orders.
    sold: Count,
    /// Units that are not, as far as this node knows.
    remaining: Count,
    per_buyer_limit: u32,
    starts_at: Time,
    ends_at: Option<Time>,
    pay_within_s: u32,
    rate_per_s: Option<u32>,
    burst: Option<u32>,
    paused: bool,
    /// When the pause ends by itself.
    paused_until: Option<Time>,
    /// Whether it stands still because all sales do, of its tenant or of all.
    stopped: bool,
    queue: QueueTerms,
    /// Its version, for `If-Match`.
    etag: String,
    /// Of an archived one.
    #[schemars(skip_serializing_if = "Option::is_none")]
    archived_at: Option<Time>,
}

/// The waiting room of a campaign; nothing but its mode where that is `off`.
#[derive(JsonSchema)]
pub struct QueueTerms {
    mode: ModeWord,
    #[schemars(skip_serializing_if = "Option::is_none")]
    opens_at: Option<Time>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    rate_per_s: Option<u32>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    grace_s: Option<u32>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    on_failure: Option<FailureWord>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    beacon: Option<NamedRound>,
}

/// A round of a public beacon, as it was named.
#[derive(JsonSchema)]
pub struct NamedRound {
    source: SourceWord,
    round: Count,
    wait_s: Count,
}

/// Campaigns of a tenant.
#[derive(JsonSchema)]
pub struct Campaigns {
    campaigns: Vec<Campaign>,
}

/// The units of a sale, counted in the store: `available + leased + sold = total`, `sold = held + paid`.
#[derive(JsonSchema)]
pub struct Audit {
    total: Count,
    /// In no hands.
    available: Count,
    /// Lent to nodes and not sold.
    leased: Count,
    /// In orders that wait to be paid, or are being paid.
    held: Count,
    paid: Count,
    refunded: Count,
    refunded_cents: Count,
    sold: Count,
    /// Orders, not units.
    durable_orders: Count,
    buyers_over_limit: Count,
    ledger: LedgerWord,
    /// Whether it adds up.
    conserved: bool,
}

/// How far a waiting room has come, for operators.
#[derive(JsonSchema)]
pub struct Room {
    tenant: Name,
    campaign: Name,
    sku: Name,
    terms: QueueTerms,
    state: RoomWord,
    starts_at: Time,
    registered: Count,
    admitted: Count,
    waiting: Count,
    rate_per_s: Count,
    /// Of those who were admitted, the share that does not come.
    no_show_share: f64,
    all_admitted_in_s: Option<Count>,
    drawn_at: Option<Time>,
    drawn: Count,
    draw_mark: Count,
    fifo_mark: Option<Time>,
    seed_commit: Option<String>,
    /// From the beginning of the draw on.
    seed: Option<String>,
    /// The public randomness that the seed is mixed with, if any was named.
    beacon: Option<Beacon>,
    /// Buyers who were to come back to this engine for a place, at any sale: the order store did not keep up.
    registrations_refused: Count,
}

/// How far a draw has come with its beacon.
#[derive(JsonSchema)]
pub struct Beacon {
    source: SourceWord,
    round: Count,
    /// `mixed`: the draw is made with `seed`. `plain`: with the room's own seed alone.
    state: BeaconWord,
    /// From when on the value may be given.
    due_at: Time,
    /// Until when the draw waits for it.
    until: Option<Time>,
    /// The round's value, as hexadecimal digits.
    value: Option<String>,
    /// What the draw is made with, from its beginning on.
    seed: Option<String>,
    /// Where anybody reads the value.
    address: String,
}

/// A registration.
#[derive(JsonSchema)]
pub struct Registration {
    /// What `after` goes on from.
    mark: String,
    /// A hash of sale and buyer.
    who: String,
    joined_at: Time,
    /// The place in the draw; `null` before it, and of who joined later.
    priority: Option<Count>,
}

/// A move of a room's marks.
#[derive(JsonSchema)]
pub struct Marks {
    /// What `after` goes on from.
    at: Time,
    draw_mark: Count,
    fifo_mark: Option<Time>,
    drawn_at: Option<Time>,
    drawn: Count,
    admitted: Count,
    registered: Count,
    rate_per_s: Count,
    no_show_share: f64,
}

/// Whose sales stand still.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct StopChange {
    /// All tenants'.
    all: Option<bool>,
    reason: Reason,
}

/// What stands still.
#[derive(JsonSchema)]
pub struct Stopped {
    /// The tenant's sales, for either reason.
    stopped: bool,
    by_tenant: bool,
    by_all: bool,
}

#[cfg(test)]
mod tests {
    use crate::domain::{BeaconTerms, Cents, RoomTerms, SaleLimits};

    #[test]
    fn limits_are_those_that_are_checked() {
        let limits = SaleLimits::default();
        assert_eq!(
            (limits.stock_max, limits.pay_within_s_max, limits.rate_max),
            (100_000_000, 604_800, 10_000_000)
        );
        assert_eq!((Cents::PRICE_MAX.0, RoomTerms::GRACE_S_MAX), (100_000_000_000, 86_400));
        assert_eq!((BeaconTerms::ROUND_MAX, BeaconTerms::WAIT_S_MAX), (9_007_199_254_740_991, 86_400));
    }
}
