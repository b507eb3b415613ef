//! The picture of the live feed.

#![allow(dead_code, reason = "only their schemas are used")]

use std::collections::BTreeMap;

use schemars::JsonSchema;

use super::campaign_bodies::{Room, SaleWord};
use super::figure_bodies::{Checkout, Latency, Paths, Queue, Store};
use crate::openapi::{Count, Name, Time, word_lists};

word_lists! {
    /// How it is with something that selling stands on; `off` is what this engine does without.
    DependencyWord = ["ok", "off", "wrong"];
}

/// The whole picture, once a second. A slow reader is sent the newest one.
#[derive(JsonSchema)]
pub struct Snapshot {
    /// Its number, which grows; also the event's id.
    seq: Count,
    at: Time,
    node: u16,
    /// Where buyers came last, then what opens next; as many as `admin.live_sales_max`.
    sales: Vec<LiveSale>,
    /// How many there are.
    sales_live: Count,
    paths: Paths<Windows>,
    queue: Queue,
    store: Store,
    /// How long the order store takes for a commit.
    commits: Windows,
    /// What selling stands on here: `queue`, `store`, `gateway`, `risk`, `ledger` and `relay`.
    dependencies: Vec<Dependency>,
    gateway: Checkout,
    /// This node, and the others that were heard of late.
    nodes: Vec<Node>,
    /// What is not as it should be.
    health: Vec<Trouble>,
    /// What operators did in the last five minutes, the newest first.
    acts: Vec<Act>,
}

/// A sale as it is now. Units are counted in the store, `null` before the first count.
#[derive(JsonSchema)]
pub struct LiveSale {
    tenant: Name,
    campaign: Name,
    sku: Name,
    title: String,
    /// Whether it is a load tester's.
    load_test: bool,
    state: SaleWord,
    total: Option<Count>,
    available: Option<Count>,
    held: Option<Count>,
    paid: Option<Count>,
    refunded: Option<Count>,
    conserved: Option<bool>,
    counted_ms_ago: Option<Count>,
    remaining: Count,
    starts_at: Time,
    ends_at: Option<Time>,
    arrivals_per_s: f64,
    wins_per_s: f64,
    /// By code, where there were any.
    refusals_per_s: BTreeMap<String, f64>,
    /// At the rate of the last seconds.
    sold_out_in_s: Option<Count>,
    waiting_room: Option<Room>,
}

/// The last second, and the last minute.
#[derive(JsonSchema)]
pub struct Windows {
    second: Window,
    minute: Window,
}

/// Latency of some seconds, in microseconds.
#[derive(JsonSchema)]
pub struct Window {
    #[schemars(flatten)]
    latency: Latency,
    over_s: f64,
}

/// An engine among those that sell the same stock.
#[derive(JsonSchema)]
pub struct Node {
    node: u16,
    uptime_s: Count,
    arrivals_per_s: f64,
    wins_per_s: f64,
    queue_depth: Count,
}

/// Something that selling stands on.
#[derive(JsonSchema)]
pub struct Dependency {
    name: String,
    state: DependencyWord,
    /// The same in words, with its figures.
    said: String,
}

/// Something that is not as it should be.
#[derive(JsonSchema)]
pub struct Trouble {
    code: String,
    said: String,
}

/// An act, as charts mark it.
#[derive(JsonSchema)]
pub struct Act {
    at: Time,
    who: String,
    act: String,
    object: String,
    tenant: Option<Name>,
    reason: Option<String>,
}
