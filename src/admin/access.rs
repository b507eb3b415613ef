//! Who may ask, and for which tenant.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::acting::{Acting, Peer};
use super::caller::Caller;
use super::connection_places::Place;
use super::console::sign_in_page;
use super::control_plane::ControlPlane;
use super::credentials::bearer;
use super::foreign_pages::{foreign_page, is_foreign_page, text};
use super::problem::{Code, Problem};
use super::refused_attempts::Verdict;
use super::request_id::RequestId;
use super::role::Role;
use super::settings::AdminSettings;
use super::tenant::foreign_tenant;

/// So much of a path that was tried stands in the trail.
const TRIED_CHARS_MAX: usize = 200;

/// Without a token, whoever can reach the loopback address may ask, and so could a page in the operator's browser whose
/// name was made to point here. So the request must name this machine, whatever it asks for.
pub(super) async fn check_host(
    State(settings): State<Arc<AdminSettings>>,
    request: Request,
    next: Next,
) -> Response {
    if !settings.asks_for_token() && is_foreign_host(&request, &settings) {
        return foreign_host().into_response();
    }
    next.run(request).await
}

/// Browsers speak HTTP/1.1 and name a host, always. A balancer's check of HTTP/1.0 may name none.
fn is_foreign_host(request: &Request, settings: &AdminSettings) -> bool {
    let of_uri = request.uri().host();
    if request.version() < Version::HTTP_11
        && of_uri.is_none()
        && !request.headers().contains_key(header::HOST)
    {
        return false;
    }
    let named = of_uri.or_else(|| text(request.headers(), header::HOST));
    !named.is_some_and(|host| names_this_machine(host, &settings.hosts))
}

fn foreign_host() -> Problem {
    let detail = "Without a token the Host must be localhost, a loopback address, or one of admin.hosts.";
    Problem::new(Code::ForeignHost, detail)
}

/// Lets a request pass whose caller is known and may do what it asks for, and that was not sent by another site's page. Its
/// connection is known from then on.
pub(super) async fn check(
    State(plane): State<Arc<ControlPlane>>,
    mut request: Request,
    next: Next,
) -> Response {
    let caller = match caller(&plane, &request) {
        Ok(caller) => caller,
        Err(refused) => return *refused,
    };
    if request.extensions().get::<Arc<Place>>().is_some_and(|place| !place.become_known()) {
        return too_many("There are as many connections as admin.connections_max allows.").into_response();
    }
    let is_act = !request.method().is_safe();
    request.extensions_mut().insert(caller);
    let asked = if is_act { Role::Operator } else { Role::Viewer };
    match at_least(&plane, &request, asked) {
        Ok(()) => next.run(request).await,
        Err(refused) => refused.into_response(),
    }
}

/// Lets those pass who may do what cannot be taken back, or what concerns the whole engine.
pub(super) async fn only_admins(
    State(plane): State<Arc<ControlPlane>>,
    request: Request,
    next: Next,
) -> Response {
    match at_least(&plane, &request, Role::Admin) {
        Ok(()) => next.run(request).await,
        Err(refused) => refused.into_response(),
    }
}

/// Lets those pass who are bound to no tenant.
pub(super) async fn only_unbound(request: Request, next: Next) -> Response {
    match request.extensions().get::<Caller>() {
        Some(Caller { tenant: Some(own), .. }) => foreign_tenant(own).into_response(),
        _ => next.run(request).await,
    }
}

