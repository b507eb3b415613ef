//! One operation of a plane: what is sent, what is answered, who may ask.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Value, json};

use super::problem::ProblemKind;

/// The method of an operation. `HEAD` is `GET` without the body, everywhere, and is not described apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Looks.
    Get,
    /// Makes or does something.
    Post,
    /// Changes something.
    Patch,
    /// Ends something.
    Delete,
}

impl Method {
    /// All methods.
    pub const ALL: [Self; 4] = [Self::Get, Self::Post, Self::Patch, Self::Delete];

    /// The method as it is sent.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// Who may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Whoever reaches the plane.
    Anybody,
    /// A buyer who says, or proves, who he is.
    Buyer,
    /// An operator's token of any role.
    Viewer,
    /// One of the role `operator` or `admin`.
    Operator,
    /// One of the role `admin`.
    Admin,
    /// One of the role `admin` that is bound to no tenant.
    AdminOfAll,
}

/// What makes the schema of a body.
pub type SchemaOf = fn(&mut SchemaGenerator) -> Schema;

/// A body.
#[derive(Clone, Copy, Debug)]
pub struct Content {
    /// Its media type.
    pub media_type: &'static str,
    /// What it holds; of [`Content::lines`] and [`Content::events`] each line or event.
    pub schema: Option<SchemaOf>,
    /// Whether that is all, or one of many.
    pub items: Items,
}

/// How many things a body holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Items {
    /// One.
    One,
    /// One a line.
    Lines,
    /// One in the data of each server-sent event.
    Events,
}

impl Content {
    /// One JSON document.
    pub fn json<T: JsonSchema>() -> Self {
        Self { media_type: "application/json", schema: Some(schema_of::<T>), items: Items::One }
    }

    /// A JSON document a line.
    pub fn lines<T: JsonSchema>() -> Self {
        Self { media_type: "application/x-ndjson", schema: Some(schema_of::<T>), items: Items::Lines }
    }

    /// Server-sent events whose data are JSON documents.
    pub fn events<T: JsonSchema>() -> Self {
        Self { media_type: "text/event-stream", schema: Some(schema_of::<T>), items: Items::Events }
    }

    /// A text.
    pub const fn text(media_type: &'static str) -> Self {
        Self { media_type, schema: None, items: Items::One }
    }
}

fn schema_of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// Something in the path, the query or the header of a request.
#[derive(Clone, Debug)]
pub struct Parameter {
    pub(super) name: &'static str,
    pub(super) place: &'static str,
    pub(super) about: String,
    pub(super) schema: Value,
    pub(super) example: Option<&'static str>,
}

impl Parameter {
    /// A part of the path; a text of any kind unless [`Parameter::of`] says more.
    pub fn path(name: &'static str, about: impl Into<String>) -> Self {
        Self { name, place: "path", about: about.into(), schema: json!({ "type": "string" }), example: None }
    }

    /// A parameter of the query that may be left out.
    pub fn query(name: &'static str, about: impl Into<String>) -> Self {
        Self { place: "query", ..Self::path(name, about) }
    }

    /// A header field that may be left out.
    pub fn header(name: &'static str, about: impl Into<String>) -> Self {
        Self { place: "header", ..Self::path(name, about) }
    }

    /// The same, which keeps this schema.
    #[must_use]
    pub fn of(self, schema: Value) -> Self {
        Self { schema, ..self }
    }

    /// The same, with an example.
    #[must_use]
    pub fn such_as(self, example: &'static str) -> Self {
        Self { example: Some(example), ..self }
    }
}

/// An answer that is no problem.
#[derive(Clone, Debug)]
pub struct Answer {
    pub(super) status: u16,
    pub(super) about: String,
    pub(super) content: Vec<Content>,
    pub(super) headers: Vec<&'static str>,
    pub(super) link: Option<Link>,
    pub(super) is_public: bool,
}

/// What can be asked next with something of the answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub to: &'static str,
    pub parameter: &'static str,
    pub member: &'static str,
}

