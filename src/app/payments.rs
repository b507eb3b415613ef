//! Which payment gateway and risk service there are, and what takes payments on and lets orders go.

use std::sync::Arc;

use crate::checkout::http_gateway::HttpGateway;
use crate::checkout::http_risk::HttpRisk;
use crate::checkout::{
    self, AttemptId, CallError, Checkout, CheckoutParts, CheckoutSettings, GatewaySettings, Gateways,
    NamedGateway, PaymentGateway, RiskService, ServiceKind, SimulatedGateway, SimulatedRisk,
};
use crate::exit::Failure;
use crate::supervisor::{Part, Supervisor};

/// Checkout, and its loops.
pub(super) struct Paying {
    pub checkout: Checkout,
    /// Recovery, outages and expiry: what buyers do not wait for, and a stop ends first.
    pub background: Vec<Part>,
}

/// Starts to take payments: with recovery, which goes on with `unfinished`, and expiry.
pub(super) fn start(
    supervisor: &Supervisor,
    parts: CheckoutParts,
    unfinished: impl Iterator<Item = AttemptId>,
) -> Paying {
    let checkout = Checkout::new(parts, unfinished);
    let recovery = checkout::recover(checkout.clone());
    let outages = checkout::note_outages(checkout.clone());
    let expiry = checkout::expire(checkout.clone());
    let background = vec![
        supervisor.task("payment recovery", async move {
            recovery.await;
            Ok(())
        }),
        supervisor.task("outages", async move {
            outages.await;
            Ok(())
        }),
        supervisor.task("expiry", async move {
            expiry.await;
            Ok(())
        }),
    ];
    Paying { checkout, background }
}

/// The gateways of the configuration.
pub(super) fn gateways(settings: &CheckoutSettings) -> Result<Gateways, Failure> {
    let named = |name: String, path: &str, settings: &GatewaySettings| {
        let gateway = gateway(settings).map_err(Failure::at_start(path))?;
        Ok::<_, Failure>(NamedGateway::new(name, gateway, settings))
    };
    let former = settings.former_gateways.iter();
    let former = former.map(|(name, former)| named(name.clone(), "checkout.former_gateways", former));
    let current = named(settings.gateway.full_name(), "checkout.gateway", &settings.gateway)?;
    Ok(Gateways::new(current, former.collect::<Result<_, _>>()?))
}

fn gateway(settings: &GatewaySettings) -> Result<Arc<dyn PaymentGateway>, CallError> {
    Ok(match settings.kind {
        ServiceKind::Simulated => Arc::new(SimulatedGateway::new(settings.simulated.clone())),
        ServiceKind::Http => Arc::new(HttpGateway::new(settings.http.clone())?),
    })
}

/// The risk service of the configuration.
pub(super) fn risk(settings: &CheckoutSettings) -> Result<Arc<dyn RiskService>, Failure> {
    let settings = &settings.risk;
    Ok(match settings.kind {
        ServiceKind::Simulated => Arc::new(SimulatedRisk::new(settings.simulated.clone())),
        ServiceKind::Http => {
            let risk = HttpRisk::new(settings.http.clone());
            Arc::new(risk.map_err(Failure::at_start("checkout.risk"))?)
        }
    })
}
