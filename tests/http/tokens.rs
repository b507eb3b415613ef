//! Buyers who bring tokens: which of them count, and what the others are told.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use testbed::client::Answer;
use testbed::engine::Engine;

pub const SECRET: &str = "a secret of at least thirty-two bytes";
// Key pairs made for these tests alone.
const ES256: [&str; 2] = [
    include_str!("../../src/edge/testdata/es256.private.pem"),
    include_str!("../../src/edge/testdata/es256.public.pem"),
];
const ED25519: [&str; 2] = [
    include_str!("../../src/edge/testdata/ed25519.private.pem"),
    include_str!("../../src/edge/testdata/ed25519.public.pem"),
];
const RS256: [&str; 2] = [
    include_str!("../../src/edge/testdata/rs256.private.pem"),
    include_str!("../../src/edge/testdata/rs256.public.pem"),
];

fn soon() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 600
}

fn pkcs8(pem: &str) -> PrivatePkcs8KeyDer<'static> {
    PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).unwrap()
}

fn sign(algorithm: &str, message: &[u8]) -> Vec<u8> {
    let chance = SystemRandom::new();
    match algorithm {
        "ES256" => {
            let der = pkcs8(ES256[0]);
            let key =
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_pkcs8_der(), &chance);
            key.unwrap().sign(&chance, message).unwrap().as_ref().to_vec()
        }
        "EdDSA" => {
            let der = pkcs8(ED25519[0]);
            let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der()).unwrap();
            key.sign(message).as_ref().to_vec()
        }
        "RS256" => {
            let key = RsaKeyPair::from_pkcs8(pkcs8(RS256[0]).secret_pkcs8_der()).unwrap();
            let mut signature = vec![0; key.public().modulus_len()];
            key.sign(&RSA_PKCS1_SHA256, &chance, message, &mut signature).unwrap();
            signature
        }
        _ => hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), message).as_ref().to_vec(),
    }
}

/// A token with this header and these claims, signed as `by` says.
fn token(by: &str, header: Value, claims: Value) -> String {
    let parts = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let message = parts.join(".");
    let signature = URL_SAFE_NO_PAD.encode(sign(by, message.as_bytes()));
    format!("{message}.{signature}")
}

/// A buyer's token, signed with [`SECRET`] (HS256).
pub fn token_of(buyer: &str) -> String {
    token("HS256", json!({"alg": "HS256", "typ": "JWT"}), json!({"sub": buyer, "exp": soon()}))
}

fn ask(engine: &Engine, token: &str) -> Answer {
    let lines = format!("Authorization: Bearer {token}\r\n");
    testbed::client::request(engine.edge(), "POST", "/seckill/test/phone", &lines, "")
}

fn engine(keys: &[(&str, &str)]) -> Engine {
    let keys: Vec<_> = [("EDGE__AUTH__MODE", "jwt")].into_iter().chain(keys.iter().copied()).collect();
    let engine = Engine::start(&keys);
    engine.sale("phone", 1_000, "");
    engine
}

