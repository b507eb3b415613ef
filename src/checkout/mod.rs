//! Paying and letting go: Try, Confirm, Cancel against a payment gateway, with a risk check at the same time.

mod breaker;
mod call;
mod draw;
mod gateway;
pub mod http_gateway;
mod http_peer;
pub mod http_risk;
mod risk;
mod settings;
mod simulated;

pub use breaker::{Breaker, BreakerState, Gate, Pass, Ticket, Verdict};
pub use call::{Answer, CallError};
pub use gateway::{Charge, PaymentGateway, PaymentKey, PaymentState};
pub use risk::{Outlook, RiskCheck, RiskPolicy, RiskService, RiskVerdict};
pub use settings::*;
pub use simulated::{SimulatedGateway, SimulatedRisk};
