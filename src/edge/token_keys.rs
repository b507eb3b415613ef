//! The keys that tokens are signed with: given in the configuration, or a set (JWKS, RFC 7517) in a file or at an
//! address, which is read again when it has become old or when a token names a key that it lacks.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::auth_settings::{JwtAlgorithm, JwtSettings};
use crate::domain::FieldError;
use crate::settings::within;

/// Bytes of a set.
const SET_BYTES_MAX: usize = 1 << 20;
/// Keys of a set that are kept.
const SET_KEYS_MAX: usize = 64;

/// Keys, with their names where they have some.
pub(super) type NamedKeys = Vec<(Option<String>, DecodingKey)>;

/// A set of keys that somebody else changes.
#[derive(Debug)]
pub(super) struct KeySet {
    place: Place,
    algorithm: JwtAlgorithm,
    refresh: Duration,
    pause: Duration,
    wait: Duration,
    keys: ArcSwap<(NamedKeys, Option<Instant>)>,
    /// When it was last read or tried to be. Held while it is read: those who wait share what comes of it.
    tried: Mutex<Option<Instant>>,
}

#[derive(Clone, Debug)]
enum Place {
    File(PathBuf),
    Address(reqwest::Url),
}

#[derive(Deserialize)]
struct SetText {
    keys: Vec<serde_json::Value>,
}

impl KeySet {
    /// The set that the settings name, if they name one. A file is read at once, an address when the first token comes.
    ///
    /// # Errors
    /// Names the setting that is wrong.
    pub fn new(settings: &JwtSettings) -> Result<Option<Self>, FieldError> {
        within("auth.jwt.jwks_refresh_s", settings.jwks_refresh_s, 1..=86_400)?;
        within("auth.jwt.jwks_pause_ms", settings.jwks_pause_ms, 100..=600_000)?;
        within("auth.jwt.jwks_wait_ms", settings.jwks_wait_ms, 10..=60_000)?;
        let wrong = |field, problem: String| FieldError { field, problem };
        let place = match (settings.jwks_file.as_str(), settings.jwks_url.as_str()) {
            ("", "") => return Ok(None),
            (file, "") => Place::File(file.into()),
            ("", address) => Place::Address(address_of(address)?),
            _ => return Err(wrong("auth.jwt.jwks_url", "is set beside auth.jwt.jwks_file; set one".into())),
        };
        if settings.algorithm == JwtAlgorithm::Hs256 {
            let problem = "is HS256, whose keys are secrets and in no public set; set auth.jwt.key".into();
            return Err(wrong("auth.jwt.algorithm", problem));
        }
        let set = Self {
            place,
            algorithm: settings.algorithm,
            refresh: Duration::from_secs(settings.jwks_refresh_s),
            pause: Duration::from_millis(settings.jwks_pause_ms),
            wait: Duration::from_millis(settings.jwks_wait_ms),
            keys: ArcSwap::default(),
            tried: Mutex::default(),
        };
        if let Place::File(path) = &set.place {
            let text = read_file(path).and_then(|text| set.read(&text));
            set.take(text.map_err(|problem| wrong("auth.jwt.jwks_file", problem))?);
        }
        Ok(Some(set))
    }

    /// The key with this name; without a name, the only one.
    pub fn key(&self, name: Option<&str>) -> Option<DecodingKey> {
        let known = self.keys.load();
        match (name, &*known.0) {
            (Some(name), keys) => keys.iter().find(|(known, _)| known.as_deref() == Some(name)),
            (None, [only]) => Some(only),
            (None, _) => None,
        }
        .map(|(_, key)| key.clone())
    }

    /// Sees to it that the set is as new as it should be for a token whose key has this name: waits when the key is
    /// not known, and lets a set that is merely old be read beside.
    pub async fn prepare(self: &Arc<Self>, name: Option<&str>) {
        if self.key(name).is_none() {
            self.read_again().await;
        } else if self.keys.load().1.is_none_or(|read| read.elapsed() > self.refresh)
            && self.tried.try_lock().is_ok_and(|tried| self.may_try(*tried))
        {
            let set = Arc::clone(self);
            tokio::spawn(async move { set.read_again().await });
        }
    }

    fn may_try(&self, tried: Option<Instant>) -> bool {
        tried.is_none_or(|tried| tried.elapsed() >= self.pause)
    }

    async fn read_again(&self) {
        let mut tried = self.tried.lock().await;
        if !self.may_try(*tried) {
            return;
        }
        let text = tokio::time::timeout(self.wait, self.fetch()).await;
        let keys = match text {
            Ok(text) => text.and_then(|text| self.read(&text)),
            Err(_late) => Err(format!("did not come within {} ms", self.wait.as_millis())),
        };
        match keys {
            Ok(keys) => self.take(keys),
            Err(problem) => {
                tracing::warn!(%problem, "the keys of tokens could not be read; the former ones stay")
            }
        }
        *tried = Some(Instant::now());
    }

