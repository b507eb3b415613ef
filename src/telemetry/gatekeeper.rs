//! What became of those whom somebody was asked about before they might wait.

use super::counter::Counter;

/// Answers of the gatekeeper.
#[derive(Debug, Default)]
pub struct GatekeeperRecords {
    /// Let in.
    pub admitted: Counter,
    /// Not let in.
    pub refused: Counter,
    /// No answer: let in or not, as the configuration says.
    pub away: Counter,
}

impl GatekeeperRecords {
    /// Each of them with its word.
    pub fn by_word(&self) -> [(&'static str, u64); 3] {
        [("admitted", self.admitted.value()), ("refused", self.refused.value()), ("away", self.away.value())]
    }
}
