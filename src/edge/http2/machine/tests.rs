//! The machine by itself: what it hands out and sends for frames that are put together by hand.

use std::time::Duration;

use http2_wire::block::write_field;
use http2_wire::frame::HEAD_BYTES;
use proptest::prelude::*;

use super::super::hpack_decoder::KEPT_BYTES_MAX;
use super::*;

/// A machine that was told nothing but settings, and what it has sent since then.
struct Trial(Machine, Instant);

fn trial(limits: impl FnOnce(&mut Limits)) -> Trial {
    let mut given = Limits { http2: Http2Settings::default(), headers_max: 100, body_bytes_max: 16_384 };
    limits(&mut given);
    let now = Instant::now();
    let mut trial = Trial(Machine::new(Rc::new(given), now), now);
    trial.sends(kind::SETTINGS, 0, 0, &[]).unwrap();
    trial.0.sender.out.clear();
    trial
}

fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    fields.iter().for_each(|(name, value)| write_field(&mut block, name, value.as_bytes()));
    block
}

fn post(more: &[(&str, &str)]) -> Vec<u8> {
    let fields = [(":method", "POST"), (":scheme", "http"), (":path", "/a"), (":authority", "h")];
    block(&[&fields[..], more].concat())
}

const WHOLE: u8 = flag::END_HEADERS | flag::END_STREAM;

