//! The bodies of the data plane, as the description shows them. Answers are written member by member elsewhere, so
//! that a refusal costs next to nothing; the tests hold every one that they get against these.

#![allow(dead_code, reason = "only their schemas are used")]

use schemars::JsonSchema;

use crate::admission::RoomState;
use crate::domain::{BeaconSource, BeaconState, OrderStatus, RoomMode};
use crate::openapi::{Count, Name, Order, OrderNumber, ProblemHead, Time, all_optional, word_lists};

word_lists! {
    /// A sale's state.
    SaleWord = ["upcoming", "open", "paused", "sold_out", "ended"];
    /// A beacon that is known.
    SourceWord = BeaconSource::ALL.map(BeaconSource::as_str);
    /// How far a draw has come with its beacon.
    BeaconWord = BeaconState::ALL.map(BeaconState::as_str);
    /// A waiting room's state.
    RoomWord = RoomState::ALL.map(RoomState::as_str);
    /// How buyers wait.
    ModeWord = [RoomMode::Fifo, RoomMode::Draw].map(RoomMode::as_str);
    /// The one status of an order that is not durable yet.
    PendingWord = [OrderStatus::Pending.as_str()];
}

/// How many units to buy. No body, or one without a quantity, asks for one.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, transform = all_optional)]
pub struct PurchaseBody {
    /// Units; 1 to the sale's `per_buyer_limit`.
    #[schemars(range(min = 1), extend("default" = 1))]
    quantity: u32,
}

/// How to pay.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct CheckoutBody {
    /// As the payment gateway names it, such as `card`.
    #[schemars(length(min = 1, max = 64), extend("examples" = ["card"], "pattern" = "^[!-~]+$"))]
    payment_method: String,
}

/// A registration says nothing.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RegistrationBody {}

/// An order that was admitted and is not durable yet.
#[derive(JsonSchema)]
pub struct PendingOrder {
    order_id: OrderNumber,
    status: PendingWord,
}

/// Some of the asking buyer's orders, the newest first.
#[derive(JsonSchema)]
pub struct Orders {
    orders: Vec<Order>,
    /// What the query's `before` asks for the next page with; `null` at the end.
    before: Option<OrderNumber>,
}

/// The public state of a sale. Which members a platform of `X-Platform` sees is configured
/// (`edge.sale_state.platforms`).
#[derive(JsonSchema)]
pub struct SaleState {
    #[schemars(skip_serializing_if = "Option::is_none")]
    campaign: Option<Name>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    sku: Option<Name>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    state: Option<SaleWord>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    price_cents: Option<Count>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    currency: Option<String>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    starts_at: Option<Time>,
    /// `null` for a sale that goes on until its units are sold.
    #[schemars(skip_serializing_if = "Option::is_none")]
    ends_at: Option<Time>,
    /// The clock that counts.
    #[schemars(skip_serializing_if = "Option::is_none")]
    server_time: Option<Time>,
    /// Units that are not sold, as far as this node knows.
    #[schemars(skip_serializing_if = "Option::is_none")]
    remaining: Option<Count>,
    /// The sale's waiting room, if it has one.
    #[schemars(skip_serializing_if = "Option::is_none")]
    queue: Option<Queue>,
}

/// Where buyers of a sale wait.
#[derive(JsonSchema)]
pub struct Queue {
    mode: ModeWord,
    /// From when on buyers register; `null`: at any time.
    opens_at: Option<Time>,
    /// Where to register and to look.
    url: String,
}

/// A place in a waiting room.
#[derive(JsonSchema)]
pub struct Place {
    /// What a purchase shows in `X-Sale-Pass` or in the cookie `sale_pass`.
    #[schemars(length(max = 160))]
    pass: String,
    /// When the buyer joined.
    joined_at: Time,
    /// Where the buyer stands; `null` before the draw.
    position: Option<Count>,
    /// How many have registered.
    of: Count,
    /// In how many seconds the turn may come, as things are.
    eta_s: Count,
    /// Whether the pass counts now.
    admitted: bool,
    /// Whether units may be left when the turn comes.
    has_chance: bool,
    /// Until when the pass counts.
    expires_at: Time,
    /// The public document of the room.
    status_url: String,
    /// Seconds between two looks at it.
    poll_s: u32,
}

