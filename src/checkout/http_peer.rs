//! Calls of a JSON service over HTTP: what each failure says about the effect of the call.

use std::time::Duration;

use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Method, Request, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::gateway::Charge;
use super::remote_call::CallError;
use super::service_settings::HttpSettings;
use crate::traces::{OpenSpan, SpanKind, current};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// A remote service and how to reach it.
#[derive(Debug)]
pub struct HttpPeer {
    client: reqwest::Client,
    settings: HttpSettings,
}

impl HttpPeer {
    /// A peer to which nothing is connected yet. Redirects are not followed and proxies not used: a payment goes
    /// where it was sent.
    ///
    /// # Errors
    /// [`CallError::Invalid`]: no client can be made of the settings.
    pub fn new(settings: HttpSettings) -> Result<Self, CallError> {
        let client = reqwest::Client::builder()
            .connect_timeout(Duration::from_millis(settings.connect_ms))
            .pool_max_idle_per_host(settings.idle_connections_max)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| CallError::Invalid(chain(&error)))?;
        Ok(Self { client, settings })
    }

    /// A request of `path`, which begins with `/`.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request =
            self.client.request(method, format!("{}{path}", self.settings.url.trim_end_matches('/')));
        match self.settings.token.expose() {
            "" => request,
            token => request.bearer_auth(token),
        }
    }

    /// Sends the request and reads the answer: the JSON of a 200, or of a 404 if it is what was asked for. Where a trace tells
    /// of this, the call has a span of this name, which the service is told.
    ///
    /// # Errors
    /// What is known about the effect of the call.
    pub async fn answer<T: DeserializeOwned>(
        &self,
        name: &'static str,
        request: RequestBuilder,
    ) -> Result<T, CallError> {
        let span = current().map(|caller| caller.child(name, SpanKind::Client));
        let answer = self.answered(span.as_deref(), request).await;
        if let Some(span) = span {
            match &answer {
                Ok(_) => span.succeed(),
                Err(error) => span.fail(error.to_string()),
            }
        }
        answer
    }

    async fn answered<T: DeserializeOwned>(
        &self,
        span: Option<&OpenSpan>,
        request: RequestBuilder,
    ) -> Result<T, CallError> {
        let mut request = request.build().map_err(|error| unsent(&error))?;
        if let Some(span) = span {
            tell_of(span, &mut request);
        }
        let response = self.client.execute(request).await.map_err(|error| unsent(&error))?;
        let status = response.status();
        if let Some(span) = span {
            span.note("http.response.status_code", status.as_u16());
        }
        let read = self.read(response).await;
        let parsed = || {
            serde_json::from_slice(read.as_deref().map_err(|text| text.clone())?)
                .map_err(|error| format!("the answer is not what the contract says: {error}"))
        };
        let told = |text: &str| format!("{text} (HTTP status {})", status.as_u16());
        match status {
            StatusCode::OK => parsed().map_err(CallError::Unknown),
            StatusCode::NOT_FOUND => parsed().map_err(|text| CallError::Invalid(told(&text))),
            StatusCode::UNPROCESSABLE_ENTITY if is_key_reused(read.as_deref().unwrap_or_default()) => {
                Err(CallError::KeyReused(told("the key is known with another order, buyer or amount")))
            }
            StatusCode::TOO_MANY_REQUESTS => Err(CallError::Busy(told("asked to come back later"))),
            // The service may be busy with the very same call.
            StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT => {
                Err(CallError::Unknown(told("not finished")))
            }
            status if status.is_client_error() => Err(CallError::Invalid(told("the request was refused"))),
            _ => Err(CallError::Unknown(told("no answer of the contract"))),
        }
    }

    async fn read(&self, mut response: Response) -> Result<Vec<u8>, String> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| chain(&error))? {
            if body.len() + chunk.len() > self.settings.answer_bytes_max {
                return Err(format!("the answer is longer than {} bytes", self.settings.answer_bytes_max));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// What the span says of a request, and the request of its span.
fn tell_of(span: &OpenSpan, request: &mut Request) {
    // Whoever waits may stop waiting before the end.
    span.fail("given up: no answer in time");
    span.note("http.request.method", request.method().to_string());
    span.note("server.address", request.url().host_str().unwrap_or_default().to_owned());
    span.note("url.path", request.url().path().to_owned());
    if let Ok(value) = HeaderValue::try_from(span.context().to_string()) {
        request.headers_mut().insert(TRACEPARENT, value);
    }
}

/// A payment as gateway and risk service are told of it.
#[derive(Serialize)]
pub(super) struct ChargeBody<'a> {
    order_id: String,
    attempt: u32,
    buyer: &'a str,
    quantity: u32,
    amount_cents: u64,
    currency: &'a str,
    payment_method: &'a str,
}

impl<'a> ChargeBody<'a> {
    pub(super) fn of(charge: &'a Charge) -> Self {
        Self {
            order_id: charge.key.attempt.order.to_string(),
            attempt: charge.key.attempt.attempt,
            buyer: charge.buyer.as_str(),
            quantity: charge.quantity,
            amount_cents: charge.money.amount.0,
            currency: charge.money.currency.as_str(),
            payment_method: &charge.method,
        }
    }
}

/// Whether a refusal says that the key is of another payment.
fn is_key_reused(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Refusal {
        error: String,
    }
    serde_json::from_slice(body).is_ok_and(|refusal: Refusal| refusal.error == "key-reused")
}

/// A reason that a buyer will read: not more than a line of it, and never nothing.
pub(super) fn word(reason: Option<String>, otherwise: &str) -> String {
    const CHARS_MAX: usize = 200;
    match reason {
        Some(reason) if !reason.is_empty() => reason.chars().take(CHARS_MAX).collect(),
        _ => otherwise.into(),
    }
}

/// A request that failed before its answer began: only one that found no connection certainly had no effect.
fn unsent(error: &reqwest::Error) -> CallError {
    if error.is_builder() {
        CallError::Invalid(chain(error))
    } else if error.is_connect() {
        CallError::Unreachable(chain(error))
    } else {
        CallError::Unknown(chain(error))
    }
}

/// The error with its causes, which is where the useful words are.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
