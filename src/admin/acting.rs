//! Who acts: what the trail tells of the request behind an act.

use std::net::SocketAddr;

use axum::extract::FromRequestParts;
use axum::http::Extensions;
use axum::http::request::Parts;
use rand::random;
use serde_json::Value;

use super::caller::Caller;
use super::control_plane::ControlPlane;
use super::problem::Problem;
use super::request_id::RequestId;
use super::tenant::Tenant;
use crate::orders::{Act, ActKind, Actor};

/// The other end of the request's connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub SocketAddr);

/// An operator who acts for a tenant.
#[derive(Clone)]
pub(super) struct Acting {
    /// Whose sales and orders the request is about.
    pub tenant: String,
    /// Whether the operator sees no other.
    is_bound: bool,
    actor: Actor,
}

impl<S: Sync> FromRequestParts<S> for Acting {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Tenant(tenant) = Tenant::from_request_parts(parts, state).await?;
        Ok(Self::of(&parts.extensions, Some(&tenant)))
    }
}

impl Acting {
    /// Whoever a checked request has made known.
    pub fn of(found: &Extensions, tenant: Option<&str>) -> Self {
        let caller = found.get::<Caller>().cloned().unwrap_or_else(Caller::local);
        let id = found.get::<RequestId>().map_or("", |RequestId(id)| id);
        Self {
            tenant: tenant.unwrap_or_default().to_owned(),
            is_bound: caller.tenant.is_some(),
            actor: actor(&caller.name, caller.role.as_str(), found.get().copied(), id),
        }
    }

    /// Somebody who is not known.
    pub fn of_nobody(peer: Option<Peer>, RequestId(id): &RequestId) -> Self {
        Self { tenant: String::new(), is_bound: false, actor: actor("", "", peer, id) }
    }

    /// Whether the operator sees no other tenant.
    pub fn is_bound(&self) -> bool {
        self.is_bound
    }
}

fn actor(who: &str, role: &str, peer: Option<Peer>, request_id: &str) -> Actor {
    Actor {
        who: who.into(),
        role: role.into(),
        address: peer.map_or(String::new(), |Peer(peer)| peer.ip().to_string()),
        request_id: request_id.into(),
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
