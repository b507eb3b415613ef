//! The routes, and the server with its limits.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{Method, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::acting::Peer;
use super::client_certificate::{self, Shown, shake};
use super::connection_places::{Place, Places};
use super::control_plane::ControlPlane;
use super::described_routes::Kind;
use super::live::Stopped;
use super::problem::{Code, Problem};
use super::readiness::Readiness;
use super::settings::AdminSettings;
use super::{access, api, console, health, request_id};
use crate::telemetry::Dear;
use crate::tls::{Certificates, HandshakeTurns};

/// How long accepting pauses after the system refused a connection: it is out of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// All routes of the control plane, with their checks.
fn routes(plane: Arc<ControlPlane>) -> Router {
    let described = api::routes();
    let shown = middleware::from_fn(client_certificate::check);
    let only_admins = middleware::from_fn_with_state(Arc::clone(&plane), access::only_admins);
    let open = console::open_routes().merge(described.router(Kind::Open, &plane)).layer(shown.clone());
    let probes = described.router(Kind::Probe, &plane).layer(middleware::from_fn(access::probe));
    let dear = described.router(Kind::Dear, &plane);
    let api = dear
        .layer(middleware::from_fn_with_state(Arc::clone(&plane), give_way))
        .merge(described.router(Kind::Usual, &plane))
        .merge(console::routes())
        .route(
            "/orders/{id}/refund",
            get(console::refund_page).post(console::refund_act).layer(only_admins.clone()),
        )
        .route(
            "/integrations/search/rebuild",
            post(console::rebuild_act).layer(middleware::from_fn(access::only_unbound)).layer(only_admins),
        )
        .fallback(async || Problem::not_found())
        .layer(middleware::from_fn_with_state(Arc::clone(&plane), access::check))
        .layer(shown);
    probes
        .merge(open)
        .merge(api)
        .method_not_allowed_fallback(async || {
            let detail = "This path has other methods; see Allow.";
            Problem::new(Code::MethodNotAllowed, detail)
        })
        .layer(Extension(api::document()))
        .layer(middleware::from_fn_with_state(Arc::new(plane.settings.clone()), access::check_host))
        .layer(DefaultBodyLimit::max(plane.settings.body_bytes_max))
        .layer(middleware::from_fn_with_state(Arc::clone(&plane), in_time))
        .layer(middleware::from_fn(request_id::attach))
        .with_state(plane)
}

/// What is answered while the engine starts: the process lives, and how far it is.
fn starting_routes(readiness: Arc<Readiness>, settings: &AdminSettings) -> Router {
    Router::new()
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::starting))
        .route("/healthz", get(health::starting))
        .layer(middleware::from_fn(access::probe))
        .fallback(async || {
            let detail = "The engine is starting; /readyz says how far it is.";
            Problem::new(Code::Starting, detail).header(header::RETRY_AFTER, "1")
        })
        .layer(middleware::from_fn_with_state(Arc::new(settings.clone()), access::check_host))
        .layer(middleware::from_fn(request_id::attach))
        .with_state(readiness)
}

/// Operators' reads give way to purchases, as buyers' looks do.
async fn give_way(State(plane): State<Arc<ControlPlane>>, request: Request, next: Next) -> Response {
    if request.method() == Method::GET && plane.telemetry.edge_load.sheds_anywhere(Dear::Admin) {
        let detail = "The engine is busy selling; ask again in a moment.";
        let problem = Problem::new(Code::Overloaded, detail);
        return problem.header(header::RETRY_AFTER, "2").into_response();
    }
    next.run(request).await
}

/// Answers 503 when a request takes too long until its answer begins.
async fn in_time(State(plane): State<Arc<ControlPlane>>, request: Request, next: Next) -> Response {
    let limit = Duration::from_millis(plane.settings.request_timeout_ms);
    timeout(limit, next.run(request)).await.unwrap_or_else(|_| {
        let detail = "The request took longer than admin.request_timeout_ms.";
        Problem::new(Code::Timeout, detail).into_response()
    })
}

/// The control plane's server: an address that is bound, and what answers there.
#[derive(Debug)]
pub struct AdminServer {
    listener: TcpListener,
    settings: AdminSettings,
    certificates: Arc<Certificates>,
    routes: Arc<ArcSwap<Router>>,
}

/// Opens the control plane behind a server that answers already.
#[derive(Debug)]
pub struct Opening(Arc<ArcSwap<Router>>);

