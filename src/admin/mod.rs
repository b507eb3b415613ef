//! The control plane: campaigns, audit, orders and events, figures, health, reload, the console.
//!
//! [`AdminServer`] answers on a socket of its own and never knows the edge: a crowd there cannot keep an operator out.
//! Everything it may do is in [`ControlPlane`].

mod access;
mod acting;
mod caller;
mod checkout_figures;
mod client_certificate;
mod clock_figures;
mod cluster_figures;
mod connection_places;
mod console;
mod control_plane;
mod etag;
mod extend;
mod failed_sign_ins;
mod feeds;
mod fields;
mod figure_exchange;
mod foreign_pages;
mod health;
mod lease_agent_figures;
mod live;
mod live_sampler;
mod live_snapshot;
mod live_viewers;
mod order_acts;
mod order_json;
mod probe;
mod problem;
mod readiness;
mod reconcile;
mod refund;
mod refusals;
mod reload;
mod request_id;
mod retiring;
mod rfc3339;
mod role;
mod sale_acts;
mod sales;
mod server;
mod session;
mod settings;
mod settle;
mod stats;
mod stops;
mod store_figures;
mod tenant;
mod tls_figures;
mod token_settings;
mod tokens;
mod trail;
mod waiting_room;

pub use control_plane::{ControlPlane, ControlPlaneParts, Reload, ReloadRefused};
pub use order_json::event_json;
pub use probe::{Question, probe};
pub use readiness::{Lifecycle, Readiness, StartPhase};
pub use role::Role;
pub use server::{AdminServer, Opening};
pub use settings::AdminSettings;
pub use token_settings::AdminToken;
pub use tokens::AdminTokens;
