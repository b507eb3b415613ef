//! How a person signs in: the page that asks for a token, and the cookie that follows.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};

use super::super::acting::Peer;
use super::super::control_plane::ControlPlane;
use super::super::foreign_pages::{foreign_page, is_foreign_page};
use super::super::refused_attempts::Verdict;
use super::super::request_id::RequestId;
use super::html::{self, Text};

const FORM: &str = r#"<form class="act" method="post" action="/sign-in">
<label>Your token <input name="token" type="password" autocomplete="current-password" required autofocus></label>
<button>Sign in</button></form></main></body></html>
"#;

/// The page that asks for a token, with what was wrong about the last one.
pub(in super::super) fn page(status: StatusCode, wrong: Option<&str>) -> Response {
    let said = wrong
        .map_or(String::new(), |wrong| format!("<p role=\"alert\" class=\"wrong\">{}</p>\n", Text(wrong)));
    let head = html::head("Sign in", "").replace("<body>", "<body class=\"narrow\">");
    (status, html::send(format!("{head}<main><h1>seckill</h1>\n{said}{FORM}"))).into_response()
}

/// `POST /sign-in` with the form's `token`: a session, and the way to the console.
pub(super) async fn sign_in(
    State(plane): State<Arc<ControlPlane>>,
    headers: HeaderMap,
    Extension(Peer(peer)): Extension<Peer>,
    Extension(id): Extension<RequestId>,
    body: Bytes,
) -> Response {
    if is_foreign_page(&Method::POST, &headers) {
        return foreign_page().into_response();
    }
    if !plane.asks_for_token() {
        return Redirect::to("/").into_response();
    }
    let token = form_urlencoded::parse(&body).find(|(name, _)| name == "token");
    let token = token.map_or(String::new(), |(_, token)| token.trim().to_owned());
    let Some(caller) = plane.tokens.caller(token.as_bytes()) else {
        return match plane.note_wrong_token(Some(Peer(peer)), &id) {
            Verdict::TooMany => {
                let said = "There were many wrong tokens from your address. Wait a minute.";
                let mut answer = page(StatusCode::TOO_MANY_REQUESTS, Some(said));
                answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("60"));
                answer
            }
            Verdict::Told | Verdict::Heard => {
                page(StatusCode::UNAUTHORIZED, Some("No such token is known here."))
            }
        };
    };
    let (now, session_s) = (plane.now(), plane.settings.session_s);
    let cookie = plane.sessions.begin(&caller, &token, now, session_s, plane.settings.tls.is_on());
    tracing::info!(who = &*caller.name, role = caller.role.as_str(), address = %peer.ip(), "signed in");
    with_cookie(Redirect::to("/"), cookie)
}

/// `POST /sign-out`: the session is over.
pub(super) async fn sign_out(State(plane): State<Arc<ControlPlane>>, headers: HeaderMap) -> Response {
    if is_foreign_page(&Method::POST, &headers) {
        return foreign_page().into_response();
    }
    let cookie = plane.sessions.end(&headers, &plane.tokens, plane.now(), plane.settings.tls.is_on());
    with_cookie(Redirect::to("/"), cookie)
}

fn with_cookie(answer: Redirect, cookie: String) -> Response {
    let mut answer = answer.into_response();
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        answer.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    answer
}
