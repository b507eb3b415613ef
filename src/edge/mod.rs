//! The data plane: buyers' requests, from the socket to the answer.
//!
//! Two front ends read the sockets ([`FrontEnd`]); both hand a [`Request`] to one [`Application`] and write its
//! [`Reply`]. Nothing here knows of SQL, Redis or the admin plane.

mod address_limits;
mod archived;
mod arena;
mod auth_settings;
mod connection;
mod connection_timeout;
mod cookie;
mod cross_site;
mod data_plane;
mod exchange;
mod forwarded;
mod framing;
mod front_end;
mod gatekeeper;
mod gatekeeper_settings;
mod handshake;
mod http1_answer;
mod http1_fast_path;
mod http2;
mod http2_settings;
mod hyper_server;
mod identity;
mod json;
mod listen;
mod load_watch;
mod may_connection;
mod may_connection_table;
mod may_server;
mod may_threads;
mod openapi;
mod openapi_bodies;
mod order_view;
mod orders;
mod orders_of_buyer;
mod page;
pub mod problem;
mod public_pages;
mod purchase;
mod random;
mod refusal;
mod reply;
mod reply_header;
mod request;
mod request_id;
mod request_target;
mod route;
mod rpc_code;
mod sale_state;
mod sale_state_page;
mod settings;
mod shedding;
mod spans;
mod start_error;
mod tenant;
mod token_crypto;
mod token_keys;
mod tokens;
mod transport;
mod tuning;
mod waiting_room;
mod waiting_room_document;

use std::future::Future;

pub use auth_settings::{
    AuthMode, AuthSettings, CorsSettings, JwtAlgorithm, JwtSettings, TenantSettings, TenantSource,
};
pub use data_plane::DataPlane;
pub use framing::Framing;
pub use front_end::Edge;
pub use gatekeeper::Gatekeeper;
pub use gatekeeper_settings::{GateFailure, GatekeeperSettings};
pub use http2_settings::Http2Settings;
pub use identity::{Buyer, Denied, Identity};
pub use openapi::document;
pub use orders::CheckoutBody;
pub use page::{PageAccess, PagedSales};
pub use problem::{Problem, ProblemAnswer};
pub use purchase::PurchaseBody;
pub use reply::{Content, Field, Keep, Reply};
pub use request::{Head, Request};
pub use request_id::RequestId;
pub use route::{NoRoute, Route};
pub use rpc_code::RpcCode;
pub use settings::{EdgeSettings, FrontEnd, SaleStateSettings};
pub use shedding::OverloadSettings;
pub use start_error::StartError;

/// What answers requests, whichever front end reads them.
pub trait Application: Send + Sync + 'static {
    /// Answers one request. Called on a serving thread, which it must not block.
    fn answer(&self, request: &Request<'_>) -> impl Future<Output = Reply>;

    /// The answer to a caller who is not to be heard at all. Asked before anything else is looked at, the body
    /// included; `home` is the serving thread.
    fn turned_away(&self, head: &Head<'_>, home: usize) -> Option<ProblemAnswer> {
        let _ = (head, home);
        None
    }
}
