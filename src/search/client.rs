//! Requests to a search server, and what each kind of failure means.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Certificate, Method};
use serde_json::Value;

use super::outcome::Fault;
use super::settings::{SearchKind, SearchSettings};
use crate::error_chain::error_chain;

/// An answer to a full batch has some hundred bytes a document; one that is longer than this is not what was asked for.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// Characters that are kept of what a server says is wrong.
const WHY_CHARS_MAX: usize = 200;
/// Who calls.
const USER_AGENT: &str = concat!("seckill-search/", env!("CARGO_PKG_VERSION"));

/// What is sent.
#[derive(Debug)]
pub(super) enum Body {
    Nothing,
    Json(Value),
    /// JSON lines, each with a line feed behind it, the last one too.
    Lines(String),
}

/// What was answered, whatever it was.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: u16,
    pub body: Value,
    retry_after: Option<Duration>,
}

/// Connections to one server.
#[derive(Debug)]
pub(super) struct Client {
    http: reqwest::Client,
    base: String,
}

impl Client {
    /// By these settings. Redirects are not followed and proxies of the environment not used: the key goes to the server
    /// alone.
    ///
    /// # Errors
    /// The file of certificates cannot be used, or the key is none that a header field can have.
    pub fn new(settings: &SearchSettings) -> Result<Self, String> {
        let address = settings.address().map_err(|wrong| format!("search.url {}", wrong.problem))?;
        let mut headers = HeaderMap::new();
        let key = settings.key.expose();
        if !key.is_empty() {
            let value = match settings.kind {
                SearchKind::Elasticsearch => format!("ApiKey {key}"),
                SearchKind::Opensearch => format!("Basic {}", STANDARD.encode(key)),
                _ => format!("Bearer {key}"),
            };
            let value = HeaderValue::try_from(value);
            let mut value = value.map_err(|_| "search.key has characters that cannot be sent".to_owned())?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let timeout = Duration::from_millis(settings.timeout_ms);
        let mut http = reqwest::Client::builder()
            .timeout(timeout)
            .connect_timeout(timeout)
            .pool_max_idle_per_host(1)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .default_headers(headers)
            .user_agent(USER_AGENT);
        let file = &settings.ca_file;
        if !file.as_os_str().is_empty() {
            let named = |problem: String| format!("search.ca_file names {}, {problem}", file.display());
            let pem = std::fs::read(file).map_err(|error| named(format!("which cannot be read: {error}")))?;
            let read =
                Certificate::from_pem_bundle(&pem).map_err(|error| error_chain(&error)).map_err(named)?;
            if read.is_empty() {
                return Err(named("which has no certificate".into()));
            }
            http = read.into_iter().fold(http, reqwest::ClientBuilder::add_root_certificate);
        }
        let http = http.build().map_err(|error| error_chain(&error))?;
        Ok(Self { http, base: address.as_str().trim_end_matches('/').to_owned() })
    }

    /// Asks once. `path` begins with `/`.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn ask(&self, method: Method, path: &str, body: Body) -> Result<Answer, Fault> {
        let request = self.http.request(method, format!("{}{path}", self.base));
        let request = match body {
            Body::Nothing => request,
            Body::Json(value) => request.json(&value),
            Body::Lines(lines) => request.header(CONTENT_TYPE, "application/x-ndjson").body(lines),
        };
        let gone = |error: reqwest::Error| Fault::Later(cut(&error_chain(&error.without_url())), None);
        let mut answer = request.send().await.map_err(gone)?;
        let status = answer.status().as_u16();
        let retry_after = answer.headers().get(RETRY_AFTER).and_then(|field| field.to_str().ok());
        let retry_after = retry_after.and_then(|field| field.trim().parse().ok()).map(Duration::from_secs);
        let mut text = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(gone)? {
            if text.len() + piece.len() > ANSWER_BYTES_MAX {
                return Err(Fault::Refused(format!("an answer of more than {ANSWER_BYTES_MAX} bytes")));
            }
            text.extend_from_slice(&piece);
        }
        // Proxies before it answer in their own words.
        let body = serde_json::from_slice(&text).unwrap_or(Value::Null);
        Ok(Answer { status, body, retry_after })
    }

    /// The same of a request that has to succeed.
    ///
    /// # Errors
    /// It does not.
    pub async fn done(&self, method: Method, path: &str, body: Body) -> Result<Value, Fault> {
        self.ask(method, path, body).await?.done()
    }
}

impl Answer {
    /// The body of an answer that is a success.
    ///
    /// # Errors
    /// What the status means where it is none.
    pub fn done(self) -> Result<Value, Fault> {
        match self.status {
            200..=299 => Ok(self.body),
            _ => Err(self.fault()),
        }
    }

    /// What an answer that is no success means.
    pub fn fault(&self) -> Fault {
        let said = said(&self.body);
        let said = if said.is_empty() { said } else { format!(": {said}") };
        let why = cut(&format!("HTTP status {}{said}", self.status));
        match self.status {
            413 => Fault::Whole(why),
            429 | 500..=599 => Fault::Later(why, self.retry_after),
            _ => Fault::Refused(why),
        }
    }
}

/// What a server says is wrong: each kind has its own place for it.
pub(super) fn said(body: &Value) -> String {
    let error = &body["error"];
    let reason = [&error["reason"], &error["message"], &body["message"], error];
    let text = reason.into_iter().find_map(Value::as_str).unwrap_or_default();
    let kind = [&error["code"], &error["type"], &body["code"]].into_iter().find_map(Value::as_str);
    match kind {
        Some(kind) => format!("{kind}: {text}"),
        None => text.to_owned(),
    }
}

/// As much of a text as is kept.
pub(super) fn cut(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(WHY_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_may_pass_is_told_from_what_will_not() {
        let fault = |status| Answer { status, body: Value::Null, retry_after: None }.fault();
        for status in [429, 500, 502, 503, 504] {
            assert!(matches!(fault(status), Fault::Later(..)), "{status}");
        }
        assert!(matches!(fault(413), Fault::Whole(_)));
        for status in [301, 400, 401, 403, 404, 409] {
            assert!(matches!(fault(status), Fault::Refused(_)), "{status}");
        }
    }

    #[test]
    fn each_kind_of_server_is_quoted() {
        let elastic =
            json!({ "error": { "type": "illegal_argument_exception", "reason": "no" }, "status": 400 });
        assert_eq!(said(&elastic), "illegal_argument_exception: no");
        let meili = json!({ "message": "no", "code": "invalid_api_key", "type": "auth" });
        assert_eq!(said(&meili), "invalid_api_key: no");
        assert_eq!(said(&json!({ "error": "alone" })), "alone");
        assert_eq!((said(&Value::Null), cut("a\nb")), (String::new(), "a b".into()));
    }
}
