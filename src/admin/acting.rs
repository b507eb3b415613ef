//! Who acts: what the trail tells of the request behind an act.

use std::net::SocketAddr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use rand::random;
use serde_json::Value;

use super::access::Tenant;
use super::caller::Caller;
use super::control_plane::ControlPlane;
use super::problem::Problem;
use super::request_id::RequestId;
use crate::orders::{Act, ActKind, Actor};

/// The other end of the request's connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub SocketAddr);

/// An operator who acts for a tenant.
pub(super) struct Acting {
    /// Whose sales and orders the request is about.
    pub tenant: String,
    actor: Actor,
}

impl<S: Sync> FromRequestParts<S> for Acting {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Tenant(tenant) = Tenant::from_request_parts(parts, state).await?;
        let found = &parts.extensions;
        let caller = found.get::<Caller>().cloned().unwrap_or(Caller::LOCAL);
        let actor = Actor {
            who: caller.name.into(),
            role: caller.role.into(),
            address: found.get::<Peer>().map_or(String::new(), |Peer(peer)| peer.ip().to_string()),
            request_id: found.get::<RequestId>().map_or(String::new(), |RequestId(id)| id.clone()),
        };
        Ok(Self { tenant, actor })
    }
}

impl Acting {
    /// An act on something of the tenant's, at this moment. What it changes is not told yet.
    pub fn act(&self, plane: &ControlPlane, kind: ActKind, object: String, reason: Option<String>) -> Act {
        Act {
            id: random(),
            at: plane.now(),
            actor: self.actor.clone(),
            tenant: Some(self.tenant.clone()),
            kind,
            object,
            from: Value::Null,
            to: Value::Null,
            reason,
        }
    }
}
