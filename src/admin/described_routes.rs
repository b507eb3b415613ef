//! Routes that are made of their descriptions: what is not described is not there, and who may ask is what the
//! description says.

use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::middleware;
use axum::routing::{MethodFilter, MethodRouter, on};

use super::access;
use super::control_plane::ControlPlane;
use crate::openapi::{Access, Method, Operation};

/// What a route is for, which decides what a request passes on its way to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Whether the engine lives, and how it is: answered however many others ask.
    Probe,
    /// The same for everybody: no token is asked for.
    Open,
    /// What reads many rows of the store: gives way to purchases.
    Dear,
    /// Everything else.
    Usual,
}

/// Routes with their descriptions.
#[derive(Default)]
pub(super) struct DescribedRoutes(Vec<(Kind, Operation, MethodRouter<Arc<ControlPlane>>)>);

impl DescribedRoutes {
    /// With one more.
    #[must_use]
    pub fn on<H, T>(mut self, kind: Kind, operation: Operation, handler: H) -> Self
    where
        H: Handler<T, Arc<ControlPlane>>,
        T: 'static,
    {
        let filter = match operation.method {
            Method::Get => MethodFilter::GET,
            Method::Post => MethodFilter::POST,
            Method::Patch => MethodFilter::PATCH,
            Method::Delete => MethodFilter::DELETE,
        };
        self.0.push((kind, operation, on(filter, handler)));
        self
    }

    /// The descriptions, in their order.
    pub fn operations(self) -> Vec<Operation> {
        self.0.into_iter().map(|(_, operation, _)| operation).collect()
    }

    /// The routes of one kind, each with the check of who may ask that [`access::check`] does not make: it lets
    /// viewers look and operators act.
    pub fn router(&self, kind: Kind, plane: &Arc<ControlPlane>) -> Router<Arc<ControlPlane>> {
        let only_admins = middleware::from_fn_with_state(Arc::clone(plane), access::only_admins);
        let of_kind = self.0.iter().filter(|(of, ..)| *of == kind);
        of_kind.fold(Router::new(), |router, (_, operation, handler)| {
            let handler = match operation.access {
                Access::Admin => handler.clone().layer(only_admins.clone()),
                Access::AdminOfAll => handler
                    .clone()
                    .layer(middleware::from_fn(access::only_unbound))
                    .layer(only_admins.clone()),
                Access::Anybody | Access::Buyer | Access::Viewer | Access::Operator => handler.clone(),
            };
            router.route(operation.path, handler)
        })
    }
}
