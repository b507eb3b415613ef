//! HTTP/2: one task a connection, which reads its frames, answers its requests and sends what was answered, in one write.
//!
//! What can be answered at once is: no task, no timer and no lock is taken for it. Only a request that waits, for its
//! body or for the store, is set aside until it goes on.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, Stream};
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{Method, Request, Response, StatusCode, header};
use hyper::body::{Body, Frame, SizeHint};

use super::Application;
use super::arena;
use super::connection::Connection;
use super::connection_timeout::{ConnectionTimeout, Signal, Wait};
use super::exchange::Exchange;
use super::http2_frames::FrameMeter;
use super::reply::{Reply, says_its_length};
use super::reply_header::header_of;
use super::settings::EdgeSettings;
use super::transport::Transport;
use crate::telemetry::{Http2End, Telemetry};

/// How connections are served that speak HTTP/2.
pub(super) struct Http2 {
    builder: Builder,
    streams_max: usize,
    headers_max: usize,
    control_frames_max: u32,
    keep_alive: bool,
    unread_max: Duration,
}

/// A request and where it is answered.
type Incoming = (Request<RecvStream>, SendResponse<Bytes>);

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sent {
    /// It was answered.
    Answered,
    /// The client took it back, or is gone.
    TakenBack,
    /// The client opens no window for its answer.
    Unread,
}

impl Http2 {
    pub fn new(settings: &EdgeSettings) -> Self {
        let http2 = &settings.http2;
        let mut builder = Builder::new();
        builder
            .max_concurrent_streams(http2.streams_max)
            .max_header_list_size(http2.header_list_bytes_max)
            .max_pending_accept_reset_streams(http2.resets_pending_max)
            .max_local_error_reset_streams(Some(http2.errors_max))
            .initial_window_size(http2.stream_window_bytes)
            .initial_connection_window_size(http2.connection_window_bytes)
            .max_send_buffer_size(http2.send_buffer_bytes_max);
        Self {
            builder,
            streams_max: http2.streams_max as usize,
            headers_max: settings.headers_max,
            control_frames_max: http2.control_frames_max,
            keep_alive: settings.keep_alive,
            unread_max: Duration::from_millis(settings.idle_timeout_ms),
        }
    }

    /// Serves a connection until either side ends it.
    pub async fn serve<A: Application>(
        &self,
        exchange: &Exchange<A>,
        telemetry: &Telemetry,
        transport: Transport,
        timeout: &Rc<ConnectionTimeout>,
        names_clients: bool,
    ) {
        let _counted = telemetry.http2.connections.enter();
        let frames = Rc::new(FrameMeter::new(self.control_frames_max, timeout.now()));
        let io = Connection::new(transport, Rc::clone(timeout), Some(Rc::clone(&frames)));
        let mut opening = pin!(self.builder.handshake::<_, Bytes>(io));
        let opened = poll_fn(|context| match timeout.signal() {
            Signal::Drop => Poll::Ready(None),
            _ => opening.as_mut().poll(context).map(Result::ok),
        });
        let Some(mut connection) = opened.await else { return };
        let mut under_way = FuturesUnordered::new();
        let mut incoming: Vec<Incoming> = Vec::new();
        // The place of the last answer that did not wait: the next one is made in it.
        let mut place = None;
        let (mut has_answered, mut is_ending) = (false, false);
        let ended = poll_fn(|context| {
            match timeout.signal() {
                Signal::Serve | Signal::Rest => {}
                Signal::Leave if !has_answered => timeout.acknowledge(),
                Signal::Leave | Signal::Finish => {
                    connection.graceful_shutdown();
                    is_ending = true;
                    timeout.acknowledge();
                }
                // The client hears which of its requests were looked at, and may make the others elsewhere.
                Signal::Drop if timeout.wait() != Wait::Close => {
                    connection.abrupt_shutdown(Reason::NO_ERROR);
                    timeout.acknowledge();
                    timeout.waits_for(Wait::Close);
                }
                Signal::Drop => return Poll::Ready(None),
            }
            loop {
                while let Poll::Ready(Some(sent)) = next(&mut under_way, context) {
                    match sent {
                        Sent::Answered => frames.pay(),
                        Sent::TakenBack => {}
                        Sent::Unread => {
                            telemetry.http2.ended(Http2End::Unread);
                            connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
                            timeout.waits_for(Wait::Close);
                        }
                    }
                }
                while under_way.len() + incoming.len() < self.streams_max {
                    match connection.poll_accept(context) {
                        Poll::Ready(Some(Ok(request))) => incoming.push(request),
                        Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(error)),
                        Poll::Ready(None) => return Poll::Ready(None),
                        Poll::Pending => break,
                    }
                }
                if under_way.len() == self.streams_max
                    && let Poll::Ready(closed) = connection.poll_closed(context)
                {
                    return Poll::Ready(closed.err());
                }
                if let Some(verdict) = frames.verdict().filter(|_| timeout.wait() != Wait::Close) {
                    telemetry.http2.ended(end_of(verdict));
                    connection.abrupt_shutdown(verdict);
                    timeout.waits_for(Wait::Close);
                    continue;
                }
                if timeout.wait() == Wait::Close {
                    incoming.clear();
                }
                if incoming.is_empty() {
                    note_wait(timeout, &frames, under_way.is_empty(), is_ending);
                    return Poll::Pending;
                }
                for request in incoming.drain(..) {
                    let answer = self.answer(exchange, request, names_clients);
                    let mut answering: Pin<Box<_>> = match place.take() {
                        Some(place) => answered_in(place, answer),
                        None => Box::pin(answer),
                    };
                    match answering.as_mut().poll(context) {
                        Poll::Ready(sent) => {
                            if sent == Sent::Answered {
                                frames.pay();
                            }
                            place = Some(answering);
                        }
                        Poll::Pending => under_way.push(answering),
                    }
                }
                has_answered = true;
                timeout.waits_for(Wait::Request);
                if !is_ending && (exchange.is_leaving() || !self.keep_alive) {
                    connection.graceful_shutdown();
                    is_ending = true;
                }
            }
        });
        match ended.await.and_then(|error| error.reason()) {
            None | Some(Reason::NO_ERROR) => {}
            Some(reason) => telemetry.http2.ended(end_of(reason)),
        }
    }

    async fn answer<A: Application>(
        &self,
        exchange: &Exchange<A>,
        (request, mut respond): Incoming,
        names_clients: bool,
    ) -> Sent {
        let (parts, body) = request.into_parts();
        if parts.headers.len() > self.headers_max {
            let mut refused = Response::new(());
            *refused.status_mut() = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            return sent(respond.send_response(refused, true).map(drop));
        }
        let body = RequestBody::of(&parts, body);
        if parts.headers.get(header::EXPECT).is_some_and(|expected| expected == "100-continue")
            && !body.is_end_stream()
            && body.size_hint().lower() <= exchange.body_bytes_max() as u64
        {
            let mut go_on = Response::new(());
            *go_on.status_mut() = StatusCode::CONTINUE;
            // Who cannot be told sends the body, or is gone.
            let _ = respond.send_informational(go_on);
        }
        let (reply, names) = {
            let mut replying = pin!(exchange.reply(&parts, body, names_clients));
            let replied = poll_fn(|context| match replying.as_mut().poll(context) {
                Poll::Ready(replied) => Poll::Ready(Some(replied)),
                Poll::Pending => respond.poll_reset(context).map(|_| None),
            });
            let Some(replied) = replied.await else { return Sent::TakenBack };
            replied
        };
        let mut head = Response::new(());
        *head.status_mut() = reply.status;
        *head.headers_mut() = header_of(&reply, names, parts.headers);
        if let Some(date) = exchange.date() {
            head.headers_mut().insert(header::DATE, date);
        }
        self.send(&mut respond, head, reply, parts.method == Method::HEAD).await
    }

    async fn send(
        &self,
        respond: &mut SendResponse<Bytes>,
        mut head: Response<()>,
        reply: Reply,
        is_head: bool,
    ) -> Sent {
        let body = reply.body;
        if says_its_length(reply.status) {
            head.headers_mut()
                .insert(header::CONTENT_LENGTH, arena::text(20, format_args!("{}", body.len())));
        }
        let is_empty = is_head || body.is_empty();
        let mut stream = match respond.send_response(head, is_empty) {
            Ok(stream) if !is_empty => stream,
            headed => return sent(headed.map(drop)),
        };
        stream.reserve_capacity(body.len());
        if stream.capacity() >= body.len() {
            return sent(stream.send_data(body, true));
        }
        match tokio::time::timeout(self.unread_max, send_as_read(&mut stream, body)).await {
            Ok(was_sent) => was_sent,
            Err(_) => {
                stream.send_reset(Reason::CANCEL);
                Sent::Unread
            }
        }
    }
}

