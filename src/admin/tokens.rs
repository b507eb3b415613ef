//! The tokens of the admin API, which may be exchanged while it runs.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::caller::Caller;
use super::role::Role;
use super::settings::AdminSettings;
use super::token_settings::{ADMIN_NAME, AdminToken};
use crate::settings::Secret;

/// A token that counts now, and whose it is.
#[derive(Debug)]
struct Known {
    secret: Secret,
    caller: Caller,
}

/// Those that count now.
#[derive(Debug)]
pub struct AdminTokens(ArcSwap<Vec<Known>>);

impl AdminTokens {
    /// Those of the settings.
    pub fn new(settings: &AdminSettings) -> Self {
        Self(ArcSwap::from_pointee(known(settings)))
    }

    /// From now on, only those of these settings count.
    pub fn replace(&self, settings: &AdminSettings) {
        self.0.store(Arc::new(known(settings)));
    }

    /// Whether anyone may ask.
    pub(super) fn are_none(&self) -> bool {
        self.0.load().is_empty()
    }

    /// Whose token this is. Takes the same time for each that is listed: only how many there are shows.
    pub(super) fn caller(&self, given: &[u8]) -> Option<Caller> {
        let known = self.0.load();
        known.iter().fold(
            None,
            |found, one| {
                if one.secret.matches(given) { Some(one.caller.clone()) } else { found }
            },
        )
    }

    /// Does something with each token that goes with this name, until it answers.
    pub(super) fn of_name<T>(&self, name: &str, ask: impl FnMut(&Secret, &Caller) -> Option<T>) -> Option<T> {
        let (known, mut ask) = (self.0.load(), ask);
        let mut of_name = known.iter().filter(|one| &*one.caller.name == name);
        of_name.find_map(|one| ask(&one.secret, &one.caller))
    }
}

/// All that the settings list: `admin.token`, the one that it replaces, and the named ones.
fn known(settings: &AdminSettings) -> Vec<Known> {
    let admin = Caller { name: ADMIN_NAME.into(), role: Role::Admin, tenant: None };
    let unnamed = [&settings.token, &settings.former_token]
        .map(|secret| Known { secret: secret.clone(), caller: admin.clone() });
    let named = settings.tokens.iter().map(|AdminToken { name, role, tenant, token }| Known {
        secret: token.clone(),
        caller: Caller { name: name.as_str().into(), role: *role, tenant: tenant.as_deref().map(Arc::from) },
    });
    unnamed.into_iter().chain(named).filter(|one| !one.secret.is_empty()).collect()
}
