//! The client by itself: what it hears and sends for frames that are put together by hand.

use http::{HeaderName, HeaderValue};
use http2_wire::block::{write_field, write_kept, write_known};

use super::*;
use crate::wire::response::BODY_BYTES_MAX;

/// A client, and what it was told became of its requests.
struct Trial {
    client: Client,
    heard: Vec<(u32, String)>,
}

/// One that has heard these settings, and sent nothing since then.
fn trial(settings: &[(u16, u32)]) -> Trial {
    let fields = vec![(HeaderName::from_static("x-tenant-id"), HeaderValue::from_static("t"))];
    let common = Arc::new(Common::new(false, "shop", "X-User-ID", fields));
    let mut trial = Trial { client: Client::new(common, 8), heard: Vec::new() };
    trial.client.note_sent(trial.client.unsent().len());
    assert_eq!(trial.reads(&settings_of(settings)), Ok(()));
    assert_eq!(trial.sent(), [(kind::SETTINGS, flag::ACK, 0, vec![])]);
    trial
}

impl Trial {
    fn reads(&mut self, bytes: &[u8]) -> Result<(), Code> {
        let Self { client, heard } = self;
        client.read(bytes, &mut |lane, answer| {
            heard.push((
                lane,
                match answer {
                    Ok(answer) => {
                        assert_eq!(answer.consumed, answer.body.len());
                        let body = String::from_utf8_lossy(&answer.body);
                        format!("{} {:?} {body}", answer.status, answer.retry_after_ms)
                    }
                    Err(why) => format!("{why:?}"),
                },
            ));
        })
    }

    fn hears(&mut self) -> Vec<(u32, String)> {
        std::mem::take(&mut self.heard)
    }

    /// The frames that it has sent since this was asked last.
    fn sent(&mut self) -> Vec<(u8, u8, u32, Vec<u8>)> {
        let mut frames = Vec::new();
        let mut rest = self.client.unsent();
        while let Some(head) = FrameHead::read(rest) {
            let (frame, behind) = rest.split_at(HEAD_BYTES + head.length);
            frames.push((head.kind, head.flags, head.stream, frame[HEAD_BYTES..].to_vec()));
            rest = behind;
        }
        assert!(rest.is_empty());
        self.client.note_sent(self.client.unsent().len());
        frames
    }

    /// Asks without a body in these lanes.
    fn asks(&mut self, lanes: &[u32]) {
        for lane in lanes {
            assert!(self.client.may_ask());
            self.client.ask(*lane, &asked(""));
        }
        let heads = self.sent().into_iter().map(|(kind, flags, ..)| (kind, flags));
        assert!(heads.eq(lanes.iter().map(|_| (kind::HEADERS, flag::END_HEADERS | flag::END_STREAM))));
    }
}

fn asked(body: &str) -> Asked {
    Asked { method: "POST", path: "/a".into(), identity: b"b1".into(), body: body.into(), ..Asked::default() }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write::frame(&mut out, kind, flags, stream, payload);
    out
}

fn settings_of(settings: &[(u16, u32)]) -> Vec<u8> {
    let entries =
        settings.iter().flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat());
    frame(kind::SETTINGS, 0, 0, &entries.collect::<Vec<_>>())
}

fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (name, value) in fields {
        write_field(&mut out, name, value.as_bytes());
    }
    out
}

fn number_of(bytes: u32) -> [u8; 4] {
    bytes.to_be_bytes()
}

const WHOLE: u8 = flag::END_HEADERS | flag::END_STREAM;

/// An answer with a body in one piece.
fn answer(stream: u32, status: &str, body: &str) -> Vec<u8> {
    let head = frame(kind::HEADERS, flag::END_HEADERS, stream, &block(&[(":status", status)]));
    [head, frame(kind::DATA, flag::END_STREAM, stream, body.as_bytes())].concat()
}

fn heard(expected: &[(u32, &str)]) -> Vec<(u32, String)> {
    expected.iter().map(|(lane, told)| (*lane, (*told).to_owned())).collect()
}

