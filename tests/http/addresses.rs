//! One address can not take the places of all others; trusted proxies carry many.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use seckill::edge::FrontEnd::Hyper;
use testbed::client::Client;

use super::server::Server;

const LAST: &str = "GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

/// A connection from another address of this machine.
fn from(source: &str, server: SocketAddr) -> Client {
    let source = SocketAddr::new(source.parse::<IpAddr>().unwrap(), 0);
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&source.into()).unwrap();
    socket.connect(&server.into()).unwrap();
    Client::over(socket.into())
}

#[test]
fn d6_idle_connections_of_one_address_leave_places_to_the_others() {
    let server = Server::start(Hyper, |settings| settings.connections_max = 100);
    let crowd: Vec<Client> = (0..100).map(|_| from("127.0.0.2", server.addr)).collect();
    for buyer in 0..20 {
        let source = format!("127.0.1.{buyer}");
        assert_eq!(from(&source, server.addr).send(LAST).statuses(), [200], "{source}");
    }
    // Who is one too many hears why. The threads of the server accept side by side: it may be any of the crowd.
    let refused = crowd.into_iter().flat_map(|mut idle| idle.send(LAST).answers());
    let refused: Vec<_> = refused.filter(|answer| answer.status != 200).collect();
    assert!(!refused.is_empty(), "a whole crowd has a place");
    for answer in refused {
        assert_eq!((answer.status, answer.member("code").as_str()), (503, "overloaded"));
        assert!(answer.body.contains("This address"), "{}", answer.body);
    }
}

#[test]
fn d6_a_trusted_proxy_has_as_many_as_there_are() {
    let server = Server::start(Hyper, |settings| {
        settings.connections_max = 100;
        settings.connections_per_address_max = 2;
        settings.trusted_proxies = vec!["127.0.0.2/32".parse().unwrap()];
    });
    let proxied: Vec<Client> = (0..50).map(|_| from("127.0.0.2", server.addr)).collect();
    for mut connection in proxied {
        assert_eq!(connection.send(LAST).statuses(), [200]);
    }
    let _two = [(); 2].map(|()| {
        let mut served = from("127.0.0.3", server.addr);
        served.send("GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(served.answer().unwrap().status, 200);
        served
    });
    assert_eq!(from("127.0.0.3", server.addr).send(LAST).statuses(), [503]);
}

#[test]
fn d6_requests_under_way_count_for_the_client_that_the_proxy_names() {
    let server = Server::start(Hyper, |settings| {
        settings.threads = 1;
        settings.connections_per_address_max = 1;
        settings.trusted_proxies = vec!["127.0.0.2/32".parse().unwrap()];
    });
    let recorder = Arc::clone(&server.recorder);
    let ask = |path: &str, chain: &str| {
        let mut client = from("127.0.0.2", server.addr);
        client.send(format!(
            "GET {path} HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: {chain}\r\nConnection: close\r\n\r\n"
        ));
        client
    };
    let mut held = ask("/held", "198.51.100.9, 192.0.2.7");
    super::life::block_on(recorder.held.notified());
    assert_eq!(ask("/a", "203.0.113.1, 192.0.2.7").statuses(), [503]);
    // What stands before the last untrusted address is anybody's invention.
    assert_eq!(ask("/a", "192.0.2.7, 198.51.100.9").statuses(), [200]);
    recorder.release.notify_one();
    assert_eq!(held.statuses(), [200]);
    assert_eq!(ask("/a", "192.0.2.7").statuses(), [200]);
}

#[test]
fn d6_the_proxy_protocol_tells_whose_connection_it_is() {
    let server = Server::start(Hyper, |settings| {
        settings.connections_per_address_max = 2;
        settings.trusted_proxies = vec!["127.0.0.2/32".parse().unwrap()];
        settings.proxy_protocol = true;
    });
    let v1 = |client: &str| format!("PROXY TCP4 {client} 127.0.0.1 4711 80\r\n").into_bytes();
    let v2 = |client: [u8; 4]| {
        let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
        header.extend(client);
        header.extend([127, 0, 0, 1, 0x12, 0x67, 0, 80]);
        header
    };
    let first = "GET /a HTTP/1.1\r\nHost: h\r\n\r\n";
    let served = |header: Vec<u8>, from_address: &str| {
        let mut client = from(from_address, server.addr);
        // In two pieces, of which the first ends within the header.
        let sent = [header, first.into()].concat();
        client.send(&sent[..7]);
        std::thread::yield_now();
        client.send(&sent[7..]);
        let status = client.answer().map(|answer| answer.status);
        (client, status)
    };
    let (_one, status) = served(v1("192.0.2.7"), "127.0.0.2");
    assert_eq!(status, Some(200));
    let (_two, status) = served(v2([192, 0, 2, 7]), "127.0.0.2");
    assert_eq!(status, Some(200));
    assert_eq!(served(v1("192.0.2.7"), "127.0.0.2").1, Some(503));
    assert_eq!(served(v2([192, 0, 2, 8]), "127.0.0.2").1, Some(200));
    // A proxy that asks for itself, one that says nothing, and somebody who is not trusted to say anything.
    assert_eq!(served(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_vec(), "127.0.0.2").1, Some(200));
    assert_eq!(served(Vec::new(), "127.0.0.2").1, None);
    assert_eq!(served(Vec::new(), "127.0.0.4").1, Some(200));
    assert_eq!(served(v1("192.0.2.9"), "127.0.0.4").1, Some(400));
}
