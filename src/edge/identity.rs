//! Who asks. Either the gateway in front has found out and says so in a header, or a signed token does.

use std::sync::Arc;

use super::auth_settings::{AuthMode, AuthSettings, TenantSettings, TenantSource};
use super::request::Head;
use super::token_keys::KeySet;
use super::tokens::{Bearer, TokenRules};
use crate::domain::{BuyerId, BuyerName, FieldError};
use crate::settings::Secret;
use crate::telemetry::TokenFault;

/// Finds the buyer of a request.
#[derive(Debug)]
pub struct Identity {
    origin_secrets: Vec<Secret>,
    source: Source,
}

enum Source {
    TrustedHeader,
    Jwt(Box<TokenRules>),
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::TrustedHeader => "TrustedHeader",
            Self::Jwt(_) => "Jwt",
        })
    }
}

/// The buyer of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Buyer<'a> {
    /// Named in the request itself: nothing is allocated to refuse it.
    Named(BuyerName<'a>),
    /// Named inside a token.
    InToken {
        /// The buyer.
        buyer: BuyerId,
        /// Whose customer, if tokens say so.
        tenant: Option<Box<str>>,
    },
}

impl Buyer<'_> {
    /// The buyer's name.
    pub fn name(&self) -> BuyerName<'_> {
        match self {
            Self::Named(name) => *name,
            Self::InToken { buyer, .. } => buyer.name(),
        }
    }

    /// The tenant that the token names.
    pub fn tenant(&self) -> Option<&str> {
        match self {
            Self::Named(_) => None,
            Self::InToken { tenant, .. } => tenant.as_deref(),
        }
    }
}

/// Why a request has no buyer: 401.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// `X-User-ID` is missing or not a buyer's name.
    NoUser,
    /// There is no token, or it does not count.
    Token(TokenFault),
}

impl Identity {
    /// Reads the keys.
    ///
    /// # Errors
    /// Names the setting that is missing or wrong.
    pub fn new(settings: &AuthSettings, tenant: &TenantSettings) -> Result<Self, FieldError> {
        settings.check_secrets()?;
        let source = match (settings.mode, &settings.jwt) {
            (AuthMode::TrustedHeader, _) => Source::TrustedHeader,
            (AuthMode::Jwt, Some(jwt)) => {
                let claim = (tenant.from == TenantSource::Claim).then_some(tenant.claim.as_str());
                Source::Jwt(Box::new(TokenRules::new(jwt, claim)?))
            }
            (AuthMode::Jwt, None) => {
                let problem = "is needed by auth.mode = \"jwt\"".into();
                return Err(FieldError { field: "auth.jwt", problem });
            }
        };
        Ok(Self { origin_secrets: settings.all_origin_secrets().cloned().collect(), source })
    }

    /// Whether the request came through the gateway, if only the gateway is to be heard.
    pub fn is_heard(&self, head: &Head<'_>) -> bool {
        let given = head.origin_secret.unwrap_or_default();
        self.origin_secrets.is_empty() || self.origin_secrets.iter().any(|secret| secret.matches(given))
    }

    /// The set of keys that may have to be read again before the request's token is looked at, and the key that the
    /// token names.
    pub(super) fn set_for(&self, head: &Head<'_>) -> Option<(Arc<KeySet>, Option<String>)> {
        match &self.source {
            Source::TrustedHeader => None,
            Source::Jwt(rules) => rules.set_for(head.authorization.and_then(bearer)?),
        }
    }

    /// The buyer of the request.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn buyer<'a>(&self, head: &Head<'a>) -> Result<Buyer<'a>, Denied> {
        match &self.source {
            Source::TrustedHeader => {
                let name = head.user.and_then(|name| std::str::from_utf8(name).ok()).ok_or(Denied::NoUser)?;
                BuyerName::new(name).map(Buyer::Named).map_err(|_| Denied::NoUser)
            }
            Source::Jwt(rules) => {
                let given = head.authorization.ok_or(Denied::Token(TokenFault::Missing))?;
                let token = bearer(given).ok_or(Denied::Token(TokenFault::Malformed))?;
                let Bearer { buyer, tenant } = rules.read(token).map_err(Denied::Token)?;
                Ok(Buyer::InToken { buyer, tenant })
            }
        }
    }
}

/// The token of `Authorization: Bearer`.
fn bearer(value: &[u8]) -> Option<&str> {
    let (scheme, token) = std::str::from_utf8(value).ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start_matches(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buyer_with(identity: &Identity, name: &str, value: &str) -> Result<String, Denied> {
        let head = Head::read(std::iter::once((name, value.as_bytes())));
        identity.buyer(&head).map(|buyer| buyer.name().as_str().to_owned())
    }

    fn identity(settings: &AuthSettings) -> Identity {
        Identity::new(settings, &TenantSettings::default()).unwrap()
    }

    #[test]
    fn the_gateways_word_is_taken_when_it_is_a_name() {
        let identity = identity(&AuthSettings::default());
        assert_eq!(buyer_with(&identity, "x-user-id", "ann"), Ok("ann".into()));
        for bad in ["", "a b", "ü", &"x".repeat(129)] {
            assert_eq!(buyer_with(&identity, "x-user-id", bad), Err(Denied::NoUser), "{bad:?}");
        }
        assert_eq!(buyer_with(&identity, "x-other", "ann"), Err(Denied::NoUser));
    }

    #[test]
    fn with_a_secret_only_the_gateway_is_heard() {
        let settings = AuthSettings {
            origin_secret: "the-former-secret".into(),
            origin_secrets: vec!["the-newer-secret!".into()],
            ..AuthSettings::default()
        };
        let identity = identity(&settings);
        let heard = |secret: Option<&str>| {
            identity.is_heard(&Head { origin_secret: secret.map(str::as_bytes), ..Head::default() })
        };
        assert!(heard(Some("the-former-secret")) && heard(Some("the-newer-secret!")));
        for other in [Some("The-former-secret"), Some(""), None] {
            assert!(!heard(other), "{other:?}");
        }
    }
}