#[test]
fn it_says_who_it_is_before_anything_else() {
    let common = Arc::new(Common::new(false, "shop", "X-User-ID", Vec::new()));
    let client = Client::new(common, 1);
    let rest = client.unsent().strip_prefix(&PREFACE[..]).unwrap();
    let head = FrameHead::read(rest).unwrap();
    assert_eq!((head.kind, head.flags, head.stream), (kind::SETTINGS, 0, 0));
    let update = &rest[HEAD_BYTES + head.length..];
    assert_eq!(update[..HEAD_BYTES], frame(kind::WINDOW_UPDATE, 0, 0, &[0; 4])[..HEAD_BYTES]);
    assert_eq!(i64::from(number(&update[HEAD_BYTES..])) + WINDOW_BYTES, ALL_WINDOW_BYTES);
}

/// All that may come in answers: padding, priorities, continuations, interim answers, trailers, bodies in pieces, fields
/// from the table; cut in two at each place, and into single bytes.
#[test]
fn answers_are_heard_however_they_are_cut() {
    let mut kept = Vec::new();
    write_known(&mut kept, 8);
    write_kept(&mut kept, "retry-after", b"2");
    write_kept(&mut kept, "content-length", b"5");
    let (first, second) = kept.split_at(4);
    // Of no padding, and of none but that; five bytes of a priority.
    let padded = [&[2, 0, 0, 0, 0, 9][..], first, &[0, 0]].concat();
    let flags = flag::PADDED | flag::PRIORITY;
    let bytes = [
        frame(kind::HEADERS, flag::END_HEADERS, 3, &block(&[(":status", "103")])),
        frame(kind::HEADERS, flags, 3, &padded),
        frame(kind::CONTINUATION, 0, 3, &[]),
        frame(kind::CONTINUATION, flag::END_HEADERS, 3, second),
        frame(kind::PING, 0, 0, b"12345678"),
        frame(kind::DATA, flag::PADDED, 3, b"\x03abc\0\0\0"),
        answer(1, "409", "{}"),
        frame(kind::PRIORITY, 0, 99, &[0; 5]),
        frame(77, 0xff, 3, b"?"),
        frame(kind::DATA, 0, 3, b"de"),
        frame(kind::HEADERS, WHOLE, 3, &block(&[("x-sum", "1")])),
        frame(kind::HEADERS, WHOLE, 5, &[0x88, 0x80 | 63]),
        frame(kind::HEADERS, WHOLE, 7, &block(&[(":status", "304"), ("content-length", "9")])),
        frame(kind::HEADERS, flag::END_HEADERS, 9, &block(&[(":status", "200")])),
        frame(kind::DATA, 0, 9, b"abc"),
        frame(kind::DATA, flag::END_STREAM, 9, b""),
    ]
    .concat();
    let expected = heard(&[
        (0, "409 None {}"),
        (1, "200 Some(2000) abcde"),
        (2, "200 Some(2000) "),
        (3, "304 None "),
        (4, "200 None abc"),
    ]);
    let assert_hears = |pieces: &mut dyn Iterator<Item = &[u8]>, what: &str| {
        let mut trial = trial(&[]);
        trial.asks(&[0, 1, 2, 3, 4]);
        for piece in pieces {
            assert_eq!(trial.reads(piece), Ok(()), "{what}");
        }
        assert_eq!(trial.hears(), expected, "{what}");
        assert_eq!(trial.sent(), [(kind::PING, flag::ACK, 0, b"12345678".to_vec())], "{what}");
        assert_eq!(trial.client.under_way(), 0);
        // The lanes are free.
        trial.asks(&[0, 1, 2, 3, 4]);
    };
    assert_hears(&mut [&bytes[..]].into_iter(), "whole");
    assert_hears(&mut bytes.chunks(1), "single bytes");
    for cut in 1..bytes.len() {
        let (one, other) = bytes.split_at(cut);
        assert_hears(&mut [one, other].into_iter(), &format!("cut at {cut}"));
    }
}

