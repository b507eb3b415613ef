//! The way from the proxy to the engine: for the proxy alone, and not made anew for each request.

use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use testbed::certificates::Authority;
use testbed::client::{Answer, Client};

use super::super::tls_identities::Believed;
use super::shop::{Kind, NORTH, ORIGIN_SECRET, Shop, ask, bearer};

/// Asks the engine itself for a purchase, past the proxy. `None` when there is no answer.
fn past_the_proxy(shop: &Shop, config: Option<&Arc<ClientConfig>>, lines: &str) -> Option<Answer> {
    let socket = TcpStream::connect(shop.engine.edge()).unwrap();
    let mut client = match config {
        None => Client::over(socket),
        Some(config) => {
            let name = ServerName::try_from("edge.internal").unwrap();
            let session = ClientConnection::new(Arc::clone(config), name).unwrap();
            Client::above(&socket, StreamOwned::new(session, socket.try_clone().unwrap()))
        }
    };
    let lines = format!("X-Tenant-ID: north\r\n{}{lines}", bearer("eve"));
    ask(&mut client, NORTH, "POST", "/seckill/test/phone", &lines, "")
}

pub fn the_origin_is_closed_to_everybody_else(kind: Kind) {
    let shop = Shop::open(kind);
    let secret = format!("X-Origin-Secret: {ORIGIN_SECRET}\r\n");
    let config = |shown: Option<&(String, String)>| shop.edge.client(&["http/1.1"], shown);
    if kind.has_tls_behind() {
        let foreign = Authority::new("others").sign("proxy");
        for shown in [None, Some(&foreign)] {
            assert!(past_the_proxy(&shop, Some(&config(shown)), &secret).is_none(), "{shown:?}");
        }
    }
    let known = shop.proxies.sign("proxy");
    let known = kind.has_tls_behind().then(|| config(Some(&known)));
    for lines in ["", "X-Origin-Secret: 00000000000000000000000000000000\r\n"] {
        let refused = past_the_proxy(&shop, known.as_ref(), lines).expect("an answer");
        assert_eq!((refused.status, refused.member("code").as_str()), (403, "forbidden"), "{lines}");
    }
    assert_eq!(shop.orders("phone").len(), 0);
    // With both, it is the proxy that asks.
    assert_eq!(past_the_proxy(&shop, known.as_ref(), &secret).expect("an answer").status, 201);
    assert_eq!(shop.buy("ann").expect("an answer").status, 201);
}

pub fn connections_to_the_engine_are_kept_where_they_may_be(kind: Kind) {
    let shop = Shop::open(kind);
    const VISITS: usize = 60;
    let before = shop.link.accepted();
    let mut has_spoken_http2 = false;
    for visit in 0..VISITS {
        assert_eq!(shop.buy(&format!("b-{visit}")).expect("an answer").status, 201);
        // The proxy may close a connection that rests, and make another.
        has_spoken_http2 |= open_http2_connections(&shop) > 0;
    }
    let made = shop.link.accepted() - before;
    match kind {
        // It cannot keep them without sending purchases twice.
        Kind::Varnish => assert_eq!(made, VISITS),
        _ => assert!(made <= VISITS / 4, "{made} connections for {VISITS} purchases"),
    }
    assert_eq!(has_spoken_http2, matches!(kind, Kind::Haproxy | Kind::VarnishAndHaproxy));
}

fn open_http2_connections(shop: &Shop) -> u32 {
    let figures = shop.engine.admin("GET", "/metrics", "").body;
    let open = figures.lines().find_map(|line| line.strip_prefix("seckill_edge_http2_connections "));
    open.and_then(|number| number.parse().ok()).expect("a figure")
}
