//! The document of a plane.

use bytes::Bytes;
use ring::digest::{SHA256, digest};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::operation::{Access, Answer, Content, Items, Operation, Parameter};
use super::problem::{ProblemKind, title_of};

/// The version of the specification that documents keep.
const OPENAPI: &str = "3.1.1";
/// Where schemas are in a document.
const SCHEMAS: &str = "/components/schemas";
/// The media type of problems.
const PROBLEM: &str = "application/problem+json";

/// What a plane answers.
#[derive(Debug)]
pub struct Description {
    /// What the plane is called.
    pub title: &'static str,
    /// What holds for all of its operations, as Markdown.
    pub about: &'static str,
    /// The headings of operations, in their order, and what stands under each.
    pub tags: &'static [(&'static str, &'static str)],
    /// Ways to say who asks, as security schemes.
    pub schemes: Value,
    /// Their names: a caller uses one of them.
    pub accepts: &'static [&'static str],
    /// All kinds of problems.
    pub kinds: Vec<ProblemKind>,
    /// Which of them an operation may answer with beside its own.
    pub common: fn(&Operation) -> Vec<ProblemKind>,
    /// The operations, in their order.
    pub operations: Vec<Operation>,
}

/// 16 digits that another text does not have.
pub fn fingerprint(text: &str) -> String {
    let hash = digest(&SHA256, text.as_bytes());
    hash.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A document as it is sent.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its text: JSON.
    pub text: Bytes,
    /// Its entity tag: another document has another.
    pub etag: String,
}

impl Document {
    /// How long caches may keep it: whoever upgrades an engine sees the new one within minutes.
    pub const CACHE_CONTROL: &'static str = "public, max-age=300";

    fn new(text: String) -> Self {
        let etag = format!("\"{}\"", fingerprint(&text));
        Self { text: text.into(), etag }
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text).expect("it was made of a text")
    }

    /// Whether a client that sends this `If-None-Match` has the document already.
    pub fn is_known(&self, if_none_match: &[u8]) -> bool {
        let mut tags = if_none_match.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        tags.any(|tag| tag == b"*" || tag.strip_prefix(b"W/").unwrap_or(tag) == self.etag.as_bytes())
    }
}

/// Schemas of what is sent, where a member may be missing, and of what is answered, where each is there.
struct Schemas {
    sent: SchemaGenerator,
    answered: SchemaGenerator,
}

impl Schemas {
    fn new() -> Self {
        let settings = SchemaSettings::draft2020_12().with(|settings| {
            settings.definitions_path = SCHEMAS.into();
            settings.meta_schema = None;
        });
        let sent = settings.clone().for_deserialize().into_generator();
        Self { sent, answered: settings.for_serialize().into_generator() }
    }

    fn all(mut self) -> Map<String, Value> {
        let mut all = self.sent.take_definitions(true);
        for (name, schema) in self.answered.take_definitions(true) {
            let other = all.insert(name.clone(), schema.clone());
            assert!(other.is_none_or(|other| other == schema), "two schemas are called {name}");
        }
        all
    }
}

impl Description {
    /// The document.
    pub fn document<P: JsonSchema>(&self) -> Document {
        let mut schemas = Schemas::new();
        let problem = schemas.answered.subschema_for::<P>().to_value();
        let mut paths = Map::new();
        for operation in &self.operations {
            let methods = paths.entry(operation.path).or_insert_with(|| json!({}));
            methods[operation.method.as_str().to_ascii_lowercase()] =
                self.operation(operation, &problem, &mut schemas);
        }
        let kinds: Map<_, _> = self.kinds.iter().map(|kind| (kind.code.to_owned(), told(kind))).collect();
        let tags: Vec<_> =
            self.tags.iter().map(|(name, about)| json!({ "name": name, "description": about })).collect();
        let document = json!({
            "openapi": OPENAPI,
            "info": {
                "title": self.title,
                "version": env!("CARGO_PKG_VERSION"),
                "description": self.about,
                "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
            },
            "servers": [{ "url": "/" }],
            "tags": tags,
            "paths": paths,
            "components": {
                "schemas": schemas.all(),
                "headers": headers(),
                "securitySchemes": self.schemes,
            },
            "x-problems": kinds,
        });
        Document::new(document.to_string())
    }

    fn operation(&self, operation: &Operation, problem: &Value, schemas: &mut Schemas) -> Value {
        let mut answers = Map::new();
        for answer in &operation.answers {
            answers.insert(answer.status.to_string(), answered(answer, schemas));
        }
        let mut kinds = operation.problems.clone();
        kinds.extend((self.common)(operation));
        kinds.sort_by_key(|kind| (kind.status, kind.code));
        kinds.dedup_by_key(|kind| kind.code);
        for of_status in kinds.chunk_by(|one, next| one.status == next.status) {
            let status = of_status[0].status.to_string();
            let refused = refused(of_status, problem);
            let answer = answers.entry(status).or_insert_with(|| json!({}));
            merge(answer, refused);
        }
        let parameters: Vec<_> = operation.parameters.iter().map(parameter).collect();
        let mut told = json!({
            "operationId": operation.id,
            "tags": [operation.tag],
            "summary": operation.summary,
            "description": format!("{}{}", operation.about, needs(operation.access)),
            "parameters": parameters,
            "responses": answers,
        });
        if let Some((content, is_required)) = &operation.body {
            told["requestBody"] = json!({
                "required": is_required,
                "content": { content.media_type: media(content, &mut schemas.sent) },
            });
        }
        let schemes = self.accepts.iter().filter(|_| operation.access != Access::Anybody);
        told["security"] = schemes.map(|scheme| json!({ *scheme: [] })).collect();
        told
    }
}

