//! Paying and letting go: Try, Confirm, Cancel against a payment gateway, with a risk check at the same time.

mod breaker;
mod call;
mod draw;
mod expiry;
mod gateway;
pub mod http_gateway;
mod http_peer;
pub mod http_risk;
mod live;
mod metrics;
mod recovery;
mod risk;
mod service;
mod settings;
mod simulated;
mod till;

pub use breaker::{Breaker, BreakerState, Gate, Pass, Ticket, Verdict};
pub use call::{Answer, CallError};
pub use expiry::expire;
pub use gateway::{Charge, PaymentGateway, PaymentKey, PaymentState};
pub use metrics::{CallCounts, CheckoutMetrics, Count};
pub use recovery::recover;
pub use risk::{Outlook, RiskCheck, RiskPolicy, RiskService, RiskVerdict};
pub use service::{CancelAnswer, Checkout, CheckoutParts, PayAnswer};
pub use settings::{
    BreakerSettings, CheckoutSettings, ExpirySettings, GatewaySettings, HttpSettings, LatencySettings,
    RecoverySettings, RetrySettings, RiskSettings, ServiceKind, SimulatedGatewaySettings,
    SimulatedRiskSettings, Token, WhenAway, WrongKey,
};
pub use simulated::{SimulatedGateway, SimulatedRisk};
