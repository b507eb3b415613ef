//! Who asks. Either the gateway in front has found out and says so in a header, or a signed token does.

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;

use super::request::Head;
use super::settings::{AuthMode, AuthSettings, JwtAlgorithm, JwtSettings};
use crate::domain::{BuyerId, BuyerName, FieldError};
use crate::settings::Secret;

/// Finds the buyer of a request.
#[derive(Debug)]
pub struct Identity {
    origin_secret: Secret,
    source: Source,
}

enum Source {
    TrustedHeader,
    Jwt(Box<TokenRules>),
}

/// What a token must be.
struct TokenRules {
    key: DecodingKey,
    validation: Validation,
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
    InToken(BuyerId),
}

impl Buyer<'_> {
    /// The buyer's name.
    pub fn name(&self) -> BuyerName<'_> {
        match self {
            Self::Named(name) => *name,
            Self::InToken(id) => id.name(),
        }
    }
}

/// Why a request has no buyer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// It did not come through the gateway: 403.
    ForeignOrigin,
    /// `X-User-ID` is missing or not a buyer's name: 401.
    NoUser,
    /// There is no token, or it is not valid: 401.
    NoToken,
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
}

impl Identity {
    /// Reads the keys.
    ///
    /// # Errors
    /// Names the setting that is missing or wrong.
    pub fn new(settings: &AuthSettings) -> Result<Self, FieldError> {
        let source = match (settings.mode, &settings.jwt) {
            (AuthMode::TrustedHeader, _) => Source::TrustedHeader,
            (AuthMode::Jwt, Some(jwt)) => Self::jwt(jwt)?,
            (AuthMode::Jwt, None) => {
                let problem = "is needed by auth.mode = \"jwt\"".into();
                return Err(FieldError { field: "auth.jwt", problem });
            }
        };
        Ok(Self { origin_secret: settings.origin_secret.clone(), source })
    }

    fn jwt(settings: &JwtSettings) -> Result<Source, FieldError> {
        let key = settings.key.expose().as_bytes();
        let wrong = |problem: String| FieldError { field: "auth.jwt.key", problem };
        let (algorithm, key) = match settings.algorithm {
            JwtAlgorithm::Hs256 if key.len() < 32 => {
                return Err(wrong("a secret for HS256 must be at least 32 bytes long".into()));
            }
            JwtAlgorithm::Hs256 => (Algorithm::HS256, Ok(DecodingKey::from_secret(key))),
            JwtAlgorithm::Es256 => (Algorithm::ES256, DecodingKey::from_ec_pem(key)),
            JwtAlgorithm::EdDsa => (Algorithm::EdDSA, DecodingKey::from_ed_pem(key)),
        };
        let key = key.map_err(|error| wrong(format!("is not a public key in PEM form: {error}")))?;
        let mut validation = Validation::new(algorithm);
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
        Ok(Source::Jwt(Box::new(TokenRules { key, validation })))
    }