impl Trial {
    fn sends(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Result<Option<u32>, Code> {
        let head = FrameHead { length: payload.len(), kind, flags, stream };
        assert!(head.has_fitting_length());
        self.0.take(head, payload, self.1).map(|request| request.map(|request| request.stream))
    }

    fn answers(&mut self, stream: u32, bytes: usize) -> bool {
        let answer = Answer { body: Bytes::from(vec![1; bytes]), now: self.1 };
        self.0.answer(stream, answer, |out| write_status(out, 200))
    }

    /// Kind, flags, stream, and the length or, of a frame that ends something, the code.
    fn sent(&mut self) -> Vec<(u8, u8, u32, usize)> {
        let out = std::mem::take(&mut self.0.sender.out);
        let (mut rest, mut frames) = (&out[..], Vec::new());
        while let Some(head) = FrameHead::read(rest) {
            let payload = &rest[HEAD_BYTES..HEAD_BYTES + head.length];
            let told = match head.kind {
                kind::RST_STREAM => number(payload) as usize,
                kind::GOAWAY => number(&payload[4..]) as usize,
                _ => head.length,
            };
            frames.push((head.kind, head.flags, head.stream, told));
            rest = &rest[HEAD_BYTES + head.length..];
        }
        frames
    }
}

#[test]
fn a_request_is_answered_and_gone() {
    let mut trial = trial(|_| {});
    assert_eq!(trial.sends(kind::HEADERS, WHOLE, 1, &post(&[])), Ok(Some(1)));
    assert!(!trial.0.is_quiet());
    assert!(trial.answers(1, 10));
    assert_eq!(
        trial.sent(),
        [(kind::HEADERS, flag::END_HEADERS, 1, 1), (kind::DATA, flag::END_STREAM, 1, 10)]
    );
    assert!(trial.0.is_quiet());
    assert!(!trial.answers(1, 10), "nobody waits for it");
    assert_eq!(trial.sent(), []);
    assert_eq!(trial.sends(kind::DATA, 0, 1, b"late"), Err(Code::StreamClosed));
}

#[test]
fn a_body_comes_in_pieces_and_has_the_length_it_says() {
    for (length, pieces, outcome) in [
        ("5", &["12", "345"][..], Ok(Some(1))),
        ("5", &["12", "34"], Ok(None)),
        ("5", &["123", "456"], Ok(None)),
        ("0", &["", ""], Ok(Some(1))),
    ] {
        let mut trial = trial(|_| {});
        let block = post(&[("content-length", length)]);
        assert_eq!(trial.sends(kind::HEADERS, flag::END_HEADERS, 1, &block), Ok(None));
        assert_eq!(trial.sends(kind::DATA, 0, 1, pieces[0].as_bytes()), Ok(None));
        assert_eq!(trial.sends(kind::DATA, flag::END_STREAM, 1, pieces[1].as_bytes()), outcome);
        let failed = (kind::RST_STREAM, 0, 1, Code::Protocol as usize);
        assert_eq!(trial.sent().contains(&failed), outcome == Ok(None), "{length}: {pieces:?}");
    }
}

#[test]
fn a_request_whose_body_does_not_come_is_handed_out_without() {
    let mut trial = trial(|_| {});
    trial.sends(kind::HEADERS, flag::END_HEADERS, 1, &post(&[("expect", "100-continue")])).unwrap();
    let waiting = trial.0.next_waiting().unwrap();
    assert!(waiting.body.is_open());
    assert_eq!(trial.sent(), [(kind::HEADERS, flag::END_HEADERS, 1, 5)]);
    assert!(trial.0.next_waiting().is_none());
    assert_eq!(trial.sends(kind::DATA, 0, 1, &[0; 16_384]), Ok(None));
    assert_eq!(trial.sends(kind::DATA, 0, 1, b"x"), Ok(None));
    assert!(waiting.body.is_too_large());
    assert!(trial.answers(1, 0));
    let end = (kind::RST_STREAM, 0, 1, Code::NoError as usize);
    assert_eq!(trial.sent().last(), Some(&end));
    // What was on its way is let pass.
    assert_eq!(trial.sends(kind::DATA, 0, 1, b"x"), Ok(None));
}

#[test]
fn trailers_end_a_body() {
    for (flags, fields, outcome) in [
        (WHOLE, &[("x-sum", "1")][..], Ok(Some(1))),
        (WHOLE, &[(":path", "/a")], Ok(None)),
        (flag::END_HEADERS, &[("x-sum", "1")], Ok(None)),
    ] {
        let mut trial = trial(|_| {});
        trial.sends(kind::HEADERS, flag::END_HEADERS, 1, &post(&[])).unwrap();
        assert_eq!(trial.sends(kind::HEADERS, flags, 1, &block(fields)), outcome);
        assert_eq!(trial.0.is_quiet(), outcome == Ok(None));
    }
}

#[test]
fn windows_hold_answers_back_below_zero_too() {
    let mut trial = trial(|_| {});
    let window = |bytes: u32| [&[0, 4][..], &bytes.to_be_bytes()].concat();
    trial.sends(kind::SETTINGS, 0, 0, &window(100)).unwrap();
    trial.sends(kind::HEADERS, WHOLE, 1, &post(&[])).unwrap();
    trial.answers(1, 150);
    trial.sends(kind::SETTINGS, 0, 0, &window(30)).unwrap();
    trial.sends(kind::WINDOW_UPDATE, 0, 1, &70u32.to_be_bytes()).unwrap();
    let data = |sent: Vec<(u8, u8, u32, usize)>| -> Vec<_> {
        let data = sent.into_iter().filter(|frame| frame.0 == kind::DATA);
        data.map(|(_, flags, _, length)| (flags, length)).collect()
    };
    assert_eq!(data(trial.sent()), [(0, 100)]);
    assert_eq!(trial.0.unread_since(), Some(trial.1));
    trial.sends(kind::WINDOW_UPDATE, 0, 1, &20u32.to_be_bytes()).unwrap();
    trial.sends(kind::SETTINGS, 0, 0, &window(60)).unwrap();
    assert_eq!(data(trial.sent()), [(0, 20), (flag::END_STREAM, 30)]);
    assert_eq!((trial.0.unread_since(), trial.0.is_quiet()), (None, true));
}

#[test]
fn an_answer_is_waited_for_as_long_as_some_of_it_is_taken() {
    let mut trial = trial(|_| {});
    trial.sends(kind::SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]).unwrap();
    for stream in [1, 3] {
        trial.sends(kind::HEADERS, WHOLE, stream, &post(&[])).unwrap();
        trial.answers(stream, 100);
    }
    let begun = trial.1;
    trial.1 += Duration::from_secs(1);
    trial.sends(kind::WINDOW_UPDATE, 0, 1, &10u32.to_be_bytes()).unwrap();
    assert_eq!(trial.0.unread_since(), Some(begun));
    trial.sent();
    trial.0.give_up_unread(begun);
    assert_eq!(trial.sent(), [(kind::RST_STREAM, 0, 3, Code::Cancel as usize)]);
    assert_eq!(trial.0.unread_since(), Some(trial.1));
    trial.sends(kind::WINDOW_UPDATE, 0, 1, &90u32.to_be_bytes()).unwrap();
    assert_eq!(trial.sent(), [(kind::DATA, flag::END_STREAM, 1, 90)]);
    assert!(trial.0.is_quiet());
}

