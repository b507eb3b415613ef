//! One request, from its head to the reply, the same on every protocol.

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Version};
use http_body_util::BodyExt;
use hyper::body::Body;

use super::Application;
use super::address_limits::{Addresses, Clients, UnderWay};
use super::forwarded::ForwardedHeader;
use super::problem::{self, ProblemAnswer};
use super::reply::Reply;
use super::reply_header::Names;
use super::request::{Head, Request};
use super::request_id::RequestId;
use super::request_target;
use super::settings::EdgeSettings;
use crate::clock::Clock;

/// What one serving thread answers requests with.
pub(super) struct Exchange<A> {
    application: Arc<A>,
    clock: Clock,
    home: usize,
    addresses: Arc<Addresses>,
    forwarded: ForwardedHeader,
    /// Of those that trusted proxies name.
    clients: Clients,
    is_leaving: Cell<bool>,
    body_bytes_max: usize,
    body_read_timeout: Duration,
    date: RefCell<Date>,
}

/// The `Date` of answers, made once a second.
#[derive(Default)]
struct Date {
    epoch_s: u64,
    text: Option<HeaderValue>,
}

impl<A: Application> Exchange<A> {
    pub fn new(
        settings: &EdgeSettings,
        clock: Clock,
        application: Arc<A>,
        addresses: Arc<Addresses>,
        home: usize,
    ) -> Self {
        Self {
            application,
            clock,
            home,
            addresses,
            forwarded: settings.forwarded_header,
            clients: Clients::new(settings),
            is_leaving: Cell::new(false),
            body_bytes_max: settings.body_bytes_max,
            body_read_timeout: Duration::from_millis(settings.body_read_timeout_ms),
            date: RefCell::default(),
        }
    }

    /// Has every connection end with its next answer.
    pub fn leave(&self) {
        self.is_leaving.set(true);
    }

    /// Whether every connection ends with its next answer.
    pub fn is_leaving(&self) -> bool {
        self.is_leaving.get()
    }

    /// Bytes that a body may have.
    pub fn body_bytes_max(&self) -> usize {
        self.body_bytes_max
    }

    /// The `Date` of an answer that is made now.
    pub fn date(&self) -> Option<HeaderValue> {
        let now = SystemTime::now();
        let epoch_s = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut date = self.date.borrow_mut();
        if date.epoch_s != epoch_s || date.text.is_none() {
            *date = Date { epoch_s, text: HeaderValue::try_from(httpdate::fmt_http_date(now)).ok() };
        }
        date.text.clone()
    }

    /// Reads the body and has the request answered. `names_clients`: the connection is a trusted proxy's, which says for
    /// whom it asks.
    pub async fn reply<B>(&self, parts: &Parts, body: B, names_clients: bool) -> (Reply, Names)
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let arrived = self.clock.now();
        let mut head =
            Head::read(parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())));
        if parts.version == Version::HTTP_2 && head.host.is_none() {
            head.host = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
        }
        let id = RequestId::of(head.request_id);
        // Nobody pays for what is not limited.
        let limited = names_clients && self.clients.are_limited();
        let place = if limited { self.place_for(&parts.headers) } else { Ok(None) };
        let checked = match place {
            Ok(place) => {
                let checked = self.checked(&head, parts, body).await;
                checked.map(|(path, body)| (path, body, place))
            }
            Err(too_many) => Err(too_many),
        };
        let mut reply = match checked {
            Ok((path, body, _place)) => {
                let request = Request {
                    method: parts.method.as_str(),
                    path,
                    query: parts.uri.query().unwrap_or_default(),
                    head,
                    body: &body,
                    id,
                    arrived,
                    home: self.home,
                };
                self.application.answer(&request).await
            }
            Err(answer) => answer.reply(&id).closing(),
        };
        // hyper believes a Transfer-Encoding over a Content-Length and hides the latter. Whoever frames by length
        // would take the rest of the bytes for another request, so nothing is read after such a request.
        reply.close |= head.transfer_encoding.is_some() || self.is_leaving();
        let names = Names::of(&head, &id);
        (reply, names)
    }

    /// A place for a request of the client that a trusted proxy names. `Err` when it has as many as it may have.
    fn place_for(&self, headers: &HeaderMap) -> Result<Option<UnderWay<'_>>, ProblemAnswer> {
        let is_trusted = |address: IpAddr| self.addresses.is_trusted(address);
        let Some(client) = self.forwarded.client(headers, is_trusted) else { return Ok(None) };
        self.clients.enter(client).map(Some).ok_or_else(|| {
            problem::OVERLOADED.detailed("This address has as many requests under way as it may have.")
        })
    }

    /// Refuses who is not to be heard and what is malformed, and reads the body if there is one.
    async fn checked<'a, B>(
        &self,
        head: &Head<'_>,
        parts: &'a Parts,
        body: B,
    ) -> Result<(&'a str, Bytes), ProblemAnswer>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        if let Some(answer) = self.application.turned_away(head, self.home) {
            return Err(answer);
        }
        head.check(parts.version == Version::HTTP_10)?;
        if parts.version == Version::HTTP_2 && head.host.is_some_and(|host| host.contains(&b'@')) {
            return Err(problem::BAD_REQUEST.detailed("The authority may not name a user."));
        }
        let path = request_target::path_of_uri(&parts.uri, head.host)?;
        Ok((path, self.whole(body).await?))
    }

    async fn whole<B>(&self, body: B) -> Result<Bytes, ProblemAnswer>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        if body.is_end_stream() {
            return Ok(Bytes::new());
        }
        if body.size_hint().lower() > self.body_bytes_max as u64 {
            return Err(self.too_large());
        }
        match tokio::time::timeout(self.body_read_timeout, self.read(body)).await {
            Ok(read) => read,
            Err(_late) => Err(problem::BODY_TIMEOUT.answer()),
        }
    }

    async fn read<B>(&self, mut body: B) -> Result<Bytes, ProblemAnswer>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let mut first = Bytes::new();
        let mut whole = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame
                .map_err(|_| problem::BAD_REQUEST.detailed("The body ended early or is not well framed."))?;
            let Ok(data) = frame.into_data() else { continue };
            if first.len() + whole.len() + data.len() > self.body_bytes_max {
                return Err(self.too_large());
            }
            // Nearly always the body is one piece, and stays where it was read.
            if first.is_empty() && whole.is_empty() {
                first = data;
            } else {
                whole.extend_from_slice(&std::mem::take(&mut first));
                whole.extend_from_slice(&data);
            }
        }
        Ok(if whole.is_empty() { first } else { whole.freeze() })
    }

    fn too_large(&self) -> ProblemAnswer {
        problem::BODY_TOO_LARGE.answer().number("body_bytes_max", self.body_bytes_max as u32)
    }
}
