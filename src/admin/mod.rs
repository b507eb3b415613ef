//! The control plane: campaigns, audit, orders and events, figures, health, reload, a status page.
//!
//! [`AdminServer`] answers on a socket of its own and never knows the edge: a crowd there cannot keep an operator out.
//! Everything it may do is in [`ControlPlane`].

mod access;
mod acting;
mod caller;
mod checkout_figures;
mod client_certificate;
mod clock_figures;
mod connection_places;
mod control_plane;
mod etag;
mod extend;
mod feeds;
mod fields;
mod health;
mod lease_agent_figures;
mod order_acts;
mod order_json;
mod probe;
mod problem;
mod readiness;
mod reconcile;
mod reload;
mod request_id;
mod rfc3339;
mod sale_acts;
mod sales;
mod server;
mod settings;
mod settle;
mod stats;
mod status_page;
mod stops;
mod store_figures;
mod tls_figures;
mod tokens;
mod trail;

pub use control_plane::{ControlPlane, ControlPlaneParts, Reload, ReloadRefused};
pub use order_json::event_json;
pub use probe::{Question, probe};
pub use readiness::{Lifecycle, Readiness, StartPhase};
pub use server::{AdminServer, Opening};
pub use settings::AdminSettings;
pub use tokens::AdminTokens;