#[test]
fn the_connections_window_is_shared() {
    let mut trial = trial(|limits| limits.http2.send_buffer_bytes_max = 1 << 20);
    for stream in [1, 3] {
        trial.sends(kind::HEADERS, WHOLE, stream, &post(&[])).unwrap();
        trial.answers(stream, 40_000);
    }
    trial.sent();
    trial.sends(kind::WINDOW_UPDATE, 0, 0, &20_000u32.to_be_bytes()).unwrap();
    assert_eq!(trial.sent(), [(kind::DATA, flag::END_STREAM, 3, 80_000 - 65_535)]);
    assert!(trial.0.is_quiet());
}

#[test]
fn more_streams_than_may_be_are_refused_and_their_headers_read() {
    let mut trial = trial(|limits| limits.http2.streams_max = 1);
    assert_eq!(trial.sends(kind::HEADERS, WHOLE, 1, &post(&[])), Ok(Some(1)));
    assert_eq!(trial.sends(kind::HEADERS, WHOLE, 3, &[0x40, 1, b'a', 1, b'b']), Ok(None));
    assert_eq!(trial.sent(), [(kind::RST_STREAM, 0, 3, Code::RefusedStream as usize)]);
    trial.answers(1, 0);
    let block = [&post(&[])[..], &[0x80 | 62]].concat();
    assert_eq!(trial.sends(kind::HEADERS, WHOLE, 5, &block), Ok(Some(5)), "the table has the refused field");
}

#[test]
fn what_is_under_way_is_finished_and_what_comes_later_is_not_begun() {
    let mut trial = trial(|_| {});
    trial.sends(kind::HEADERS, WHOLE, 1, &post(&[])).unwrap();
    trial.0.end();
    trial.0.end();
    let (told, asked) = ((kind::GOAWAY, 0, 0, 0), (kind::PING, 0, 0, 8));
    assert_eq!(trial.sent(), [told, asked]);
    assert_eq!(trial.sends(kind::HEADERS, WHOLE, 3, &post(&[])), Ok(Some(3)), "it was on its way");
    trial.sends(kind::PING, flag::ACK, 0, FAREWELL).unwrap();
    assert_eq!(trial.sent(), [told]);
    assert_eq!(trial.sends(kind::HEADERS, WHOLE, 5, &post(&[])), Ok(None));
    assert_eq!(trial.sends(kind::HEADERS, flag::END_HEADERS, 7, &post(&[])), Ok(None));
    assert_eq!(trial.sends(kind::DATA, 0, 7, b"late"), Ok(None));
    assert_eq!(trial.sends(kind::HEADERS, WHOLE, 7, &block(&[("x-sum", "1")])), Ok(None));
    assert_eq!(trial.sent(), []);
    for stream in [3, 1] {
        assert!(!trial.0.is_over());
        assert!(trial.answers(stream, 1));
    }
    assert!(trial.0.is_over());
}

