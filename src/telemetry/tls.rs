//! The handshakes of the edge.

use super::counter::Counter;

/// How the handshakes of the edge ended.
#[derive(Debug, Default)]
pub struct TlsRecords {
    /// With a connection.
    pub opened: Counter,
    /// Without: the client shows no certificate that is taken, or speaks something else.
    pub failed: Counter,
    /// Not in time: the client was silent, or too many others were under way.
    pub late: Counter,
}

impl TlsRecords {
    /// Each of them with its word.
    pub fn by_word(&self) -> [(&'static str, u64); 3] {
        [("opened", self.opened.value()), ("failed", self.failed.value()), ("late", self.late.value())]
    }
}