impl Answer {
    /// With this status and this body.
    pub fn new(status: u16, about: impl Into<String>, content: Content) -> Self {
        Self { content: vec![content], ..Self::empty(status, about) }
    }

    /// With a JSON body.
    pub fn json<T: JsonSchema>(status: u16, about: impl Into<String>) -> Self {
        Self::new(status, about, Content::json::<T>())
    }

    /// Without a body.
    pub fn empty(status: u16, about: impl Into<String>) -> Self {
        Self {
            status,
            about: about.into(),
            content: Vec::new(),
            headers: Vec::new(),
            link: None,
            is_public: false,
        }
    }

    /// Or with this body, where the client prefers it.
    #[must_use]
    pub fn or(mut self, content: Content) -> Self {
        self.content.push(content);
        self
    }

    /// With a header field that the document lists.
    #[must_use]
    pub fn with(mut self, header: &'static str) -> Self {
        self.headers.push(header);
        self
    }

    /// The same for everybody: caches may keep it as `Cache-Control` says, and it carries nobody's request id.
    #[must_use]
    pub fn public(self) -> Self {
        Self { is_public: true, ..self.with("Cache-Control") }
    }

    /// With the operation that goes on from it: its `parameter` is the body's `member`.
    #[must_use]
    pub fn leads_to(self, to: &'static str, parameter: &'static str, member: &'static str) -> Self {
        Self { link: Some(Link { to, parameter, member }), ..self }
    }
}

/// One method of one path.
#[derive(Clone, Debug)]
pub struct Operation {
    /// The method.
    pub method: Method,
    /// The path, with its parameters in braces.
    pub path: &'static str,
    /// Who may ask.
    pub access: Access,
    pub(super) id: &'static str,
    pub(super) tag: &'static str,
    pub(super) summary: &'static str,
    pub(super) about: &'static str,
    pub(super) parameters: Vec<Parameter>,
    pub(super) body: Option<(Content, bool)>,
    pub(super) answers: Vec<Answer>,
    pub(super) problems: Vec<ProblemKind>,
}

impl Operation {
    /// An operation of this name, which generated clients call it by, and what it does in some words.
    pub fn new(method: Method, path: &'static str, id: &'static str, summary: &'static str) -> Self {
        Self {
            method,
            path,
            access: Access::Anybody,
            id,
            tag: "",
            summary,
            about: "",
            parameters: Vec::new(),
            body: None,
            answers: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// What there is to say beyond the summary.
    #[must_use]
    pub fn about(self, about: &'static str) -> Self {
        Self { about, ..self }
    }

    /// The heading under which it stands.
    #[must_use]
    pub fn tag(self, tag: &'static str) -> Self {
        Self { tag, ..self }
    }

    /// Who may ask; whoever reaches the plane, if this is not said.
    #[must_use]
    pub fn access(self, access: Access) -> Self {
        Self { access, ..self }
    }

    /// What the request may say in its path, query and header.
    #[must_use]
    pub fn takes(mut self, parameters: impl IntoIterator<Item = Parameter>) -> Self {
        self.parameters.extend(parameters);
        self
    }

    /// The body that the request has to have.
    #[must_use]
    pub fn body<T: JsonSchema>(self) -> Self {
        Self { body: Some((Content::json::<T>(), true)), ..self }
    }

    /// The body that the request may have.
    #[must_use]
    pub fn body_if_any<T: JsonSchema>(self) -> Self {
        Self { body: Some((Content::json::<T>(), false)), ..self }
    }

    /// An answer that is no problem.
    #[must_use]
    pub fn answers(mut self, answer: Answer) -> Self {
        self.answers.push(answer);
        self
    }

    /// The problems of its own, beside those that the plane has everywhere.
    #[must_use]
    pub fn refuses(mut self, problems: impl IntoIterator<Item = impl Into<ProblemKind>>) -> Self {
        self.problems.extend(problems.into_iter().map(Into::into));
        self
    }
}