/// A new answer in the place of one that is over.
fn answered_in<F>(mut place: Pin<Box<F>>, answer: F) -> Pin<Box<F>> {
    place.set(answer);
    place
}

fn end_of(reason: Reason) -> Http2End {
    if reason == Reason::ENHANCE_YOUR_CALM { Http2End::Flood } else { Http2End::Malformed }
}

/// Sends what the client opens its window for.
async fn send_as_read(stream: &mut SendStream<Bytes>, mut body: Bytes) -> Sent {
    loop {
        stream.reserve_capacity(body.len());
        match poll_fn(|context| stream.poll_capacity(context)).await {
            Some(Ok(room)) => {
                let part = body.split_to(room.min(body.len()));
                let is_last = body.is_empty();
                if stream.send_data(part, is_last).is_err() {
                    return Sent::TakenBack;
                }
                if is_last {
                    return Sent::Answered;
                }
            }
            Some(Err(_)) | None => return Sent::TakenBack,
        }
    }
}

fn sent(outcome: Result<(), h2::Error>) -> Sent {
    if outcome.is_ok() { Sent::Answered } else { Sent::TakenBack }
}

fn next<F: Future>(
    under_way: &mut FuturesUnordered<F>,
    context: &mut Context<'_>,
) -> Poll<Option<F::Output>> {
    Pin::new(under_way).poll_next(context)
}

/// Notes what the connection waits for, each wait from its beginning.
fn note_wait(timeout: &ConnectionTimeout, frames: &FrameMeter, is_quiet: bool, is_ending: bool) {
    let wait = match timeout.wait() {
        Wait::Close => Wait::Close,
        _ if !is_quiet => Wait::Answer,
        _ if frames.is_within() => Wait::Header,
        _ if is_ending => Wait::Farewell,
        _ => Wait::Request,
    };
    if timeout.wait() != wait {
        timeout.waits_for(wait);
    }
}

/// A request's body as it is read: each piece opens the window for the next.
struct RequestBody {
    stream: RecvStream,
    length: Option<u64>,
}

impl RequestBody {
    fn of(parts: &http::request::Parts, stream: RecvStream) -> Self {
        let length = parts.headers.get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        Self { stream, length }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let stream = &mut self.get_mut().stream;
        stream.poll_data(context).map(|read| {
            read.map(|data| {
                let data = data?;
                stream.flow_control().release_capacity(data.len())?;
                Ok(Frame::data(data))
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
