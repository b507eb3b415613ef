//! The client's own settings and limits: the `[client]` section of a scenario.

use serde::{Deserialize, Serialize};

/// Requests under way at once on one connection of HTTP/2, where nothing else is said.
const STREAMS: u32 = 32;

/// The client's own settings and limits.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Client {
    /// Kept connections, all workers and targets together.
    pub connections: u32,
    /// Whether they speak HTTP/2: by ALPN under TLS, by prior knowledge in the clear.
    pub http2: bool,
    /// Requests under way at once on one connection of HTTP/2; 32 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub streams: Option<u32>,
    /// Threads.
    pub workers: u32,
    /// Requests on one connection before it is closed; 0 is without limit.
    pub requests_per_connection: u32,
    /// After this long without an answer a request counts as timed out.
    pub timeout_ms: u64,
    /// How long after the last phase late requests and open journeys may take.
    pub drain_s: f64,
    /// After this long without any answer, and with connections refused, the engine is given up and the run ends; 0: never.
    pub give_up_s: f64,
    /// Above this P99 of the client's own lateness the run is invalid.
    pub lag_p99_ms_max: f64,
    /// Above this share of a second spent on the processor or waiting for it a worker counts as busy.
    pub busy_max: f64,
}

impl Default for Client {
    fn default() -> Self {
        Self {
            connections: 256,
            http2: false,
            streams: None,
            workers: 1,
            requests_per_connection: 0,
            timeout_ms: 10_000,
            drain_s: 10.0,
            give_up_s: 15.0,
            lag_p99_ms_max: 20.0,
            busy_max: 0.95,
        }
    }
}

impl Client {
    /// Requests that may be under way at once on one connection.
    pub fn streams(&self) -> u32 {
        if self.http2 { self.streams.unwrap_or(STREAMS) } else { 1 }
    }

    /// Refuses what contradicts itself or exceeds a limit.
    ///
    /// # Errors
    /// Names the key.
    pub fn check(&self) -> Result<(), String> {
        let limit = |what: &str, value: u32, most: u32| {
            let is_within = (1..=most).contains(&value);
            is_within.then_some(()).ok_or_else(|| format!("client.{what}: {value} is not in 1..={most}"))
        };
        limit("connections", self.connections, 100_000)?;
        limit("workers", self.workers, 64)?;
        limit("streams", self.streams(), 1_000)?;
        if self.streams.is_some() && !self.http2 {
            return Err("client.streams is of HTTP/2: set client.http2, or give --http2".into());
        }
        if self.workers > self.connections {
            return Err("client.workers exceeds client.connections".into());
        }
        if !(self.timeout_ms >= 1 && self.drain_s >= 0.0 && self.give_up_s >= 0.0) {
            return Err(
                "client.timeout_ms must be at least 1, client.drain_s and give_up_s at least 0".into()
            );
        }
        Ok(())
    }
}