#[test]
fn who_takes_back_what_nobody_has_seen_is_calmed() {
    let mut trial = trial(|limits| limits.http2.resets_pending_max = 2);
    for stream in [1, 3, 5, 7] {
        trial.sends(kind::HEADERS, flag::END_HEADERS, stream, &post(&[])).unwrap();
        let taken_back = trial.sends(kind::RST_STREAM, 0, stream, &[0, 0, 0, 8]);
        let outcome = if stream < 5 { Ok(None) } else { Err(Code::EnhanceYourCalm) };
        assert_eq!(taken_back, outcome, "{stream}");
    }
    assert!(trial.0.is_quiet());
}

#[test]
fn broken_requests_end_alone_and_too_many_of_them_the_connection() {
    let mut trial = trial(|limits| limits.http2.errors_max = 2);
    for (stream, outcome) in [(1, Ok(None)), (3, Ok(None)), (5, Err(Code::EnhanceYourCalm))] {
        assert_eq!(trial.sends(kind::HEADERS, WHOLE, stream, &post(&[("te", "gzip")])), outcome);
    }
}

#[test]
fn a_connection_that_many_share_outlives_the_broken_requests_of_few() {
    let mut trial = trial(|limits| limits.http2.errors_max = 2);
    let broken = post(&[("te", "gzip")]);
    for stream in (1..400).step_by(2) {
        assert_eq!(trial.sends(kind::HEADERS, WHOLE, stream, &broken), Ok(None), "{stream}");
        trial.1 += Duration::from_secs(5);
    }
    for stream in (401..800).step_by(4) {
        assert_eq!(trial.sends(kind::HEADERS, WHOLE, stream, &broken), Ok(None), "{stream}");
        assert_eq!(trial.sends(kind::HEADERS, WHOLE, stream + 2, &post(&[])), Ok(Some(stream + 2)));
        assert!(trial.answers(stream + 2, 0));
    }
}

#[test]
fn a_long_header_that_goes_on_is_bounded() {
    let mut trial = trial(|_| {});
    trial.sends(kind::HEADERS, flag::END_STREAM, 1, &post(&[])).unwrap();
    let mut frames = 0;
    while trial.sends(kind::CONTINUATION, 0, 1, &[0; 16_384]) == Ok(None) {
        frames += 1;
    }
    assert_eq!(frames, 3, "four times what a list may have");
}

/// A field whose name fills the client's table, and blocks that name it again and again with two bytes each.
#[test]
fn a_short_header_that_stands_for_a_long_one_is_bounded() {
    let mut trial = trial(|_| {});
    let long = [&post(&[])[..], &[0x40, 0x7f, 0xe1, 0x1e], &[b'a'; 4_064], &[0]].concat();
    assert_eq!(trial.sends(kind::HEADERS, WHOLE, 1, &long), Ok(Some(1)));
    let repeated = |times: usize| [post(&[]), [0x7e, 0].repeat(times)].concat();
    assert_eq!(trial.sends(kind::HEADERS, WHOLE, 3, &repeated(3)), Ok(Some(3)));
    assert_eq!(trial.sent(), []);
    assert_eq!(trial.sends(kind::HEADERS, WHOLE, 5, &repeated(15)), Ok(None));
    assert_eq!(trial.sent(), [(kind::HEADERS, WHOLE, 5, 5)], "431");
    assert_eq!(trial.sends(kind::HEADERS, WHOLE, 7, &repeated(16)), Err(Code::EnhanceYourCalm));
}

