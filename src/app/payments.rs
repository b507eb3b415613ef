//! Which payment gateway and risk service there are, and what takes payments on and lets orders go.

use std::sync::Arc;

use crate::admission::Admission;
use crate::checkout::http_gateway::HttpGateway;
use crate::checkout::http_risk::HttpRisk;
use crate::checkout::{
    self, CallError, Checkout, CheckoutParts, CheckoutSettings, PaymentGateway, PaymentKey, RiskService,
    ServiceKind, SimulatedGateway, SimulatedRisk,
};
use crate::exit::Failure;
use crate::orders::OrderDesk;
use crate::supervisor::{Part, Supervisor};

/// Checkout, and its loops.
pub(super) struct Paying {
    pub checkout: Checkout,
    /// Recovery and expiry: what buyers do not wait for, and a stop ends first.
    pub background: Vec<Part>,
}

/// Starts to take payments: with recovery, which goes on with `unfinished`, and expiry.
pub(super) fn start(
    supervisor: &Supervisor,
    settings: &CheckoutSettings,
    desk: &OrderDesk,
    admission: &Arc<Admission>,
    unfinished: impl Iterator<Item = PaymentKey>,
) -> Result<Paying, Failure> {
    let gateway = gateway(settings).map_err(Failure::at_start("checkout.gateway"))?;
    let risk = risk(settings).map_err(Failure::at_start("checkout.risk"))?;
    let parts = CheckoutParts {
        desk: desk.clone(),
        admission: Arc::clone(admission),
        gateway,
        risk,
        settings: settings.clone(),
        runtime: supervisor.control().clone(),
    };
    let checkout = Checkout::new(parts, unfinished);
    let recovery = checkout::recover(checkout.clone());
    let expiry = checkout::expire(checkout.clone());
    let background = vec![
        supervisor.task("payment recovery", async { Ok(recovery.await) }),
        supervisor.task("expiry", async { Ok(expiry.await) }),
    ];
    Ok(Paying { checkout, background })
}

fn gateway(settings: &CheckoutSettings) -> Result<Arc<dyn PaymentGateway>, CallError> {
    let settings = &settings.gateway;
    Ok(match settings.kind {
        ServiceKind::Simulated => Arc::new(SimulatedGateway::new(settings.simulated.clone())),
        ServiceKind::Http => Arc::new(HttpGateway::new(settings.http.clone())?),
    })
}

fn risk(settings: &CheckoutSettings) -> Result<Arc<dyn RiskService>, CallError> {
    let settings = &settings.risk;
    Ok(match settings.kind {
        ServiceKind::Simulated => Arc::new(SimulatedRisk::new(settings.simulated.clone())),
        ServiceKind::Http => Arc::new(HttpRisk::new(settings.http.clone())?),
    })
}