/// How far a waiting room has come: one document for everybody. With it and the own pass each client knows where it
/// stands.
#[derive(JsonSchema)]
pub struct Room {
    state: RoomWord,
    /// Of the drawn: whose priority is below is admitted.
    draw_mark: Count,
    /// Of the others: who joined before is admitted; `null` before the first.
    fifo_mark: Option<Time>,
    /// Who joined before takes part in the draw; `null` until it begins, and from when on all who do have joined before `fifo_mark`.
    drawn_at: Option<Time>,
    /// Buyers admitted a second, as things are.
    rate_per_s: Count,
    registered: Count,
    admitted: Count,
    /// SHA-256 of the seed of the draw; `null` without a draw.
    seed_commit: Option<String>,
    /// The seed, from the beginning of the draw on.
    seed: Option<String>,
    /// The public randomness that the seed is mixed with, if any was named.
    #[schemars(skip_serializing_if = "Option::is_none")]
    beacon: Option<Beacon>,
    /// Units that are not sold.
    remaining: Count,
    server_time: Time,
    poll: Poll,
}

/// A round of a public beacon that a draw is mixed with, named before registration closes and drawn afterwards.
#[derive(JsonSchema)]
pub struct Beacon {
    source: SourceWord,
    round: Count,
    /// `mixed`: the value was given, and the draw is made with `seed`. `plain`: it is made with the room's own seed alone.
    state: BeaconWord,
    /// Until when the draw waits for the value.
    until: Option<Time>,
    /// The round's value, as hexadecimal digits.
    value: Option<String>,
    /// What the draw is made with, from its beginning on.
    seed: Option<String>,
}

/// How often to look at the room, in ms: at random between the two.
#[derive(JsonSchema)]
pub struct Poll {
    floor_ms: u32,
    ceiling_ms: u32,
}

/// What every refusal and every error is: RFC 9457. Which members a code has beside the first six, its page says.
#[derive(JsonSchema)]
pub struct Problem {
    #[schemars(flatten)]
    head: ProblemHead,
    /// The order that the refusal is about; in every refusal of a purchase by who holds one.
    #[schemars(skip_serializing_if = "Option::is_none")]
    order_id: Option<OrderNumber>,
    /// Of `sale-not-started`: when it starts.
    #[schemars(skip_serializing_if = "Option::is_none")]
    starts_at: Option<Time>,
    /// Of `queue-closed`: when it opens.
    #[schemars(skip_serializing_if = "Option::is_none")]
    opens_at: Option<Time>,
    /// Beside these two: the clock that counts.
    #[schemars(skip_serializing_if = "Option::is_none")]
    server_time: Option<Time>,
    /// Of refused payments: until when another one may be tried.
    #[schemars(skip_serializing_if = "Option::is_none")]
    pay_before: Option<Time>,
    /// Of `waiting-room`, `registration-refused`, `unauthorized`, `payment-declined` and `risk-rejected`: why, as a word.
    #[schemars(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Of `waiting-room`: where to register.
    #[schemars(skip_serializing_if = "Option::is_none")]
    queue: Option<String>,
    /// Of `quantity-not-allowed`.
    #[schemars(skip_serializing_if = "Option::is_none")]
    per_buyer_limit: Option<u32>,
    /// Of `too-many-releases`.
    #[schemars(skip_serializing_if = "Option::is_none")]
    releases_max: Option<u32>,
    /// Of `too-many-attempts`.
    #[schemars(skip_serializing_if = "Option::is_none")]
    attempts_max: Option<u32>,
    /// Of `body-too-large`.
    #[schemars(skip_serializing_if = "Option::is_none")]
    body_bytes_max: Option<u32>,
}
