//! What is no HTTP/2 is answered as RFC 9113 asks, and none of it is executed.

use seckill::edge::FrontEnd::Hyper;

use super::h2_frames::*;
use super::server::Server;
use testbed::client::Client;

/// What the RFC asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// The end of the connection with this code.
    Connection(u32),
    /// The same, where the library that reads frames says PROTOCOL_ERROR for each fault of this kind.
    Ended(u32),
    /// The end of the stream with this code, or of the whole connection (5.4.2 allows that), or 400 (8.1.1 allows that for
    /// malformed requests).
    Stream(u32),
    /// This answer.
    Status(u16),
}
use Asked::{Connection, Ended, Status, Stream};

type Case = (&'static str, Vec<u8>, Asked);

/// A request whose body is to come, on stream 1.
fn open() -> Vec<u8> {
    let fields = [(":method", "POST"), (":scheme", "http"), (":path", "/a"), (":authority", "h")];
    frame(HEADERS, END_HEADERS, 1, &block(&fields))
}

fn on_connections() -> Vec<Case> {
    let ok = get(&[]);
    let with = |mut first: Vec<u8>, second: Vec<u8>| {
        first.extend(second);
        first
    };
    let begun = frame(HEADERS, END_STREAM, 1, &ok);
    vec![
        ("DATA on stream 0", frame(DATA, 0, 0, b"x"), Connection(PROTOCOL_ERROR)),
        ("DATA on an idle stream", frame(DATA, 0, 1, b"x"), Connection(PROTOCOL_ERROR)),
        (
            "DATA that is all padding",
            with(open(), frame(DATA, PADDED, 1, &[9, 0])),
            Connection(PROTOCOL_ERROR),
        ),
        ("HEADERS on stream 0", request(0, &ok), Connection(PROTOCOL_ERROR)),
        ("HEADERS on an even stream", request(2, &ok), Connection(PROTOCOL_ERROR)),
        (
            "HEADERS that are all padding",
            frame(HEADERS, PADDED | END_HEADERS, 1, &[9, 0]),
            Connection(PROTOCOL_ERROR),
        ),
        (
            "a stream number that goes back",
            with(request(5, &ok), request(3, &ok)),
            Connection(PROTOCOL_ERROR),
        ),
        ("PRIORITY on stream 0", frame(PRIORITY, 0, 0, &[0; 5]), Connection(PROTOCOL_ERROR)),
        ("RST_STREAM on stream 0", frame(RST_STREAM, 0, 0, &[0; 4]), Connection(PROTOCOL_ERROR)),
        ("RST_STREAM of an idle stream", frame(RST_STREAM, 0, 1, &[0; 4]), Connection(PROTOCOL_ERROR)),
        (
            "RST_STREAM of 3 bytes",
            with(open(), frame(RST_STREAM, 0, 1, &[0; 3])),
            Connection(FRAME_SIZE_ERROR),
        ),
        ("SETTINGS on a stream", frame(SETTINGS, 0, 1, &[]), Connection(PROTOCOL_ERROR)),
        ("SETTINGS of 5 bytes", frame(SETTINGS, 0, 0, &[0; 5]), Connection(FRAME_SIZE_ERROR)),
        ("an acknowledgement with values", frame(SETTINGS, ACK, 0, &[0; 6]), Connection(FRAME_SIZE_ERROR)),
        ("ENABLE_PUSH of 2", settings(&[(2, 2)]), Connection(PROTOCOL_ERROR)),
        ("a first window above 2^31 - 1", settings(&[(4, 1 << 31)]), Ended(FLOW_CONTROL_ERROR)),
        ("a frame size below 2^14", settings(&[(5, (1 << 14) - 1)]), Connection(PROTOCOL_ERROR)),
        ("a frame size of 2^24", settings(&[(5, 1 << 24)]), Connection(PROTOCOL_ERROR)),
        (
            "PUSH_PROMISE from a client",
            with(open(), frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2], &ok[..]].concat())),
            Connection(PROTOCOL_ERROR),
        ),
        ("PING of 7 bytes", frame(PING, 0, 0, &[0; 7]), Connection(FRAME_SIZE_ERROR)),
        ("PING on a stream", frame(PING, 0, 1, &[0; 8]), Connection(PROTOCOL_ERROR)),
        ("GOAWAY on a stream", frame(GOAWAY, 0, 1, &[0; 8]), Connection(PROTOCOL_ERROR)),
        ("GOAWAY of 7 bytes", frame(GOAWAY, 0, 0, &[0; 7]), Connection(FRAME_SIZE_ERROR)),
        ("WINDOW_UPDATE by 0", frame(WINDOW_UPDATE, 0, 0, &[0; 4]), Connection(PROTOCOL_ERROR)),
        ("WINDOW_UPDATE of 3 bytes", frame(WINDOW_UPDATE, 0, 0, &[0; 3]), Connection(FRAME_SIZE_ERROR)),
        (
            "WINDOW_UPDATE of an idle stream",
            frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1]),
            Connection(PROTOCOL_ERROR),
        ),
        (
            "a window of the connection above 2^31 - 1",
            frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
            Connection(FLOW_CONTROL_ERROR),
        ),
        ("CONTINUATION alone", frame(CONTINUATION, END_HEADERS, 1, &ok), Connection(PROTOCOL_ERROR)),
        (
            "CONTINUATION on stream 0",
            with(begun.clone(), frame(CONTINUATION, END_HEADERS, 0, &[])),
            Connection(PROTOCOL_ERROR),
        ),
        (
            "CONTINUATION on another stream",
            with(begun.clone(), frame(CONTINUATION, END_HEADERS, 3, &[])),
            Connection(PROTOCOL_ERROR),
        ),
        ("DATA within a header", with(begun.clone(), frame(DATA, 0, 1, b"x")), Connection(PROTOCOL_ERROR)),
        ("HEADERS within a header", with(begun.clone(), request(3, &ok)), Connection(PROTOCOL_ERROR)),
        ("PING within a header", with(begun.clone(), frame(PING, 0, 0, &[0; 8])), Connection(PROTOCOL_ERROR)),
        (
            "an unknown frame within a header",
            with(begun.clone(), frame(77, 0, 1, b"x")),
            Connection(PROTOCOL_ERROR),
        ),
        (
            "a frame above 2^14 bytes",
            with(open(), frame(DATA, 0, 1, &[0; 16_385])),
            Connection(FRAME_SIZE_ERROR),
        ),
        ("a header of above 2^14 bytes", request(1, &[0; 16_385]), Connection(FRAME_SIZE_ERROR)),
        ("compression: index 0", request(1, &[0x80]), Ended(COMPRESSION_ERROR)),
        ("compression: an index beyond the table", request(1, &[0xff, 0x7f]), Ended(COMPRESSION_ERROR)),
        ("compression: a text that ends early", request(1, &[0, 5, b'a']), Ended(COMPRESSION_ERROR)),
        ("compression: an endless number", request(1, &[0xff; 16]), Ended(COMPRESSION_ERROR)),
        (
            "compression: a table above what was offered",
            request(1, &[0x3f, 0xff, 0xff, 0x7f]),
            Ended(COMPRESSION_ERROR),
        ),
        (
            "compression: a table's size behind a field",
            request(1, &[&ok[..], &[0x20]].concat()),
            Ended(COMPRESSION_ERROR),
        ),
        (
            "compression: the end of the code within a text",
            request(1, &[0, 0x84, 0xff, 0xff, 0xff, 0xff, 0]),
            Ended(COMPRESSION_ERROR),
        ),
    ]
}

