//! What a buyer's token says, and why one is refused.

use std::sync::Arc;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::auth_settings::JwtSettings;
use super::token_crypto;
use super::token_keys::{KeySet, NamedKeys, given_keys};
use crate::domain::{BuyerId, FieldError};
use crate::telemetry::TokenFault;

/// What a token must be.
pub(super) struct TokenRules {
    keys: Keys,
    validation: Validation,
    tenant_claim: Option<String>,
}

enum Keys {
    Given(NamedKeys),
    Set(Arc<KeySet>),
}

/// What a token says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bearer {
    /// Who brings it.
    pub buyer: BuyerId,
    /// Whose customer that is, if a claim says so.
    pub tenant: Option<Box<str>>,
}

#[derive(Deserialize)]
struct Subject {
    sub: String,
}

#[derive(Deserialize)]
struct AllClaims {
    sub: String,
    #[serde(flatten)]
    others: Map<String, Value>,
}

impl TokenRules {
    /// Reads the keys. `tenant_claim` is looked for in tokens when it is given.
    ///
    /// # Errors
    /// Names the setting that is missing or wrong.
    pub fn new(settings: &JwtSettings, tenant_claim: Option<&str>) -> Result<Self, FieldError> {
        token_crypto::install();
        let given = given_keys(settings)?;
        let keys = match (KeySet::new(settings)?, given.is_empty()) {
            (Some(set), true) => Keys::Set(Arc::new(set)),
            (None, false) => Keys::Given(given),
            (Some(_), false) => {
                let problem = "is set beside a set of keys (jwks_file, jwks_url); set one".into();
                return Err(FieldError { field: "auth.jwt.key", problem });
            }
            (None, true) => {
                let problem = "is missing; set it, or auth.jwt.jwks_file, or auth.jwt.jwks_url".into();
                return Err(FieldError { field: "auth.jwt.key", problem });
            }
        };
        let mut validation = Validation::new(settings.algorithm.algorithm());
        validation.leeway = settings.leeway_s;
        validation.validate_nbf = true;
        validation.set_required_spec_claims(&["exp", "sub"]);
        if let Some(issuer) = &settings.issuer {
            validation.set_issuer(&[issuer]);
            validation.required_spec_claims.insert("iss".into());
        }
        if let Some(audience) = &settings.audience {
            validation.set_audience(&[audience]);
            validation.required_spec_claims.insert("aud".into());
        }
        Ok(Self { keys, validation, tenant_claim: tenant_claim.map(str::to_owned) })
    }

    /// The set of keys that may have to be read again before this token is looked at, and the key that it names.
    pub fn set_for(&self, token: &str) -> Option<(Arc<KeySet>, Option<String>)> {
        match &self.keys {
            Keys::Given(_) => None,
            Keys::Set(set) => Some((Arc::clone(set), decode_header(token).ok()?.kid)),
        }
    }

    /// Reads a token.
    ///
    /// # Errors
    /// Why it does not count.
    pub fn read(&self, token: &str) -> Result<Bearer, TokenFault> {
        match &self.tenant_claim {
            None => {
                let Subject { sub } = self.claims(token)?;
                Ok(Bearer { buyer: buyer(&sub)?, tenant: None })
            }
            Some(claim) => {
                let AllClaims { sub, others } = self.claims(token)?;
                let tenant = match others.get(claim) {
                    None => None,
                    Some(Value::String(tenant)) => Some(tenant.as_str().into()),
                    Some(_) => return Err(TokenFault::Claims),
                };
                Ok(Bearer { buyer: buyer(&sub)?, tenant })
            }
        }
    }

    fn claims<T: DeserializeOwned>(&self, token: &str) -> Result<T, TokenFault> {
        match &self.keys {
            Keys::Given(keys) => {
                let mut refused = TokenFault::Signature;
                for (_, key) in keys {
                    match self.signed_by(key, token) {
                        // Another of the keys may have signed it.
                        Err(TokenFault::Signature) => refused = TokenFault::Signature,
                        read => return read,
                    }
                }
                Err(refused)
            }
            Keys::Set(set) => {
                let header = decode_header(token).map_err(|_| TokenFault::Malformed)?;
                if !self.validation.algorithms.contains(&header.alg) {
                    return Err(TokenFault::Algorithm);
                }
                let key = set.key(header.kid.as_deref()).ok_or(TokenFault::UnknownKey)?;
                self.signed_by(&key, token)
            }
        }
    }

    fn signed_by<T: DeserializeOwned>(&self, key: &DecodingKey, token: &str) -> Result<T, TokenFault> {
        let read = decode::<T>(token, key, &self.validation).map_err(|error| self.fault(error.kind()))?;
        // RFC 7515, 4.1.11: whoever does not understand what is critical refuses the token. Nothing is understood here.
        if read.header.crit.is_some() { Err(TokenFault::Critical) } else { Ok(read.claims) }
    }

    fn fault(&self, kind: &ErrorKind) -> TokenFault {
        match kind {
            ErrorKind::InvalidAlgorithm | ErrorKind::MissingAlgorithm => TokenFault::Algorithm,
            ErrorKind::InvalidSignature => TokenFault::Signature,
            ErrorKind::ExpiredSignature => TokenFault::Expired,
            ErrorKind::ImmatureSignature => TokenFault::NotYetValid,
            ErrorKind::InvalidIssuer => TokenFault::Issuer,
            ErrorKind::InvalidAudience if self.validation.aud.is_none() => TokenFault::AudienceNotSet,
            ErrorKind::InvalidAudience => TokenFault::Audience,
            ErrorKind::MissingRequiredClaim(_) | ErrorKind::InvalidClaimFormat(_) => TokenFault::Claims,
            _ => TokenFault::Malformed,
        }
    }
}

fn buyer(sub: &str) -> Result<BuyerId, TokenFault> {
    BuyerId::new(sub).map_err(|_| TokenFault::Subject)
}

/// `WWW-Authenticate` for a refusal (RFC 6750, 3): what is wrong, for whoever maintains the client.
pub(super) const fn challenge(fault: TokenFault) -> &'static str {
    macro_rules! invalid {
        ($why:literal) => {
            concat!("Bearer error=\"invalid_token\", error_description=\"", $why, "\"")
        };
    }
    match fault {
        TokenFault::Missing => "Bearer",
        TokenFault::Malformed => invalid!("The token is not a signed JSON web token."),
        TokenFault::Algorithm => {
            invalid!("The token is signed by another algorithm than the one accepted here.")
        }
        TokenFault::UnknownKey => invalid!("The token names no key that is known here."),
        TokenFault::Signature => invalid!("The signature of the token is not by a key that is known here."),
        TokenFault::Expired => invalid!("The token has expired."),
        TokenFault::NotYetValid => invalid!("The token is not valid yet."),
        TokenFault::Issuer => invalid!("The token is by another issuer than the one accepted here."),
        TokenFault::Audience => invalid!("The token is meant for another audience."),
        TokenFault::AudienceNotSet => invalid!("The token has an audience, and none is configured here."),
        TokenFault::Claims => invalid!("A claim of the token is missing or of the wrong type."),
        TokenFault::Critical => invalid!("The token demands an extension that is not known here."),
        TokenFault::Subject => invalid!("The subject of the token is not 1 to 128 visible ASCII characters."),
    }
}
