//! The gateways of the configuration by their names: one that new payments go to, and those that still have payments to
//! finish.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::gateway::PaymentGateway;
use super::service_settings::{GatewaySettings, ProcessingSettings, RetrySettings};
use crate::domain::Order;

/// A gateway and how it is called.
pub struct NamedGateway {
    /// Its name in the configuration and in the journal of each payment that was begun there.
    pub name: String,
    /// What is called.
    pub gateway: Arc<dyn PaymentGateway>,
    /// How calls are repeated.
    pub retry: RetrySettings,
    /// How often a payment is asked about that the gateway works on.
    pub processing: ProcessingSettings,
}

impl NamedGateway {
    /// `gateway` under its name, called as `settings` say.
    pub fn new(name: String, gateway: Arc<dyn PaymentGateway>, settings: &GatewaySettings) -> Self {
        Self { name, gateway, retry: settings.retry.clone(), processing: settings.processing.clone() }
    }
}

/// All gateways. A payment is finished with the one it was begun at.
pub struct Gateways {
    current: NamedGateway,
    former: Vec<NamedGateway>,
}

impl Gateways {
    /// The gateway that takes new payments, and others that only finish theirs.
    pub fn new(current: NamedGateway, former: Vec<NamedGateway>) -> Self {
        Self { current, former }
    }

    /// The gateway that takes new payments.
    pub fn current(&self) -> &NamedGateway {
        &self.current
    }

    /// The gateway of this name.
    pub fn by_name(&self, name: &str) -> Option<&NamedGateway> {
        std::iter::once(&self.current).chain(&self.former).find(|gateway| gateway.name == name)
    }

    /// The gateway of the order's latest attempt; the current one for an attempt that names none.
    pub(super) fn of(&self, order: &Order) -> Option<&NamedGateway> {
        match &order.payment.gateway {
            Some(name) => self.by_name(name),
            None => Some(&self.current),
        }
    }

    /// Checks that every payment under way has its gateway here. `open` counts them by the gateway they name.
    ///
    /// # Errors
    /// Which gateways are missing, how many payments wait for each, and what to set.
    pub fn check_open(&self, open: &BTreeMap<Option<String>, u64>) -> Result<(), String> {
        let missing: Vec<String> = open
            .iter()
            .filter_map(|(name, payments)| Some((name.as_deref()?, payments)))
            .filter(|(name, _)| self.by_name(name).is_none())
            .map(|(name, payments)| format!("{payments} at {name:?}"))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(format!(
            "payments are under way at gateways that are not configured any more: {}; only the gateway that began a \
             payment knows whether money was taken: describe it in a table [checkout.former_gateways.\"NAME\"] until its \
             payments are finished, or, if it is the same gateway at another address, give it that name with \
             checkout.gateway.name",
            missing.join(", ")
        ))
    }
}
