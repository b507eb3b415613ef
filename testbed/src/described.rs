//! Holds what a plane answers against the OpenAPI document that it serves.
//!
//! Stricter than the document says to its readers: an answer with a member that is not described is a failure here,
//! so that nothing is told that nobody documented.

use std::collections::{BTreeSet, HashMap};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};

use jsonschema::{Draft, Validator};
use serde_json::{Map, Value, json};

use crate::client::Answer;
use crate::servers::engine::binary;

/// A plane's document, and which of its answers were seen.
#[derive(Debug)]
pub struct Described {
    document: Value,
    /// The schemas of the document, which allow no member that they do not name.
    components: Value,
    validators: Mutex<HashMap<String, Arc<Validator>>>,
    seen: Mutex<BTreeSet<Seen>>,
}

/// An answer that was seen.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Seen {
    /// The name of the operation; none where the path or the method is not one of the plane.
    pub operation: Option<String>,
    /// The status.
    pub status: u16,
    /// The code, of a problem.
    pub code: Option<String>,
}

/// The data plane of the engine that tests start.
pub fn edge() -> &'static Described {
    static EDGE: OnceLock<Described> = OnceLock::new();
    EDGE.get_or_init(|| Described::new(printed("edge")))
}

/// Its admin plane.
pub fn admin() -> &'static Described {
    static ADMIN: OnceLock<Described> = OnceLock::new();
    ADMIN.get_or_init(|| Described::new(printed("admin")))
}

