//! Webhooks: what happens to orders and sales is told to any number of addresses, by the rules of Standard Webhooks: at least
//! once, and of each sale in order. `WEBHOOKS.md` beside this file is for those who receive.
//!
//! One engine of a store delivers ([`Webhooks::run`]); any other one goes on where it dies, for all that counts is in the
//! store. To each endpoint delivers a courier of its own, which reads the logs at its own pace: an endpoint that is slow or
//! gone holds up nobody, keeps nothing in memory but a window, and nothing of it is on the way of a purchase. What is in
//! flight and what waits is a machine without I/O and clock, the outbox.

mod courier;
mod deliveries;
mod endpoint;
mod endpoint_settings;
mod failing;
mod kinds;
mod networks;
mod outbox;
mod relay;
mod sender;
mod settings;
mod signing;
mod told;
mod transport;

pub use deliveries::Deliveries;
pub use endpoint::Endpoint;
pub use endpoint_settings::WebhookEndpoint;
pub use relay::{Seen, Webhooks};
pub use sender::HttpTransport;
pub use settings::WebhookSettings;
pub use transport::{Attempt, Transport, WebhookAnswer, WebhookRequest};