fn on_streams() -> Vec<Case> {
    let ok = get(&[]);
    let with = |mut first: Vec<u8>, second: Vec<u8>| {
        first.extend(second);
        first
    };
    let malformed = |name: &'static str, more: &[(&str, &str)]| -> Case {
        (name, request(1, &get(more)), Stream(PROTOCOL_ERROR))
    };
    let of = |name: &'static str, fields: &[(&str, &str)]| -> Case {
        (name, request(1, &block(fields)), Stream(PROTOCOL_ERROR))
    };
    let (method, scheme, path, host) =
        ((":method", "GET"), (":scheme", "http"), (":path", "/a"), (":authority", "h"));
    let length = |length: &str| {
        let fields = [(":method", "POST"), scheme, path, host, ("content-length", length)];
        frame(HEADERS, END_HEADERS, 1, &block(&fields))
    };
    vec![
        malformed("a name in capitals", &[("X-Name", "a")]),
        malformed("a name with a space", &[("x name", "a")]),
        malformed("a name with a colon", &[("x:name", "a")]),
        malformed("a value with a line's end", &[("x-name", "a\r\nb: c")]),
        malformed("a value with a zero", &[("x-name", "a\0b")]),
        malformed("Connection", &[("connection", "close")]),
        malformed("Keep-Alive", &[("keep-alive", "1")]),
        malformed("Proxy-Connection", &[("proxy-connection", "close")]),
        malformed("Transfer-Encoding", &[("transfer-encoding", "chunked")]),
        malformed("Upgrade", &[("upgrade", "h2c")]),
        malformed("TE that wants more than trailers", &[("te", "gzip")]),
        malformed("a pseudo-field behind a field", &[("x-name", "a"), (":authority", "h")]),
        malformed("an unknown pseudo-field", &[(":name", "a")]),
        malformed("the status of an answer", &[(":status", "200")]),
        malformed("a second path", &[path]),
        of("no method", &[scheme, path, host]),
        of("no scheme", &[method, path, host]),
        of("no path", &[method, scheme, host]),
        of("an empty path", &[method, scheme, (":path", ""), host]),
        of("a path that is none", &[method, scheme, (":path", "a"), host]),
        of("an authority that is none", &[method, scheme, path, (":authority", "h h")]),
        of("CONNECT with a path", &[(":method", "CONNECT"), scheme, path, host]),
        (
            "less body than its length",
            with(length("5"), frame(DATA, END_STREAM, 1, b"1")),
            Stream(PROTOCOL_ERROR),
        ),
        (
            "more body than its length",
            with(length("1"), frame(DATA, END_STREAM, 1, b"12345")),
            Stream(PROTOCOL_ERROR),
        ),
        (
            "a length that is none",
            with(length("x"), frame(DATA, END_STREAM, 1, b"1")),
            Stream(PROTOCOL_ERROR),
        ),
        (
            "a second header that does not end the request",
            with(open(), frame(HEADERS, END_HEADERS, 1, &ok)),
            Stream(PROTOCOL_ERROR),
        ),
        ("PRIORITY of 4 bytes", frame(PRIORITY, 0, 1, &[0; 4]), Stream(FRAME_SIZE_ERROR)),
        (
            "WINDOW_UPDATE of a stream by 0",
            with(open(), frame(WINDOW_UPDATE, 0, 1, &[0; 4])),
            Stream(PROTOCOL_ERROR),
        ),
        (
            "more DATA than the stream's window",
            with(open(), frame(DATA, 0, 1, &[0; 16_384]).repeat(5)),
            Stream(FLOW_CONTROL_ERROR),
        ),
        (
            "a window of a stream above 2^31 - 1",
            with(open(), frame(WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0xff, 0xff])),
            Stream(FLOW_CONTROL_ERROR),
        ),
    ]
}