#[test]
fn o7_each_refused_token_hears_why() {
    let engine = engine(&[("EDGE__AUTH__JWT__ALGORITHM", "HS256"), ("EDGE__AUTH__JWT__KEY", SECRET)]);
    let hs256 = || json!({"alg": "HS256", "typ": "JWT"});
    let claims = |more: Value| {
        let mut claims = json!({"sub": "ann", "exp": soon()});
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        claims
    };
    assert_eq!(ask(&engine, &token("HS256", hs256(), claims(json!({})))).status, 201);
    let past = json!({"exp": 1_000});
    let foreign = {
        let mut good = token("HS256", hs256(), claims(json!({})));
        good.truncate(good.len() - 4);
        good + "AAAA"
    };
    let cases = [
        (token("HS256", hs256(), claims(past)), "expired"),
        (token("HS256", hs256(), claims(json!({"aud": "shop"}))), "audience-not-set"),
        (token("HS256", hs256(), claims(json!({"nbf": soon()}))), "not-yet-valid"),
        (token("HS256", hs256(), claims(json!({"nbf": "tomorrow"}))), "claims"),
        (token("HS256", hs256(), claims(json!({"exp": "never"}))), "claims"),
        (token("HS256", json!({"alg": "HS256", "crit": ["exp"]}), claims(json!({}))), "critical"),
        (token("RS256", json!({"alg": "RS256"}), claims(json!({}))), "algorithm"),
        (token("HS256", hs256(), claims(json!({"sub": "two words"}))), "subject"),
        (foreign, "signature"),
        ("a.b.c".into(), "malformed"),
    ];
    let mut told = std::collections::BTreeSet::new();
    for (token, reason) in &cases {
        let answer = ask(&engine, token);
        assert_eq!((answer.status, answer.member("reason").as_str()), (401, *reason), "{}", answer.body);
        let challenge = answer.field("www-authenticate").unwrap().to_owned();
        assert!(challenge.starts_with("Bearer error=\"invalid_token\", error_description=\""), "{challenge}");
        assert!(reason == &"claims" || told.insert(challenge), "{reason} is told as another");
    }
    let missing = engine.ask("POST", "/seckill/test/phone", "ann", "", "");
    assert_eq!((missing.status, missing.field("www-authenticate")), (401, Some("Bearer")));
    let metrics = engine.admin("GET", "/metrics", "").body;
    for (reason, count) in [("expired", 1), ("claims", 2), ("missing", 1), ("issuer", 0)] {
        let line = format!("seckill_edge_tokens_refused_total{{reason=\"{reason}\"}} {count}");
        assert!(metrics.contains(&line), "no {line}");
    }
}

#[test]
fn o7_every_algorithm_is_checked_with_its_own_key() {
    for (algorithm, pair) in [("ES256", ES256), ("EdDSA", ED25519), ("RS256", RS256)] {
        let engine = engine(&[("EDGE__AUTH__JWT__ALGORITHM", algorithm), ("EDGE__AUTH__JWT__KEY", pair[1])]);
        let good = token(algorithm, json!({"alg": algorithm}), json!({"sub": "ann", "exp": soon()}));
        let bought = ask(&engine, &good);
        assert_eq!(
            (bought.status, bought.member("buyer").as_str()),
            (201, "ann"),
            "{algorithm} {}",
            bought.body
        );
        // The public key is public: a token "signed" with it as an HMAC secret must not pass.
        let message = [json!({"alg": "HS256"}), json!({"sub": "eve", "exp": soon()})]
            .map(|part| URL_SAFE_NO_PAD.encode(part.to_string()))
            .join(".");
        let forged = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, pair[1].as_bytes()), message.as_bytes());
        let forged = ask(&engine, &format!("{message}.{}", URL_SAFE_NO_PAD.encode(forged)));
        assert_eq!((forged.status, forged.member("reason").as_str()), (401, "algorithm"), "{algorithm}");
    }
}

/// A place that serves whatever set of keys it holds at the moment, and counts how often it is asked.
struct Issuer {
    address: String,
    set: Arc<Mutex<(Value, usize)>>,
}

impl Issuer {
    fn start(set: Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/jwks", listener.local_addr().unwrap());
        let set = Arc::new(Mutex::new((set, 0)));
        let shown = Arc::clone(&set);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let _ = stream.read(&mut [0; 4096]);
                let body = {
                    let mut shown = shown.lock().unwrap();
                    shown.1 += 1;
                    shown.0.to_string()
                };
                let head =
                    format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
                let _ = stream.write_all((head + &body).as_bytes());
            }
        });
        Self { address, set }
    }

    fn asked(&self) -> usize {
        self.set.lock().unwrap().1
    }
}

fn public_jwk(kid: &str) -> Value {
    let chance = SystemRandom::new();
    let der = pkcs8(ES256[0]);
    let key =
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_pkcs8_der(), &chance).unwrap();
    let point = key.public_key().as_ref();
    let [x, y] = [&point[1..33], &point[33..]].map(|half| URL_SAFE_NO_PAD.encode(half));
    json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": kid, "x": x, "y": y})
}

