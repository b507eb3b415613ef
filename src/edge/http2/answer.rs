//! The header block of an answer. What all answers of a kind begin with is encoded once.

use http::HeaderValue;
use http2_wire::block::{write_field, write_numbered};
use http2_wire::fields::CONTENT_LENGTH;

use super::super::reply::{Content, Keep, Reply, says_its_length};
use super::super::reply_header::{Names, each_common_field, each_own_field};
use super::hpack_encoder::write_status;

/// The number of `date`.
const DATE: usize = 33;

/// The beginnings of the blocks of those answers that are always the same but for what a request is called.
pub struct Openings {
    problem: Vec<u8>,
    json: Vec<u8>,
}

impl Openings {
    /// Encoded once.
    pub fn new() -> Self {
        let opening = |content| {
            let mut block = Vec::new();
            each_common_field(content, &Keep::NoStore, |name, value| {
                write_field(&mut block, name.as_str(), value.as_bytes());
            });
            block
        };
        Self { problem: opening(Content::Problem), json: opening(Content::Json) }
    }

    /// Writes the block of an answer that is made at `date`.
    pub fn write(&self, out: &mut Vec<u8>, reply: &Reply, names: Names, date: Option<&HeaderValue>) {
        write_status(out, reply.status.as_u16());
        match (reply.content, &reply.keep) {
            (Content::Problem, Keep::NoStore) => out.extend_from_slice(&self.problem),
            (Content::Json, Keep::NoStore) => out.extend_from_slice(&self.json),
            (content, keep) => each_common_field(content, keep, |name, value| {
                write_field(out, name.as_str(), value.as_bytes());
            }),
        }
        each_own_field(reply, names, |name, value| write_field(out, name.as_str(), value.as_bytes()));
        if says_its_length(reply.status) {
            let mut digits = itoa::Buffer::new();
            write_numbered(out, CONTENT_LENGTH, digits.format(reply.body.len()).as_bytes());
        }
        if let Some(date) = date {
            write_numbered(out, DATE, date.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::super::super::problem;
    use super::super::super::request::Head;
    use super::super::super::request_id::RequestId;
    use super::super::hpack_decoder::Decoder;
    use super::*;

    fn fields(reply: &Reply) -> Vec<String> {
        let id = RequestId::Echoed("r-1");
        let date = HeaderValue::from_static("Thu, 26 Nov 2026 18:00:00 GMT");
        let mut block = Vec::new();
        Openings::new().write(&mut block, reply, Names::of(&Head::default(), &id), Some(&date));
        let mut fields = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let read = Decoder::default().read(&block, |field| {
            fields.push(format!("{}: {}", text(field.name), text(field.value)));
            Ok(())
        });
        assert_eq!(read, Ok(()));
        fields
    }

    #[test]
    fn a_refusal_says_what_it_says_on_http1() {
        let reply = problem::SOLD_OUT.reply(&RequestId::Echoed("r-1"));
        let told = [
            ":status: 409",
            "content-type: application/problem+json",
            "cache-control: no-store",
            "x-content-type-options: nosniff",
            "x-request-id: r-1",
            &format!("content-length: {}", reply.body.len()),
            "date: Thu, 26 Nov 2026 18:00:00 GMT",
        ];
        assert_eq!(fields(&reply), told);
    }

    #[test]
    fn numbers_are_those_of_their_names_and_no_content_has_no_length() {
        let mut reply = problem::SOLD_OUT.reply(&RequestId::Echoed("r-1"));
        (reply.status, reply.content, reply.body) =
            (StatusCode::NO_CONTENT, Content::Css, Default::default());
        let told = fields(&reply);
        assert_eq!(told[..2], [":status: 204", "content-type: text/css; charset=utf-8"]);
        assert!(!told.iter().any(|field| field.starts_with("content-length")));
    }
}