/// Well framed, and refused as on HTTP/1.1.
fn refused() -> Vec<Case> {
    let of = |name: &'static str, fields: &[(&str, &str)]| -> Case {
        (name, request(1, &block(fields)), Status(400))
    };
    let (method, scheme, path) = ((":method", "GET"), (":scheme", "http"), (":path", "/a"));
    vec![
        of("no authority", &[method, scheme, path]),
        of(
            "another host than the authority",
            &[method, scheme, path, (":authority", "h"), ("host", "other")],
        ),
        of("a user in the authority", &[method, scheme, path, (":authority", "me@h")]),
        of("two hosts", &[method, scheme, path, ("host", "h"), ("host", "h")]),
        of("two identities", &[method, scheme, path, ("host", "h"), ("x-user-id", "a"), ("x-user-id", "b")]),
        of("another scheme", &[method, (":scheme", "ftp"), path, (":authority", "h")]),
        of("the server as a whole", &[(":method", "OPTIONS"), scheme, (":path", "*"), (":authority", "h")]),
        of("CONNECT", &[(":method", "CONNECT"), (":authority", "h:80")]),
    ]
}

/// What the server does about it, first. One that says nothing answers two pings: what it has to say about a stream it
/// says behind the first.
fn answered(frames: &mut Frames) -> Option<Frame> {
    for ping in [b"to begin", b"the last"] {
        frames.send(frame(PING, 0, 0, ping));
        let mut seen = std::iter::from_fn(|| frames.next());
        let said = seen.find(|frame| {
            [GOAWAY, RST_STREAM, HEADERS].contains(&frame.kind)
                || (frame.kind == PING && frame.payload == ping)
        });
        if said.as_ref().is_none_or(|said| said.kind != PING) {
            return said;
        }
    }
    None
}