    async fn fetch(&self) -> Result<Vec<u8>, String> {
        let url = match &self.place {
            Place::File(path) => return read_file(path),
            Place::Address(url) => url.clone(),
        };
        let failed = |error: reqwest::Error| format!("{}", error.without_url());
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy();
        let answer = client.build().map_err(failed)?.get(url).send().await.map_err(failed)?;
        let mut answer = answer.error_for_status().map_err(failed)?;
        let mut text = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(failed)? {
            text.extend_from_slice(&piece);
            if text.len() > SET_BYTES_MAX {
                return Err(format!("are longer than {SET_BYTES_MAX} bytes"));
            }
        }
        Ok(text)
    }

    fn take(&self, keys: NamedKeys) {
        self.keys.store(Arc::new((keys, Some(Instant::now()))));
    }

    /// The keys of the set that can have signed a token of ours. Others are somebody else's business.
    fn read(&self, text: &[u8]) -> Result<NamedKeys, String> {
        let set: SetText = serde_json::from_slice(text).map_err(|error| format!("is no JWKS: {error}"))?;
        let keys = set.keys.into_iter().filter_map(|key| {
            let key: Jwk = serde_json::from_value(key).ok()?;
            let signs = matches!(key.common.public_key_use, None | Some(PublicKeyUse::Signature));
            let meant =
                key.common.key_algorithm.is_none_or(|named| named.to_string() == self.algorithm.name());
            (signs && meant && fits(self.algorithm, &key.algorithm)).then_some(())?;
            Some((key.common.key_id.clone(), DecodingKey::from_jwk(&key).ok()?))
        });
        let keys: NamedKeys = keys.take(SET_KEYS_MAX).collect();
        if keys.is_empty() {
            return Err(format!("holds no key for {}", self.algorithm.name()));
        }
        Ok(keys)
    }
}

fn fits(algorithm: JwtAlgorithm, key: &AlgorithmParameters) -> bool {
    match (algorithm, key) {
        (JwtAlgorithm::Rs256, AlgorithmParameters::RSA(_)) => true,
        (JwtAlgorithm::Es256, AlgorithmParameters::EllipticCurve(key)) => key.curve == EllipticCurve::P256,
        (JwtAlgorithm::EdDsa, AlgorithmParameters::OctetKeyPair(key)) => key.curve == EllipticCurve::Ed25519,
        _ => false,
    }
}

/// The keys that the configuration itself holds.
///
/// # Errors
/// Names the setting that is no key.
pub(super) fn given_keys(settings: &JwtSettings) -> Result<NamedKeys, FieldError> {
    let one = ("auth.jwt.key", &settings.key);
    let more = settings.keys.iter().map(|key| ("auth.jwt.keys", key));
    let given = std::iter::once(one).chain(more).filter(|(_, key)| !key.is_empty());
    given
        .map(|(field, key)| read_key(field, settings.algorithm, key.expose()).map(|key| (None, key)))
        .collect()
}

fn read_key(field: &'static str, algorithm: JwtAlgorithm, key: &str) -> Result<DecodingKey, FieldError> {
    let wrong = |problem: String| FieldError { field, problem };
    let bytes = key.as_bytes();
    let read = match algorithm {
        // Whoever has the public key, and that is everybody, could sign with it.
        JwtAlgorithm::Hs256 if key.contains("-----BEGIN") => {
            return Err(wrong(
                "is a key in PEM form, which HS256 would take for a secret; set the algorithm of that key"
                    .into(),
            ));
        }
        JwtAlgorithm::Hs256 if key.len() < 32 => {
            return Err(wrong(
                "must be at least 32 bytes long for HS256; make one with: openssl rand -hex 32".into(),
            ));
        }
        JwtAlgorithm::Hs256 => Ok(DecodingKey::from_secret(bytes)),
        JwtAlgorithm::Rs256 => DecodingKey::from_rsa_pem(bytes),
        JwtAlgorithm::Es256 => DecodingKey::from_ec_pem(bytes),
        JwtAlgorithm::EdDsa => DecodingKey::from_ed_pem(bytes),
    };
    read.map_err(|error| wrong(format!("is not a public key for {} in PEM form: {error}", algorithm.name())))
}

/// An address that nobody on the way can answer for.
fn address_of(address: &str) -> Result<reqwest::Url, FieldError> {
    let wrong = |problem: &str| FieldError { field: "auth.jwt.jwks_url", problem: problem.into() };
    let url = reqwest::Url::parse(address)
        .map_err(|_| wrong("is no address; it looks like https://issuer.example/jwks"))?;
    let is_local = url.host_str().is_some_and(|host| {
        host == "localhost"
            || host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
    });
    match url.scheme() {
        "https" => Ok(url),
        "http" if is_local => Ok(url),
        _ => Err(wrong("must begin with https://: whoever answers for it decides who is believed")),
    }
}

fn read_file(path: &std::path::Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("names {}, which cannot be read: {error}", path.display()))
}

impl JwtAlgorithm {
    /// As tokens and keys name it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    pub(super) const fn algorithm(self) -> Algorithm {
        match self {
            Self::Hs256 => Algorithm::HS256,
            Self::Rs256 => Algorithm::RS256,
            Self::Es256 => Algorithm::ES256,
            Self::EdDsa => Algorithm::EdDSA,
        }
    }
}
