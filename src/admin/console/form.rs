//! Forms: what a browser sends, as the API's bodies; and what the API answers, as pages.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Request};
use axum::http::Extensions;
use axum::response::{IntoResponse, Redirect, Response};
use serde_json::{Map, Value};

use super::super::caller::Caller;
use super::super::control_plane::ControlPlane;
use super::super::problem::Problem;
use super::html::{Page, Text};

/// The sender of a form, what is known of the request, and its body.
pub(super) async fn sent(
    request: Request,
    plane: &Arc<ControlPlane>,
) -> (Caller, Extensions, Result<Bytes, BytesRejection>) {
    let extensions = request.extensions().clone();
    let caller = extensions.get::<Caller>().cloned().unwrap_or_else(Caller::local);
    (caller, extensions, Bytes::from_request(request, plane).await)
}

/// The fields of a form.
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// The fields of a request's body, without blanks around them.
    pub fn of_body(body: Result<Bytes, BytesRejection>) -> Result<Self, Problem> {
        let body = body.map_err(|_| Problem::malformed("The form did not arrive whole, or is too large."))?;
        let fields = form_urlencoded::parse(&body);
        Ok(Self(fields.map(|(name, value)| (name.into_owned(), value.trim().to_owned())).collect()))
    }

    /// The fields of a query, likewise.
    pub fn of_pairs(pairs: Vec<(String, String)>) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name, value.trim().to_owned())).collect())
    }

    /// A field that is filled in.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(of, value)| of == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// The same with another value of a field.
    pub fn with(&self, name: &str, value: &str) -> Self {
        let others = self.0.iter().filter(|(of, _)| of != name).cloned();
        Self(others.chain([(name.to_owned(), value.to_owned())]).collect())
    }

    /// The API's body with these fields, as far as they are filled in. Numbers and truth values are written as such where
    /// they are some; what they must be is the API's to say.
    pub fn body(&self, texts: &[&str], values: &[&str]) -> Result<Bytes, BytesRejection> {
        Ok(Bytes::from(Value::Object(self.object(texts, values)).to_string()))
    }

    /// The same, before it is written.
    pub fn object(&self, texts: &[&str], values: &[&str]) -> Map<String, Value> {
        let as_text = |name: &&str| Some(((*name).to_owned(), Value::from(self.field(name)?)));
        let as_value = |name: &&str| {
            let text = self.field(name)?;
            Some(((*name).to_owned(), serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))))
        };
        texts.iter().filter_map(as_text).chain(values.iter().filter_map(as_value)).collect()
    }
}

/// What a form's sender sees: the page that `back` leads to, or what was wrong and the way back there.
pub(super) fn answer<T>(
    outcome: Result<T, Problem>,
    plane: &ControlPlane,
    caller: &Caller,
    back: &str,
) -> Response {
    let problem = match outcome {
        Ok(_) => return Redirect::to(back).into_response(),
        Err(problem) => problem,
    };
    let body = format!(
        "<p role=\"alert\" class=\"wrong\">{}</p><p><a href=\"{}\">Back</a></p>",
        Text(problem.detail()),
        Text(back)
    );
    (problem.status(), Page::new(plane, caller, "That was not done", body).answer()).into_response()
}
