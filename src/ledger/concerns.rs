//! What an operator has to look after, as long as it lasts: said once when it begins, shown by the probes, and said once
//! when it is over.

use std::collections::BTreeMap;

use parking_lot::Mutex;

/// The concerns of the moment, by their codes.
#[derive(Debug, Default)]
pub struct Concerns(Mutex<BTreeMap<&'static str, String>>);

impl Concerns {
    /// It is so: `said` tells what, and what can be done about it.
    pub fn hold(&self, code: &'static str, said: impl Into<String>) {
        let said = said.into();
        let mut held = self.0.lock();
        if held.get(code) != Some(&said) {
            tracing::warn!(code, "{said}");
            held.insert(code, said);
        }
    }

    /// It is not so, or not any more.
    pub fn settle(&self, code: &'static str) {
        if let Some(said) = self.0.lock().remove(code) {
            tracing::info!(code, said, "this is over");
        }
    }

    /// All of them, with their codes.
    pub fn all(&self) -> Vec<(&'static str, String)> {
        self.0.lock().iter().map(|(code, said)| (*code, said.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_concern_is_shown_until_it_is_settled() {
        let concerns = Concerns::default();
        concerns.hold("a", "first");
        concerns.hold("b", "other");
        concerns.hold("a", "second");
        assert_eq!(concerns.all(), [("a", "second".to_owned()), ("b", "other".to_owned())]);
        concerns.settle("a");
        concerns.settle("a");
        assert_eq!(concerns.all(), [("b", "other".to_owned())]);
    }
}
