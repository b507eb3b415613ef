//! The data plane: buyers' requests, from the socket to the answer.
//!
//! Two front ends read the sockets ([`FrontEnd`]); both hand a [`Request`] to one [`Application`] and write its
//! [`Reply`]. Nothing here knows of SQL, Redis or the admin plane.

mod addresses;
mod chance;
mod connection;
mod data_plane;
mod forwarded;
mod front_end;
mod hyper_server;
mod identity;
mod json;
mod listen;
mod may_connection;
mod may_framing;
mod may_homes;
mod may_server;
mod orders;
mod problem;
mod pulse;
mod purchase;
mod reply;
mod request;
mod route;
mod sale_state;
mod settings;

use std::future::Future;

pub use data_plane::DataPlane;
pub use front_end::Edge;
pub use identity::{Buyer, Denied, Identity};
pub use may_framing::Framing;
pub use orders::CheckoutBody;
pub use problem::{Problem, ProblemAnswer};
pub use purchase::PurchaseBody;
pub use reply::{Content, Field, Reply};
pub use request::{Head, Request, RequestId};
pub use route::{NoRoute, Route};
pub use settings::{
    AuthMode, AuthSettings, EdgeSettings, FrontEnd, JwtAlgorithm, JwtSettings, SaleStateSettings, StartError,
};

/// What answers requests, whichever front end reads them.
pub trait Application: Send + Sync + 'static {
    /// Answers one request. Called on a serving thread, which it must not block.
    fn answer(&self, request: &Request<'_>) -> impl Future<Output = Reply>;
}
