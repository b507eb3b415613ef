//! Clients that have to show a certificate, where `admin.tls.client_ca_file` asks for one.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use super::problem::{Code, Problem};
use crate::tls::{Certificates, HandshakeTurns};

/// What a connection's client has shown.
#[derive(Clone, Debug)]
pub(super) enum Shown {
    /// A certificate of an authority that is listed, or nothing, where the plane speaks in the clear.
    Enough,
    /// None. These say whether one is asked for by now.
    Nothing(Arc<Certificates>),
}

/// The handshake of a connection, if it ends well and in time. Whether its client should have shown more is asked with each
/// request: an authority may be named meanwhile.
pub(super) async fn shake(
    turns: &HandshakeTurns,
    certificates: &Arc<Certificates>,
    config: Arc<ServerConfig>,
    stream: TcpStream,
    patience: Duration,
) -> Option<(TlsStream<TcpStream>, Shown)> {
    let stream = timeout(patience, turns.shake(config, stream)).await.ok()?.ok()?;
    let has_shown = stream.get_ref().1.peer_certificates().is_some();
    let shown = if has_shown { Shown::Enough } else { Shown::Nothing(Arc::clone(certificates)) };
    Some((stream, shown))
}

/// Lets a request pass whose client has shown what it has to. Probes have nothing to show, and are not asked.
pub(super) async fn check(request: Request, next: Next) -> Response {
    let shown = request.extensions().get::<Shown>();
    if matches!(shown, Some(Shown::Nothing(certificates)) if certificates.want_clients()) {
        let detail = "Show a certificate of an authority that is in admin.tls.client_ca_file.";
        return Problem::new(Code::ClientCertificateRequired, detail).into_response();
    }
    next.run(request).await
}
