//! Servers that only answer: the engine's libraries with nothing of the engine. What it costs more than they is its own.

use std::convert::Infallible;
use std::future::poll_fn;
use std::rc::Rc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use memchr::memmem;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::spawn_local;

/// The answer to everything.
#[derive(Debug)]
pub struct FixedReply {
    status: StatusCode,
    fields: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
}

impl FixedReply {
    /// Reads an answer of HTTP/1.1, as `client --capture` writes it. Fields that frame it, and its date, are left to the
    /// libraries.
    ///
    /// # Panics
    /// It is none.
    pub fn read(answer: &[u8]) -> Self {
        let end = memmem::find(answer, b"\r\n\r\n").expect("the end of a head");
        let head = std::str::from_utf8(&answer[..end]).expect("a head of text");
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a status");
        let fields = lines.filter_map(|line| line.split_once(": ")).filter(|(name, _)| {
            !["date", "content-length", "connection"].iter().any(|known| name.eq_ignore_ascii_case(known))
        });
        let fields = fields.map(|(name, value)| {
            let name = HeaderName::from_bytes(name.as_bytes()).expect("a name");
            (name, HeaderValue::from_str(value).expect("a value"))
        });
        Self { status, fields: fields.collect(), body: Bytes::copy_from_slice(&answer[end + 4..]) }
    }

    /// The head of the answer, in the map of the request's fields.
    fn head<B>(&self, mut fields: HeaderMap, body: B) -> Response<B> {
        fields.clear();
        fields.extend(self.fields.iter().cloned());
        let mut head = Response::new(body);
        *head.status_mut() = self.status;
        *head.headers_mut() = fields;
        head
    }
}

/// Answers over HTTP/1.1 for ever. To be run in a `LocalSet`.
///
/// # Errors
/// Nobody can be accepted.
pub async fn http1(listener: TcpListener, reply: Rc<FixedReply>) -> std::io::Result<()> {
    loop {
        let stream = accept(&listener).await?;
        let reply = Rc::clone(&reply);
        spawn_local(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let reply = Rc::clone(&reply);
                async move {
                    let (parts, _) = request.into_parts();
                    let body = Full::new(reply.body.clone());
                    Ok::<_, Infallible>(reply.head(parts.headers, body))
                }
            });
            // As the engine has it.
            let mut server = http1::Builder::new();
            server.half_close(true).header_read_timeout(None).writev(false);
            // How a connection ends is its client's affair.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// The same over HTTP/2, by prior knowledge.
///
/// # Errors
/// Nobody can be accepted.
pub async fn http2(listener: TcpListener, reply: Rc<FixedReply>) -> std::io::Result<()> {
    loop {
        let stream = accept(&listener).await?;
        spawn_local(answer_http2(stream, Rc::clone(&reply)));
    }
}

async fn answer_http2(stream: TcpStream, reply: Rc<FixedReply>) -> Result<(), h2::Error> {
    let mut connection = h2::server::Builder::new().max_concurrent_streams(128).handshake(stream).await?;
    while let Some(request) = poll_fn(|context| connection.poll_accept(context)).await {
        let (request, mut respond) = request?;
        let (parts, _) = request.into_parts();
        let mut stream = respond.send_response(reply.head(parts.headers, ()), false)?;
        stream.send_data(reply.body.clone(), true)?;
    }
    Ok(())
}

async fn accept(listener: &TcpListener) -> std::io::Result<TcpStream> {
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_as_it_was_written() {
        let answer =
            b"HTTP/1.1 409 Conflict\r\ncontent-type: a/b\r\ncontent-length: 2\r\ndate: now\r\n\r\n{}";
        let reply = FixedReply::read(answer);
        assert_eq!(
            (reply.status, reply.fields.len(), &reply.body[..]),
            (StatusCode::CONFLICT, 1, &b"{}"[..])
        );
    }
}
