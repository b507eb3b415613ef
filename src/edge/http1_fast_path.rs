//! HTTP/1.1 as nearly every client speaks it, without hyper: a header that names a path, a body that came with it, nothing said
//! about the connection. Everything else goes to hyper with each byte that was read, so that one server decides about
//! what is malformed, slow or seldom; what is taken here, hyper would take in the same way.

use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::pin::pin;
use std::task::Poll;

use bytes::{Buf, Bytes, BytesMut};
use httparse::Status;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Application;
use super::connection::Connection;
use super::connection_timeout::{ConnectionTimeout, Signal, Wait};
use super::exchange::{Asked, Exchange};
use super::framing::Framing;
use super::http1_answer::write_answer;
use super::settings::EdgeSettings;

/// Header fields that a request may have here.
const FIELDS_MAX: usize = 64;
/// Bytes that are read at once. A header that is longer and not at its end is hyper's.
const READ_BYTES: usize = 4_096;

/// What of HTTP/1.1 is answered without hyper.
pub(super) struct FastPath {
    keep_alive: bool,
    fields_max: usize,
    header_bytes_max: usize,
    body_bytes_max: usize,
}

/// Why a connection is served here no longer.
pub(super) enum Left {
    /// It is over.
    Over,
    /// It has asked nothing for a while.
    Idle,
    /// What came is hyper's to read.
    Unusual(Bytes),
}

/// What reading has come to.
enum Came {
    More,
    Idle,
    /// The end of the stream, or the engine stops and nothing has been asked.
    End,
    /// The same in the middle of a request.
    EndWithin,
    /// The connection is dropped, or broken.
    Over,
}

/// A request that is answered here, read from the beginning of what came.
struct Whole<'a> {
    asked: Asked<'a>,
    path: &'a str,
    body: &'a [u8],
    is_head: bool,
    bytes: usize,
}

/// Why there is none.
enum NotWhole {
    /// Its end is missing.
    Part,
    /// It is not one of those that are answered here.
    Unusual,
}

impl FastPath {
    /// As the settings allow.
    pub fn new(settings: &EdgeSettings) -> Self {
        Self {
            keep_alive: settings.keep_alive,
            fields_max: settings.headers_max.min(FIELDS_MAX),
            header_bytes_max: settings.header_bytes_max,
            body_bytes_max: settings.body_bytes_max,
        }
    }

    /// Serves the connection as long as what comes is usual. `names_clients`: it is a trusted proxy's.
    pub async fn serve<A: Application>(
        &self,
        exchange: &Exchange<A>,
        io: &mut Connection,
        timeout: &ConnectionTimeout,
        names_clients: bool,
    ) -> Left {
        poll_fn(|context| {
            timeout.belongs_to(context.waker());
            Poll::Ready(())
        })
        .await;
        let (mut input, mut output) = (BytesMut::with_capacity(READ_BYTES), BytesMut::new());
        loop {
            match read_more(io, timeout, &mut input).await {
                Came::More => {}
                Came::Idle => return Left::Idle,
                Came::EndWithin => return Left::Unusual(input.freeze()),
                Came::End => return end(io, timeout).await,
                Came::Over => return Left::Over,
            }
            loop {
                let (bytes, is_last) = match self.find(&input, exchange, names_clients) {
                    Err(NotWhole::Part) => break,
                    Err(NotWhole::Unusual) => return Left::Unusual(input.freeze()),
                    Ok(Whole { asked, path, body, is_head, bytes }) => {
                        timeout.waits_for(Wait::Answer);
                        let replying = exchange.reply_at_once(&asked, path, body);
                        let Some((mut reply, names)) = unless_dropped(timeout, replying).await else {
                            return Left::Over;
                        };
                        reply.close |= !self.keep_alive || timeout.signal() == Signal::Finish;
                        output.clear();
                        write_answer(&mut output, &reply, names, exchange.date().as_ref(), is_head);
                        (bytes, reply.close)
                    }
                };
                input.advance(bytes);
                timeout.waits_for(Wait::Request);
                let written = unless_dropped(timeout, async {
                    io.write_all(&output).await?;
                    io.flush().await
                });
                match written.await {
                    Some(Ok(())) if is_last => return end(io, timeout).await,
                    Some(Ok(())) => {}
                    Some(Err(_)) | None => return Left::Over,
                }
            }
            // A header has its time from its first byte on, in however many pieces it comes.
            if !input.is_empty() && timeout.wait() == Wait::Request {
                timeout.waits_for(Wait::Header);
            }
        }
    }