/// The document of a plane, as the engine prints it.
fn printed(plane: &str) -> Value {
    let output = Command::new(binary()).args(["openapi", plane]).output().expect("the engine is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("a document is JSON")
}

impl Described {
    /// What this document says.
    pub fn new(document: Value) -> Self {
        let mut components = json!({ "schemas": document["components"]["schemas"] });
        close(&mut components);
        Self { document, components, validators: Mutex::default(), seen: Mutex::default() }
    }

    /// The document.
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// The names of all operations.
    pub fn operations(&self) -> BTreeSet<String> {
        let paths = self.document["paths"].as_object().into_iter().flat_map(Map::values);
        let operations = paths.filter_map(Value::as_object).flat_map(Map::values);
        operations.filter_map(|operation| operation["operationId"].as_str().map(str::to_owned)).collect()
    }

    /// All codes of problems.
    pub fn codes(&self) -> BTreeSet<String> {
        self.document["x-problems"].as_object().into_iter().flat_map(Map::keys).cloned().collect()
    }

    /// The answers that this process has held against the document so far.
    pub fn seen(&self) -> BTreeSet<Seen> {
        self.seen.lock().unwrap_or_else(|broken| broken.into_inner()).clone()
    }

    /// Fails unless the answer is one that the document describes.
    ///
    /// # Panics
    /// It is not; says why.
    #[track_caller]
    pub fn hold(&self, method: &str, target: &str, answer: &Answer) {
        let wrong = self.wrong(method, target, answer);
        assert!(
            wrong.is_empty(),
            "{method} {target} answers {} {:?} with {:?}, which the document does not say:\n  {}",
            answer.status,
            answer.fields,
            answer.body,
            wrong.join("\n  ")
        );
    }

    /// Why the answer is none that the document describes; nothing where it is one.
    pub fn wrong(&self, method: &str, target: &str, answer: &Answer) -> Vec<String> {
        let path = target.split('?').next().unwrap_or_default();
        let is_head = method == "HEAD";
        let asked = if is_head { "GET" } else { method };
        let media_type =
            answer.field("content-type").unwrap_or_default().split(';').next().unwrap_or_default();
        let is_problem = media_type == "application/problem+json";
        let operation = self.operation(path).and_then(|at_path| at_path.get(&asked.to_ascii_lowercase()));
        let code = (is_problem && !is_head).then(|| answer.member("code"));
        let name = operation.and_then(|operation| operation["operationId"].as_str());
        self.seen.lock().unwrap_or_else(|broken| broken.into_inner()).insert(Seen {
            operation: name.map(str::to_owned),
            status: answer.status,
            code: code.clone(),
        });
        let Some(operation) = operation else {
            return self.wrong_elsewhere(path, media_type, code.as_deref(), answer);
        };
        let Some(response) = operation["responses"].get(answer.status.to_string()) else {
            return vec![format!("{} has no answer {}", operation["operationId"], answer.status)];
        };
        let mut wrong = self.wrong_fields(response, answer);
        let Some(content) = response.get("content").filter(|_| !is_head) else {
            if !answer.body.is_empty() && !is_head {
                wrong.push("there is a body".into());
            }
            return wrong;
        };
        match content.get(media_type) {
            Some(content) => wrong.extend(self.wrong_body(content, media_type, &answer.body)),
            None => wrong.push(format!("it is {media_type}")),
        }
        wrong
    }

    /// Why a request with this body is none that the document describes; nothing where it is one.
    pub fn wrong_request(&self, method: &str, path: &str, body: &str) -> Vec<String> {
        let operation = self.operation(path).and_then(|at_path| at_path.get(&method.to_ascii_lowercase()));
        let content =
            operation.and_then(|operation| operation["requestBody"]["content"].get("application/json"));
        match content {
            Some(content) => self.wrong_text(&content["schema"], body),
            None => vec![format!("there is no {method} {path} with a body")],
        }
    }

    /// Where there is no operation: a problem of the plane, or something of the console's, which is for people.
    fn wrong_elsewhere(
        &self,
        path: &str,
        media_type: &str,
        code: Option<&str>,
        answer: &Answer,
    ) -> Vec<String> {
        let is_page = ["text/html", "text/css", "text/javascript"].contains(&media_type);
        let is_preflight = answer.status == 204 && answer.field("access-control-allow-methods").is_some();
        if is_page || is_preflight || answer.status == 303 || path == "/trail.ndjson" {
            return Vec::new();
        }
        let Some(kind) = code.and_then(|code| self.document["x-problems"].get(code)) else {
            return vec!["there is no such operation".into()];
        };
        if kind["status"] != answer.status {
            return vec![format!("this code has the status {}", kind["status"])];
        }
        let content = json!({ "schema": { "$ref": "#/components/schemas/Problem" } });
        self.wrong_body(&content, media_type, &answer.body)
    }

    /// The methods of the path that this one is an example of.
    fn operation(&self, path: &str) -> Option<&Map<String, Value>> {
        let parts: Vec<_> = path.split('/').collect();
        let literals = |template: &str| {
            let template: Vec<_> = template.split('/').collect();
            let fits = template.len() == parts.len()
                && template.iter().zip(&parts).all(|(template, part)| {
                    *template == *part || template.starts_with('{') && !part.is_empty()
                });
            fits.then(|| template.iter().filter(|part| !part.starts_with('{')).count())
        };
        let paths = self.document["paths"].as_object()?;
        let fitting = paths.iter().filter_map(|(template, methods)| Some((literals(template)?, methods)));
        fitting.max_by_key(|(literals, _)| *literals)?.1.as_object()
    }

    fn wrong_fields(&self, response: &Value, answer: &Answer) -> Vec<String> {
        let mut wrong = Vec::new();
        let described = response["headers"].as_object().into_iter().flatten();
        for (name, _) in described {
            let header = &self.document["components"]["headers"][name];
            let sent = answer.field(&name.to_ascii_lowercase());
            let Some(sent) = sent else {
                if header["required"] == true {
                    wrong.push(format!("{name} is missing"));
                }
                continue;
            };
            let value = if header["schema"]["type"] == "integer" {
                sent.parse::<u64>().map_or_else(|_| sent.into(), Value::from)
            } else {
                sent.into()
            };
            wrong.extend(
                self.mismatches(&header["schema"], &value).into_iter().map(|why| format!("{name}: {why}")),
            );
        }
        wrong
    }

    fn wrong_body(&self, content: &Value, media_type: &str, body: &str) -> Vec<String> {
        if let Some(item) = content.get("x-item-schema") {
            let lines = body.lines().filter_map(|line| match media_type {
                "text/event-stream" => line.strip_prefix("data:").map(str::trim_start),
                _ => Some(line),
            });
            return lines.flat_map(|line| self.wrong_text(item, line)).collect();
        }
        match media_type {
            "application/json" | "application/problem+json" => self.wrong_text(&content["schema"], body),
            _ => Vec::new(),
        }
    }

    fn wrong_text(&self, schema: &Value, text: &str) -> Vec<String> {
        match serde_json::from_str(text) {
            Ok(value) => self.mismatches(schema, &value),
            Err(error) => vec![format!("{text:?} is no JSON: {error}")],
        }
    }

    fn mismatches(&self, schema: &Value, value: &Value) -> Vec<String> {
        let key = schema.to_string();
        let mut validators = self.validators.lock().unwrap_or_else(|broken| broken.into_inner());
        let validator = Arc::clone(validators.entry(key).or_insert_with(|| Arc::new(self.validator(schema))));
        drop(validators);
        validator
            .iter_errors(value)
            .map(|error| format!("at {:?}: {error}", error.instance_path().to_string()))
            .collect()
    }

    fn validator(&self, schema: &Value) -> Validator {
        let mut schema = schema.clone();
        close(&mut schema);
        let schema = json!({ "components": self.components, "allOf": [schema] });
        let options = jsonschema::options().with_draft(Draft::Draft202012).should_validate_formats(true);
        options.build(&schema).unwrap_or_else(|error| panic!("{error} in a schema of the document"))
    }
}

/// Allows no members beside those that are named.
fn close(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if members.get("type").is_some_and(|kind| kind == "object") && members.contains_key("properties")
            {
                members.entry("additionalProperties").or_insert(false.into());
            }
            members.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}
