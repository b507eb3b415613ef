//! A call as the edge's handlers know it: a request of the same buyer for the same thing, within the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use http::HeaderMap;
use tonic::Status;

use super::arrival::{Arrival, Patience};
use super::status;
use crate::clock::Clock;
use crate::domain::Nanos;
use crate::edge::{DataPlane, Head, Reply, Request, RequestId, Route, problem};

/// Who has an answer at the last moment shall not lose it to the clock.
const GRACE: Duration = Duration::from_millis(1);

/// What a call says beside its message.
pub(super) struct Envelope {
    pub headers: HeaderMap,
    pub arrival: Arrival,
}

impl Envelope {
    /// Takes a call apart.
    pub fn open<T>(call: tonic::Request<T>) -> Result<(Self, T), Status> {
        let (metadata, mut extensions, message) = call.into_parts();
        let arrival = extensions.remove::<Arrival>();
        let arrival = arrival.ok_or_else(|| Status::internal("a call that came by no connection"))?;
        Ok((Self { headers: metadata.into_headers(), arrival }, message))
    }

    /// What the caller calls this, or a new name.
    pub fn id(&self) -> RequestId<'_> {
        RequestId::of(self.headers.get("x-request-id").map(|id| id.as_bytes()))
    }

    /// Refuses what nobody waits for any more, or what does not say for how long: it is not begun.
    pub fn check(&self, now: Nanos) -> Result<(), Status> {
        if self.arrival.patience == Patience::Malformed {
            let answer = problem::BAD_REQUEST
                .detailed("grpc-timeout must be up to eight digits and one of H M S m u n.");
            return Err(status::refused(answer, &self.id()));
        }
        if self.arrival.is_overdue(now) { Err(status::too_late()) } else { Ok(()) }
    }
}

/// What a call asks for.
pub(super) struct Asked<'a> {
    pub route: Route<'a>,
    pub method: &'static str,
    /// What the same is called over HTTP.
    pub path: &'a str,
    pub body: &'a [u8],
    /// Empty: what the metadata say.
    pub idempotency_key: &'a str,
    /// Empty: what the metadata say.
    pub sale_pass: &'a str,
}

/// Asks the edge's handlers.
pub(super) struct Asker {
    plane: Arc<DataPlane>,
    clock: Clock,
    /// The serving threads of the edge, whose stock and figures calls share in turn.
    homes: usize,
    turn: AtomicUsize,
}

impl Asker {
    pub fn new(plane: Arc<DataPlane>, clock: Clock, homes: usize) -> Self {
        Self { plane, clock, homes: homes.max(1), turn: AtomicUsize::new(0) }
    }

    /// The answer, if it is one that grants; its status otherwise.
    pub async fn ask(&self, envelope: &Envelope, asked: Asked<'_>) -> Result<Reply, Status> {
        let now = self.clock.stopwatch();
        envelope.check(now)?;
        let Envelope { headers, arrival } = envelope;
        let mut head = Head::read(headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())));
        head.host = head.host.or(arrival.authority.as_deref().map(str::as_bytes));
        if !asked.idempotency_key.is_empty() {
            head.idempotency_key = Some(asked.idempotency_key.as_bytes());
        }
        if !asked.sale_pass.is_empty() {
            head.sale_pass = Some(asked.sale_pass.as_bytes());
        }
        // Messages have all their fields.
        head.platform = None;
        let request = Request {
            method: asked.method,
            path: asked.path,
            query: "",
            head,
            body: asked.body,
            id: envelope.id(),
            arrived: arrival.at,
            answer_by: arrival.answer_by(),
            home: self.turn.fetch_add(1, Relaxed) % self.homes,
        };
        let answering = self.plane.call(&request, asked.route);
        let reply = match request.answer_by {
            None => answering.await,
            Some(by) => {
                // A purchase whose order is on its way answers by itself before: with the order's number.
                let left = Duration::from_nanos(by.0.saturating_sub(now.0)) + GRACE;
                tokio::time::timeout(left, answering).await.map_err(|_late| status::too_late())?
            }
        };
        if reply.status.is_success() { Ok(reply) } else { Err(status::of(&reply)) }
    }
}