/// Adds the members of `more`, and those of the objects in it.
fn merge(value: &mut Value, more: Value) {
    if value.is_null() {
        *value = more;
    } else if let (Value::Object(members), Value::Object(more)) = (value, more) {
        for (name, member) in more {
            merge(members.entry(name).or_insert(Value::Null), member);
        }
    }
}

/// What an operation says of who may ask.
const fn needs(access: Access) -> &'static str {
    match access {
        Access::Anybody | Access::Buyer | Access::Viewer => "",
        Access::Operator => " Needs the role `operator`.",
        Access::Admin => " Needs the role `admin`.",
        Access::AdminOfAll => " Needs the role `admin`, bound to no tenant.",
    }
}

fn told(kind: &ProblemKind) -> Value {
    json!({
        "status": kind.status,
        "title": title_of(kind.code),
        "meaning": kind.meaning,
        "what_helps": kind.cure,
        "page": format!("{}{}", ProblemKind::PATH, kind.code),
    })
}

fn parameter(parameter: &Parameter) -> Value {
    let mut told = json!({
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.place == "path",
        "description": parameter.about,
        "schema": parameter.schema,
    });
    if let Some(example) = parameter.example {
        told["example"] = example.into();
    }
    told
}

fn media(content: &Content, generator: &mut SchemaGenerator) -> Value {
    let Some(schema) = content.schema else { return json!({ "schema": { "type": "string" } }) };
    let schema = schema(generator).to_value();
    // OpenAPI 3.1 has no word for the items of a sequence; 3.2 calls it itemSchema. Of events, tools take the schema
    // for that of one event.
    match content.items {
        Items::One => json!({ "schema": schema }),
        Items::Lines => json!({ "schema": { "type": "string" }, "x-item-schema": schema }),
        Items::Events => json!({
            "schema": {
                "type": "object",
                "properties": {
                    "event": { "type": "string" },
                    "id": { "type": "string" },
                    "data": { "type": "string", "contentMediaType": "application/json", "contentSchema": schema },
                },
                "required": ["event", "id", "data"],
            },
            "x-item-schema": schema,
        }),
    }
}

fn answered(answer: &Answer, schemas: &mut Schemas) -> Value {
    let mut names = answer.headers.clone();
    if !answer.is_public {
        names.push("X-Request-ID");
    }
    let mut told = json!({ "description": answer.about, "headers": references(&names) });
    for content in &answer.content {
        told["content"][content.media_type] = media(content, &mut schemas.answered);
    }
    if let Some(link) = &answer.link {
        told["links"] = json!({
            link.to: {
                "operationId": link.to,
                "parameters": { link.parameter: format!("$response.body#/{}", link.member) },
            },
        });
    }
    told
}

/// All kinds that are answered with one status.
fn refused(kinds: &[ProblemKind], problem: &Value) -> Value {
    let codes: Vec<_> = kinds.iter().map(|kind| kind.code).collect();
    let linked = |code: &&str| format!("[`{code}`]({}{code})", ProblemKind::PATH);
    let names: &[_] = match kinds[0].status {
        401 => &["X-Request-ID", "WWW-Authenticate"],
        405 => &["X-Request-ID", "Allow"],
        429 => &["X-Request-ID", "Retry-After", "RateLimit", "RateLimit-Policy"],
        402 | 403 | 409 | 503 => &["X-Request-ID", "Retry-After"],
        _ => &["X-Request-ID"],
    };
    let mut schema = problem.clone();
    schema["properties"] = json!({ "code": { "enum": codes }, "status": { "const": kinds[0].status } });
    json!({
        "description": codes.iter().map(linked).collect::<Vec<_>>().join(", "),
        "headers": references(names),
        "content": { PROBLEM: { "schema": schema } },
    })
}

fn references(names: &[&'static str]) -> Value {
    let known = headers();
    let references = names.iter().map(|name| {
        assert!(known.get(name).is_some(), "{name} is no header field that documents know");
        ((*name).to_owned(), json!({ "$ref": format!("#/components/headers/{name}") }))
    });
    Value::Object(references.collect())
}

/// The header fields of answers.
fn headers() -> Value {
    let text = |about: &str| json!({ "description": about, "schema": { "type": "string" } });
    let seconds =
        |about: &str| json!({ "description": about, "schema": { "type": "integer", "minimum": 1 } });
    json!({
        "X-Request-ID": {
            "description": "What the request is called in logs: as it was sent, or a made one.",
            "required": true,
            "schema": { "type": "string", "minLength": 1, "maxLength": 128 },
        },
        "Location": text("Where what was made, or is on its way, can be looked at."),
        "Retry-After": seconds("When to come back, in seconds, where that can help."),
        "RateLimit": text("Whose rate is used up, and for how many seconds."),
        "RateLimit-Policy": text("That rate, a second."),
        "Allow": text("The methods of this path."),
        "Content-Disposition": text("The name under which a file is saved."),
        "WWW-Authenticate": text("How to say who asks."),
        "ETag": text("The version of what is shown, for `If-Match` or `If-None-Match`."),
        "Cache-Control": text("Who may keep the answer, and for how long."),
        "Link": text("The next page, as `<path>; rel=\"next\"`; missing on the last one."),
        "Set-Cookie": text("The pass as the cookie `sale_pass`, for browsers."),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_has_the_document_says_so() {
        let document = Document::new("{}".into());
        let etag = &document.etag;
        for known in [etag.clone(), "*".into(), format!("W/{etag}"), format!("\"x\", {etag}")] {
            assert!(document.is_known(known.as_bytes()), "{known}");
        }
        for other in ["", "\"x\"", etag.trim_matches('"')] {
            assert!(!document.is_known(other.as_bytes()), "{other}");
        }
        assert_ne!(Document::new("{ }".into()).etag, *etag);
    }
}
