//! Who may see a tenant's orders and events by another way than this plane's own: with a token of this plane, by its
//! rules.

use std::net::SocketAddr;
use std::sync::Arc;

use super::acting::Peer;
use super::caller::Caller;
use super::control_plane::ControlPlane;
use super::failed_sign_ins::Verdict;
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
        let caller = match token {
            _ if !self.asks_for_token() && is_local => Some(Caller::local()),
            Some(token) if self.asks_for_token() => self.tokens.caller(token),
            _ => return Err(NotShown::WrongToken),
        };
        let Some(caller) = caller else {
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
}
