//! One request, from its head to the reply, the same on every protocol.

use std::cell::{Cell, RefCell};
use std::future::ready;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderValue, Version};
use http_body_util::BodyExt;
use hyper::body::Body;

use super::Application;
use super::address_limits::{Addresses, Clients};
use super::forwarded::ForwardedHeader;
use super::problem::{self, ProblemAnswer};
use super::reply::Reply;
use super::reply_header::Names;
use super::request::{Head, Request};
use super::request_id::RequestId;
use super::request_target;
use super::settings::EdgeSettings;
use crate::admission::Moment;
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

/// What a request asks for, as its header says.
pub(super) struct Asked<'a> {
    method: &'a str,
    /// As in [`Request`].
    pub query: &'a str,
    head: Head<'a>,
    /// Whom a trusted proxy asks for, where that is limited.
    client: Option<IpAddr>,
    arrived: Moment,
}

/// What a request of HTTP/2 asks for, and of whom.
pub(super) struct Target<'a> {
    pub scheme: Option<&'a str>,
    pub authority: Option<&'a str>,
    pub path: &'a str,
    pub query: &'a str,
}

/// A body that may be still to come.
pub(super) struct Coming<F> {
    /// Whether it has come.
    pub is_here: bool,
    /// Bytes that it has at least.
    pub bytes_min: u64,
    /// The whole; nothing, if it is larger than a body may be.
    pub whole: F,
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
        let fields = || parts.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let mut asked = self.asked(parts.method.as_str(), fields, names_clients);
        asked.query = parts.uri.query().unwrap_or_default();
        let checked = self.checked(&asked.head, parts, body);
        let mut answered = self.answered(&asked, checked).await;
        // hyper believes a Transfer-Encoding over a Content-Length and hides the latter. Whoever frames by length
        // would take the rest of the bytes for another request, so nothing is read after such a request.
        answered.0.close |= asked.head.transfer_encoding.is_some();
        answered
    }

    /// What a header asks for, but for its target. `names_clients` as in [`Exchange::reply`].
    pub fn asked<'a, F>(&self, method: &'a str, fields: impl Fn() -> F, names_clients: bool) -> Asked<'a>
    where
        F: Iterator<Item = (&'a str, &'a [u8])>,
    {
        let arrived = self.clock.now();
        let is_trusted = |address: IpAddr| self.addresses.is_trusted(address);
        // Nobody pays for what is not limited.
        let client = (names_clients && self.clients.are_limited())
            .then(|| self.forwarded.client(fields(), is_trusted))
            .flatten();
        Asked { method, query: "", head: Head::read(fields()), client, arrived }
    }

    /// Has a request of HTTP/1.1 answered whose body is there and whose target is a path.
    pub async fn reply_at_once<'a>(&self, asked: &Asked<'a>, path: &'a str, body: &[u8]) -> (Reply, Names) {
        let checked = || {
            self.heard(&asked.head)?;
            asked.head.check(false)?;
            Ok((path, body))
        };
        self.answered(asked, ready(checked())).await
    }

    /// Has a request of HTTP/2 answered; its body is waited for when nothing is wrong with its header.
    pub async fn reply_to_stream<'a, B: AsRef<[u8]>>(
        &self,
        mut asked: Asked<'a>,
        target: Target<'a>,
        body: Coming<impl Future<Output = Option<B>>>,
    ) -> (Reply, Names) {
        asked.query = target.query;
        asked.head.host = asked.head.host.or(target.authority.map(str::as_bytes));
        let head = asked.head;
        let checked = async {
            self.heard(&head)?;
            head.check(false)?;
            if head.host.is_some_and(|host| host.contains(&b'@')) {
                return Err(problem::BAD_REQUEST.detailed("The authority may not name a user."));
            }
            let Target { scheme, authority, path, .. } = target;
            let path = request_target::path_of_parts(scheme, authority, path, head.host)?;
            Ok((path, self.come(body).await?))
        };
        self.answered(&asked, checked).await
    }

    async fn come<B>(&self, body: Coming<impl Future<Output = Option<B>>>) -> Result<B, ProblemAnswer> {
        if body.bytes_min > self.body_bytes_max as u64 {
            return Err(self.too_large());
        }
        let come = if body.is_here {
            Ok(body.whole.await)
        } else {
            tokio::time::timeout(self.body_read_timeout, body.whole).await
        };
        come.map_err(|_late| problem::BODY_TIMEOUT.answer())?.ok_or_else(|| self.too_large())
    }

    /// Has a request answered once it has been `checked`, which gives its path and its body.
    async fn answered<'a, B: AsRef<[u8]>>(
        &self,
        asked: &Asked<'a>,
        checked: impl Future<Output = Result<(&'a str, B), ProblemAnswer>>,
    ) -> (Reply, Names) {
        let id = RequestId::of(asked.head.request_id);
        let place = asked.client.map(|client| self.clients.enter(client).ok_or_else(too_many_of_client));
        let checked = match place.transpose() {
            Ok(place) => checked.await.map(|(path, body)| (path, body, place)),
            Err(too_many) => Err(too_many),
        };
        let mut reply = match checked {
            Ok((path, body, _place)) => {
                let request = Request {
                    method: asked.method,
                    path,
                    query: asked.query,
                    head: asked.head,
                    body: body.as_ref(),
                    id,
                    arrived: asked.arrived,
                    answer_by: None,
                    home: self.home,
                };
                self.application.answer(&request).await
            }
            Err(answer) => answer.reply(&id).closing(),
        };
        reply.close |= self.is_leaving();
        (reply, Names::of(&asked.head, &id))
    }

    /// Refuses who is not to be heard at all.
    fn heard(&self, head: &Head<'_>) -> Result<(), ProblemAnswer> {
        self.application.turned_away(head, self.home).map_or(Ok(()), Err)
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
        self.heard(head)?;
        head.check(parts.version == Version::HTTP_10)?;
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

fn too_many_of_client() -> ProblemAnswer {
    problem::OVERLOADED.detailed("This address has as many requests under way as it may have.")
}
