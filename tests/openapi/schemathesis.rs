//! Schemathesis, from PyPI, asks both planes of a real engine for everything that their documents describe,
//! well-formed and not, alone and one after the other, and finds nothing.
//!
//! Here it makes few examples of each operation, always the same ones. The long form is the same with more of them,
//! such as `SECKILL_EXAMPLES=500 cargo test --test openapi -- schemathesis`.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde_json::json;
use testbed::client::request;
use testbed::described;
use testbed::engine::Engine;

use super::python::packages;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/openapi");
const KEY: &str = "a secret of at least thirty-two bytes";
const TOKEN: &str = "a-token-of-some-length";
/// Says how many examples to make of each operation, in place of what the files say.
const EXAMPLES: &str = "SECKILL_EXAMPLES";

/// Asks a plane for what stands under these headings, or for everything, and fails where something is found.
fn run(plane: SocketAddr, config: &str, token: &str, headings: &[&str]) {
    let out = tempfile::tempdir().unwrap();
    let mut tester = Command::new("python3");
    tester.args(["-c", "from schemathesis.cli import schemathesis; schemathesis()"]);
    tester.arg("--config-file").arg(Path::new(FOLDER).join(config)).arg("run");
    tester
        .arg(format!("http://{plane}/openapi.json"))
        .args(["--header", &format!("Authorization: Bearer {token}")]);
    for heading in headings {
        tester.args(["--include-tag", heading]);
    }
    if let Ok(examples) = std::env::var(EXAMPLES) {
        tester.args(["--max-examples", &examples]);
    }
    let told = tester
        .current_dir(out.path())
        .env("PYTHONPATH", packages("schemathesis", "requirements.txt"))
        .output()
        .expect("python3");
    let (text, errors) = (String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
    assert!(told.status.success(), "{text}\n{errors}");
}

fn token() -> String {
    let claims = json!({ "sub": "ann", "exp": 4_000_000_000_u64 });
    let parts = [json!({ "alg": "HS256", "typ": "JWT" }), claims]
        .map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let message = parts.join(".");
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, KEY.as_bytes()), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[test]
fn schemathesis_finds_nothing_on_the_data_plane() {
    for front_end in ["hyper", "may"] {
        let engine = Engine::start(&[
            ("EDGE__FRONT_END", front_end),
            ("EDGE__AUTH__MODE", "jwt"),
            ("EDGE__AUTH__JWT__ALGORITHM", "HS256"),
            ("EDGE__AUTH__JWT__KEY", KEY),
            // Whoever asks so much is one buyer.
            ("ADMISSION__BUYER_RATE_PER_S", "0"),
            ("ADMISSION__LOOKUP_RATE_PER_S", "0"),
            ("ADMISSION__RELEASES_MAX", "0"),
        ]);
        // The sale of the document's examples.
        let made =
            r#"{"campaign":"demo","sku":"widget","price_cents":5,"stock":1000000,"per_buyer_limit":1000000}"#;
        let made = request(engine.admin_addr(), "POST", "/api/v1/campaigns", "", made);
        assert!([201, 409].contains(&made.status), "{}", made.body);
        run(engine.edge(), "edge.toml", &token(), &[]);
    }
}

/// In two parts: of each operation that answers it is tried whether a wrong token is refused, and after twenty of them within
/// a minute an address hears 429.
#[test]
fn schemathesis_finds_nothing_on_the_admin_plane() {
    let parts =
        [&["campaigns", "orders"][..], &["webhooks", "search", "feeds", "figures", "engine", "description"]];
    let tags = described::admin().document()["tags"].as_array().unwrap();
    let all: Vec<_> = tags.iter().map(|tag| tag["name"].as_str().unwrap()).collect();
    assert_eq!(parts.concat(), all, "each heading is in one of the parts");
    for headings in parts {
        let engine = Engine::start(&[("ADMIN__TOKEN", TOKEN)]);
        let authorized = format!("Authorization: Bearer {TOKEN}\r\n");
        let made =
            r#"{"campaign":"demo","sku":"widget","price_cents":5,"stock":1000,"queue":{"mode":"fifo"}}"#;
        let made = request(engine.admin_addr(), "POST", "/api/v1/campaigns", &authorized, made);
        assert!([201, 409].contains(&made.status), "{}", made.body);
        run(engine.admin_addr(), "admin.toml", TOKEN, headings);
    }
}