fn is_as_asked(answer: Option<&Frame>, asked: Asked) -> bool {
    let Some(answer) = answer else { return false };
    match (asked, answer.kind) {
        (Connection(code), GOAWAY) => answer.code() == code,
        (Ended(code), GOAWAY) => [code, PROTOCOL_ERROR].contains(&answer.code()),
        (Stream(code), GOAWAY | RST_STREAM) => answer.code() == code,
        // A body that is too long may be answered before more of it comes than the window allows.
        (Stream(FLOW_CONTROL_ERROR), HEADERS) => answer.status().is_none(),
        (Stream(_), HEADERS) => answer.status() == Some(400),
        (Status(status), HEADERS) => answer.status() == Some(status),
        _ => false,
    }
}

#[test]
fn what_is_no_http2_is_answered_as_the_rfc_asks() {
    let server = Server::start(Hyper, |_| {});
    let cases: Vec<Case> = on_connections().into_iter().chain(on_streams()).chain(refused()).collect();
    assert!(cases.len() >= 60);
    let mut wrong = Vec::new();
    for (name, sent, asked) in cases {
        let mut frames = Frames::connect(server.addr);
        frames.send(sent);
        let answer = answered(&mut frames);
        if !is_as_asked(answer.as_ref(), asked) {
            wrong.push(format!("{name}: asked for {asked:?}, got {answer:?}"));
        }
        let executed = server.recorder.take();
        let harmless = ["a stream number that goes back"];
        if !executed.is_empty() && !harmless.contains(&name) {
            wrong.push(format!("{name}: executed {executed:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let last = "GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    assert_eq!(Client::connect(server.addr).send(last).statuses(), [200]);
}

#[test]
fn a_connection_that_does_not_begin_with_settings_is_ended() {
    let server = Server::start(Hyper, |_| {});
    for first in [frame(PING, 0, 0, &[0; 8]), request(1, &get(&[])), frame(SETTINGS, ACK, 0, &[])] {
        let mut frames = Frames::silent(server.addr);
        frames.send([PREFACE, &first].concat());
        assert_eq!(frames.farewell(), Some(PROTOCOL_ERROR), "{first:?}");
        assert_eq!(server.recorder.take(), [""; 0]);
    }
}

#[test]
fn what_begins_like_http2_and_is_not_is_http1_that_is_malformed() {
    let server = Server::start(Hyper, |_| {});
    for begin in ["PRI * HTTP/2.0\r\n\r\nSM\r\n\rX", "PRI * HTTP/2.0\r\nHost: h\r\n\r\n", "PRI"] {
        let mut client = Client::connect(server.addr);
        client.send(begin).end();
        let statuses = client.statuses();
        assert!(statuses.iter().all(|status| *status == 400 || *status == 505), "{begin:?}: {statuses:?}");
        assert_eq!(server.recorder.take(), [""; 0]);
    }
}