/// Who asks. Otherwise what is answered.
fn caller(plane: &Arc<ControlPlane>, request: &Request) -> Result<Caller, Box<Response>> {
    let headers = request.headers();
    if is_foreign_page(request.method(), headers) {
        return Err(Box::new(foreign_page().into_response()));
    }
    if !plane.asks_for_token() {
        // The token may have been taken away while the engine runs.
        let is_foreign = is_foreign_host(request, &plane.settings);
        return if is_foreign { Err(Box::new(foreign_host().into_response())) } else { Ok(Caller::local()) };
    }
    let has_token = bearer(headers).is_some();
    let Some(caller) = plane.known(headers) else {
        if has_token {
            return Err(Box::new(wrong_token(plane, request)));
        }
        let is_person = request.method() == Method::GET
            && request.uri().path() == "/"
            && text(headers, header::ACCEPT).is_some_and(|types| types.contains("text/html"));
        return Err(Box::new(match is_person {
            true => sign_in_page(StatusCode::UNAUTHORIZED, None),
            false => unauthorized().into_response(),
        }));
    };
    // A cookie comes with whatever the browser sends; a page of this engine says that it is one.
    if !has_token && !request.method().is_safe() && !headers.contains_key(header::ORIGIN) {
        return Err(Box::new(foreign_page().into_response()));
    }
    Ok(caller)
}

fn wrong_token(plane: &Arc<ControlPlane>, request: &Request) -> Response {
    let id = request.extensions().get::<RequestId>().cloned().unwrap_or(RequestId(String::new()));
    match plane.note_wrong_token(request.extensions().get::<Peer>().copied(), &id) {
        Verdict::TooMany => {
            let detail = "There were many wrong tokens from this address.";
            Problem::new(Code::TooManyWrongTokens, detail).header(header::RETRY_AFTER, "60").into_response()
        }
        Verdict::Told | Verdict::Heard => unauthorized().into_response(),
    }
}

fn unauthorized() -> Problem {
    let detail = "Authorization must be: Bearer, then the value of admin.token or of one of admin.tokens.";
    Problem::new(Code::Unauthorized, detail).header(header::WWW_AUTHENTICATE, "Bearer")
}

/// Whether the caller's role is enough; the trail tells of who tries more.
fn at_least(plane: &Arc<ControlPlane>, request: &Request, role: Role) -> Result<(), Problem> {
    let extensions = request.extensions();
    let Some(caller) = extensions.get::<Caller>().filter(|caller| caller.role < role) else { return Ok(()) };
    let path: String = request.uri().path().chars().take(TRIED_CHARS_MAX).collect();
    let tried = format!("{} {path}", request.method());
    let acting = Acting::of(extensions, caller.tenant.as_deref());
    plane.note_refused_act(caller, extensions.get().copied(), acting, tried);
    let detail = format!(
        "This needs the role {}; the token of {} has {}.",
        role.as_str(),
        caller.name,
        caller.role.as_str()
    );
    Err(Problem::new(Code::RoleTooLow, detail).with("role", role.as_str()))
}

/// Lets a probe pass: its connection is not closed before it is answered, however many others are opened.
pub(super) async fn probe(request: Request, next: Next) -> Response {
    let place = request.extensions().get::<Arc<Place>>().cloned();
    let probe = place.map(|place| place.probe().ok_or(()));
    match probe.transpose() {
        Ok(_probe) => next.run(request).await,
        Err(()) => {
            too_many("As many probes as admin.unknown_connections_max are being answered.").into_response()
        }
    }
}

fn too_many(detail: &str) -> Problem {
    Problem::new(Code::TooManyConnections, detail).header(header::RETRY_AFTER, "1")
}

/// Whether nobody but this machine, or who set `more`, can have given this name.
fn names_this_machine(host: &str, more: &[String]) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    name.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|address| address.is_loopback())
        || more.iter().any(|known| known.eq_ignore_ascii_case(name) || known.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn o8_names_that_only_this_machine_can_have() {
        for host in ["localhost", "LOCALHOST:9090", "127.0.0.1:9090", "127.8.8.8", "[::1]:9090", "[::1]"] {
            assert!(names_this_machine(host, &[]), "{host}");
        }
        for host in
            ["evil.example", "evil.example:9090", "192.0.2.1", "localhost.evil.example", "", "0.0.0.0"]
        {
            assert!(!names_this_machine(host, &[]), "{host}");
        }
        assert!(names_this_machine("admin.internal:9090", &["admin.internal".into()]));
    }
}
