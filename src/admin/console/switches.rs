//! Stopping all sales at once, and going on.

use std::sync::Arc;

use axum::Extension;
use axum::extract::Request;
use axum::extract::State;
use axum::http::Extensions;
use axum::response::Response;

use super::super::acting::Acting;
use super::super::caller::Caller;
use super::super::control_plane::ControlPlane;
use super::super::problem::{Code, Problem};
use super::super::stops;
use super::form::{Form, answer, sent};
use super::html::{Page, Text, act_form, may_act};

/// What is typed to stop sales.
const WORD: &str = "stop";

/// A form that lets sales go on: a tenant's, or all.
pub(super) fn go_form(tenant: Option<&str>) -> String {
    let (what, fields) = match tenant {
        None => ("all sales".to_owned(), "<input type=\"hidden\" name=\"all\" value=\"true\">".to_owned()),
        Some(tenant) => (
            format!("the sales of {tenant}"),
            format!("<input type=\"hidden\" name=\"tenant\" value=\"{}\">", Text(tenant)),
        ),
    };
    act_form("/go", &format!("Let {what} go on"), "go", "it is mended", &fields)
}

/// `GET /stop`: what will happen, and where to say so.
pub(super) async fn confirm(
    State(plane): State<Arc<ControlPlane>>,
    Extension(caller): Extension<Caller>,
) -> Response {
    let mut body = String::from(
        "<p>Nobody can buy from the moment on, on every node, until the sales go on again: buyers are told \
         <code>sale-paused</code>. Who holds an order can pay it all the same. Nothing is lost by stopping.</p>\n",
    );
    let of = match &caller.tenant {
        Some(tenant) => format!("<input type=\"hidden\" name=\"tenant\" value=\"{}\">", Text(tenant)),
        None => "<label>Whose sales <input name=\"tenant\" placeholder=\"all tenants\"></label>".to_owned(),
    };
    let fields = format!(
        "{of}<label>Type <b>{WORD}</b> <input name=\"confirm\" required autocomplete=\"off\"></label>"
    );
    if may_act(&caller) {
        body.push_str(&act_form("/stop", "Stop sales", "danger", "", &fields));
    }
    Page::new(&plane, &caller, "Stop sales at once", body).answer()
}

/// `POST /stop`
pub(super) async fn stop(State(plane): State<Arc<ControlPlane>>, request: Request) -> Response {
    let (caller, extensions, body) = sent(request, &plane).await;
    let stopped = async {
        let form = Form::of_body(body)?;
        if form.field("confirm") != Some(WORD) {
            return Err(Problem::field("confirm", format!("must be the word {WORD}")));
        }
        change(&plane, &caller, &extensions, &form, true).await
    };
    answer(stopped.await, &plane, &caller, "/")
}

/// `POST /go`
pub(super) async fn go(State(plane): State<Arc<ControlPlane>>, request: Request) -> Response {
    let (caller, extensions, body) = sent(request, &plane).await;
    let gone_on = async {
        let form = Form::of_body(body)?;
        change(&plane, &caller, &extensions, &form, false).await
    };
    answer(gone_on.await, &plane, &caller, "/")
}

async fn change(
    plane: &Arc<ControlPlane>,
    caller: &Caller,
    extensions: &Extensions,
    form: &Form,
    is_stopped: bool,
) -> Result<(), Problem> {
    let tenant = form.field("tenant");
    if let Some(tenant) = tenant.filter(|tenant| !caller.sees(tenant)) {
        let detail = format!("The token is not for the tenant {tenant}.");
        return Err(Problem::new(Code::ForeignTenant, detail));
    }
    let acting = Acting::of(extensions, tenant.or(caller.tenant.as_deref()));
    let form = form.with("all", if tenant.is_none() && caller.tenant.is_none() { "true" } else { "false" });
    let body = form.body(&["reason"], &["all"]);
    let plane = State(Arc::clone(plane));
    match is_stopped {
        true => stops::stop(plane, acting, body).await,
        false => stops::go(plane, acting, body).await,
    }
    .map(drop)
}