#[test]
fn a_body_waits_for_the_windows() {
    let mut trial = trial(&[(setting::INITIAL_WINDOW_SIZE, 4)]);
    trial.client.ask(0, &asked("123456789"));
    let sent = trial.sent();
    assert_eq!((sent[0].0, sent[0].1), (kind::HEADERS, flag::END_HEADERS));
    assert_eq!(sent[1..], [(kind::DATA, 0, 1, b"1234".to_vec())]);
    trial.reads(&frame(kind::WINDOW_UPDATE, 0, 1, &number_of(2))).unwrap();
    assert_eq!(trial.sent(), [(kind::DATA, 0, 1, b"56".to_vec())]);
    trial.reads(&frame(kind::WINDOW_UPDATE, 0, 0, &number_of(2))).unwrap();
    assert_eq!(trial.sent(), []);
    // Smaller than what has been sent: the stream owes two bytes.
    trial.reads(&settings_of(&[(setting::INITIAL_WINDOW_SIZE, 2)])).unwrap();
    trial.reads(&frame(kind::WINDOW_UPDATE, 0, 1, &number_of(2))).unwrap();
    assert_eq!(trial.sent(), [(kind::SETTINGS, flag::ACK, 0, vec![])]);
    trial.reads(&settings_of(&[(setting::INITIAL_WINDOW_SIZE, 100)])).unwrap();
    let end = (kind::DATA, flag::END_STREAM, 1, b"789".to_vec());
    assert_eq!(trial.sent(), [(kind::SETTINGS, flag::ACK, 0, vec![]), end]);
    // An answer that does not wait for all of the request: the server hears that no more comes.
    trial.client.ask(1, &asked(&"x".repeat(101)));
    trial.sent();
    trial.reads(&answer(3, "413", "")).unwrap();
    assert_eq!(trial.hears(), heard(&[(1, "413 None ")]));
    assert_eq!(trial.sent(), [(kind::RST_STREAM, 0, 3, number_of(Code::Cancel as u32).to_vec())]);
}

#[test]
fn a_body_waits_for_the_window_of_all() {
    let mut trial = trial(&[(setting::INITIAL_WINDOW_SIZE, 1 << 20), (setting::MAX_FRAME_SIZE, 1 << 17)]);
    trial.client.ask(0, &asked(&"x".repeat(WINDOW_BYTES as usize + 3)));
    let lengths = |sent: Vec<(u8, u8, u32, Vec<u8>)>| {
        let bodies = sent.into_iter().filter(|frame| frame.0 == kind::DATA);
        bodies.map(|(_, flags, _, payload)| (flags, payload.len())).collect::<Vec<_>>()
    };
    assert_eq!(lengths(trial.sent()), [(0, WINDOW_BYTES as usize)]);
    trial.reads(&frame(kind::WINDOW_UPDATE, 0, 0, &number_of(10))).unwrap();
    assert_eq!(lengths(trial.sent()), [(flag::END_STREAM, 3)]);
}

#[test]
fn windows_are_opened_in_bulk_and_not_overdrawn() {
    let mut trial = trial(&[]);
    trial.asks(&[0, 1]);
    let head = frame(kind::HEADERS, flag::END_HEADERS, 1, &block(&[(":status", "200")]));
    trial.reads(&head).unwrap();
    let piece = frame(kind::DATA, 0, 1, &[b'x'; PAYLOAD_BYTES_MAX]);
    let mut updates = Vec::new();
    let pieces = 2 * ALL_WINDOW_BYTES as usize / PAYLOAD_BYTES_MAX;
    for _ in 0..pieces {
        trial.reads(&piece).unwrap();
        updates.extend(trial.sent().into_iter().map(|(kind, _, stream, more)| (kind, stream, number(&more))));
    }
    assert!(updates.iter().all(|(kind, ..)| *kind == kind::WINDOW_UPDATE));
    let opened = |number: u32| updates.iter().filter(move |update| update.1 == number).map(|update| update.2);
    // Each time half of it, or a piece more.
    assert!((3..=4).contains(&opened(0).count()) && (60..=64).contains(&opened(1).count()), "{updates:?}");
    assert!(opened(1).all(|more| more as usize <= STREAM_WINDOW_BYTES as usize / 2 + PAYLOAD_BYTES_MAX));
    // One that sends more than it was let.
    let mut trial = self::trial(&[]);
    trial.asks(&[0]);
    trial.reads(&head).unwrap();
    trial.client.streams.at(0).receive_window = PAYLOAD_BYTES_MAX as i64 - 1;
    assert_eq!(trial.reads(&piece), Err(Code::FlowControl));
}

