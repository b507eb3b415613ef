//! Errors as `application/problem+json` (RFC 9457), in the same shape as the edge gives them; their `type` leads to a
//! page.
//!
//! A handler returns a [`Problem`]; the request id is known only to [`request_id::attach`](super::request_id::attach),
//! which writes the body.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::etag::etag;
pub(super) use super::problem_code::Code;
use super::rfc3339::rfc3339;
use crate::domain::{FieldError, InvalidId, SaleTerms};
use crate::ledger::SaleError;
use crate::openapi::{ProblemKind, title_of};
use crate::orders::StoreError;
use crate::telemetry::Seldom;

/// Why a request was not done.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    code: Code,
    detail: String,
    members: Map<String, Value>,
    header: Option<(header::HeaderName, &'static str)>,
}

impl Problem {
    /// A problem without further members.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), members: Map::new(), header: None }
    }

    /// The request cannot be understood.
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new(Code::BadRequest, detail)
    }

    /// A field of the body or of the query breaks its rule.
    pub fn field(field: &str, problem: impl std::fmt::Display) -> Self {
        Self::new(Code::InvalidField, format!("{field} {problem}")).with("field", field)
    }

    /// No such path.
    pub fn not_found() -> Self {
        Self::new(Code::NotFound, "There is nothing at this path.")
    }

    /// The tenant has no such sale.
    pub fn unknown_sale() -> Self {
        Self::new(Code::UnknownSale, "There is no such campaign and SKU for this tenant.")
    }

    /// The sale has no waiting room, and never had one.
    pub fn no_queue() -> Self {
        Self::new(Code::NoQueue, "This sale has no waiting room.")
    }

    /// The tenant has no such order.
    pub fn unknown_order() -> Self {
        Self::new(Code::UnknownOrder, "There is no such order for this tenant.")
    }

    /// The engine stopped while it made a change.
    pub fn cut_short(_: tokio::task::JoinError) -> Self {
        let detail = "The engine stopped during the change; look at what became of it when it runs again.";
        Self::new(Code::StoreUnavailable, detail)
    }

    /// The order store takes no writes at the moment, or is slow.
    pub fn not_known_yet() -> Self {
        let detail = "The order store has not answered within admin.act_wait_ms. It is asked until it does, so this may come \
                      about later: look at what became of it before you repeat it.";
        Self::new(Code::StoreUnavailable, detail).header(header::RETRY_AFTER, "1")
    }

    /// An order that is on its way may still get a number below one that is durable already.
    pub fn orders_on_their_way() -> Self {
        let detail = "Orders with lower numbers than the last ones are still on their way to the store, here or at a node \
                      that is silent; ask again.";
        Self::new(Code::OrdersInFlight, detail).header(header::RETRY_AFTER, "1")
    }

    /// There is much to look through, and nothing that was looked for was found in time.
    pub fn search_goes_on() -> Self {
        let detail = "Nothing was found yet within half of admin.request_timeout_ms. Name a campaign and SKU, or ask for the same \
                      again: without a status it is looked on from there.";
        Self::new(Code::Timeout, detail).header(header::RETRY_AFTER, "1")
    }

    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.code.kind().status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// What is wrong, in words.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// With one more member.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.into(), value.into());
        self
    }

    /// With a header field.
    #[must_use]
    pub fn header(mut self, name: header::HeaderName, value: &'static str) -> Self {
        self.header = Some((name, value));
        self
    }

    /// The body, for the request with this id.
    pub fn body(&self, instance: &str) -> String {
        let code = self.code.as_str();
        let mut object = json!({
            "type": format!("{}{code}", ProblemKind::PATH),
            "title": title_of(code),
            "status": self.code.kind().status,
            "code": code,
            "detail": self.detail,
            "instance": instance,
        });
        if let Value::Object(object) = &mut object {
            object.extend(self.members.clone());
        }
        object.to_string()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some((name, value)) = self.header.clone() {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<FieldError> for Problem {
    fn from(FieldError { field, problem }: FieldError) -> Self {
        Self::field(field, problem)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        static SAID: Seldom = Seldom::new();
        if let Some(more) = SAID.now() {
            tracing::warn!(
                %error,
                sqlstate = error.sqlstate.as_deref(),
                more,
                "an admin request met a store that does not answer"
            );
        }
        Self::new(Code::StoreUnavailable, error.message).header(header::RETRY_AFTER, "1")
    }
}

impl From<SaleError> for Problem {
    fn from(error: SaleError) -> Self {
        let conflict = |code| Self::new(code, error.to_string());
        match error {
            SaleError::Field(error) => error.into(),
            SaleError::Exists => conflict(Code::CampaignExists),
            SaleError::Unknown => Self::unknown_sale(),
            SaleError::TooMany(sales) => conflict(Code::TooManyCampaigns).with("campaigns", sales),
            SaleError::StockInUse(units) => {
                conflict(Code::StockInUse).with("field", "stock").with("units", units)
            }
            SaleError::ChangedMeanwhile(sale) => {
                let detail = "The campaign was changed meanwhile; look at it again, and decide again.";
                Self::new(Code::ChangedMeanwhile, detail).with("etag", etag(&sale))
            }
            SaleError::NotOver(ends_at) => {
                let ends_at = (ends_at < SaleTerms::NO_END).then(|| rfc3339(ends_at));
                conflict(Code::CampaignNotOver).with("ends_at", ends_at)
            }
            SaleError::OrdersOpen(units) => conflict(Code::OrdersOpen).with("units", units),
            SaleError::HasOrders => conflict(Code::CampaignHasOrders),
            SaleError::Archived => conflict(Code::CampaignArchived),
            SaleError::OlderEngines => conflict(Code::OlderEngines),
            SaleError::Store(error) => error.into(),
        }
    }
}

/// A name in the path or in the query that breaks its rule.
pub(super) fn invalid_name(field: &str, InvalidId(rule): InvalidId) -> Problem {
    Problem::field(field, rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_says_what_the_status_line_says() {
        let problem = Problem::field("stock", "is above 5").with("units", 3);
        let body: Value = serde_json::from_str(&problem.body("r\"1")).unwrap();
        assert_eq!(
            body,
            json!({
                "type": "/problems/invalid-field", "title": "Invalid field", "status": 422,
                "code": "invalid-field", "detail": "stock is above 5", "instance": "r\"1",
                "field": "stock", "units": 3,
            })
        );
    }
}