#[test]
fn a_connection_that_was_busy_keeps_little_memory() {
    let mut trial = trial(|_| {});
    let long = "a".repeat(12_000);
    let mut waiting = Vec::new();
    for stream in (1..200).step_by(2) {
        trial.sends(kind::HEADERS, flag::END_HEADERS, stream, &post(&[("x-a", &long)])).unwrap();
        trial.sends(kind::DATA, 0, stream, b"some of it").unwrap();
        waiting.extend(trial.0.next_waiting());
    }
    assert_eq!(waiting.len(), 100);
    for request in waiting {
        let (stream, body) = (request.stream, Rc::clone(&request.body));
        assert!(trial.answers(stream, 0));
        trial.0.give_back(request);
        assert!(!body.is_open(), "nothing of it is kept");
        let spare = &trial.0.spare;
        assert!((1..=SPARE_MAX).contains(&spare.len()));
        assert!(spare.iter().all(|request| request.memory_bytes() <= KEPT_BYTES_MAX));
    }
    assert_eq!((trial.0.is_quiet(), trial.0.spare.len()), (true, 1));
    assert!(trial.0.streams.room() <= 32, "{}", trial.0.streams.room());
}

#[test]
fn long_answers_pay_for_the_windows_that_they_need() {
    let mut trial = trial(|limits| limits.http2.control_frames_max = 100);
    for stream in (1..400).step_by(2) {
        assert_eq!(trial.sends(kind::HEADERS, WHOLE, stream, &post(&[])), Ok(Some(stream)));
        assert!(trial.answers(stream, 40_000));
        // As a client does that says at once what it has read, of the stream and of the connection.
        for _ in 0..10 {
            for of in [stream, 0] {
                assert_eq!(
                    trial.sends(kind::WINDOW_UPDATE, 0, of, &4_000u32.to_be_bytes()),
                    Ok(None),
                    "{stream}"
                );
            }
        }
        trial.sent();
    }
    assert!(trial.0.is_quiet());
}

#[test]
fn credit_ends_and_comes_back() {
    let mut trial = trial(|limits| limits.http2.control_frames_max = 100);
    let ping = |trial: &mut Trial| trial.sends(kind::PING, 0, 0, b"01234567");
    (0..99).for_each(|_| assert_eq!(ping(&mut trial), Ok(None)));
    assert_eq!(ping(&mut trial), Err(Code::EnhanceYourCalm));
    trial.1 += Duration::from_secs(10);
    assert_eq!(ping(&mut trial), Ok(None));
}

proptest! {
    /// Frames of any kind on few streams, some of which make sense, with answers between them.
    #[test]
    fn any_frames_are_taken_without_a_panic(
        frames in proptest::collection::vec(
            (0u8..11, any::<u8>(), 0u32..8, proptest::collection::vec(any::<u8>(), 0..20), 0u8..4),
            0..60,
        )
    ) {
        let mut trial = trial(|limits| limits.http2.streams_max = 2);
        for (kind, flags, stream, bytes, then) in frames {
            let payload = match kind {
                kind::HEADERS if bytes.len() > 4 => post(&[]),
                kind::RST_STREAM | kind::WINDOW_UPDATE => vec![0, 0, bytes.len() as u8, 1],
                kind::SETTINGS if flags & 1 == 0 => [&[0, 4, 0, 0][..], &[flags, 1]].concat(),
                kind::SETTINGS => vec![],
                kind::PRIORITY => vec![0; 5],
                kind::PING | kind::GOAWAY => vec![0; 8],
                _ => bytes,
            };
            let flags = if kind == kind::HEADERS { flags & !(flag::PADDED | flag::PRIORITY) } else { flags };
            let taken = trial.sends(kind, flags, stream, &payload);
            while trial.0.next_waiting().is_some() {}
            if let Err(code) = taken {
                trial.0.end_now(code);
                prop_assert!(trial.0.is_over() && trial.0.is_quiet());
                break;
            }
            match then {
                0 | 1 => {
                    trial.answers(stream, 300 * usize::from(then));
                }
                2 => trial.0.end(),
                _ => trial.0.send_on(trial.1),
            }
            trial.sent();
        }
        prop_assert!(trial.0.unread_since().is_none() || !trial.0.is_quiet());
    }
}
