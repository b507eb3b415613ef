//! HTTP/2 from the first request to the drain.

use std::sync::Arc;

use seckill::edge::FrontEnd::Hyper;

use super::h2_client::Http2;
use super::h2_frames::*;
use super::life::block_on;
use super::server::Server;
use testbed::client::Client;
use testbed::engine::Engine;

#[test]
fn an_answer_says_the_same_on_both_protocols() {
    let server = Server::start(Hyper, |_| {});
    let mut client = Http2::connect(server.addr);
    let names = [("x-request-id", "my-id"), ("traceparent", "00-ab-cd-01"), ("x-b3-traceid", "b3")];
    let answer = client.ask("GET", "/a", &names, "");
    let sent = "GET /a HTTP/1.1\r\nHost: h\r\nX-Request-ID: my-id\r\ntraceparent: 00-ab-cd-01\r\nX-B3-TraceId: b3\r\n\r\n";
    let mut first = Client::connect(server.addr);
    first.send(sent);
    let known = first.answer().unwrap();
    let fields = |mut fields: Vec<(String, String)>| {
        fields.retain(|(name, _)| name != "date");
        fields.sort();
        fields
    };
    assert!(answer.field("date").is_some());
    assert_eq!((answer.status, &answer.body), (known.status, &known.body));
    assert_eq!(fields(answer.fields), fields(known.fields));
    let head = client.ask("HEAD", "/a", &[], "");
    assert_eq!((head.status, head.body.as_str(), head.field("content-length")), (200, "", Some("2")));
    assert_eq!(client.ask("POST", "/a", &[], "{\"q\":1}").status, 200);
    assert_eq!(server.recorder.take(), ["GET /a", "GET /a", "HEAD /a", "POST /a {\"q\":1}"]);
}

