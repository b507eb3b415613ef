//! What buyers get through a proxy is theirs, and all of it.

use testbed::client::Client;

use super::shop::{Kind, NORTH, SOUTH, Shop, ask, bearer};

pub fn purchases_pass(kind: Kind) {
    let shop = Shop::open(kind);
    let (mut client, ann) = (shop.door.visit(NORTH), bearer("ann"));
    let mut as_ann = |method: &str, path: &str, lines: &str, body: &str| {
        ask(&mut client, NORTH, method, path, &format!("{ann}{lines}"), body).expect("an answer")
    };
    let keyed = "Idempotency-Key: tap-1\r\nX-Request-ID: mine-1\r\n";
    let bought = as_ann("POST", "/seckill/test/phone", keyed, "");
    assert_eq!(bought.status, 201, "{}", bought.body);
    let id = bought.member("order_id");
    assert_eq!(bought.field("location"), Some(format!("/orders/{id}").as_str()));
    assert_eq!(
        (bought.field("cache-control"), bought.field("x-request-id")),
        (Some("no-store"), Some("mine-1"))
    );
    assert_eq!((bought.member("tenant").as_str(), bought.member("buyer").as_str()), ("north", "ann"));
    let again = as_ann("POST", "/seckill/test/phone", keyed, "");
    assert_eq!((again.status, again.member("order_id")), (200, id.clone()), "{}", again.body);
    let two =
        as_ann("POST", "/seckill/test/phone", "Content-Type: application/json\r\n", r#"{"quantity":2}"#);
    assert_eq!((two.status, two.json()["quantity"].as_u64()), (201, Some(2)), "{}", two.body);
    assert_eq!(as_ann("GET", &format!("/orders/{id}"), "", "").member("status"), "pre_pay");
    let own = as_ann("GET", "/orders?limit=1", "", "").json();
    assert_eq!(own["orders"].as_array().map(Vec::len), Some(1), "the query arrives: {own}");
    let paid = as_ann("POST", &format!("/orders/{id}/checkout"), "", r#"{"payment_method":"card"}"#);
    assert_eq!((paid.status, paid.member("status").as_str()), (200, "paid"), "{}", paid.body);
    let gone = as_ann("DELETE", &format!("/orders/{}", two.member("order_id")), "", "");
    assert_eq!(gone.member("status"), "cancelled", "{}", gone.body);
    let refused = as_ann("POST", "/seckill/test/none", "", "");
    assert_eq!((refused.status, refused.member("code").as_str()), (404, "unknown-sale"));
    let page = as_ann("GET", &refused.member("type"), "", "");
    assert_eq!((page.status, page.field("content-type")), (200, Some("text/html; charset=utf-8")));
    assert_eq!(as_ann("GET", "/openapi.json", "", "").json()["openapi"], "3.1.1");
    assert_eq!(as_ann("GET", "/nowhere", "", "").status, 404);
    let page = as_ann("GET", "/seckill/test/phone/page", "Accept-Language: de\r\n", "");
    assert!(page.status == 200 && page.body.contains("<html lang=\"de\">"), "{}", page.body);
    let mine = as_ann("GET", &format!("/seckill/test/phone/page/mine?order={id}"), "", "");
    assert!(mine.status == 200 && mine.body.contains(&id), "{}", mine.body);
    // Where buyers may speak HTTP/2, they buy by it.
    if let Some(mut client) = shop.door.visit_by_http2() {
        let token = bearer("bob");
        let token = token.trim_start_matches("Authorization: ").trim_end();
        let bought = client.ask("POST", "/seckill/test/phone", &[("authorization", token)], "");
        assert_eq!((bought.status, bought.member("buyer").as_str()), (201, "bob"), "{}", bought.body);
    }
}

pub fn no_answer_reaches_another_buyer(kind: Kind) {
    let shop = Shop::open(kind);
    let order = format!("/orders/{}", shop.buy("ann").expect("an answer").member("order_id"));
    // On one connection, so that the proxy may reuse whatever it likes.
    let mut client = shop.door.visit(NORTH);
    let mut get =
        |path: &str, lines: &str| ask(&mut client, NORTH, "GET", path, lines, "").expect("an answer");
    for (buyer, status) in [("ann", 200), ("bob", 404), ("ann", 200), ("bob", 404)] {
        let answer = get(&order, &bearer(buyer));
        assert_eq!((answer.status, answer.field("cache-control")), (status, Some("no-store")), "{buyer}");
        let own = get("/orders", &bearer(buyer)).json();
        assert_eq!(
            own["orders"].as_array().map(Vec::len),
            Some(usize::from(buyer == "ann")),
            "{buyer}: {own}"
        );
    }
    assert_eq!(get(&order, "").status, 401, "nobody's answer is shown to nobody");
    // What a client says of itself counts for nothing.
    for lie in ["X-User-ID: ann\r\n", "X-User-ID: ann\r\nX-Origin-Secret: guessed\r\n"] {
        assert_eq!(get(&order, lie).status, 401, "{lie}");
        assert_eq!(get(&order, &format!("{lie}{}", bearer("bob"))).status, 404, "{lie}");
    }
}

pub fn no_answer_reaches_another_tenant(kind: Kind) {
    let shop = Shop::open(kind);
    let order = format!("/orders/{}", shop.buy("ann").expect("an answer").member("order_id"));
    for _ in 0..2 {
        for (host, title) in [(NORTH, "of north"), (SOUTH, "of south")] {
            for lie in ["", "X-Tenant-ID: north\r\n", "X-Tenant-ID: south\r\n", "X-Tenant-ID: east\r\n"] {
                assert_eq!(shop.state(host, lie).member("title"), title, "{host} {lie}");
            }
            let shown =
                shop.ask(host, "GET", &order, &format!("{}X-Tenant-ID: north\r\n", bearer("ann")), "");
            assert_eq!(shown.expect("an answer").status, if host == NORTH { 200 } else { 404 }, "{host}");
        }
    }
    let bought = shop.ask(SOUTH, "POST", "/seckill/test/phone", &bearer("ann"), "").expect("an answer");
    assert_eq!((bought.status, bought.member("tenant").as_str()), (201, "south"), "{}", bought.body);
    // Names of hosts are the same in either case, and with the port that was asked.
    let mut client = shop.door.visit(NORTH);
    for host in ["North.Example", "NORTH.EXAMPLE:443"] {
        let state = ask(&mut client, host, "GET", "/seckill/test/phone", "", "").expect("an answer");
        assert_eq!(state.member("title"), "of north", "{host}: {}", state.body);
    }
    let stranger = ask(&mut client, "east.example", "GET", "/seckill/test/phone", "", "").expect("an answer");
    assert_eq!(stranger.status, 421, "{}", stranger.body);
}

pub fn an_absolute_target_means_its_host(kind: Kind) {
    let shop = Shop::open(kind);
    let scheme = if shop.door.visit_by_http2().is_some() { "https" } else { "http" };
    let sent = |client: &mut Client, target: &str, host: &str| {
        client.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n")).answer()
    };
    for _ in 0..2 {
        for (named, host) in [(NORTH, NORTH), (SOUTH, NORTH), (NORTH, SOUTH), ("east.example", NORTH)] {
            let target = format!("{scheme}://{named}/seckill/test/phone");
            // It is the target's, or nobody's; never one tenant's page under the other's name.
            let answer = sent(&mut shop.door.visit(host), &target, host).expect("an answer");
            let whole = format!("of {}", named.split('.').next().unwrap());
            match answer.status {
                200 => assert_eq!(answer.member("title"), whole, "{target} at {host}"),
                status => assert!([400, 404, 421].contains(&status), "{target} at {host}: {status}"),
            }
        }
        for (host, title) in [(NORTH, "of north"), (SOUTH, "of south")] {
            assert_eq!(shop.state(host, "").member("title"), title, "what is kept is still {host}'s");
        }
    }
    for target in
        ["*", "north.example:443", "foo://north.example/seckill/test/phone", "//north.example/orders"]
    {
        // Refused, or understood as what it names.
        match sent(&mut shop.door.visit(NORTH), target, NORTH) {
            Some(answer) if answer.status == 200 => {
                assert_eq!(answer.member("title"), "of north", "{target}")
            }
            answer => {
                let status = answer.map_or(400, |answer| answer.status);
                assert!((400..500).contains(&status), "{target}: {status}");
            }
        }
    }
    assert!(shop.orders("phone").is_empty());
}

pub fn a_flood_of_header_fields_ends_at_the_proxy(kind: Kind) {
    let shop = Shop::open(kind);
    // A buyer's connection, and the proxy's to the engine, are there before.
    let mut buyer = shop.door.visit(NORTH);
    let mut buy = |name: &str| ask(&mut buyer, NORTH, "POST", "/seckill/test/phone", &bearer(name), "");
    assert_eq!(buy("first").expect("an answer").status, 201);
    let many: String = (0..300).map(|number| format!("X-Flood-{number}: {number}\r\n")).collect();
    let long = format!("X-Flood: {}\r\n", "x".repeat(64 << 10));
    let longish: String =
        (0..20).map(|number| format!("X-Flood-{number}: {}\r\n", "x".repeat(1_000))).collect();
    let repeated = "Authorization: Bearer a\r\n".repeat(200);
    for (name, lines) in [("many", many), ("long", long), ("longish", longish), ("repeated", repeated)] {
        for method in ["GET", "POST"] {
            let answer = shop.ask(NORTH, method, "/seckill/test/phone", &lines, "");
            // Refused by the proxy, or without what it does not pass on; the engine never says 431.
            let status = answer.map_or(400, |answer| answer.status);
            assert!([200, 400, 401, 414].contains(&status), "{name}, {method}: {status}");
        }
    }
    assert_eq!(buy("last").expect("an answer").status, 201, "a buyer's own connection stands");
    assert_eq!(shop.orders("phone").len(), 2);
}