    /// The buyer of the request.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn buyer<'a>(&self, head: &Head<'a>) -> Result<Buyer<'a>, Denied> {
        if !self.origin_secret.is_empty()
            && !self.origin_secret.matches(head.origin_secret.unwrap_or_default())
        {
            return Err(Denied::ForeignOrigin);
        }
        match &self.source {
            Source::TrustedHeader => {
                let name = head.user.and_then(|name| std::str::from_utf8(name).ok()).ok_or(Denied::NoUser)?;
                BuyerName::new(name).map(Buyer::Named).map_err(|_| Denied::NoUser)
            }
            Source::Jwt(rules) => {
                let token = head.authorization.and_then(bearer).ok_or(Denied::NoToken)?;
                let token = jsonwebtoken::decode::<Claims>(token, &rules.key, &rules.validation)
                    .map_err(|_| Denied::NoToken)?;
                BuyerId::new(&token.claims.sub).map(Buyer::InToken).map_err(|_| Denied::NoToken)
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
    use jsonwebtoken::{EncodingKey, Header, encode};
    use serde_json::json;

    const SECRET: &str = "a secret of at least thirty-two bytes";

    fn jwt_settings(algorithm: JwtAlgorithm, key: &str) -> AuthSettings {
        AuthSettings {
            mode: AuthMode::Jwt,
            jwt: Some(JwtSettings { algorithm, key: key.into(), issuer: None, audience: None, leeway_s: 0 }),
            ..AuthSettings::default()
        }
    }

    fn buyer_with(identity: &Identity, name: &str, value: &str) -> Result<String, Denied> {
        let head = Head::read(std::iter::once((name, value.as_bytes())));
        identity.buyer(&head).map(|buyer| buyer.name().as_str().to_owned())
    }

    #[test]
    fn the_gateways_word_is_taken_when_it_is_a_name() {
        let identity = Identity::new(&AuthSettings::default()).unwrap();
        assert_eq!(buyer_with(&identity, "x-user-id", "ann"), Ok("ann".into()));
        for bad in ["", "a b", "ü", &"x".repeat(129)] {
            assert_eq!(buyer_with(&identity, "x-user-id", bad), Err(Denied::NoUser), "{bad:?}");
        }
        assert_eq!(buyer_with(&identity, "x-other", "ann"), Err(Denied::NoUser));
    }

    #[test]
    fn with_a_secret_only_the_gateway_is_heard() {
        let settings = AuthSettings { origin_secret: "s3cret".into(), ..AuthSettings::default() };
        let identity = Identity::new(&settings).unwrap();
        for (secret, expected) in [
            (Some("s3cret"), Ok("ann".into())),
            (Some("S3cret"), Err(Denied::ForeignOrigin)),
            (Some(""), Err(Denied::ForeignOrigin)),
            (None, Err(Denied::ForeignOrigin)),
        ] {
            let fields = [("x-user-id", Some("ann")), ("x-origin-secret", secret)];
            let sent = fields.iter().filter_map(|&(name, value)| Some((name, value?.as_bytes())));
            let buyer = identity.buyer(&Head::read(sent)).map(|buyer| buyer.name().as_str().to_owned());
            assert_eq!(buyer, expected, "{secret:?}");
        }
    }

    #[test]
    fn a_token_counts_when_it_is_signed_in_time_and_by_the_set_algorithm() {
        let identity = Identity::new(&jwt_settings(JwtAlgorithm::Hs256, SECRET)).unwrap();
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        let sign = |header: Header, claims, key| encode(&header, &claims, key).unwrap();
        let (soon, past) = (jsonwebtoken::get_current_timestamp() + 600, 1_000);
        let hs256 = || Header::new(Algorithm::HS256);
        let good = sign(hs256(), json!({"sub": "ann", "exp": soon}), &key);
        assert_eq!(buyer_with(&identity, "authorization", &format!("Bearer {good}")), Ok("ann".into()));
        assert_eq!(buyer_with(&identity, "authorization", &format!("bearer  {good}")), Ok("ann".into()));
        let other_key = EncodingKey::from_secret(b"another secret, also more than 32 bytes");
        let bad = [
            sign(hs256(), json!({"sub": "ann", "exp": past}), &key),
            sign(hs256(), json!({"sub": "ann"}), &key),
            sign(hs256(), json!({"exp": soon}), &key),
            sign(hs256(), json!({"sub": "a b", "exp": soon}), &key),
            sign(hs256(), json!({"sub": "ann", "exp": soon, "nbf": soon}), &key),
            sign(hs256(), json!({"sub": "ann", "exp": soon}), &other_key),
            sign(Header::new(Algorithm::HS384), json!({"sub": "ann", "exp": soon}), &key),
            String::new(),
            "a.b.c".into(),
        ];
        for token in bad {
            let denied = buyer_with(&identity, "authorization", &format!("Bearer {token}"));
            assert_eq!(denied, Err(Denied::NoToken), "{token}");
        }
        assert_eq!(buyer_with(&identity, "authorization", &good), Err(Denied::NoToken), "no scheme");
    }

    #[test]
    fn public_key_algorithms_are_checked_with_the_public_key() {
        // Key pairs made for this test alone.
        const ES256: (&str, &str) =
            (include_str!("testdata/es256.private.pem"), include_str!("testdata/es256.public.pem"));
        const ED25519: (&str, &str) =
            (include_str!("testdata/ed25519.private.pem"), include_str!("testdata/ed25519.public.pem"));
        let claims = json!({"sub": "ann", "exp": jsonwebtoken::get_current_timestamp() + 600});
        for (algorithm, set, (private, public)) in
            [(Algorithm::ES256, JwtAlgorithm::Es256, ES256), (Algorithm::EdDSA, JwtAlgorithm::EdDsa, ED25519)]
        {
            let identity = Identity::new(&jwt_settings(set, public)).unwrap();
            let key = match set {
                JwtAlgorithm::Es256 => EncodingKey::from_ec_pem(private.as_bytes()).unwrap(),
                _ => EncodingKey::from_ed_pem(private.as_bytes()).unwrap(),
            };
            let token = encode(&Header::new(algorithm), &claims, &key).unwrap();
            assert_eq!(buyer_with(&identity, "authorization", &format!("Bearer {token}")), Ok("ann".into()));
            // The public key is public: a token "signed" with it as an HMAC secret must not pass.
            let hmac = EncodingKey::from_secret(public.as_bytes());
            let forged = encode(&Header::new(Algorithm::HS256), &claims, &hmac).unwrap();
            let denied = buyer_with(&identity, "authorization", &format!("Bearer {forged}"));
            assert_eq!(denied, Err(Denied::NoToken));
        }
    }

    #[test]
    fn keys_that_cannot_work_are_told_at_the_start() {
        for settings in [
            jwt_settings(JwtAlgorithm::Hs256, "short"),
            jwt_settings(JwtAlgorithm::Es256, "no pem"),
            jwt_settings(JwtAlgorithm::EdDsa, ""),
            AuthSettings { mode: AuthMode::Jwt, ..AuthSettings::default() },
        ] {
            assert!(Identity::new(&settings).is_err(), "{settings:?}");
        }
    }
}
