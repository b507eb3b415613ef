//! An answer of HTTP/1.1 as bytes, where we write it ourselves.

use bytes::{BufMut, BytesMut};
use http::HeaderValue;

use super::reply::{Reply, says_its_length};
use super::reply_header::{Names, each_field};

/// Room for the header of nearly every answer.
const HEADER_BYTES: usize = 768;

/// Writes the answer, made at `date`, behind what is in `out`. `is_head`: the request asks for the header alone.
pub(super) fn write_answer(
    out: &mut BytesMut,
    reply: &Reply,
    names: Names,
    date: Option<&HeaderValue>,
    is_head: bool,
) {
    out.reserve(HEADER_BYTES + reply.body.len());
    let mut line = |parts: &[&[u8]]| {
        parts.iter().for_each(|part| out.put_slice(part));
        out.put_slice(b"\r\n");
    };
    let reason = reply.status.canonical_reason().unwrap_or_default();
    line(&[b"HTTP/1.1 ", reply.status.as_str().as_bytes(), b" ", reason.as_bytes()]);
    each_field(reply, names, |name, value| line(&[name.as_str().as_bytes(), b": ", value.as_bytes()]));
    if says_its_length(reply.status) {
        line(&[b"content-length: ", itoa::Buffer::new().format(reply.body.len()).as_bytes()]);
    }
    if let Some(date) = date {
        line(&[b"date: ", date.as_bytes()]);
    }
    if reply.close {
        line(&[b"connection: close"]);
    }
    line(&[]);
    if !is_head {
        out.put_slice(&reply.body);
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::super::problem;
    use super::super::request::Head;
    use super::super::request_id::RequestId;
    use super::*;

    fn written(reply: &Reply, is_head: bool) -> String {
        let id = RequestId::Echoed("r-1");
        let date = HeaderValue::from_static("Thu, 26 Nov 2026 18:00:00 GMT");
        let mut out = BytesMut::new();
        write_answer(&mut out, reply, Names::of(&Head::default(), &id), Some(&date), is_head);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn an_answer_says_how_long_it_is_and_when_the_connection_ends() {
        let reply = problem::SOLD_OUT.reply(&RequestId::Echoed("r-1"));
        let body = std::str::from_utf8(&reply.body).unwrap().to_owned();
        let text = written(&reply, false);
        let (head, sent) = text.split_once("\r\n\r\n").unwrap();
        assert_eq!(sent, body);
        assert_eq!(
            head.split("\r\n").collect::<Vec<_>>(),
            [
                "HTTP/1.1 409 Conflict",
                "content-type: application/problem+json",
                "cache-control: no-store",
                "x-content-type-options: nosniff",
                "x-request-id: r-1",
                &format!("content-length: {}", body.len()),
                "date: Thu, 26 Nov 2026 18:00:00 GMT",
            ]
        );
        assert_eq!(written(&reply, true), format!("{head}\r\n\r\n"));
        assert!(written(&reply.closing(), false).contains("\r\nconnection: close\r\n\r\n"));
    }

    #[test]
    fn no_content_has_no_length() {
        for status in [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED] {
            let mut reply = problem::SOLD_OUT.reply(&RequestId::Echoed("r-1"));
            (reply.status, reply.body) = (status, Default::default());
            let text = written(&reply, false);
            assert!(
                text.starts_with(&format!("HTTP/1.1 {status}\r\n")) && text.ends_with("\r\n\r\n"),
                "{text}"
            );
            assert!(!text.contains("content-length"), "{text}");
        }
    }
}