#[test]
fn o7_a_set_of_keys_is_read_again_when_a_token_names_another_one() {
    let others = json!([{"kty": "oct", "k": "AAAA"}, {"kty": "future"}, 7]);
    let mut keys = others.as_array().unwrap().clone();
    keys.push(public_jwk("first"));
    let issuer = Issuer::start(json!({ "keys": keys }));
    let engine = engine(&[
        ("EDGE__AUTH__JWT__ALGORITHM", "ES256"),
        ("EDGE__AUTH__JWT__JWKS_URL", &issuer.address),
        ("EDGE__AUTH__JWT__JWKS_PAUSE_MS", "100"),
        ("EDGE__AUTH__JWT__JWKS_WAIT_MS", "60000"),
    ]);
    let signed = |kid: Value, buyer: &str| {
        token("ES256", json!({"alg": "ES256", "kid": kid}), json!({"sub": buyer, "exp": soon()}))
    };
    assert_eq!(ask(&engine, &signed(json!("first"), "ann")).status, 201);
    let refused = ask(&engine, &signed(json!("second"), "bob"));
    assert_eq!((refused.status, refused.member("reason").as_str()), (401, "unknown-key"));
    issuer.set.lock().unwrap().0 = json!({"keys": [public_jwk("second")]});
    // Until the shortest time between two readings is over, a token of the new key is refused.
    let bought = (0..1_000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        ask(&engine, &signed(json!("second"), "bob")).status == 201
    });
    assert!(bought, "the set was read {} times", issuer.asked());
    assert_eq!(ask(&engine, &signed(json!("first"), "eve")).status, 401, "a key that is gone does not count");
}

#[test]
fn o7_unknown_keys_do_not_let_the_issuer_be_flooded() {
    let issuer = Issuer::start(json!({"keys": [public_jwk("only")]}));
    let engine = engine(&[
        ("EDGE__AUTH__JWT__ALGORITHM", "ES256"),
        ("EDGE__AUTH__JWT__JWKS_URL", &issuer.address),
        ("EDGE__AUTH__JWT__JWKS_PAUSE_MS", "600000"),
        ("EDGE__AUTH__JWT__JWKS_WAIT_MS", "60000"),
    ]);
    for n in 0..50 {
        let kid = format!("made-up-{n}");
        let made_up =
            token("ES256", json!({"alg": "ES256", "kid": kid}), json!({"sub": "eve", "exp": soon()}));
        assert_eq!(ask(&engine, &made_up).status, 401);
    }
    assert_eq!(issuer.asked(), 1);
    let nameless = token("ES256", json!({"alg": "ES256"}), json!({"sub": "ann", "exp": soon()}));
    assert_eq!(ask(&engine, &nameless).status, 201, "the only key needs no name");
}

#[test]
fn c5_the_tenant_of_a_token_is_not_the_clients_choice() {
    let engine = engine(&[
        ("EDGE__AUTH__JWT__ALGORITHM", "HS256"),
        ("EDGE__AUTH__JWT__KEY", SECRET),
        ("EDGE__TENANT__FROM", "claim"),
        ("EDGE__TENANT__DEFAULT", ""),
    ]);
    let signed = |buyer: &str, tenant: Value| {
        token("HS256", json!({"alg": "HS256"}), json!({"sub": buyer, "exp": soon(), "tenant": tenant}))
    };
    let ask = |token: &str, lines: &str| {
        let lines = format!("Authorization: Bearer {token}\r\n{lines}");
        testbed::client::request(engine.edge(), "POST", "/seckill/test/phone", &lines, "")
    };
    assert_eq!(ask(&signed("ann", json!("default")), "").status, 201);
    assert_eq!(ask(&signed("bob", json!("other")), "").status, 404);
    let chosen = ask(&signed("bob", json!("other")), "X-Tenant-ID: default\r\n");
    assert_eq!((chosen.status, chosen.member("code").as_str()), (403, "tenant-not-allowed"));
    assert_eq!(ask(&signed("bob", json!(7)), "").status, 401);
    let state = testbed::client::request(
        engine.edge(),
        "GET",
        "/seckill/test/phone",
        &format!("Authorization: Bearer {}\r\n", signed("ann", json!("default"))),
        "",
    );
    assert_eq!((state.status, state.field("cache-control")), (200, Some("no-store")));
    let header =
        super::tokens::engine(&[("EDGE__AUTH__JWT__ALGORITHM", "HS256"), ("EDGE__AUTH__JWT__KEY", SECRET)]);
    let lines =
        format!("Authorization: Bearer {}\r\nX-Tenant-ID: other\r\n", signed("ann", json!("default")));
    let chosen = testbed::client::request(header.edge(), "POST", "/seckill/test/phone", &lines, "");
    assert_eq!((chosen.status, chosen.member("code").as_str()), (403, "tenant-not-allowed"));
}
