//! Bodies about the search index.

#![allow(dead_code, reason = "only their schemas are used")]

use schemars::JsonSchema;

use crate::openapi::{Count, Time, word_lists};

word_lists! {
    /// Kinds of search servers.
    KindWord = ["meilisearch", "elasticsearch", "opensearch"];
    /// How a rebuild stands.
    RebuildWord = ["asked", "done", "failed"];
}

/// The search index.
#[derive(JsonSchema)]
pub struct Index {
    kind: KindWord,
    index: String,
    /// Whether this node is the one that writes.
    writer: bool,
    /// Documents that are late.
    pending: Count,
    /// For how long the oldest of those is, in seconds.
    lag_s: f64,
    /// Documents that the index does not take as they are.
    refused: Count,
    /// By this node since its start.
    by_this_node: Written,
    last_written_at: Option<Time>,
    last_failure: Option<Failure>,
    /// The last one that was asked for.
    rebuild: Option<Rebuild>,
}

/// What a node has done.
#[derive(JsonSchema)]
pub struct Written {
    written: Count,
    removed: Count,
    refused: Count,
    /// Requests that failed.
    failures: Count,
}

/// A request that failed.
#[derive(JsonSchema)]
pub struct Failure {
    at: Time,
    why: String,
}

/// A rebuild.
#[derive(JsonSchema)]
pub struct Rebuild {
    state: RebuildWord,
    asked_at: Time,
    ended_at: Option<Time>,
    /// That the new index had.
    documents: Option<Count>,
    /// Why it failed.
    why: Option<String>,
}