    /// Reads the request at the beginning of `input`.
    fn find<'a, A: Application>(
        &self,
        input: &'a [u8],
        exchange: &Exchange<A>,
        names_clients: bool,
    ) -> Result<Whole<'a>, NotWhole> {
        let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
        let mut parsed = httparse::Request::new(&mut []);
        let head_bytes = match parsed.parse_with_uninit_headers(input, &mut fields[..self.fields_max]) {
            Ok(Status::Complete(bytes)) if bytes <= self.header_bytes_max => bytes,
            Ok(Status::Partial) if input.len() < READ_BYTES => return Err(NotWhole::Part),
            Ok(_) | Err(_) => return Err(NotWhole::Unusual),
        };
        let (Some(method), Some(target), Some(1)) = (parsed.method, parsed.path, parsed.version) else {
            return Err(NotWhole::Unusual);
        };
        let fields = || parsed.headers.iter().map(|field| (field.name, field.value));
        let body_bytes = self.usual_body(method, target, fields()).ok_or(NotWhole::Unusual)?;
        let bytes = head_bytes + body_bytes;
        let body = input.get(head_bytes..bytes).ok_or(NotWhole::Unusual)?;
        let mut asked = exchange.asked(method, fields, names_clients);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        asked.query = query;
        Ok(Whole { asked, path, body, is_head: method == "HEAD", bytes })
    }

    /// How long the body is of a request that is answered here.
    fn usual_body<'a>(
        &self,
        method: &str,
        target: &str,
        fields: impl Iterator<Item = (&'a str, &'a [u8])> + Clone,
    ) -> Option<usize> {
        let is_seldom = |(name, _): (&str, _)| name.len() == 7 && name.eq_ignore_ascii_case("upgrade");
        if method == "CONNECT" || !is_plain_path(target) || fields.clone().any(is_seldom) {
            return None;
        }
        let framing = Framing::of(fields, false, self.body_bytes_max).ok()?;
        (!framing.last).then_some(framing.body_bytes)
    }
}

/// Whether the target is a path with perhaps a query, of characters that RFC 3986 gives them.
fn is_plain_path(target: &str) -> bool {
    target.starts_with('/')
        && target.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-._~%?&=+:@!$'()*,;".contains(&byte))
}

/// Reads what comes, unless the connection is told something meanwhile.
async fn read_more(io: &mut Connection, timeout: &ConnectionTimeout, input: &mut BytesMut) -> Came {
    let is_within = !input.is_empty();
    if input.capacity() - input.len() < READ_BYTES / 2 {
        input.reserve(READ_BYTES);
    }
    let mut reading = pin!(io.read_buf(input));
    poll_fn(|context| {
        let signal = timeout.signal();
        match signal {
            Signal::Drop => return Poll::Ready(Came::Over),
            Signal::Rest | Signal::Leave => timeout.acknowledge(),
            // Not acknowledged: whoever serves the connection next has to hear it, too.
            Signal::Finish | Signal::Serve => {}
        }
        Poll::Ready(match (reading.as_mut().poll(context), signal) {
            (Poll::Ready(Ok(0)), _) | (Poll::Pending, Signal::Finish) if is_within => Came::EndWithin,
            (Poll::Ready(Ok(0)), _) | (Poll::Pending, Signal::Finish) => Came::End,
            (Poll::Ready(Ok(_)), _) => Came::More,
            (Poll::Ready(Err(_)), _) => Came::Over,
            (Poll::Pending, Signal::Rest) if !is_within => Came::Idle,
            (Poll::Pending, _) => return Poll::Pending,
        })
    })
    .await
}

/// Ends the connection in the order that loses no answer.
async fn end(io: &mut Connection, timeout: &ConnectionTimeout) -> Left {
    let _ = unless_dropped(timeout, io.shutdown()).await;
    Left::Over
}

/// What the work comes to, unless the connection is dropped meanwhile.
async fn unless_dropped<F: Future>(timeout: &ConnectionTimeout, work: F) -> Option<F::Output> {
    let mut work = pin!(work);
    poll_fn(|context| match timeout.signal() {
        Signal::Drop => Poll::Ready(None),
        _ => work.as_mut().poll(context).map(Some),
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body_bytes(method: &str, target: &str, fields: &[(&str, &str)]) -> Option<usize> {
        let fields = fields.iter().map(|&(name, value)| (name, value.as_bytes()));
        FastPath::new(&EdgeSettings::default()).usual_body(method, target, fields)
    }

    #[test]
    fn the_usual_is_a_path_and_a_length() {
        for (target, fields, bytes) in [
            ("/seckill/demo/widget", &[][..], 0),
            ("/orders?limit=3&before=x%20y", &[("host", "a"), ("Content-Length", "0")], 0),
            ("//", &[("content-length", "12"), ("connection", "keep-alive")], 12),
        ] {
            assert_eq!(body_bytes("POST", target, fields), Some(bytes), "{target}");
        }
    }

    #[test]
    fn hyper_is_left_what_could_be_read_in_two_ways_and_what_is_seldom() {
        for target in
            ["*", "", "orders", "http://a/orders", "/a#b", "/a b", "/a\\b", "/a\"", "/a{b}", "/ä", "/a|b"]
        {
            assert_eq!(body_bytes("GET", target, &[]), None, "{target}");
        }
        for (name, value) in [
            ("Transfer-Encoding", "chunked"),
            ("Expect", "100-continue"),
            ("Connection", "close"),
            ("Upgrade", "h2c"),
            ("Content-Length", "1, 1"),
            ("Content-Length", "+1"),
            ("Content-Length", "999999"),
        ] {
            assert_eq!(body_bytes("POST", "/a", &[(name, value)]), None, "{name}: {value}");
        }
        assert_eq!(body_bytes("POST", "/a", &[("content-length", "1"), ("content-length", "1")]), None);
        assert_eq!(body_bytes("CONNECT", "/a", &[]), None);
    }
}
