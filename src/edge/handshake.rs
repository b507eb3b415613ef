//! From an accepted socket to a connection whose protocol is known: the TLS handshake, if there is one, and the first
//! bytes, if those have to tell.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::connection_timeout::{ConnectionTimeout, Signal};
use super::settings::EdgeSettings;
use super::transport::{Protocol, Socket, Transport};
use crate::telemetry::TlsRecords;
use crate::tls::{ALPN_HTTP2, Certificates, HandshakeTurns};

/// How one serving thread opens connections.
pub(super) struct Handshakes {
    certificates: Arc<Certificates>,
    turns: HandshakeTurns,
    patience: Duration,
    speaks_http2: bool,
}

impl Handshakes {
    pub fn new(settings: &EdgeSettings, certificates: Arc<Certificates>) -> Self {
        let turns = settings.tls.handshakes_max.div_ceil(settings.serving_threads());
        Self {
            certificates,
            turns: HandshakeTurns::new(turns),
            patience: Duration::from_millis(settings.tls.handshake_ms_max),
            speaks_http2: settings.http2.enabled,
        }
    }

    /// Whether a client has to open with a handshake.
    pub fn are_needed(&self) -> bool {
        self.certificates.config().is_some()
    }

    /// The connection, and what it speaks. `None` when it is not to be served.
    pub async fn open(
        &self,
        mut socket: Socket,
        timeout: &ConnectionTimeout,
        records: &TlsRecords,
    ) -> Option<(Transport, Protocol)> {
        let Some(config) = self.certificates.config() else {
            let protocol = if self.speaks_http2 { socket.speaks(timeout).await? } else { Protocol::Http1 };
            return Some((Transport::Plain(socket), protocol));
        };
        // Set aside: connections in the clear shall not carry the size of its state.
        let shaken = Box::pin(tokio::time::timeout(self.patience, self.turns.shake(config, socket)));
        let stream = match unless_told_to_end(timeout, shaken).await? {
            Ok(Ok(stream)) => stream,
            Ok(Err(_)) => {
                records.failed.increment();
                return None;
            }
            Err(_late) => {
                records.late.increment();
                return None;
            }
        };
        records.opened.increment();
        let chosen = stream.get_ref().1.alpn_protocol();
        let is_http2 = chosen == Some(ALPN_HTTP2.as_bytes());
        let protocol = if is_http2 { Protocol::Http2 } else { Protocol::Http1 };
        Some((Transport::Tls(Box::new(stream)), protocol))
    }
}

/// What comes of `work`, unless the connection is to end before: it has not asked for anything yet.
async fn unless_told_to_end<T>(timeout: &ConnectionTimeout, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    let mut is_watched = false;
    poll_fn(|context| {
        if !is_watched {
            timeout.belongs_to(context.waker());
            is_watched = true;
        }
        if matches!(timeout.signal(), Signal::Drop | Signal::Finish) {
            return Poll::Ready(None);
        }
        work.as_mut().poll(context).map(Some)
    })
    .await
}