#[test]
fn what_a_goodbye_leaves_out_was_not_taken() {
    let goodbye = |last: u32, code: Code| {
        let mut out = Vec::new();
        write::go_away(&mut out, last, code);
        out
    };
    let mut trial = trial(&[]);
    trial.asks(&[0, 1, 2, 3]);
    trial.reads(&goodbye(i32::MAX as u32, Code::NoError)).unwrap();
    assert!(trial.client.is_leaving() && !trial.client.may_ask());
    assert_eq!((trial.hears(), trial.client.under_way()), (vec![], 4));
    trial.reads(&[answer(1, "200", "a"), goodbye(3, Code::NoError)].concat()).unwrap();
    // The newest first: whoever asks them again before all others keeps their order.
    assert_eq!(trial.hears(), heard(&[(0, "200 None a"), (3, "NotTaken"), (2, "NotTaken")]));
    trial.reads(&answer(3, "200", "b")).unwrap();
    assert_eq!((trial.hears(), trial.client.under_way()), (heard(&[(1, "200 None b")]), 0));
    assert_eq!(trial.reads(&goodbye(5, Code::NoError)), Err(Code::Protocol));

    let mut trial = self::trial(&[]);
    trial.asks(&[0, 1]);
    trial.reads(&goodbye(1, Code::EnhanceYourCalm)).unwrap();
    assert_eq!((trial.hears(), trial.client.under_way()), (heard(&[(1, "Lost")]), 1));
}

#[test]
fn a_refused_stream_was_not_taken_and_any_other_reset_loses_it() {
    let mut trial = trial(&[]);
    trial.asks(&[0, 1, 2]);
    let reset = |stream, code: Code| frame(kind::RST_STREAM, 0, stream, &number_of(code as u32));
    let resets = [
        reset(3, Code::RefusedStream),
        reset(1, Code::Cancel),
        reset(5, Code::NoError),
        reset(5, Code::Cancel),
    ];
    trial.reads(&resets.concat()).unwrap();
    assert_eq!(trial.hears(), heard(&[(1, "NotTaken"), (0, "Lost"), (2, "Lost")]));
    assert!(trial.client.may_ask() && !trial.client.is_leaving());
}

#[test]
fn an_answer_to_what_was_given_up_is_read_and_not_heard() {
    let mut trial = trial(&[]);
    trial.asks(&[0, 1]);
    trial.client.give_up(0);
    trial.client.give_up(0);
    assert_eq!(trial.sent(), [(kind::RST_STREAM, 0, 1, number_of(Code::Cancel as u32).to_vec())]);
    // The same lane asks again before the late answer, whose field the table gets.
    trial.asks(&[0]);
    let mut kept = Vec::new();
    write_kept(&mut kept, ":status", b"429");
    let late =
        [frame(kind::HEADERS, flag::END_HEADERS, 1, &kept), frame(kind::DATA, flag::END_STREAM, 1, b"late")];
    trial.reads(&late.concat()).unwrap();
    trial.reads(&frame(kind::RST_STREAM, 0, 1, &[0; 4])).unwrap();
    assert_eq!(trial.hears(), []);
    trial.reads(&frame(kind::HEADERS, WHOLE, 5, &[0x80 | 62])).unwrap();
    assert_eq!(trial.hears(), heard(&[(0, "429 None ")]));
    assert_eq!(trial.client.under_way(), 1);
}

#[test]
fn no_more_are_open_than_the_server_says() {
    let mut trial = trial(&[(setting::MAX_CONCURRENT_STREAMS, 2)]);
    trial.asks(&[0, 1]);
    assert!(!trial.client.may_ask());
    trial.reads(&answer(1, "200", "")).unwrap();
    trial.asks(&[0]);
    assert!(!trial.client.may_ask());
    trial.reads(&settings_of(&[(setting::MAX_CONCURRENT_STREAMS, 3)])).unwrap();
    assert!(trial.client.may_ask());
}

