//! Sales that are stopped at once: all of a tenant's, or all there are.

use std::collections::BTreeSet;

/// What is stopped. A sale that is stopped refuses everybody as a paused one does, and is as it was when all go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stops {
    /// Grows with every change; 0 before the first.
    pub version: u64,
    /// Whether all sales of all tenants are stopped.
    pub all: bool,
    /// Tenants whose sales are stopped.
    pub tenants: BTreeSet<String>,
}

impl Stops {
    /// Whether the sales of this tenant are stopped.
    pub fn concern(&self, tenant: &str) -> bool {
        self.all || self.tenants.contains(tenant)
    }
}
