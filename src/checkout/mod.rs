//! Paying and letting go: Try, Confirm, Cancel against a payment gateway, with a risk check at the same time.
//!
//! Never knows the HTTP server, SQL or Redis. [`Checkout::pay`] is the place to start reading; one payment is
//!
//! 1. what can be refused before anything changes: the order's status, the method, the limits, the cached risk policy,
//!    the breaker;
//! 2. `pre_pay → paying`, durable and with the name of the gateway, before the gateway hears of anything;
//! 3. Try: hold and risk check at the same time, each with tries, pauses and an end;
//! 4. the direction, durable: going on, or letting go and why;
//! 5. Confirm: capture, then `paying → paid`, durable, then the buyer hears it; or
//! 6. Cancel: void, then `paying → pre_pay`, durable.
//!
//! An order that costs nothing goes from 2 to `paid`.
//!
//! Every call names the payment by store, order and attempt ([`PaymentKey`]), so that it can be repeated, and is made to
//! the gateway that the attempt was begun at ([`Gateways`]). Whatever breaks off or ends without a known outcome leaves
//! the order `paying`, and [`recover`] brings it to its end: in its direction, if it has one; otherwise the gateway is
//! asked, money that is held brings the order forward if risk approves, and anything else is first made impossible at the
//! gateway (void) and then taken back. So units go back on sale only when no money is held for them and none can be taken
//! any more. A payment that never ends is for an operator to [`settle`](Checkout::settle).
//! [`expire`] lets go of orders that nobody paid. What was paid is given back by [`Checkout::refund`]: `paid → refunding`,
//! durable, then the gateway, then `refunding → refunded`; see its module.
//!
//! At most one attempt runs for an order at a node ([`Checkout::pay`] joins it, recovery stays away from it), and at most
//! one over all nodes: only one of them takes the step `pre_pay → paying`. Confirm and Cancel name the attempt that they
//! end, so that what a node hears late of its own attempt cannot end the next one, which may be another node's.

mod answers;
mod breaker;
mod coordinator;
mod expiry;
mod gateway;
mod gateways;
pub mod http_gateway;
mod http_peer;
pub mod http_risk;
mod in_flight;
mod metrics;
mod operator_settle;
mod outages;
mod payment_outcome;
mod recovery;
mod recovery_queue;
mod refund;
mod refunding;
mod remote_call;
mod risk;
mod seeded_random;
mod service;
mod service_settings;
mod setting_limits;
mod settings;
mod simulated;
mod stuck_payments;
mod try_phase;

pub use answers::{CancelAnswer, PayAnswer};
pub use breaker::{Breaker, BreakerState, CallVerdict, Gate, Pass, Permit};
pub use expiry::expire;
pub use gateway::{
    AttemptId, Charge, Money, Payment, PaymentGateway, PaymentKey, PaymentState, RefundKey, RefundOrder,
    RefundProgress, RefundTold,
};
pub use gateways::{Gateways, NamedGateway};
pub use http_peer::HttpPeer;
pub use metrics::{CallCounts, CheckoutMetrics, Count};
pub use operator_settle::{SettleAnswer, SettleOutcome};
pub use outages::note_outages;
pub use recovery::recover;
pub use refund::{RefundAnswer, WantedRefund};
pub use remote_call::{Answer, CallError};
pub use risk::{Outlook, RiskCheck, RiskPolicy, RiskService, RiskVerdict};
pub use service::{Checkout, CheckoutParts};
pub use service_settings::{
    BreakerSettings, GatewaySettings, HttpSettings, LatencySettings, ProcessingSettings, RetrySettings,
    ServiceKind, SimulatedGatewaySettings,
};
pub use setting_limits::WrongKey;
pub use settings::{
    CheckoutSettings, ExpirySettings, RecoverySettings, RiskSettings, SimulatedRiskSettings, WhenAway,
};
pub use simulated::{SimulatedGateway, SimulatedRisk};
pub use stuck_payments::StuckPaymentCounts;
