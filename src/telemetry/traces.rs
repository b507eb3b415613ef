//! What became of spans that were recorded.

use super::counter::Counter;

/// Spans by what became of them.
#[derive(Debug, Default)]
pub struct TraceRecords {
    /// The collector has them.
    pub sent: Counter,
    /// Too many waited to be sent.
    pub dropped: Counter,
    /// The collector was not reached, or took none.
    pub failed: Counter,
    /// The collector did not take these of a batch that it took.
    pub refused: Counter,
}

impl TraceRecords {
    /// Each of them with its word.
    pub fn by_word(&self) -> [(&'static str, u64); 4] {
        [
            ("sent", self.sent.value()),
            ("dropped", self.dropped.value()),
            ("failed", self.failed.value()),
            ("refused", self.refused.value()),
        ]
    }
}
