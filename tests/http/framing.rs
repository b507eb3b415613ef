//! Where requests begin and end: each case is sent to both front ends with a last request behind it, and what was
//! executed is compared exactly. A byte that is taken for the wrong request shows.

use seckill::edge::FrontEnd::{Hyper, May};
use testbed::client::Client;

use super::server::{BOTH, Server};

/// Sent behind every case: executed if and only if the server knows where the case ended.
const LAST: &str = "GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
/// What an attacker hides.
const HIDDEN: &str = "POST /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";

struct Case {
    name: &'static str,
    sent: String,
    /// What `hyper` executes and answers.
    hyper: (Vec<&'static str>, Vec<u16>),
    /// What `may` executes, and what it answers if that is certain: what it cannot answer, it closes.
    may: (Vec<&'static str>, Option<Vec<u16>>),
}

fn case(
    name: &'static str,
    sent: impl Into<String>,
    hyper: (&[&'static str], &[u16]),
    may: (&[&'static str], Option<&[u16]>),
) -> Case {
    Case {
        name,
        sent: sent.into(),
        hyper: (hyper.0.to_vec(), hyper.1.to_vec()),
        may: (may.0.to_vec(), may.1.map(<[u16]>::to_vec)),
    }
}

/// The same on both front ends.
fn same(name: &'static str, sent: impl Into<String>, executed: &[&'static str], statuses: &[u16]) -> Case {
    case(name, sent, (executed, statuses), (executed, Some(statuses)))
}

/// Refused by both: nothing is executed, and nothing behind it.
fn refused(name: &'static str, sent: impl Into<String>) -> Case {
    case(name, sent, (&[], &[400]), (&[], None))
}

fn post(fields: &str, body: &str) -> String {
    format!("POST /a HTTP/1.1\r\nHost: h\r\n{fields}\r\n{body}")
}

fn sized(body: &str) -> String {
    post(&format!("Content-Length: {}\r\n", body.len()), body)
}

fn chunked(body: &str) -> String {
    post("Transfer-Encoding: chunked\r\n", body)
}

fn well_framed() -> Vec<Case> {
    let pair = |fields: &str| post(fields, "{\"q\":1}");
    vec![
        same("nothing before", "", &["GET /last"], &[200]),
        same("a body", sized("{\"q\":1}"), &["POST /a {\"q\":1}", "GET /last"], &[200, 200]),
        same("an empty body", sized(""), &["POST /a", "GET /last"], &[200, 200]),
        same(
            "a body that looks like a request",
            post(&format!("Content-Length: {}\r\n", HIDDEN.len()), HIDDEN),
            &["POST /a POST /smuggled HTTP/1.1\r\nHost: h", "GET /last"],
            &[200, 200],
        ),
        same(
            "a body where nobody reads one",
            format!("GET /a HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{HIDDEN}", HIDDEN.len()),
            &["GET /a POST /smuggled HTTP/1.1\r\nHost: h", "GET /last"],
            &[200, 200],
        ),
        same(
            "pipelined",
            format!("{}{}{}", sized("1"), sized("22"), sized("")),
            &["POST /a 1", "POST /a 22", "POST /a", "GET /last"],
            &[200, 200, 200, 200],
        ),
        same(
            "a whole address as target",
            "GET http://h/a?b=/c HTTP/1.1\r\nHost: h\r\n\r\n",
            &["GET /a", "GET /last"],
            &[200, 200],
        ),
        case("HTTP/1.0", "GET /a HTTP/1.0\r\n\r\n", (&["GET /a"], &[200]), (&["GET /a"], None)),
        case(
            "HTTP/1.0 with keep-alive",
            "GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
            (&["GET /a", "GET /last"], &[200, 200]),
            (&["GET /a"], None),
        ),
        case(
            "HTTP/1.0 with a request behind it",
            format!("GET /a HTTP/1.0\r\n\r\n{HIDDEN}"),
            (&["GET /a"], &[200]),
            (&["GET /a"], None),
        ),
        case(
            "Connection: close with a request behind it",
            format!("GET /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n{HIDDEN}"),
            (&["GET /a"], &[200]),
            (&["GET /a"], None),
        ),
        case(
            "two equal lengths",
            pair("Content-Length: 7\r\nContent-Length: 7\r\n"),
            (&["POST /a {\"q\":1}", "GET /last"], &[200, 200]),
            (&[], None),
        ),
        // A chunked request is executed, and is the last of its connection.
        case(
            "a chunked body",
            chunked("3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: t\r\n\r\n"),
            (&["POST /a abcde"], &[200]),
            (&[], None),
        ),
        case("an empty chunked body", chunked("0\r\n\r\n"), (&["POST /a"], &[200]), (&[], None)),
    ]
}

fn malformed() -> Vec<Case> {
    let hidden = |fields: &str| post(fields, HIDDEN);
    vec![
        refused("a negative length", hidden("Content-Length: -1\r\n")),
        refused("a length with a sign", hidden("Content-Length: +5\r\n")),
        refused("a length in hex", hidden("Content-Length: 0x5\r\n")),
        refused("a list of lengths", hidden("Content-Length: 5, 5\r\n")),
        refused("an empty length", hidden("Content-Length: \r\n")),
        refused("two lengths", hidden("Content-Length: 5\r\nContent-Length: 6\r\n")),
        refused("a length above 64 bits", hidden("Content-Length: 99999999999999999999\r\n")),
        case("a huge length", hidden("Content-Length: 9999999999\r\n"), (&[], &[413]), (&[], None)),
        refused("an unknown coding", hidden("Transfer-Encoding: xchunked\r\n")),
        refused("chunked, but not last", hidden("Transfer-Encoding: chunked, gzip\r\n")),
        refused("an unknown coding and a length", hidden("Transfer-Encoding: x\r\nContent-Length: 0\r\n")),
        refused("a space before the colon", hidden("Transfer-Encoding : chunked\r\n")),
        refused("a folded coding", hidden("X: y\r\n Transfer-Encoding: chunked\r\n")),
        refused(
            "chunked in HTTP/1.0",
            format!("POST /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n{HIDDEN}"),
        ),
        refused("a chunk size that is no number", chunked("x\r\nabc\r\n0\r\n\r\n")),
        refused("a negative chunk size", chunked("-1\r\nabc\r\n0\r\n\r\n")),
        refused("a chunk size above 64 bits", chunked("fffffffffffffffff\r\nabc\r\n0\r\n\r\n")),
        refused("a chunk longer than its size", chunked("1\r\nabc\r\n0\r\n\r\n")),
        refused("no host", "GET /a HTTP/1.1\r\n\r\n"),
        refused("two hosts", "GET /a HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        refused("two identities", "GET /a HTTP/1.1\r\nHost: h\r\nX-User-ID: a\r\nX-User-ID: b\r\n\r\n"),
        refused("not HTTP at all", "\u{16}\u{3}\u{1}\r\n\r\n"),
        refused("a version to come", "GET /a HTTP/3.0\r\nHost: h\r\n\r\n"),
    ]
}

/// Both ways of framing in one request: the reader that believes one of them sees a second request in it.
fn two_ways() -> Vec<Case> {
    let length_first = format!("0\r\n\r\n{HIDDEN}");
    let chunk = format!("{:x}\r\n{HIDDEN}\r\n0\r\n\r\n", HIDDEN.len());
    let executed = "POST /a POST /smuggled HTTP/1.1\r\nHost: h";
    vec![
        case(
            "a length that covers a request behind the last chunk",
            post(
                &format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", length_first.len()),
                &length_first,
            ),
            (&["POST /a"], &[200]),
            (&[], None),
        ),
        case(
            "the same in the other order",
            post(
                &format!("Transfer-Encoding: chunked\r\nContent-Length: {}\r\n", length_first.len()),
                &length_first,
            ),
            (&["POST /a"], &[200]),
            (&[], None),
        ),
        case(
            "a chunk that holds a request behind the length",
            post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", &chunk),
            (&[executed], &[200]),
            (&[], None),
        ),
        case(
            "a coding after a bare line feed",
            post("X: y\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n", &length_first),
            (&["POST /a"], &[200]),
            (&[], None),
        ),
        case(
            "two codings",
            post("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", &length_first),
            (&[], &[400]),
            (&[], None),
        ),
    ]
}

#[test]
fn what_is_executed_is_what_was_sent() {
    let [hyper, may] = BOTH.map(|front_end| Server::start(front_end, |_| {}));
    for case in well_framed().into_iter().chain(malformed()).chain(two_ways()) {
        let sent = format!("{}{LAST}", case.sent);

        let statuses = Client::connect(hyper.addr).send(&sent).statuses();
        assert_eq!(hyper.recorder.take(), case.hyper.0, "hyper executed, {}", case.name);
        assert_eq!(statuses, case.hyper.1, "hyper answered, {}", case.name);

        let statuses = Client::connect(may.addr).send(&sent).statuses();
        assert_eq!(may.recorder.take(), case.may.0, "may executed, {}", case.name);
        match case.may.1 {
            Some(expected) => assert_eq!(statuses, expected, "may answered, {}", case.name),
            // Every executed request would have been answered 200; nothing else was.
            None => assert!(
                statuses.iter().filter(|&&status| status == 200).count() <= case.may.0.len(),
                "may answered {statuses:?}, {}",
                case.name
            ),
        }
    }
}

#[test]
fn a_request_may_come_in_two_pieces_wherever_it_is_cut() {
    for front_end in BOTH {
        let server = Server::start(front_end, |_| {});
        let sent = format!("{}{LAST}", sized("{\"quantity\":1}"));
        for cut in 1..sent.len() {
            let mut client = Client::connect(server.addr);
            client.send(&sent[..cut]);
            // Lets the server read the first piece alone; if it does not, the case is merely weaker.
            std::thread::sleep(std::time::Duration::from_millis(1));
            assert_eq!(client.send(&sent[cut..]).statuses(), [200, 200], "{front_end:?}, cut at {cut}");
            assert_eq!(server.recorder.take(), ["POST /a {\"quantity\":1}", "GET /last"], "cut at {cut}");
        }
    }
}

#[test]
fn a_request_may_come_byte_by_byte() {
    for front_end in BOTH {
        let server = Server::start(front_end, |_| {});
        let mut client = Client::connect(server.addr);
        for byte in format!("{}{LAST}", sized("{\"quantity\":1}")).bytes() {
            client.send([byte]);
        }
        assert_eq!(client.statuses(), [200, 200], "{front_end:?}");
        assert_eq!(server.recorder.take().len(), 2);
    }
}

#[test]
fn many_pipelined_requests_are_answered_in_their_order() {
    for front_end in BOTH {
        let server = Server::start(front_end, |_| {});
        let mut client = Client::connect(server.addr);
        let sent: String =
            (0..200).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: h\r\nX-Request-ID: r{n}\r\n\r\n")).collect();
        let answers = client.send(sent + LAST).answers();
        assert_eq!(answers.len(), 201, "{front_end:?}");
        let executed: Vec<String> =
            (0..200).map(|n| format!("GET /{n}")).chain(["GET /last".into()]).collect();
        assert_eq!(server.recorder.take(), executed);
        if front_end == Hyper {
            let echoed =
                answers.iter().take(200).map(|answer| answer.field("x-request-id").unwrap().to_owned());
            assert!(echoed.eq((0..200).map(|n| format!("r{n}"))));
        }
    }
}

#[test]
fn a_client_may_close_its_side_behind_the_request() {
    for front_end in BOTH {
        let server = Server::start(front_end, |_| {});
        let statuses = Client::connect(server.addr).send(sized("1")).end().statuses();
        let executed = server.recorder.take();
        match front_end {
            Hyper => assert_eq!((statuses, executed), (vec![200], vec!["POST /a 1".to_owned()])),
            // May find the end before it looks at the request; it never executes one that it does not answer.
            May => assert_eq!(statuses.len(), executed.len()),
        }
    }
}

#[test]
fn half_a_request_is_not_executed() {
    for front_end in BOTH {
        let server = Server::start(front_end, |_| {});
        for half in
            ["POST /a HTTP/1.1\r\nHost: h\r\n", "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n123"]
        {
            Client::connect(server.addr).send(half).end().wait_for_close();
            assert_eq!(server.recorder.take(), [""; 0], "{front_end:?}");
        }
    }
}
