//! A cache in front that is configured as the distribution does it: whatever the engine says, it does.

use std::net::SocketAddr;

use testbed::client::{Answer, request};
use testbed::engine::Engine;
use testbed::servers::varnish::VarnishServer;

fn behind_a_cache() -> (Engine, VarnishServer) {
    let engine = Engine::start(&[("EDGE__THREADS", "2")]);
    let cache = VarnishServer::start(engine.edge());
    (engine, cache)
}

fn get(addr: SocketAddr, path: &str, lines: &str) -> Answer {
    request(addr, "GET", path, lines, "")
}

#[test]
fn c1_no_refusal_stays_in_a_cache() {
    let (engine, cache) = behind_a_cache();
    let path = "/seckill/test/phone";
    assert_eq!(get(cache.address(), path, "").status, 404, "before the sale exists");
    engine.sale("phone", 3, "");
    assert_eq!(get(cache.address(), path, "X-Tenant-ID: nosuch\r\n").status, 404);
    let state = get(cache.address(), path, "");
    assert_eq!((state.status, state.member("state").as_str()), (200, "open"), "{}", state.body);
    assert_eq!(get(cache.address(), path, "X-Tenant-ID: nosuch\r\n").status, 404, "another tenant's page");
    // The same page for another platform is another document.
    assert!(!get(cache.address(), path, "X-Platform: miniapp\r\n").body.contains("price_cents"));
    assert!(get(cache.address(), path, "").body.contains("price_cents"));
}

#[test]
fn c2_an_order_is_shown_to_its_buyer_only() {
    let (engine, cache) = behind_a_cache();
    engine.sale("phone", 3, "");
    let order = format!("/orders/{}", engine.buy("phone", "ann").member("order_id"));
    for (buyer, status) in [("ann", 200), ("bob", 404), ("ann", 200), ("bob", 404)] {
        let answer = get(cache.address(), &order, &format!("X-User-ID: {buyer}\r\n"));
        assert_eq!(answer.status, status, "{buyer}: {}", answer.body);
        assert_eq!(answer.field("cache-control"), Some("no-store"));
    }
    assert_eq!(get(cache.address(), &order, "").status, 401);
}

#[test]
fn c3_a_kept_page_carries_no_visitors_name() {
    let (engine, cache) = behind_a_cache();
    engine.sale("phone", 3, "");
    for visitor in 0..40 {
        let lines = format!("X-Request-ID: visitor-{visitor}\r\ntraceparent: trace-{visitor}\r\n");
        for addr in [engine.edge(), cache.address()] {
            let state = get(addr, "/seckill/test/phone", &lines);
            assert_eq!(state.status, 200);
            for name in ["x-request-id", "traceparent", "x-b3-traceid"] {
                assert_eq!(state.field(name), None);
            }
            assert_eq!(state.field("cache-control"), Some("public, s-maxage=1, stale-while-revalidate=2"));
        }
    }
}

#[test]
fn every_answer_of_both_planes_says_how_long_it_may_be_kept() {
    for front_end in ["hyper", "may"] {
        let engine = Engine::start(&[("EDGE__FRONT_END", front_end), ("EDGE__THREADS", "2")]);
        engine.sale("phone", 3, "");
        let order = format!("/orders/{}", engine.buy("phone", "ann").member("order_id"));
        let ann = "X-User-ID: ann\r\n";
        for (method, path, lines, body) in [
            ("POST", "/seckill/test/phone", ann, ""),
            ("POST", "/seckill/test/phone", ann, "{"),
            ("POST", "/seckill/test/phone", "", ""),
            ("GET", "/seckill/test/none", "", ""),
            ("GET", "/nowhere", "", ""),
            ("PUT", "/seckill/test/phone", "", ""),
            ("GET", order.as_str(), ann, ""),
            ("GET", order.as_str(), "", ""),
            ("DELETE", order.as_str(), ann, ""),
        ] {
            let answer = request(engine.edge(), method, path, lines, body);
            let kept = (answer.field("cache-control"), answer.field("x-content-type-options"));
            assert_eq!(kept, (Some("no-store"), Some("nosniff")), "{front_end}: {method} {path}");
        }
        let state = get(engine.edge(), "/seckill/test/phone", "");
        assert_eq!(state.field("x-content-type-options"), Some("nosniff"));
        assert_eq!(state.field("vary"), Some("x-tenant-id, x-platform"));
        for path in ["/", "/livez", "/metrics", "/api/v1/campaigns", "/nowhere"] {
            let answer = engine.admin("GET", path, "");
            let kept = (answer.field("cache-control"), answer.field("x-content-type-options"));
            assert_eq!(kept, (Some("no-store"), Some("nosniff")), "admin {path}");
        }
    }
}
