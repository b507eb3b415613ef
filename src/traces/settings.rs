//! What can be set about traces.

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::FieldError;
use crate::settings::{Secret, within};

/// The path of a collector that is named without one.
const DEFAULT_PATH: &str = "/v1/traces";

/// `[traces]`: spans of what buyers win and pay, for a collector of OpenTelemetry (src/traces/TRACES.md).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TraceSettings {
    /// Where spans are sent to, by OTLP over HTTP in protocol buffers, such as `http://127.0.0.1:4318`; without a path
    /// `/v1/traces` is added. Empty: nowhere, and nothing is recorded.
    pub endpoint: String,
    /// Header fields that are sent with them, each as `name: value`, such as `authorization: Bearer TOKEN`.
    pub headers: Vec<Secret>,
    /// The name of this service in traces.
    pub service_name: String,
    /// One refused purchase of so many has a span; 0: none. Winners and checkouts all have one.
    pub refusals_one_in: u32,
    /// Whether a request has no spans whose `traceparent` says that it is not sampled.
    pub heeds_callers: bool,
    /// Spans that may wait to be sent; further ones are dropped and counted.
    pub queue_spans_max: usize,
    /// Spans of one request to the collector.
    pub batch_spans_max: usize,
    /// How often what waits is sent, in ms; earlier when half of what may wait does.
    pub flush_ms: u64,
    /// How long the collector has for an answer, in ms.
    pub timeout_ms: u64,
}

impl Default for TraceSettings {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            headers: Vec::new(),
            service_name: "seckill".into(),
            refusals_one_in: 10_000,
            heeds_callers: true,
            queue_spans_max: 16_384,
            batch_spans_max: 512,
            flush_ms: 1_000,
            timeout_ms: 5_000,
        }
    }
}

impl TraceSettings {
    /// Checks each value.
    ///
    /// # Errors
    /// The first field that breaks its rule.
    pub fn check(&self) -> Result<(), FieldError> {
        self.url()?;
        self.header_map()?;
        if self.service_name.trim().is_empty() {
            let problem = "is empty; set it to the name that traces shall show".into();
            return Err(FieldError { field: "service_name", problem });
        }
        within("refusals_one_in", self.refusals_one_in, 0..=1_000_000_000)?;
        within("queue_spans_max", self.queue_spans_max, 64..=1_000_000)?;
        within("batch_spans_max", self.batch_spans_max, 1..=self.queue_spans_max.min(8_192))?;
        within("flush_ms", self.flush_ms, 10..=60_000)?;
        within("timeout_ms", self.timeout_ms, 10..=60_000)
    }

    /// Where spans go, if anywhere.
    ///
    /// # Errors
    /// It is no address of a collector.
    pub(super) fn url(&self) -> Result<Option<Url>, FieldError> {
        let wrong = |problem: &str| FieldError { field: "endpoint", problem: problem.into() };
        if self.endpoint.is_empty() {
            return Ok(None);
        }
        let url = Url::parse(&self.endpoint);
        let mut url = url.map_err(|_| wrong("is no address; set it to one like http://127.0.0.1:4318"))?;
        if !["http", "https"].contains(&url.scheme()) || !url.has_host() {
            return Err(wrong("must begin with http:// or https://"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong(
                "has a user or a password in it; put what the collector asks for into traces.headers",
            ));
        }
        if url.path() == "/" {
            url.set_path(DEFAULT_PATH);
        }
        Ok(Some(url))
    }

    /// What goes with each request.
    ///
    /// # Errors
    /// A line is no header field.
    pub(super) fn header_map(&self) -> Result<HeaderMap, FieldError> {
        let field = |line: &Secret| {
            let (name, value) = line.expose().split_once(':')?;
            let mut value = HeaderValue::try_from(value.trim()).ok()?;
            value.set_sensitive(true);
            Some((HeaderName::try_from(name.trim()).ok()?, value))
        };
        let fields: Option<HeaderMap> = self.headers.iter().map(field).collect();
        fields.ok_or_else(|| FieldError {
            field: "headers",
            problem: "has a line that is no header field; write each as name: value".into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_named_with_or_without_a_path() {
        let url = |endpoint: &str| {
            let settings = TraceSettings { endpoint: endpoint.into(), ..TraceSettings::default() };
            settings.url().map(|url| url.map(|url| url.to_string()))
        };
        assert_eq!(url(""), Ok(None));
        assert_eq!(url("http://127.0.0.1:4318"), Ok(Some("http://127.0.0.1:4318/v1/traces".into())));
        assert_eq!(url("https://c.example/"), Ok(Some("https://c.example/v1/traces".into())));
        assert_eq!(url("https://c.example/otlp/v1/x"), Ok(Some("https://c.example/otlp/v1/x".into())));
        for (wrong, said) in [
            ("collector:4318", "http://"),
            ("grpc://c.example", "http://"),
            ("4318", "no address"),
            ("https://me:hunter2@c.example", "password"),
        ] {
            let error = url(wrong).unwrap_err();
            assert!(error.field == "endpoint" && error.problem.contains(said), "{wrong}: {error:?}");
            assert!(!error.problem.contains("hunter2"), "{error:?}");
        }
    }

    #[test]
    fn header_fields_are_lines_that_are_not_shown() {
        let headers = |line: &str| {
            TraceSettings { headers: vec![line.into()], ..TraceSettings::default() }.header_map()
        };
        let fields = headers("X-Team:  k:ey ").unwrap();
        assert_eq!(fields["x-team"], "k:ey");
        for wrong in ["hunter2", "a b: hunter2", "a: hunter2\nb"] {
            let error = headers(wrong).unwrap_err();
            assert!(error.field == "headers" && !error.problem.contains("hunter2"), "{error:?}");
        }
    }
}
