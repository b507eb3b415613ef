//! What can be set about gRPC, with its defaults.

use std::net::SocketAddr;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::FieldError;
use crate::settings::within;
use crate::tls::{self, ALPN_HTTP2, Certificates, Clients, TlsSettings};

/// The `[grpc]` section. Who buyers are, the longest body and the rates are those of the edge.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct GrpcSettings {
    /// Where callers inside the network find the engine's gRPC services; port 0 takes a free one. Not set: nowhere,
    /// gRPC is off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// Open connections; one more is closed at once.
    pub connections_max: usize,
    /// Calls of one connection that are under way at once; one more is refused (`REFUSED_STREAM`).
    pub streams_max: u32,
    /// Calls under way at once, but for those that follow events; one more hears `overloaded`.
    pub calls_max: usize,
    /// Followers of events at once; one more hears `overloaded`.
    pub followers_max: usize,
    /// How long a follower of events may leave no room for the next message, in milliseconds; then it is told, and cut.
    /// It goes on from the last `seq` that it has seen.
    pub follower_slow_ms_max: u64,
    /// How often is looked for new events for a follower who has seen all, in milliseconds.
    pub follower_look_ms: u64,
    /// A connection that is silent for so long is asked whether it lives, in milliseconds, and closed when it does not
    /// answer for as long again.
    pub ping_ms: u64,
    /// How long calls in flight may take to finish after the order to stop, in milliseconds; then their connections are
    /// cut.
    pub drain_ms: u64,
    /// The certificates that are shown, and those that are asked for.
    pub tls: TlsSettings,
}

impl Default for GrpcSettings {
    fn default() -> Self {
        Self {
            listen: None,
            connections_max: 256,
            streams_max: 256,
            calls_max: 4_096,
            followers_max: 16,
            follower_slow_ms_max: 10_000,
            follower_look_ms: 200,
            ping_ms: 30_000,
            drain_ms: 10_000,
            tls: TlsSettings::default(),
        }
    }
}

impl GrpcSettings {
    /// What `[grpc.tls]` names, read.
    ///
    /// # Errors
    /// Names the setting whose file cannot be used.
    pub fn certificates(&self) -> Result<Arc<Certificates>, FieldError> {
        Certificates::new("grpc", &self.tls, &[ALPN_HTTP2], Clients::Strict)
    }

    /// Whether others than this machine reach it, and need no certificate to be heard.
    pub fn is_exposed(&self) -> bool {
        self.listen.is_some_and(|listen| !listen.ip().is_loopback()) && !self.tls.wants_clients()
    }

    /// Checks the ranges, and the files of certificates.
    ///
    /// # Errors
    /// The first field that breaks its rule.
    pub fn check(&self) -> Result<(), FieldError> {
        within("connections_max", self.connections_max, 1..=100_000)?;
        within("streams_max", self.streams_max, 1..=10_000)?;
        within("calls_max", self.calls_max, 1..=1_000_000)?;
        within("followers_max", self.followers_max, 0..=1_000)?;
        within("follower_slow_ms_max", self.follower_slow_ms_max, 10..=600_000)?;
        within("follower_look_ms", self.follower_look_ms, 10..=60_000)?;
        within("ping_ms", self.ping_ms, 1_000..=3_600_000)?;
        within("drain_ms", self.drain_ms, 0..=600_000)?;
        tls::check(&self.tls)
    }
}
