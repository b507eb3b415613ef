//! What carries deliveries: real connections, or whatever a test puts in their place.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::HeaderMap;

/// A delivery as it is attempted.
#[derive(Clone, Debug)]
pub struct WebhookRequest {
    /// Where to.
    pub url: Url,
    /// Its fields, the signatures among them.
    pub headers: HeaderMap,
    /// The event in its envelope.
    pub body: String,
}

/// What was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebhookAnswer {
    /// The status.
    pub status: u16,
    /// When to come back, if the answer says so in seconds.
    pub retry_after: Option<Duration>,
}

/// An attempt at a delivery: the answer, or why there is none.
pub type Attempt<'a> = Pin<Box<dyn Future<Output = Result<WebhookAnswer, String>> + Send + 'a>>;

/// What carries deliveries.
pub trait Transport: Send + Sync + fmt::Debug {
    /// Posts it once.
    fn post(&self, request: WebhookRequest) -> Attempt<'_>;
}
