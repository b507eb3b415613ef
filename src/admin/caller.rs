//! Who asks: the name, the role and the tenant that go with a request.

use std::sync::Arc;

use super::role::Role;
use super::token_settings::LOCAL_NAME;

/// Who may ask, as the check of the request has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    /// The name that goes with the token.
    pub name: Arc<str>,
    /// What the caller may do.
    pub role: Role,
    /// The only tenant whose sales and orders the caller sees and changes; `None` for all.
    pub tenant: Option<Arc<str>>,
}

impl Caller {
    /// Whoever can reach the loopback address of an engine without a token.
    pub fn local() -> Self {
        Self { name: LOCAL_NAME.into(), role: Role::Admin, tenant: None }
    }

    /// Whether the caller sees the tenant's sales and orders.
    pub fn sees(&self, tenant: &str) -> bool {
        self.tenant.as_deref().is_none_or(|own| own == tenant)
    }
}