impl Opening {
    /// From now on, also on connections that exist, the control plane answers.
    pub fn open(self, plane: impl Into<Arc<ControlPlane>>) {
        self.0.store(Arc::new(routes(plane.into())));
    }
}

impl AdminServer {
    /// Binds `admin.listen`. Until the control plane is opened, it only tells that the engine starts and how far it
    /// is. Must be called in a tokio runtime.
    ///
    /// # Errors
    /// The address is in use or not this machine's.
    pub async fn bind(
        settings: AdminSettings,
        readiness: Arc<Readiness>,
        certificates: Arc<Certificates>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(settings.listen).await?;
        let routes = Arc::new(ArcSwap::from_pointee(starting_routes(readiness, &settings)));
        Ok(Self { listener, settings, certificates, routes })
    }

    /// The right to open the control plane, once there is one.
    pub fn opening(&self) -> Opening {
        Opening(Arc::clone(&self.routes))
    }

    /// The address, with the port that was taken when port 0 was asked for.
    ///
    /// # Errors
    /// What the system says.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `stopped` turns true or its sender is gone; then finishes what is in flight, for at most
    /// `admin.drain_ms`.
    pub async fn serve(self, stopped: watch::Receiver<bool>) {
        let settings = &self.settings;
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(Duration::from_millis(settings.header_read_timeout_ms))
            .max_headers(100)
            .max_buf_size(64 << 10);
        let drain = Duration::from_millis(settings.drain_ms);
        let places = Places::new(settings.connections_max, settings.unknown_connections_max);
        let mut connections = JoinSet::new();
        let handshake_max = Duration::from_millis(settings.tls.handshake_ms_max);
        let turns = Arc::new(HandshakeTurns::new(settings.tls.handshakes_max));
        let accepting = async {
            loop {
                let Some((stream, peer)) = accept(&self.listener).await else { continue };
                let (http, routes, stopped) = (http.clone(), Arc::clone(&self.routes), stopped.clone());
                let place = places.open();
                match self.certificates.config() {
                    None => {
                        connections.spawn(serve_connection(
                            http,
                            stream,
                            (peer, Shown::Enough),
                            routes,
                            place,
                            stopped,
                        ));
                    }
                    Some(config) => {
                        let (turns, certificates) = (Arc::clone(&turns), Arc::clone(&self.certificates));
                        connections.spawn(async move {
                            let shaken = tokio::select! {
                                shaken = shake(&turns, &certificates, config, stream, handshake_max) => shaken,
                                () = place.given_up() => None,
                                () = told(stopped.clone()) => None,
                            };
                            if let Some((stream, shown)) = shaken {
                                let client = (peer, shown);
                                serve_connection(http, stream, client, routes, place, stopped).await;
                            }
                        });
                    }
                }
                while connections.try_join_next().is_some() {}
            }
        };
        tokio::select! {
            () = accepting => {}
            () = told(stopped.clone()) => {}
        }
        drop(self.listener);
        let _ = timeout(drain, async { while connections.join_next().await.is_some() {} }).await;
    }
}

/// Ends when `stopped` turns true or its sender is gone.
async fn told(mut stopped: watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

async fn accept(listener: &TcpListener) -> Option<(TcpStream, Peer)> {
    match listener.accept().await {
        Ok((stream, peer)) => {
            // Small answers shall not wait for an acknowledgement; a socket that cannot is served all the same.
            let _ = stream.set_nodelay(true);
            Some((stream, Peer(peer)))
        }
        Err(error) => {
            tracing::warn!(%error, "an admin connection could not be accepted");
            sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn serve_connection(
    http: http1::Builder,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    (peer, shown): (Peer, Shown),
    routes: Arc<ArcSwap<Router>>,
    place: Arc<Place>,
    stopped: watch::Receiver<bool>,
) {
    let (of_connection, to_be_told) = (Arc::clone(&place), Stopped(stopped.clone()));
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(Arc::clone(&of_connection));
        request.extensions_mut().insert(shown.clone());
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(to_be_told.clone());
        TowerToHyperService::new(Router::clone(&routes.load())).call(request)
    });
    let connection = http.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        // Another connection needs the place: this one has said nothing.
        () = place.given_up() => {}
        // How a connection ends is its client's affair.
        _ = connection.as_mut() => {}
        () = told(stopped) => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}