#[test]
fn answers_that_make_no_sense_end_alone() {
    let status: &[(&str, &str)] = &[(":status", "200")];
    for (what, frames) in [
        ("no status", frame(kind::HEADERS, WHOLE, 1, &block(&[("x-a", "b")]))),
        ("no answer", frame(kind::HEADERS, WHOLE, 1, &block(&[(":status", "100")]))),
        ("a body first", frame(kind::DATA, 0, 1, b"a")),
        ("a bad field", frame(kind::HEADERS, WHOLE, 1, &block(&[(":status", "200"), ("X-A", "b")]))),
        ("too short", {
            let head = block(&[(":status", "200"), ("content-length", "2")]);
            [frame(kind::HEADERS, flag::END_HEADERS, 1, &head), frame(kind::DATA, flag::END_STREAM, 1, b"a")]
                .concat()
        }),
        ("two heads", {
            let head = frame(kind::HEADERS, flag::END_HEADERS, 1, &block(status));
            [head, frame(kind::HEADERS, WHOLE, 1, &block(status))].concat()
        }),
        ("trailers that end nothing", {
            let head = |fields: &[_]| frame(kind::HEADERS, flag::END_HEADERS, 1, &block(fields));
            [head(status), head(&[("x-a", "b")])].concat()
        }),
        ("a window of nothing", frame(kind::WINDOW_UPDATE, 0, 1, &[0; 4])),
    ] {
        let mut trial = trial(&[]);
        trial.asks(&[0, 1]);
        assert_eq!(trial.reads(&frames), Ok(()), "{what}");
        assert_eq!(trial.hears(), heard(&[(0, "Lost")]), "{what}");
        let reset = (kind::RST_STREAM, 0, 1, number_of(Code::Protocol as u32).to_vec());
        assert_eq!(trial.sent(), [reset], "{what}");
        trial.reads(&answer(3, "200", "a")).unwrap();
        assert_eq!(trial.hears(), heard(&[(1, "200 None a")]), "{what}");
    }
}

/// RFC 9113, 6.9.1 and 6.9.2: a window may be as wide as the protocol knows, and not by a byte wider.
#[test]
fn a_window_too_wide_ends_its_stream_or_the_connection() {
    let widest = WINDOW_BYTES_MAX as u32;
    let update = |stream, bytes| frame(kind::WINDOW_UPDATE, 0, stream, &number_of(bytes));
    let trial = |frames: &[u8]| {
        let mut trial = trial(&[]);
        trial.asks(&[0, 1]);
        assert_eq!(trial.reads(frames), Ok(()));
        trial
    };
    let to_the_limit = widest - WINDOW_BYTES as u32;
    let mut of_one = trial(&update(1, to_the_limit));
    assert_eq!((of_one.hears(), of_one.sent()), (vec![], vec![]));
    of_one.reads(&update(1, 1)).unwrap();
    assert_eq!(of_one.hears(), heard(&[(0, "Lost")]));
    let reset = (kind::RST_STREAM, 0, 1, number_of(Code::FlowControl as u32).to_vec());
    assert_eq!(of_one.sent(), [reset]);
    of_one.reads(&answer(3, "200", "a")).unwrap();
    assert_eq!(of_one.hears(), heard(&[(1, "200 None a")]));

    let mut of_all = trial(&update(0, to_the_limit));
    assert_eq!(of_all.reads(&update(0, 1)), Err(Code::FlowControl));

    // Settings change the windows of open streams as well, and of those that an update has opened further.
    let first_window = |bytes| settings_of(&[(setting::INITIAL_WINDOW_SIZE, bytes)]);
    let mut settled = trial(&first_window(widest));
    assert_eq!(settled.reads(&first_window(widest + 1)), Err(Code::FlowControl));
    let mut settled = trial(&update(1, 1));
    assert_eq!(settled.reads(&first_window(widest)), Err(Code::FlowControl));
    // The one of all is not theirs to change.
    let mut settled = trial(&update(0, to_the_limit));
    assert_eq!(settled.reads(&first_window(widest)), Ok(()));
    assert_eq!(settled.hears(), []);
}

