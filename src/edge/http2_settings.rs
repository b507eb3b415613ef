//! What can be set about HTTP/2 at the edge: what one connection may cost.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::FieldError;
use crate::settings::within;

/// The `[edge.http2]` section. Time-outs, limits of connections and of bodies are those of HTTP/1.1.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Http2Settings {
    /// Whether HTTP/2 is spoken at all: by prior knowledge, and under TLS where the client offers it.
    pub enabled: bool,
    /// Requests of one connection that are under way at once; one more is refused (`REFUSED_STREAM`).
    pub streams_max: u32,
    /// Bytes of a request's header fields together, each with 32 more as HTTP/2 counts them. More are answered 431; more than
    /// four times as many end the connection.
    pub header_list_bytes_max: u32,
    /// Requests that a client has taken back before they were looked at; one more ends its connection.
    pub resets_pending_max: usize,
    /// Requests within ten seconds that are broken in a way that ends them alone (`RST_STREAM`). Each answer pays for one
    /// of them; one more ends the connection.
    pub errors_max: usize,
    /// Frames within ten seconds that carry no request: pings, settings, window updates, resets, priorities, requests
    /// above `streams_max`. Each answer pays for 4 of them, and each 2 KiB of its body for 1; one more ends the connection.
    pub control_frames_max: u32,
    /// Bytes of one request's body that a client may send before it is read.
    pub stream_window_bytes: u32,
    /// The same for all requests of a connection together.
    pub connection_window_bytes: u32,
    /// Bytes of answers that are written ahead for a client that does not read; nothing more is read from it meanwhile.
    pub send_buffer_bytes_max: usize,
}

impl Default for Http2Settings {
    fn default() -> Self {
        Self {
            enabled: true,
            streams_max: 128,
            header_list_bytes_max: 16 * 1024,
            resets_pending_max: 20,
            errors_max: 100,
            control_frames_max: 1_000,
            stream_window_bytes: 65_535,
            connection_window_bytes: 256 * 1024,
            send_buffer_bytes_max: 64 * 1024,
        }
    }
}

impl Http2Settings {
    /// Checks each value's range.
    ///
    /// # Errors
    /// The first field that breaks its rule.
    pub(super) fn check(&self) -> Result<(), FieldError> {
        /// The largest window that the protocol knows.
        const WINDOW_BYTES_MAX: u32 = i32::MAX as u32;
        within("http2.streams_max", self.streams_max, 1..=10_000)?;
        within("http2.header_list_bytes_max", self.header_list_bytes_max, 8_192..=1 << 20)?;
        within("http2.resets_pending_max", self.resets_pending_max, 1..=10_000)?;
        within("http2.errors_max", self.errors_max, 1..=100_000)?;
        within("http2.control_frames_max", self.control_frames_max, 100..=1_000_000)?;
        within("http2.stream_window_bytes", self.stream_window_bytes, 16_384..=WINDOW_BYTES_MAX)?;
        within("http2.connection_window_bytes", self.connection_window_bytes, 65_535..=WINDOW_BYTES_MAX)?;
        within("http2.send_buffer_bytes_max", self.send_buffer_bytes_max, 1_024..=16 << 20)
    }
}
