//! Who may see a tenant's orders and events by another way than this plane's own: with a token of this plane, by its
//! rules.

use std::net::SocketAddr;
use std::sync::Arc;

use super::acting::Peer;
use super::caller::Caller;
use super::control_plane::ControlPlane;
use super::refused_attempts::Verdict;
use super::request_id::RequestId;
use crate::domain::SaleKey;

/// Why somebody sees nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotShown {
    /// There is no token, or one that is none.
    WrongToken,
    /// As before, and many times from this address.
    TooManyWrongTokens,
    /// The token is another tenant's.
    ForeignTenant,
}

impl ControlPlane {
    /// The tenant whose events are shown to the bearer of `token`: the one that is `named`, or the token's own, or
    /// `default`. Without any tokens everybody is shown all if only this machine can ask (`is_local`), and nobody
    /// anything otherwise.
    ///
    /// # Errors
    /// [`NotShown`]. Wrong tokens are counted, and told to the trail, as those that come by this plane.
    pub fn shown_tenant(
        self: &Arc<Self>,
        token: Option<&[u8]>,
        named: Option<&str>,
        (peer, is_local): (SocketAddr, bool),
        request_id: &str,
    ) -> Result<String, NotShown> {
        let Some(caller) = self.bearer(token, is_local) else {
            // Nobody guesses without one, nor where there is none to be guessed.
            if token.is_none() || !self.asks_for_token() {
                return Err(NotShown::WrongToken);
            }
            let id = RequestId(request_id.to_owned());
            return Err(match self.note_wrong_token(Some(Peer(peer)), &id) {
                Verdict::TooMany => NotShown::TooManyWrongTokens,
                Verdict::Told | Verdict::Heard => NotShown::WrongToken,
            });
        };
        let own = caller.tenant.as_deref().unwrap_or(SaleKey::DEFAULT_TENANT);
        let tenant = named.unwrap_or(own);
        if caller.sees(tenant) { Ok(tenant.to_owned()) } else { Err(NotShown::ForeignTenant) }
    }

    /// Whether the bearer of `token` would still be shown the events of the tenant that
    /// [`shown_tenant`](Self::shown_tenant) has told: tokens are taken away while somebody follows. One that is none any
    /// more does not count as a wrong one.
    pub fn is_still_shown(&self, tenant: &str, token: Option<&[u8]>, is_local: bool) -> bool {
        self.bearer(token, is_local).is_some_and(|caller| caller.sees(tenant))
    }

    fn bearer(&self, token: Option<&[u8]>, is_local: bool) -> Option<Caller> {
        if self.asks_for_token() { self.tokens.caller(token?) } else { is_local.then(Caller::local) }
    }
}
