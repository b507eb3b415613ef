//! What can be set about who asks: buyers, tenants, other sites' pages.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::{FieldError, SaleKey};
use crate::settings::Secret;

/// The `[edge.auth]` section.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthSettings {
    /// Where a buyer's name comes from.
    pub mode: AuthMode,
    /// What a request must carry in `X-Origin-Secret`, so that nobody passes by the gateway.
    pub origin_secret: Secret,
    /// More secrets that are accepted, so that they can be exchanged one after the other: the new one here and in the
    /// gateway, then the old one away.
    pub origin_secrets: Vec<Secret>,
    /// Accepts `X-User-ID` from anyone on an address that is not loopback, without a secret.
    pub insecure: bool,
    /// How tokens are checked; needed by `mode = "jwt"`. Keys come from `key` and `keys`, or from a set (JWKS).
    pub jwt: Option<JwtSettings>,
}

/// Where a buyer's name comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthMode {
    /// The gateway in front has authenticated the buyer and says who it is in `X-User-ID`.
    #[default]
    TrustedHeader,
    /// `Authorization: Bearer` holds a signed token whose `sub` is the buyer.
    Jwt,
}

/// The `[edge.auth.jwt]` section. Keys come from `key` and `keys`, or from a set (JWKS).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct JwtSettings {
    /// The one algorithm accepted: a token never chooses it.
    pub algorithm: JwtAlgorithm,
    /// The key: the shared secret for HS256, the public key as PEM for RS256, ES256 and EdDSA.
    #[serde(default)]
    pub key: Secret,
    /// More keys that are accepted, so that they can be exchanged one after the other.
    #[serde(default)]
    pub keys: Vec<Secret>,
    /// A file that holds the set of keys; a token's `kid` chooses one.
    #[serde(default)]
    pub jwks_file: String,
    /// The address of the set of keys, `https` unless it is this machine's.
    #[serde(default)]
    pub jwks_url: String,
    /// How old the set may become before it is read again, in seconds.
    #[serde(default = "jwks_refresh_s")]
    pub jwks_refresh_s: u64,
    /// The shortest time between two readings of the set, in ms, however many tokens name keys that it lacks.
    #[serde(default = "jwks_pause_ms")]
    pub jwks_pause_ms: u64,
    /// The longest wait for the set, in ms.
    #[serde(default = "jwks_wait_ms")]
    pub jwks_wait_ms: u64,
    /// The `iss` a token must have. None: it is not looked at.
    #[serde(default)]
    pub issuer: Option<String>,
    /// The `aud` a token must have. None: a token with an `aud` is refused.
    #[serde(default)]
    pub audience: Option<String>,
    /// How far the clocks of issuer and engine may differ, in seconds.
    #[serde(default = "leeway_s")]
    pub leeway_s: u64,
}

fn jwks_refresh_s() -> u64 {
    300
}

fn jwks_pause_ms() -> u64 {
    10_000
}

fn jwks_wait_ms() -> u64 {
    2_000
}

fn leeway_s() -> u64 {
    30
}

/// The signature algorithms of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
pub enum JwtAlgorithm {
    /// HMAC with SHA-256.
    #[serde(rename = "HS256")]
    Hs256,
    /// RSASSA-PKCS1-v1_5 with SHA-256, keys of 2,048 to 8,192 bits.
    #[serde(rename = "RS256")]
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl AuthSettings {
    /// All secrets of the gateway.
    pub fn all_origin_secrets(&self) -> impl Iterator<Item = &Secret> {
        std::iter::once(&self.origin_secret).chain(&self.origin_secrets).filter(|secret| !secret.is_empty())
    }

    /// Whether only the gateway is heard.
    pub fn has_origin_secret(&self) -> bool {
        self.all_origin_secrets().next().is_some()
    }

    /// Refuses secrets that could be guessed, or could not travel in a header field.
    ///
    /// # Errors
    /// Names the setting.
    pub(super) fn check_secrets(&self) -> Result<(), FieldError> {
        self.origin_secret.check_travelling("auth.origin_secret")?;
        self.origin_secrets.iter().try_for_each(|secret| secret.check_travelling("auth.origin_secrets"))
    }
}

/// The `[edge.tenant]` section.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TenantSettings {
    /// Where the tenant of a request comes from.
    pub from: TenantSource,
    /// The tenant of a request that names none. Empty: such a request is refused.
    pub default: String,
    /// The tenants that may be named. Empty: any; a name without sales has none.
    pub allowed: Vec<String>,
    /// `from = "host"`: the tenant of each host name.
    pub hosts: BTreeMap<String, String>,
    /// `from = "host"`: what host names end with whose first label is the tenant, such as `.sales.example`.
    pub host_suffix: String,
    /// `from = "claim"`: the claim of the token.
    pub claim: String,
    /// `from = "fixed"`: the tenant.
    pub name: String,
}

impl Default for TenantSettings {
    fn default() -> Self {
        Self {
            from: TenantSource::Header,
            default: SaleKey::DEFAULT_TENANT.into(),
            allowed: Vec::new(),
            hosts: BTreeMap::new(),
            host_suffix: String::new(),
            claim: "tenant".into(),
            name: SaleKey::DEFAULT_TENANT.into(),
        }
    }
}

/// Where the tenant of a request comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TenantSource {
    /// `X-Tenant-ID`, as the gateway sends it. With `auth.mode = "jwt"` and without an origin secret it comes from
    /// anybody, and may only name the default.
    #[default]
    Header,
    /// The host name that was asked.
    Host,
    /// A claim of the buyer's token.
    Claim,
    /// Always the same.
    Fixed,
}

/// The `[edge.cors]` section.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct CorsSettings {
    /// Origins of other sites whose pages may buy, such as `https://shop.example`.
    pub origins: Vec<String>,
    /// Whether their browsers may send cookies, which a gateway in front may know buyers by.
    pub credentials: bool,
    /// How long browsers remember that they may, in seconds.
    pub max_age_s: u32,
}

impl Default for CorsSettings {
    fn default() -> Self {
        Self { origins: Vec::new(), credentials: false, max_age_s: 600 }
    }
}
