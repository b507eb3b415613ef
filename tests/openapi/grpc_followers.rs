//! How long a follower of events is told of them.

use std::net::SocketAddr;

use testbed::PATIENCE;
use testbed::client::request;
use testbed::engine::{Engine, Launch};
use testbed::servers::process;

use super::grpc_call::{Call, DEADLINE_EXCEEDED, UNAUTHENTICATED};

const ROOT: &str = "the-token-of-the-root";
const EYE: &str = "the-token-of-the-eye";

/// Follows all events, and has heard of the first.
async fn follow(address: SocketAddr, token: &str) -> Call {
    let bearer = format!("Bearer {token}");
    let mut call = Call::begin(address, "FollowEvents", &[("authorization", &bearer)], b"").await;
    call.more().await.expect("an event");
    call
}

fn asked_by_root(engine: &Engine, path: &str, body: &str) -> u16 {
    let authorized = format!("Authorization: Bearer {ROOT}\r\n");
    request(engine.admin_addr(), "POST", path, &authorized, body).status
}

#[tokio::test]
async fn a_follower_ends_with_its_token() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("seckill.toml");
    let root = format!("[admin]\ntoken = '{ROOT}'\n");
    let eye = format!("[[admin.tokens]]\nname = 'eye'\nrole = 'viewer'\ntoken = '{EYE}'\n");
    std::fs::write(&file, format!("{root}{eye}")).unwrap();
    let address = process::free_address();
    let launch = Launch::new(&[("GRPC__LISTEN", &address.to_string())])
        .with_environment(vec![("SECKILL_CONFIG".into(), file.to_str().unwrap().into())]);
    let engine = launch.start();
    let sale = r#"{"campaign":"test","sku":"phone","price_cents":1999,"stock":5}"#;
    assert_eq!(asked_by_root(&engine, "/api/v1/campaigns", sale), 201);
    assert_eq!(engine.buy("phone", "ann").status, 201);
    let told = async {
        let (of_eye, mut of_root) = (follow(address, EYE).await, follow(address, ROOT).await);
        std::fs::write(&file, root).unwrap();
        assert_eq!(asked_by_root(&engine, "/api/v1/config/reload", ""), 200);
        assert_eq!(of_eye.end().await.0, UNAUTHENTICATED);
        assert_eq!(engine.buy("phone", "bob").status, 201);
        let mut heard = Vec::new();
        while !heard.windows(3).any(|part| part == b"bob") {
            heard.extend_from_slice(&of_root.more().await.expect("whose token counts is told of more"));
        }
    };
    tokio::time::timeout(PATIENCE, told).await.expect("it ends");
}

#[tokio::test]
async fn a_follower_ends_with_its_deadline() {
    let address = process::free_address();
    let _engine = Engine::start(&[("GRPC__LISTEN", &address.to_string())]);
    let told = async {
        let call = Call::begin(address, "FollowEvents", &[("grpc-timeout", "1S")], b"").await;
        assert_eq!(call.end().await.0, DEADLINE_EXCEEDED);
    };
    tokio::time::timeout(PATIENCE, told).await.expect("it ends");
}
