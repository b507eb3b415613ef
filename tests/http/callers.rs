//! Who is heard, for whom, and through which door.

use testbed::client::{Client, request};
use testbed::engine::Engine;

use super::server::{BOTH, Server};

const SECRET: &str = "sixteen-bytes-or-more";

#[test]
fn c4_a_target_is_a_path_or_the_address_of_its_host() {
    for front_end in BOTH {
        let server = Server::start(front_end, |_| {});
        let executed = |target: &str| {
            let sent = format!("POST {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
            let statuses = Client::connect(server.addr).send(sent).statuses();
            (statuses, server.recorder.take())
        };
        for target in ["/a", "http://h/a", "https://h/a?b", "HTTP://H/a"] {
            assert_eq!(executed(target), (vec![200], vec!["POST /a".into()]), "{front_end:?} {target}");
        }
        for target in ["foo://h/a", "ftp://h/a", "http://other/a", "http://me@h/a", "h:80", "*"] {
            let (statuses, executed) = executed(target);
            assert!(executed.is_empty(), "{front_end:?} {target}: {executed:?}");
            assert!(statuses.iter().all(|&status| status == 400), "{front_end:?} {target}: {statuses:?}");
        }
    }
}

#[test]
fn c5_the_tenant_comes_from_where_the_configuration_says() {
    let refused = |engine: &Engine, lines: &str| {
        let answer = engine.ask("POST", "/seckill/test/phone", "ann", lines, "");
        (answer.status, answer.member("code"))
    };
    let engine = Engine::start(&[("EDGE__TENANT__ALLOWED", "[\"a\"]"), ("EDGE__TENANT__DEFAULT", "")]);
    assert_eq!(refused(&engine, ""), (400, "tenant-missing".into()));
    assert_eq!(refused(&engine, "X-Tenant-ID: b\r\n"), (403, "tenant-not-allowed".into()));
    assert_eq!(refused(&engine, "X-Tenant-ID: a\r\n"), (404, "unknown-sale".into()));

    let engine = Engine::start(&[("EDGE__TENANT__FROM", "fixed"), ("EDGE__TENANT__NAME", "default")]);
    engine.sale("phone", 1, "");
    assert_eq!(refused(&engine, "X-Tenant-ID: b\r\n"), (403, "tenant-not-allowed".into()));
    assert_eq!(engine.buy("phone", "ann").status, 201);

    let engine = Engine::start(&[
        ("EDGE__TENANT__FROM", "host"),
        ("EDGE__TENANT__HOST_SUFFIX", ".sales.example"),
        ("EDGE__TENANT__DEFAULT", ""),
    ]);
    engine.sale("phone", 1, "");
    let asked = |host: &str| {
        let sent = format!(
            "POST /seckill/test/phone HTTP/1.1\r\nHost: {host}\r\nX-User-ID: ann\r\nConnection: close\r\n\r\n"
        );
        Client::connect(engine.edge()).send(sent).statuses()
    };
    assert_eq!(asked("other.example"), [400]);
    assert_eq!(asked("a.sales.example"), [404]);
    assert_eq!(asked("default.sales.example"), [201]);
}

#[test]
fn c6_pages_of_other_sites_do_not_act_unless_they_are_listed() {
    for front_end in ["hyper", "may"] {
        let keys = [("EDGE__FRONT_END", front_end), ("EDGE__CORS__ORIGINS", "[\"https://shop.example\"]")];
        let engine = Engine::start(&keys);
        engine.sale("phone", 9, "");
        let buy = |buyer: &str, lines: &str| engine.ask("POST", "/seckill/test/phone", buyer, lines, "");
        for lines in [
            "Origin: https://evil.example\r\n",
            "Origin: null\r\n",
            "Sec-Fetch-Site: cross-site\r\n",
            "Origin: https://evil.example\r\nSec-Fetch-Site: cross-site\r\n",
        ] {
            let refused = buy("ann", lines);
            assert_eq!((refused.status, refused.member("code").as_str()), (403, "cross-site"), "{lines}");
            assert_eq!(refused.field("access-control-allow-origin"), None);
            assert_eq!(engine.ask("DELETE", "/orders/0000000000000", "ann", lines, "").status, 403);
        }
        let own = [
            "Origin: http://localhost\r\n",
            "Sec-Fetch-Site: same-origin\r\nOrigin: https://public.example\r\n",
            "Sec-Fetch-Site: none\r\n",
        ];
        for (n, lines) in own.into_iter().enumerate() {
            assert_eq!(buy(&format!("own-{n}"), lines).status, 201, "{lines}");
        }
        let listed = "Origin: https://shop.example\r\nSec-Fetch-Site: cross-site\r\n";
        let bought = buy("bob", listed);
        assert_eq!(bought.status, 201, "{}", bought.body);
        assert_eq!(bought.field("access-control-allow-origin"), Some("https://shop.example"));
        let asks = format!("{listed}Access-Control-Request-Method: POST\r\n");
        let preflight = request(engine.edge(), "OPTIONS", "/seckill/test/phone", &asks, "");
        assert_eq!(preflight.status, 204, "{front_end}");
        assert_eq!(preflight.field("access-control-allow-methods"), Some("DELETE, GET, HEAD, POST"));
        assert!(preflight.field("access-control-allow-headers").unwrap().contains("Idempotency-Key"));
        let asks = "Origin: https://evil.example\r\nAccess-Control-Request-Method: POST\r\n";
        assert_eq!(request(engine.edge(), "OPTIONS", "/seckill/test/phone", asks, "").status, 403);
        let state = request(engine.edge(), "GET", "/seckill/test/phone", listed, "");
        assert_eq!(state.field("vary"), Some("x-tenant-id, origin, x-platform"));
        assert_eq!(state.field("access-control-allow-origin"), Some("https://shop.example"));
    }
}

#[test]
fn c7_nothing_is_looked_at_before_the_gateway_is_known() {
    for front_end in ["hyper", "may"] {
        let engine = Engine::start(&[("EDGE__FRONT_END", front_end), ("EDGE__AUTH__ORIGIN_SECRET", SECRET)]);
        engine.sale("phone", 9, "");
        for (method, path, lines, body) in [
            ("GET", "/seckill/test/phone", "", ""),
            ("GET", "/seckill/test/none", "", ""),
            ("GET", "/nowhere", "", ""),
            ("PUT", "/seckill/test/phone", "", ""),
            ("POST", "/seckill/test/phone", "X-User-ID: ann\r\n", "{"),
            ("POST", "/seckill/test/phone", "X-User-ID: ann\r\n", ""),
            ("POST", "/seckill/test/phone", "X-User-ID: a\r\nX-User-ID: b\r\n", ""),
            ("POST", "/seckill/test/phone", "Origin: https://evil.example\r\n", ""),
            ("GET", "/orders/0000000000000", "", ""),
        ] {
            for secret in ["", "X-Origin-Secret: sixteen-bytes-or-less\r\n"] {
                let answer = request(engine.edge(), method, path, &format!("{secret}{lines}"), body);
                let told = (answer.status, answer.member("code"));
                assert_eq!(told, (403, "forbidden".into()), "{front_end}: {method} {path} {lines:?} {body}");
            }
        }
        let lines = format!("X-Origin-Secret: {SECRET}\r\n");
        assert_eq!(request(engine.edge(), "GET", "/seckill/test/phone", &lines, "").status, 200);
        assert_eq!(engine.ask("POST", "/seckill/test/phone", "ann", &lines, "").status, 201);
    }
}
