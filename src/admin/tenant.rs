//! The tenant whose sales and orders a request is about.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::caller::Caller;
use super::problem::{Code, Problem, invalid_name};
use crate::domain::{InvalidId, SaleKey};

/// The tenant of a request: `X-Tenant-ID`; without it the only one that the token is for, or `default`.
pub(super) struct Tenant(pub String);

impl<S: Sync> FromRequestParts<S> for Tenant {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let caller = parts.extensions.get::<Caller>();
        let mut sent = parts.headers.get_all("x-tenant-id").iter();
        let Some(tenant) = sent.next() else {
            let own = caller.and_then(|caller| caller.tenant.as_deref());
            return Ok(Self(own.unwrap_or(SaleKey::DEFAULT_TENANT).into()));
        };
        if sent.next().is_some() {
            return Err(Problem::malformed("X-Tenant-ID may be given once only."));
        }
        let tenant = tenant.to_str().unwrap_or_default();
        SaleKey::check_part(tenant)
            .map_err(|InvalidId(rule)| Problem::malformed(format!("X-Tenant-ID {rule}")))?;
        match caller.and_then(|caller| caller.tenant.as_deref()) {
            Some(own) if own != tenant => Err(foreign_tenant(own)),
            _ => Ok(Self(tenant.into())),
        }
    }
}

/// A part of a sale's name in a query, which has to be one that a sale can have: a mistyped filter shall not look like a sale
/// without rows.
pub(super) fn name_in_query(field: &str, name: Option<String>) -> Result<Option<String>, Problem> {
    let wrong = name.as_deref().and_then(|name| SaleKey::check_part(name).err());
    wrong.map_or(Ok(name), |rule| Err(invalid_name(field, rule)))
}

/// The caller sees another tenant only.
pub(super) fn foreign_tenant(own: &str) -> Problem {
    let detail = format!("This token is for the tenant {own} only.");
    Problem::new(Code::ForeignTenant, detail)
}
