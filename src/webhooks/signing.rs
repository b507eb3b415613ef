//! Signatures by the rules of Standard Webhooks: over the message's id, the moment of the attempt and the body.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use ring::signature::Ed25519KeyPair;

/// Bytes of a secret that is shared, by the rules.
const SHARED_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Bytes of an ed25519 key: its seed, and behind that the public key where it comes in one piece.
const SEED_BYTES: usize = 32;

/// What a delivery is signed with.
pub(super) enum SigningKey {
    /// `v1`: the receiver has the same secret.
    Shared(hmac::Key),
    /// `v1a`: the receiver has the public key.
    Pair(Ed25519KeyPair),
}

/// Without the key.
impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shared(_) => "v1",
            Self::Pair(_) => "v1a",
        })
    }
}

impl SigningKey {
    /// The key that is written like this.
    ///
    /// # Errors
    /// What it should be; never what it is.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let decoded = |base64: &str| STANDARD.decode(base64).map_err(|_| "a secret that is no base64");
        if let Some(shared) = text.strip_prefix("whsec_") {
            let bytes = decoded(shared)?;
            if !SHARED_BYTES.contains(&bytes.len()) {
                return Err(
                    "a secret behind whsec_ that is not of 24 to 64 bytes; make one with: openssl rand -base64 32",
                );
            }
            return Ok(Self::Shared(hmac::Key::new(hmac::HMAC_SHA256, &bytes)));
        }
        if let Some(private) = text.strip_prefix("whsk_") {
            let bytes = decoded(private)?;
            let pair = match bytes.split_at_checked(SEED_BYTES) {
                Some((seed, [])) => Ed25519KeyPair::from_seed_unchecked(seed),
                Some((seed, public)) => Ed25519KeyPair::from_seed_and_public_key(seed, public),
                None => return Err("a secret behind whsk_ that is no ed25519 key of 32 or 64 bytes"),
            };
            return pair
                .map(Self::Pair)
                .map_err(|_| "a secret behind whsk_ that is no ed25519 key of 32 or 64 bytes");
        }
        Err("a secret that begins with neither whsec_ nor whsk_")
    }

    fn sign(&self, message: &[u8]) -> String {
        match self {
            Self::Shared(key) => format!("v1,{}", STANDARD.encode(hmac::sign(key, message))),
            Self::Pair(pair) => format!("v1a,{}", STANDARD.encode(pair.sign(message))),
        }
    }
}

/// The field `webhook-signature`: one signature for each key.
pub(super) fn signatures(keys: &[SigningKey], id: &str, timestamp_s: i64, body: &str) -> String {
    let message = format!("{id}.{timestamp_s}.{body}");
    keys.iter().map(|key| key.sign(message.as_bytes())).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use ring::signature::{ED25519, KeyPair, UnparsedPublicKey};

    use super::*;

    #[test]
    fn a_shared_secret_signs_as_the_standards_own_example_says() {
        let key = SigningKey::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed =
            signatures(&[key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_pair_signs_what_its_public_key_verifies_in_either_form() {
        let seed = [7; 32];
        let public = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap().public_key().as_ref().to_vec();
        let long = [&seed[..], &public].concat();
        for bytes in [&seed[..], &long] {
            let key = SigningKey::parse(&format!("whsk_{}", STANDARD.encode(bytes))).unwrap();
            let signed = signatures(&[key], "id", 5, "{}");
            let signature = STANDARD.decode(signed.strip_prefix("v1a,").unwrap()).unwrap();
            let public = UnparsedPublicKey::new(&ED25519, &public);
            assert!(public.verify(b"id.5.{}", &signature).is_ok());
            assert!(public.verify(b"id.6.{}", &signature).is_err());
        }
        let other = [&seed[..], &[9; 32]].concat();
        assert!(SigningKey::parse(&format!("whsk_{}", STANDARD.encode(other))).is_err());
    }

    #[test]
    fn two_keys_sign_at_once() {
        let keys = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"];
        let keys = keys.map(|key| SigningKey::parse(key).unwrap());
        let signed = signatures(&keys, "id", 5, "{}");
        let (one, two) = signed.split_once(' ').unwrap();
        assert!(one.starts_with("v1,") && two.starts_with("v1,") && one != two, "{signed}");
        assert_eq!(format!("{keys:?}"), "[v1, v1]");
    }
}
