//! Sends spans to the collector, in batches. Nobody waits for it: what it cannot send in time is given up and counted.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::trace::v1::Span as OtlpSpan;
use reqwest::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, Url};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use super::otlp::{self, Teller};
use super::queue::{Exit, Told};
use super::settings::TraceSettings;
use crate::domain::FieldError;
use crate::error_chain::error_chain;
use crate::telemetry::Telemetry;

/// Attempts at one batch.
const TRIES_MAX: u32 = 3;
/// The pause after the first one that failed; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Of an answer so much is read.
const ANSWER_BYTES_MAX: usize = 64 << 10;
const USER_AGENT: &str = concat!("seckill-traces/", env!("CARGO_PKG_VERSION"));

/// The one task that sends spans.
pub struct Exporter {
    queue: Exit,
    flushes: mpsc::UnboundedReceiver<oneshot::Sender<()>>,
    telemetry: Arc<Telemetry>,
    client: Client,
    url: Url,
    teller: Teller,
    batch_spans_max: usize,
    flush: Duration,
    timeout: Duration,
    is_away: bool,
}

/// Why a batch was not taken.
struct Refusal {
    why: String,
    /// When to try again, if that can help.
    again: Option<Duration>,
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter").field("url", &self.url.as_str()).finish_non_exhaustive()
    }
}

impl Exporter {
    /// `None` where no collector is named.
    pub(super) fn new(
        settings: &TraceSettings,
        node: u16,
        queue: Exit,
        flushes: mpsc::UnboundedReceiver<oneshot::Sender<()>>,
        telemetry: Arc<Telemetry>,
    ) -> Result<Option<Self>, String> {
        let in_words = |wrong: FieldError| format!("{} {}", wrong.field, wrong.problem);
        let Some(url) = settings.url().map_err(in_words)? else { return Ok(None) };
        let mut headers = settings.header_map().map_err(in_words)?;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        let timeout = Duration::from_millis(settings.timeout_ms);
        let client = Client::builder()
            .timeout(timeout)
            .connect_timeout(timeout)
            .pool_max_idle_per_host(1)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent(USER_AGENT)
            .default_headers(headers)
            .build()
            .map_err(|error| error_chain(&error))?;
        Ok(Some(Self {
            queue,
            flushes,
            telemetry,
            client,
            url,
            teller: Teller::new(&settings.service_name, node),
            batch_spans_max: settings.batch_spans_max,
            flush: Duration::from_millis(settings.flush_ms),
            timeout,
            is_away: false,
        }))
    }

    /// Sends what waits, again and again; never ends.
    pub async fn run(mut self) {
        loop {
            // Whoever ends a span is not held up by waking anybody: spans are looked for.
            let asked = tokio::select! {
                () = sleep(self.flush) => None,
                () = self.queue.is_half_full() => None,
                Some(asked) = self.flushes.recv() => Some(asked),
            };
            self.send_what_waits().await;
            if let Some(done) = asked {
                // Whoever asked may have gone.
                let _ = done.send(());
            }
        }
    }

    /// Stops at the first batch that is not taken: the next one would wait for the same collector.
    async fn send_what_waits(&mut self) {
        loop {
            let spans = self.next_batch();
            if spans.is_empty() || !self.sent(spans).await {
                return;
            }
        }
    }

    /// At most as many as a request may have, but for what belongs to one transaction.
    fn next_batch(&self) -> Vec<OtlpSpan> {
        let mut batch = Vec::new();
        while batch.len() < self.batch_spans_max {
            let Some(told) = self.queue.take() else { break };
            match told {
                Told::Span(span) => batch.push(otlp::span(*span)),
                Told::Commit(commit) => batch.extend(otlp::commit(commit)),
            }
        }
        batch
    }

    /// Sends a batch, or gives it up. Whether it was taken.
    async fn sent(&mut self, spans: Vec<OtlpSpan>) -> bool {
        let count = spans.len() as u64;
        let body = Bytes::from(self.teller.request(spans));
        let mut pause = FIRST_PAUSE;
        let mut tries = 1;
        let records = &self.telemetry.traces;
        let refusal = loop {
            match self.post(body.clone()).await {
                Ok(refused) => {
                    let refused = refused.map_or(0, |(spans, why)| {
                        tracing::warn!(spans, why, "the collector did not take some spans");
                        spans.min(count)
                    });
                    records.refused.add(refused);
                    records.sent.add(count - refused);
                    if std::mem::take(&mut self.is_away) {
                        tracing::info!("the collector takes spans again");
                    }
                    return true;
                }
                Err(Refusal { again: Some(wait), .. }) if tries < TRIES_MAX => {
                    sleep(wait.max(pause)).await;
                    (tries, pause) = (tries + 1, pause * 2);
                }
                Err(refusal) => break refusal,
            }
        };
        records.failed.add(count);
        if !std::mem::replace(&mut self.is_away, true) {
            let error = refusal.why;
            tracing::warn!(error, "the collector takes no spans; they are lost until it does");
        }
        false
    }

    /// One attempt: what the collector says that it did not take of the batch, if it says so.
    async fn post(&self, body: Bytes) -> Result<Option<(u64, String)>, Refusal> {
        let sent = self.client.post(self.url.clone()).body(body).send().await;
        let answer = sent.map_err(|error| Refusal {
            why: error_chain(&error.without_url()),
            again: Some(Duration::ZERO),
        })?;
        let status = answer.status();
        if status.is_success() {
            return Ok(otlp::refused(&read(answer).await));
        }
        let may_pass = [
            StatusCode::TOO_MANY_REQUESTS,
            StatusCode::BAD_GATEWAY,
            StatusCode::SERVICE_UNAVAILABLE,
            StatusCode::GATEWAY_TIMEOUT,
        ];
        let wait =
            answer.headers().get(RETRY_AFTER).and_then(|field| field.to_str().ok()?.trim().parse().ok());
        let wait = Duration::from_secs(wait.unwrap_or(0)).min(self.timeout);
        let again = may_pass.contains(&status).then_some(wait);
        Err(Refusal { why: format!("it answered with HTTP status {}", status.as_u16()), again })
    }
}

async fn read(mut answer: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(piece)) = answer.chunk().await {
        if body.len() + piece.len() > ANSWER_BYTES_MAX {
            break;
        }
        body.extend_from_slice(&piece);
    }
    body
}
