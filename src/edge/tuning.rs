//! What may change while buyers are served, made of the settings: keys, lists and tables.

use std::sync::Arc;
use std::time::Duration;

use super::auth_settings::{AuthSettings, TenantSettings};
use super::cross_site::CrossSite;
use super::identity::Identity;
use super::sale_state_page::SaleStatePage;
use super::settings::EdgeSettings;
use super::tenant::Tenants;
use crate::domain::FieldError;

/// What is in force. A reload exchanges it as a whole.
#[derive(Debug)]
pub(super) struct Tuning {
    pub(super) ack_wait: Duration,
    pub(super) sale_state: SaleStatePage,
    pub(super) tenants: Tenants,
    pub(super) sites: CrossSite,
    /// Kept when the settings that it was made of have not changed: it holds keys that were read from elsewhere.
    pub(super) identity: Arc<Identity>,
    pub(super) made_of: (AuthSettings, TenantSettings),
}

impl Tuning {
    /// Reads keys, lists and tables.
    ///
    /// # Errors
    /// Names the setting that is missing or wrong.
    pub(super) fn new(settings: &EdgeSettings) -> Result<Self, FieldError> {
        let tenants = Tenants::new(&settings.tenant, &settings.auth)?;
        let sites = CrossSite::new(&settings.cors)?;
        let mut depends_on = Vec::from_iter(tenants.decided_by());
        if sites.is_open() {
            depends_on.push("origin");
        }
        Ok(Self {
            ack_wait: Duration::from_millis(settings.ack_wait_ms),
            sale_state: SaleStatePage::new(&settings.sale_state, depends_on)?,
            tenants,
            sites,
            identity: Arc::new(Identity::new(&settings.auth, &settings.tenant)?),
            made_of: (settings.auth.clone(), settings.tenant.clone()),
        })
    }
}