#[test]
fn frames_against_the_rules_end_the_connection() {
    let header = |flags, payload: &[u8]| frame(kind::HEADERS, flags, 1, payload);
    let long = vec![b'a'; PAYLOAD_BYTES_MAX];
    let pieces = HEAD_BYTES_MAX / PAYLOAD_BYTES_MAX;
    for (what, frames, code) in [
        ("too long", frame(kind::DATA, 0, 1, &vec![0; PAYLOAD_BYTES_MAX + 1]), Code::FrameSize),
        ("a length that it may not have", frame(kind::PING, 0, 0, &[0; 7]), Code::FrameSize),
        ("a body of the connection", frame(kind::DATA, 0, 0, b"a"), Code::Protocol),
        ("an answer to nothing", frame(kind::HEADERS, WHOLE, 5, &[0x88]), Code::Protocol),
        ("an even number", frame(kind::HEADERS, WHOLE, 2, &[0x88]), Code::Protocol),
        ("a reset of nothing", frame(kind::RST_STREAM, 0, 5, &[0; 4]), Code::Protocol),
        ("a window of nothing", frame(kind::WINDOW_UPDATE, 0, 5, &number_of(1)), Code::Protocol),
        ("settings of a stream", frame(kind::SETTINGS, 0, 1, &[]), Code::Protocol),
        ("a ping of a stream", frame(kind::PING, 0, 1, &[0; 8]), Code::Protocol),
        ("a goodbye of a stream", frame(kind::GOAWAY, 0, 1, &[0; 8]), Code::Protocol),
        ("a push", frame(kind::PUSH_PROMISE, flag::END_HEADERS, 1, &[0, 0, 0, 2]), Code::Protocol),
        ("more padding than payload", header(flag::PADDED | WHOLE, &[3, 0x88, 0]), Code::Protocol),
        ("half a priority", header(flag::PRIORITY | WHOLE, &[0, 0, 0, 0]), Code::Protocol),
        ("a block that cannot be read", header(WHOLE, &[0x80]), Code::Compression),
        ("a continuation of nothing", frame(kind::CONTINUATION, 4, 1, &[]), Code::Protocol),
        (
            "something else within a header",
            [header(0, &[]), frame(kind::PING, 0, 0, &[0; 8])].concat(),
            Code::Protocol,
        ),
        (
            "a continuation of another",
            [header(0, &[]), frame(kind::CONTINUATION, 4, 3, &[])].concat(),
            Code::Protocol,
        ),
        (
            "a header without end",
            [header(0, &long), frame(kind::CONTINUATION, 0, 1, &long).repeat(pieces)].concat(),
            Code::EnhanceYourCalm,
        ),
        ("a push that is allowed", settings_of(&[(setting::ENABLE_PUSH, 1)]), Code::Protocol),
        ("small frames", settings_of(&[(setting::MAX_FRAME_SIZE, 16_383)]), Code::Protocol),
        ("a window of all of nothing", frame(kind::WINDOW_UPDATE, 0, 0, &[0; 4]), Code::Protocol),
        ("a flood", frame(kind::PING, 0, 0, &[0; 8]).repeat(20_000), Code::EnhanceYourCalm),
    ] {
        let mut trial = trial(&[]);
        trial.asks(&[0, 1]);
        assert_eq!(trial.reads(&frames), Err(code), "{what}");
        assert_eq!(trial.hears(), [], "{what}");
    }
    for first in [answer(1, "200", ""), frame(kind::SETTINGS, flag::ACK, 0, &[])] {
        let mut client = Client::new(Arc::new(Common::new(false, "shop", "X-User-ID", Vec::new())), 1);
        client.ask(0, &asked(""));
        assert_eq!(client.read(&first, &mut |_, _| unreachable!()), Err(Code::Protocol));
    }
}

#[test]
fn a_body_too_long_is_broken_off() {
    let mut trial = trial(&[]);
    trial.asks(&[0]);
    let head = frame(kind::HEADERS, flag::END_HEADERS, 1, &block(&[(":status", "200")]));
    trial.reads(&head).unwrap();
    trial.client.streams.at(0).body = vec![0; BODY_BYTES_MAX - 1];
    trial.reads(&frame(kind::DATA, 0, 1, b"a")).unwrap();
    trial.reads(&frame(kind::DATA, 0, 1, b"a")).unwrap();
    assert_eq!(trial.hears(), heard(&[(0, "Lost")]));
}

#[test]
fn nothing_is_asked_of_a_server_that_takes_nothing() {
    let mut trial = trial(&[]);
    trial.asks(&[0]);
    trial.client.out.resize(UNSENT_BYTES_MAX, 0);
    assert!(!trial.client.may_ask());
    trial.client.note_sent(1);
    assert!(trial.client.may_ask());
    trial.client.out.resize(2 * UNSENT_BYTES_MAX, 7);
    trial.client.note_sent(UNSENT_BYTES_MAX);
    assert_eq!((trial.client.sent, trial.client.unsent().len()), (0, UNSENT_BYTES_MAX - 1));
}
