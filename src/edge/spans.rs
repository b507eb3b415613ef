//! The spans of buyers' requests: every winner and every checkout has one, and of the purchases that were refused those that
//! are drawn.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::data_plane::DataPlane;
use super::random;
use super::reply::Reply;
use super::request::Request;
use crate::domain::OrderId;
use crate::traces::{Begun, OpenSpan, Span, SpanKind, Value};

const PURCHASE: &str = "POST /seckill/{campaign}/{sku}";
const CHECKOUT: &str = "POST /orders/{id}/checkout";

/// What OpenTelemetry calls the parts of a request.
mod key {
    pub const METHOD: &str = "http.request.method";
    pub const ROUTE: &str = "http.route";
    pub const STATUS: &str = "http.response.status_code";
    pub const PATH: &str = "url.path";
    pub const OUTCOME: &str = "seckill.outcome";
    pub const REQUEST_ID: &str = "seckill.request_id";
    pub const ORDER_ID: &str = "seckill.order_id";
}

impl DataPlane {
    /// Begins the span of a request, where spans are taken and its caller wants one.
    pub(super) fn begin_span(&self, request: &Request<'_>) -> Option<Begun> {
        self.tracer.as_ref()?.begin(request.head.traceparent)
    }

    /// The same for one refusal of so many: the others pay for a number that is drawn, and where nothing is traced for
    /// nothing at all.
    fn drawn_span(&self, request: &Request<'_>) -> Option<Begun> {
        let one_in = self.tracer.as_ref()?.refusals_one_in();
        let is_drawn = one_in > 0 && random::up_to(one_in - 1) == 0;
        is_drawn.then(|| self.begin_span(request)).flatten()
    }

    /// Ends the span of a purchase. One that has none has won nothing, and may be drawn.
    pub(super) fn trace_purchase(
        &self,
        request: &Request<'_>,
        begun: Option<Begun>,
        order: Option<OrderId>,
        reply: &Reply,
    ) {
        let Some(tracer) = &self.tracer else { return };
        let Some(begun) = begun.or_else(|| self.drawn_span(request)) else { return };
        let mut attributes = told(request, route(PURCHASE), reply).to_vec();
        attributes.extend(order.map(|order| (key::ORDER_ID, order.into())));
        tracer.end(Span {
            begun,
            name: PURCHASE,
            kind: SpanKind::Server,
            ended: SystemTime::now(),
            took: Duration::from_nanos(self.took(request).0),
            attributes,
            links: Vec::new(),
            error: error(reply).map(Cow::Borrowed),
        });
    }

    /// Begins the span of a checkout that arrived when the request says.
    pub(super) fn open_checkout_span(&self, request: &Request<'_>) -> Option<Arc<OpenSpan>> {
        let begun = self.begin_span(request)?;
        let before = Duration::from_nanos(self.took(request).0);
        Some(self.tracer.as_ref()?.open(begun, CHECKOUT, SpanKind::Server, before))
    }
}

/// Tells in the span of a checkout how it was answered.
pub(super) fn tell_checkout(span: &OpenSpan, request: &Request<'_>, id: &str, reply: &Reply) {
    told(request, route(CHECKOUT), reply).into_iter().for_each(|(key, value)| span.note(key, value));
    span.note(key::ORDER_ID, id.to_owned());
    if let Some(error) = error(reply) {
        span.fail(error);
    }
}

fn route(name: &'static str) -> &'static str {
    name.split_once(' ').map_or(name, |(_, route)| route)
}

/// What every answer has.
fn told(request: &Request<'_>, route: &'static str, reply: &Reply) -> [(&'static str, Value); 6] {
    [
        (key::METHOD, request.method.to_owned().into()),
        (key::ROUTE, route.into()),
        (key::STATUS, reply.status.as_u16().into()),
        (key::PATH, request.path.to_owned().into()),
        (key::OUTCOME, reply.outcome.code().into()),
        (key::REQUEST_ID, request.id.as_str().to_owned().into()),
    ]
}

/// A refusal is no failure of the engine.
fn error(reply: &Reply) -> Option<&'static str> {
    reply.status.is_server_error().then(|| reply.outcome.code())
}
