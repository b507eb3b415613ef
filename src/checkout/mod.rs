//! Paying and letting go: Try, Confirm, Cancel against a payment gateway, with a risk check at the same time.
//!
//! Never knows the HTTP server, SQL or Redis. [`Checkout::pay`] is the place to start reading; one payment is
//!
//! 1. what can be refused before anything changes: the order's status, the method, the limits, the cached risk policy,
//!    the breaker;
//! 2. `pre_pay → paying`, durable, before the gateway hears of anything;
//! 3. Try: hold and risk check at the same time, each with tries, pauses and an end;
//! 4. Confirm: capture, then `paying → paid`, durable, then the buyer hears it; or
//! 5. Cancel: void, then `paying → pre_pay`, durable.
//!
//! Every call names the payment by order and attempt ([`PaymentKey`]), so that it can be repeated. Whatever breaks off
//! or ends without a known outcome leaves the order `paying`, and [`recover`] asks the gateway until it tells: money
//! that is taken or held brings the order forward, anything else is first made impossible at the gateway (void) and
//! then taken back. So units go back on sale only when no money is held for them and none can be taken any more.
//! [`expire`] lets go of orders that nobody paid.
//!
//! At most one attempt runs for an order at a node ([`Checkout::pay`] joins it, recovery stays away from it), and at most
//! one over all nodes: only one of them takes the step `pre_pay → paying`. Confirm and Cancel name the attempt that they
//! end, so that what a node hears late of its own attempt cannot end the next one, which may be another node's.

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
    SimulatedRiskSettings, WhenAway, WrongKey,
};
pub use simulated::{SimulatedGateway, SimulatedRisk};
