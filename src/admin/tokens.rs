//! The tokens of the admin API, which may be exchanged while it runs.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::settings::AdminSettings;
use crate::settings::Secret;

/// Those that count now: the present one, and the one that it replaces.
#[derive(Debug)]
pub struct AdminTokens(ArcSwap<[Secret; 2]>);

impl AdminTokens {
    /// Those of the settings.
    pub fn new(settings: &AdminSettings) -> Self {
        Self(ArcSwap::from_pointee([settings.token.clone(), settings.former_token.clone()]))
    }

    /// From now on, only those of these settings count.
    pub fn replace(&self, settings: &AdminSettings) {
        self.0.store(Arc::new([settings.token.clone(), settings.former_token.clone()]));
    }

    /// Whether anyone may ask.
    pub(super) fn are_none(&self) -> bool {
        self.0.load().iter().all(Secret::is_empty)
    }

    /// Whether this is one of them.
    pub(super) fn accept(&self, given: &[u8]) -> bool {
        self.0.load().iter().any(|token| token.matches(given))
    }
}