#[test]
fn a_target_is_taken_on_both_protocols_or_on_neither() {
    let server = Server::start(Hyper, |_| {});
    let mut frames = Frames::connect(server.addr);
    // HTTP/1.1 is silent about a fragment and cuts it off; here it is none of a path's characters.
    let characters: Vec<char> = ('!'..='~').filter(|character| *character != '#').chain(['ä']).collect();
    let targets = characters.iter().flat_map(|c| [format!("/a{c}b"), format!("/a?b{c}d")]);
    let (mut wrong, mut taken) = (Vec::new(), 0);
    for (target, stream) in targets.zip((1..).step_by(2)) {
        let mut first = Client::connect(server.addr);
        first.send(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
        let first = (first.answer().unwrap().status == 200, server.recorder.take());
        let line = [(":method", "GET"), (":scheme", "http"), (":path", target.as_str()), (":authority", "h")];
        frames.send(request(stream, &block(&line)));
        let mut answers = std::iter::from_fn(|| frames.next());
        let answer = answers.find(|frame| frame.stream == stream && frame.kind != DATA).unwrap();
        let second = (answer.kind == HEADERS && answer.status() == Some(200), server.recorder.take());
        taken += usize::from(second.0);
        if first != second {
            wrong.push(format!("{target}: {first:?}, {second:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(taken, 2 * characters.len() - "<>`".len() - "<>\"".len());
    frames.send(request(
        10_001,
        &block(&[(":method", "GET"), (":scheme", "http"), (":path", "/a#b"), (":authority", "h")]),
    ));
    assert_eq!(frames.next_of(RST_STREAM).unwrap().code(), PROTOCOL_ERROR);
}

#[test]
fn a_connection_carries_many_requests_and_one_that_waits_holds_up_none() {
    let server = Server::start(Hyper, |_| {});
    let mut client = Http2::connect(server.addr);
    let held = client.begin("GET", "/held", &[], "");
    block_on(server.recorder.held.notified());
    let many: Vec<_> = (0..500).map(|n| client.begin("POST", &format!("/{n}"), &[], "body")).collect();
    for pending in many {
        assert_eq!(client.finish(pending).unwrap().status, 200);
    }
    server.recorder.release.notify_one();
    assert_eq!(client.finish(held).unwrap().status, 200);
    assert_eq!(server.recorder.take().len(), 501);
}

#[test]
fn bodies_have_their_limits() {
    let server = Server::start(Hyper, |settings| {
        settings.body_bytes_max = 1_000;
        settings.body_read_timeout_ms = 200;
    });
    let mut client = Http2::connect(server.addr);
    assert_eq!(client.ask("POST", "/a", &[], &"x".repeat(1_000)).status, 200);
    for fields in [&[][..], &[("content-length", "1001")], &[("expect", "100-continue")]] {
        let answer = client.ask("POST", "/a", fields, &"x".repeat(1_001));
        assert_eq!((answer.status, answer.member("code").as_str()), (413, "body-too-large"), "{fields:?}");
    }
    assert_eq!(server.recorder.take().len(), 1);
    let mut frames = Frames::connect(server.addr);
    let fields = [(":method", "POST"), (":scheme", "http"), (":path", "/a"), (":authority", "h")];
    frames.send(frame(HEADERS, END_HEADERS, 1, &block(&fields)));
    // 408 has no number of its own in the compression's table; what is asked for is an answer.
    assert_eq!(frames.next_of(HEADERS).unwrap().status(), None);
    assert_eq!(server.recorder.take(), [""; 0]);
}

#[test]
fn a_client_that_waits_for_100_continue_gets_it() {
    let server = Server::start(Hyper, |_| {});
    let mut frames = Frames::connect(server.addr);
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/a"),
        (":authority", "h"),
        ("expect", "100-continue"),
    ];
    frames.send(frame(HEADERS, END_HEADERS, 1, &block(&fields)));
    let go_on = frames.next_of(HEADERS).unwrap();
    assert_eq!(go_on.flags & END_STREAM, 0);
    frames.send(frame(DATA, END_STREAM, 1, b"abc"));
    assert_eq!(frames.next_of(HEADERS).unwrap().status(), Some(200));
    assert_eq!(server.recorder.take(), ["POST /a abc"]);
}

#[test]
fn idle_and_slow_connections_are_ended() {
    let server = Server::start(Hyper, |settings| {
        settings.idle_timeout_ms = 1_000;
        settings.header_read_timeout_ms = 300;
    });
    let mut idle = Frames::connect(server.addr);
    idle.send(request(1, &get(&[])));
    let mut slow = Frames::connect(server.addr);
    slow.send(frame(HEADERS, END_STREAM, 1, &get(&[])));
    let mut slower = Frames::silent(server.addr);
    slower.send(&PREFACE[..10]);
    let mut silent = Frames::silent(server.addr);
    assert_eq!(slower.farewell(), None);
    assert_eq!(slow.farewell(), Some(NO_ERROR));
    assert_eq!(idle.farewell(), Some(NO_ERROR));
    assert_eq!(silent.farewell(), None);
    assert_eq!(server.recorder.take(), ["GET /a"]);
}

#[test]
fn without_keep_alive_each_request_has_its_connection() {
    let server = Server::start(Hyper, |settings| settings.keep_alive = false);
    let mut client = Http2::connect(server.addr);
    assert_eq!(client.ask("GET", "/a", &[], "").status, 200);
    client.wait_for_server();
}

#[test]
fn draining_says_goaway_and_loses_no_answer() {
    let server = Server::start(Hyper, |_| {});
    let (addr, recorder) = (server.addr, Arc::clone(&server.recorder));
    let mut idle = Http2::connect(addr);
    assert_eq!(idle.ask("GET", "/a", &[], "").status, 200);
    let unused = Http2::connect(addr);
    let mut mute = Frames::connect(addr);
    let mut client = Http2::connect(addr);
    let held = client.begin("GET", "/held", &[], "");
    block_on(recorder.held.notified());

    let drained = std::thread::spawn(move || server.drain());
    idle.wait_for_server();
    unused.wait_for_server();
    // It does not say that it has heard, and is not waited for.
    assert_eq!(mute.farewell(), Some(NO_ERROR));
    assert!(!drained.is_finished(), "the held request is still in flight");
    let late = client.begin("GET", "/late", &[], "");
    assert!(client.finish(late).is_err(), "who was told to go is told so");
    recorder.release.notify_one();
    assert_eq!(client.finish(held).unwrap().status, 200);
    assert_eq!(drained.join().unwrap(), 0, "nothing had to be cut");
    client.wait_for_end().unwrap();
    assert_eq!(recorder.take(), ["GET /a", "GET /held"]);
}

#[test]
fn a_lame_duck_sends_its_clients_elsewhere_and_serves_whoever_comes() {
    let server = Server::start(Hyper, |_| {});
    let mut used = Http2::connect(server.addr);
    assert_eq!(used.ask("GET", "/a", &[], "").status, 200);
    server.leave();
    used.wait_for_server();
    let mut late = Http2::connect(server.addr);
    assert_eq!(late.ask("GET", "/b", &[], "").status, 200);
    late.wait_for_server();
    assert_eq!(server.drain(), 0);
}

#[test]
fn a_proxy_header_comes_before_the_preface() {
    let server = Server::start(Hyper, |settings| {
        settings.proxy_protocol = true;
        settings.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    });
    let mut frames = Frames::silent(server.addr);
    let header = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 443\r\n";
    let sent = [&header[..], PREFACE, &settings(&[]), &request(1, &get(&[]))].concat();
    for byte in sent {
        frames.send([byte]);
    }
    assert_eq!(frames.next_of(HEADERS).unwrap().status(), Some(200));
}

#[test]
fn a_buyers_way_over_http2() {
    let keys = [
        ("EDGE__HTTP2__STREAMS_MAX", "64"),
        ("EDGE__TENANT__FROM", "host"),
        ("EDGE__TENANT__HOSTS__LOCALHOST", "default"),
    ];
    let engine = Engine::start(&keys);
    engine.sale("phone", 2, "");
    let mut client = Http2::connect(engine.edge());
    let mut ask = |method: &str, path: &str, buyer: &str, body: &str| {
        client.ask(method, path, &[("x-user-id", buyer)], body)
    };
    let bought = ask("POST", "/seckill/test/phone", "ann", "");
    assert_eq!(bought.status, 201, "{}", bought.body);
    let id = bought.member("order_id");
    assert_eq!(bought.field("location"), Some(format!("/orders/{id}").as_str()));
    assert_eq!(bought.field("cache-control"), Some("no-store"));
    let again = ask("POST", "/seckill/test/phone", "ann", r#"{"quantity":1}"#);
    assert_eq!((again.status, again.member("code").as_str()), (409, "already-purchased"));
    assert_eq!(again.member("order_id"), id);
    assert_eq!(ask("GET", &format!("/orders/{id}"), "ann", "").member("status"), "pre_pay");
    assert_eq!(ask("GET", &format!("/orders/{id}"), "bob", "").status, 404);
    let paid = ask("POST", &format!("/orders/{id}/checkout"), "ann", r#"{"payment_method":"card"}"#);
    assert_eq!((paid.status, paid.member("status").as_str()), (200, "paid"), "{}", paid.body);
    let state = ask("GET", "/seckill/test/phone", "", "");
    assert_eq!((state.status, &state.json()["remaining"]), (200, &1.into()));
    assert!(state.field("cache-control").unwrap().starts_with("public"));
    assert_eq!(ask("POST", "/seckill/test/phone", "", "").status, 401);
    assert_eq!(ask("POST", "/seckill/test/none", "ann", "").status, 404);
    let other = ask("POST", "/seckill/test/phone", "bob", "");
    assert_eq!(ask("DELETE", &format!("/orders/{}", other.member("order_id")), "bob", "").status, 200);
    let crossed = client.ask(
        "POST",
        "/seckill/test/phone",
        &[("x-user-id", "eve"), ("origin", "https://evil.example")],
        "",
    );
    assert_eq!((crossed.status, crossed.member("code").as_str()), (403, "cross-site"));
    let own = client.ask(
        "POST",
        "/seckill/test/phone",
        &[("x-user-id", "eve"), ("origin", "http://localhost")],
        "",
    );
    assert_eq!(own.status, 201, "{}", own.body);
    assert_eq!(engine.audit("phone").durable_orders, 3);
    let figures = engine.admin("GET", "/metrics", "").body;
    assert!(figures.contains("seckill_edge_http2_connections 1"), "{figures}");
    // What is under way when the engine is told to stop is finished.
    let (status, _) = engine.terminate();
    assert!(status.success());
    client.wait_for_server();
}

#[test]
fn curl_buys_by_prior_knowledge() {
    let Ok(version) = std::process::Command::new("curl").arg("--version").output() else { return };
    if !String::from_utf8_lossy(&version.stdout).contains("HTTP2") {
        return;
    }
    let engine = Engine::start(&[]);
    engine.sale("phone", 1, "");
    let url = format!("http://{}/seckill/test/phone", engine.edge());
    let told = std::process::Command::new("curl")
        .args([
            "-sS",
            "--http2-prior-knowledge",
            "-X",
            "POST",
            "-H",
            "X-User-ID: ann",
            "-w",
            "\n%{http_code} %{http_version}",
            &url,
        ])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.ends_with("\n201 2"), "{told}");
}
