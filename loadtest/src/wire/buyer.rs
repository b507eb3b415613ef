//! Who a buyer says he is: by name, or by a token that somebody has signed.

use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::hmac;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// How long the tokens of buyers are good: longer than any run.
const TOKEN_LIFE_S: i64 = 86_400;

/// The tokens that buyers are to bring: where their secret is, and what they say.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BuyerTokens {
    /// The file that holds the secret.
    pub key_file: PathBuf,
    /// The key's name.
    pub kid: Option<String>,
    /// Claims beside `sub` and `exp`, each `NAME=VALUE`.
    pub claims: Vec<String>,
}

/// How buyers tell the engine who they are.
#[derive(Debug, Clone)]
pub enum BuyerIdentity {
    /// In `X-User-ID`, as a gateway says it.
    Header,
    /// In a signed token.
    Token(Arc<TokenSigner>),
}

impl BuyerIdentity {
    /// By name, or with these tokens, which are good for a day.
    ///
    /// # Errors
    /// The file cannot be read, or a claim cannot be set.
    pub fn of(tokens: Option<&BuyerTokens>) -> Result<Self, String> {
        let Some(BuyerTokens { key_file, kid, claims }) = tokens else { return Ok(Self::Header) };
        let secret = std::fs::read(key_file)
            .map_err(|error| format!("--jwt-key-file {}: {error}", key_file.display()))?;
        let expires_s = Timestamp::now().as_second() + TOKEN_LIFE_S;
        let signer = TokenSigner::new(secret.trim_ascii(), kid.as_deref(), claims, expires_s)?;
        Ok(Self::Token(Arc::new(signer)))
    }

    /// The header field that says it.
    pub fn field(&self) -> &'static str {
        match self {
            Self::Header => "X-User-ID",
            Self::Token(_) => "Authorization",
        }
    }

    /// Appends a buyer's header line, without its end.
    pub fn write(&self, buyer: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(self.field().as_bytes());
        out.extend_from_slice(b": ");
        self.write_value(buyer, out);
    }

    /// Appends the value of a buyer's header field.
    pub fn write_value(&self, buyer: u64, out: &mut Vec<u8>) {
        match self {
            Self::Header => write_name(buyer, out),
            Self::Token(signer) => {
                let mut name = Vec::with_capacity(12);
                write_name(buyer, &mut name);
                out.extend_from_slice(b"Bearer ");
                signer.write(&name, out);
            }
        }
    }

    /// The header line of a buyer who is not one of the load's.
    pub fn line(&self, name: &str) -> String {
        match self {
            Self::Header => format!("X-User-ID: {name}"),
            Self::Token(signer) => {
                let mut token = Vec::new();
                signer.write(name.as_bytes(), &mut token);
                format!("Authorization: Bearer {}", String::from_utf8_lossy(&token))
            }
        }
    }
}

/// Signs tokens with a shared secret: JWT (RFC 7519) in the compact form of JWS (RFC 7515), HMAC with SHA-256.
pub struct TokenSigner {
    key: hmac::Key,
    /// The encoded header with its dot.
    header: String,
    /// The claims after the subject, from the comma to the end.
    claims: String,
}

impl std::fmt::Debug for TokenSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // It holds a secret.
        f.write_str("TokenSigner")
    }
}

impl TokenSigner {
    /// Tokens that end at `expires_s`, in seconds since 1970. `claims` are added to each, as `NAME=VALUE`; `kid` names the
    /// key.
    ///
    /// # Errors
    /// A claim is not of this form, or is one that the signer sets itself.
    pub fn new(secret: &[u8], kid: Option<&str>, claims: &[String], expires_s: i64) -> Result<Self, String> {
        let mut all = Map::new();
        for claim in claims {
            let (name, value) =
                claim.split_once('=').ok_or_else(|| format!("--jwt-claim {claim}: must be NAME=VALUE"))?;
            if ["sub", "exp", ""].contains(&name) {
                return Err(format!("--jwt-claim {claim}: is set by the tester itself"));
            }
            all.insert(name.to_owned(), Value::from(value));
        }
        all.insert("exp".into(), expires_s.into());
        let mut header = json!({"alg": "HS256", "typ": "JWT"});
        if let Some(kid) = kid {
            header["kid"] = kid.into();
        }
        let rest = Value::from(all).to_string();
        Ok(Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, secret),
            header: URL_SAFE_NO_PAD.encode(header.to_string()) + ".",
            claims: format!(",{}", rest.trim_start_matches('{')),
        })
    }

    /// Appends a token; `name` needs no escape in JSON.
    fn write(&self, name: &[u8], out: &mut Vec<u8>) {
        let mut payload = Vec::with_capacity(10 + name.len() + self.claims.len());
        payload.extend_from_slice(b"{\"sub\":\"");
        payload.extend_from_slice(name);
        payload.push(b'"');
        payload.extend_from_slice(self.claims.as_bytes());
        let signed = self.header.clone() + &URL_SAFE_NO_PAD.encode(payload);
        let signature = hmac::sign(&self.key, signed.as_bytes());
        out.extend_from_slice(signed.as_bytes());
        out.push(b'.');
        out.extend_from_slice(URL_SAFE_NO_PAD.encode(signature).as_bytes());
    }
}

/// Appends a buyer's name, as the engine and its exports know it.
pub fn write_name(buyer: u64, out: &mut Vec<u8>) {
    out.push(b'b');
    out.extend_from_slice(itoa::Buffer::new().format(buyer).as_bytes());
}

/// The number of a buyer named by this tester; `None` for anybody else.
pub fn number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix('b')?;
    digits.parse().ok().filter(|number| format!("{number}") == digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buyers_are_recognised_by_their_name() {
        assert_eq!(number("b42"), Some(42));
        for stranger in ["42", "b", "b042", "b-1", "b4x", "bob"] {
            assert_eq!(number(stranger), None, "{stranger}");
        }
    }

    #[test]
    fn a_token_says_who_comes_until_when_and_what_was_asked_for() {
        let claims = ["iss=shop".to_owned(), "tenant=a\"b".to_owned()];
        let signer =
            TokenSigner::new(b"a secret of thirty-two bytes, or so", Some("k1"), &claims, 99).unwrap();
        let mut line = Vec::new();
        BuyerIdentity::Token(Arc::new(signer)).write(7, &mut line);
        let line = String::from_utf8(line).unwrap();
        let token = line.strip_prefix("Authorization: Bearer ").unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        let read =
            |part: &str| -> Value { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap() };
        assert_eq!(read(parts[0]), json!({"alg": "HS256", "typ": "JWT", "kid": "k1"}));
        assert_eq!(read(parts[1]), json!({"sub": "b7", "iss": "shop", "tenant": "a\"b", "exp": 99}));
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"a secret of thirty-two bytes, or so");
        let signature = URL_SAFE_NO_PAD.decode(parts[2]).unwrap();
        assert!(hmac::verify(&key, format!("{}.{}", parts[0], parts[1]).as_bytes(), &signature).is_ok());
    }

    #[test]
    fn claims_that_cannot_be_set_are_refused() {
        for claim in ["iss", "sub=x", "exp=1", "=x"] {
            assert!(TokenSigner::new(b"s", None, &[claim.to_owned()], 1).is_err(), "{claim}");
        }
    }
}
