//! The rules of Elasticsearch and OpenSearch: documents with versions in indices, and aliases that lead to indices.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::wire::{Reply, Request};
use super::{Judge, Kind};

/// A document, or that one was removed.
#[derive(Clone, Debug)]
struct Kept {
    version: u64,
    document: Option<Value>,
}

#[derive(Clone, Debug, Default)]
struct Index {
    documents: BTreeMap<String, Kept>,
    properties: Map<String, Value>,
}

#[derive(Default)]
pub(super) struct Elastic {
    indices: BTreeMap<String, Index>,
    aliases: BTreeMap<String, BTreeSet<String>>,
    judge: Option<Judge>,
}

fn error(status: u16, kind: &str, reason: &str) -> Reply {
    Reply::new(status, json!({ "error": { "type": kind, "reason": reason }, "status": status }))
}

fn no_index(name: &str) -> Reply {
    error(404, "index_not_found_exception", &format!("no such index [{name}]"))
}

/// A request that no client should send.
fn illegal(reason: &str) -> Reply {
    error(400, "illegal_argument_exception", reason).breaking(reason)
}

/// What one document hears that is not taken.
fn refusal(status: u16) -> Value {
    let kind = if status == 429 { "es_rejected_execution_exception" } else { "document_parsing_exception" };
    json!({ "status": status, "error": { "type": kind, "reason": "not this one" } })
}

impl Kind for Elastic {
    fn answer(&mut self, request: &Request) -> Reply {
        if !request.body.is_empty() {
            let kind = request.header("content-type").unwrap_or_default();
            let is_known = kind.starts_with("application/json")
                || kind == "application/x-ndjson" && request.path.ends_with("/_bulk");
            if !is_known {
                let reason = format!("Content-Type header [{kind}] is not supported");
                return error(406, "media_type_header_exception", &reason).breaking(&reason);
            }
        }
        match (request.method.as_str(), &request.parts()[..]) {
            ("POST", ["_aliases"]) => self.move_aliases(request),
            ("POST" | "PUT", [target, "_bulk"]) => self.bulk(target, request),
            ("POST" | "GET", [target, "_search"]) => self.search(target, request),
            ("POST", [target, "_delete_by_query"]) => self.delete_by_query(target, request),
            ("PUT", [name]) => self.create(name, request),
            ("GET", [target]) => match self.resolve(target) {
                found if found.is_empty() => no_index(target),
                found => Reply::new(200, found.into_iter().map(|name| (name, json!({}))).collect()),
            },
            ("DELETE", [name]) if self.aliases.contains_key(*name) => illegal(&format!(
                "The provided expression [{name}] matches an alias, specify the corresponding concrete indices instead."
            )),
            ("DELETE", [name]) => match self.indices.remove(*name) {
                Some(_) => Reply::new(200, json!({ "acknowledged": true })),
                None => no_index(name),
            },
            _ => illegal(&format!("no handler found for {} {}", request.method, request.path)),
        }
    }

    fn documents(&self) -> BTreeMap<String, Value> {
        let found = self.resolve("sales");
        let kept = found.iter().flat_map(|name| &self.indices[name].documents);
        kept.filter_map(|(id, kept)| Some((id.clone(), kept.document.clone()?))).collect()
    }

    fn indices(&self) -> Vec<String> {
        self.indices.keys().cloned().collect()
    }

    fn judge(&mut self, judge: Judge) {
        self.judge = Some(judge);
    }
}

impl Elastic {
    /// The indices that a name leads to.
    fn resolve(&self, target: &str) -> Vec<String> {
        match self.aliases.get(target) {
            Some(indices) => indices.iter().cloned().collect(),
            None => self.indices.keys().filter(|name| *name == target).cloned().collect(),
        }
    }

    fn create(&mut self, name: &str, request: &Request) -> Reply {
        let body = request.json().unwrap_or_else(|| json!({}));
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
        if !name.chars().all(is_name) || name.starts_with(['-', '_', '+']) || name.len() > 255 {
            return illegal(&format!("Invalid index name [{name}]"));
        }
        if let Some(unknown) = body
            .as_object()
            .unwrap()
            .keys()
            .find(|key| !["aliases", "mappings", "settings"].contains(&key.as_str()))
        {
            return illegal(&format!("unknown key [{unknown}] for create index"));
        }
        if self.indices.contains_key(name) || self.aliases.contains_key(name) {
            return error(
                400,
                "resource_already_exists_exception",
                &format!("index [{name}] already exists"),
            );
        }
        let properties = body["mappings"]["properties"].as_object().cloned().unwrap_or_default();
        self.indices.insert(name.to_owned(), Index { properties, ..Index::default() });
        Reply::new(200, json!({ "acknowledged": true, "shards_acknowledged": true, "index": name }))
    }

    /// All of the actions, or none.
    fn move_aliases(&mut self, request: &Request) -> Reply {
        let Some(actions) = request.json().and_then(|body| body["actions"].as_array().cloned()) else {
            return illegal("actions are missing");
        };
        let (mut indices, mut aliases) = (self.indices.clone(), self.aliases.clone());
        // Indices go first, so that an alias can take the name of one.
        for action in &actions {
            let Some(name) = action["remove_index"]["index"].as_str() else { continue };
            if indices.remove(name).is_none() {
                return no_index(name);
            }
            aliases.values_mut().for_each(|led_to| _ = led_to.remove(name));
        }
        for action in &actions {
            let Some((word, what)) = action.as_object().and_then(|action| action.iter().next()) else {
                return illegal("an action is empty");
            };
            let (index, alias) = (what["index"].as_str().unwrap_or_default(), what["alias"].as_str());
            match (word.as_str(), alias) {
                ("remove_index", _) => {}
                ("add", Some(alias)) => {
                    if !indices.contains_key(index) {
                        return no_index(index);
                    }
                    if indices.contains_key(alias) {
                        return illegal(&format!(
                            "an index exists with the same name as the alias [{alias}]"
                        ));
                    }
                    aliases.entry(alias.to_owned()).or_default().insert(index.to_owned());
                }
                _ => return illegal(&format!("unknown action [{word}]")),
            }
        }
        aliases.retain(|_, led_to| !led_to.is_empty());
        (self.indices, self.aliases) = (indices, aliases);
        Reply::new(200, json!({ "acknowledged": true }))
    }

    fn bulk(&mut self, target: &str, request: &Request) -> Reply {
        if !request.body.ends_with('\n') {
            return illegal("The bulk request must be terminated by a newline [\\n]");
        }
        let needs_alias = request.query.split('&').any(|part| part == "require_alias=true");
        let name = match &self.resolve(target)[..] {
            [name] if !needs_alias || self.aliases.contains_key(target) => Some(name.clone()),
            [_, _, ..] => return illegal(&format!("no write index is defined for alias [{target}]")),
            _ if needs_alias => None,
            _ => return illegal(&format!("[{target}] would be made by itself, without a mapping")),
        };
        let (mut items, mut lines) = (Vec::new(), request.body.split_terminator('\n'));
        while let Some(line) = lines.next() {
            let action =
                serde_json::from_str::<Map<String, Value>>(line).ok().filter(|action| action.len() == 1);
            let Some((act, told)) = action.and_then(|action| action.into_iter().next()) else {
                return illegal(&format!("Malformed action/metadata line: {line}"));
            };
            if !["index", "delete"].contains(&act.as_str()) {
                return illegal(&format!("Malformed action/metadata line: unknown action [{act}]"));
            }
            let known = ["_index", "_id", "version", "version_type"];
            if let Some(key) =
                told.as_object().and_then(|told| told.keys().find(|key| !known.contains(&key.as_str())))
            {
                return illegal(&format!("Action/metadata line contains an unknown parameter [{key}]"));
            }
            let document = match act.as_str() {
                "delete" => None,
                _ => match lines.next().map(serde_json::from_str::<Value>) {
                    Some(Ok(document)) if document.is_object() => Some(document),
                    _ => return illegal("a source is missing or no JSON object"),
                },
            };
            let outcome = match &name {
                None => {
                    let reason =
                        format!("[require_alias] request flag is [true] and [{target}] is not an alias");
                    json!({ "status": 404, "error": { "type": "index_not_found_exception", "reason": reason } })
                }
                Some(name) => {
                    let refused =
                        document.as_ref().zip(self.judge.as_mut()).and_then(|(it, judge)| judge(it));
                    let index = self.indices.get_mut(name).expect("it resolves");
                    match refused.map_or_else(|| index.step(&told, document), |status| Ok(refusal(status))) {
                        Ok(outcome) => outcome,
                        Err(reason) => return illegal(&reason),
                    }
                }
            };
            items.push(json!({ act: outcome }));
        }
        let has_errors =
            items.iter().any(|item| item.as_object().unwrap().values().any(|it| it["error"].is_object()));
        Reply::new(200, json!({ "errors": has_errors, "items": items }))
    }

    fn search(&self, target: &str, request: &Request) -> Reply {
        let found = self.resolve(target);
        if found.is_empty() {
            return no_index(target);
        }
        let wanted = request.json().unwrap_or_default();
        let Some(field) = wanted["aggs"]["newest"]["max"]["field"].as_str() else {
            return illegal("nothing else is searched for here");
        };
        let kept = found.iter().flat_map(|name| self.indices[name].documents.values());
        let newest = kept.filter_map(|kept| kept.document.as_ref()?[field].as_f64()).reduce(f64::max);
        Reply::new(200, json!({ "aggregations": { "newest": { "value": newest } } }))
    }

    fn delete_by_query(&mut self, target: &str, request: &Request) -> Reply {
        let found = self.resolve(target);
        if found.is_empty() {
            return no_index(target);
        }
        let wanted = request.json().unwrap_or_default();
        let asked = &wanted["query"]["bool"];
        let below = asked["filter"]["range"]["version"]["lt"].as_u64();
        let kept: Option<Vec<&str>> = asked["must_not"]["ids"]["values"]
            .as_array()
            .and_then(|ids| ids.iter().map(Value::as_str).collect());
        let (Some(below), Some(kept_ids)) = (below, kept) else {
            return illegal("nothing else is deleted by here");
        };
        let mut deleted = 0;
        for name in found {
            for (id, kept) in &mut self.indices.get_mut(&name).expect("it resolves").documents {
                let is_below = kept.document.as_ref().is_some_and(|it| it["version"].as_u64() < Some(below));
                if is_below && !kept_ids.contains(&id.as_str()) {
                    (kept.document, kept.version, deleted) = (None, kept.version + 1, deleted + 1);
                }
            }
        }
        Reply::new(200, json!({ "deleted": deleted, "version_conflicts": 0, "failures": [] }))
    }
}

impl Index {
    /// One action. An error is one of the whole request.
    fn step(&mut self, told: &Value, document: Option<Value>) -> Result<Value, String> {
        let id = told["_id"].as_str().unwrap_or_default().to_owned();
        if id.is_empty() || id.len() > 512 {
            return Err("id is missing or too long, must be no longer than 512 bytes".into());
        }
        let current = self.documents.get(&id).map(|kept| kept.version);
        let version = match (told["version_type"].as_str(), told["version"].as_u64()) {
            (Some("external"), Some(version)) => {
                if let Some(current) = current.filter(|current| *current >= version) {
                    let reason = format!(
                        "[{id}]: version conflict, current version [{current}] is higher or equal to the one provided [{version}]"
                    );
                    let error = json!({ "type": "version_conflict_engine_exception", "reason": reason });
                    return Ok(json!({ "_id": id, "status": 409, "error": error }));
                }
                version
            }
            (None, None) => current.unwrap_or_default() + 1,
            _ => return Err("an external version needs its number, and a number its version_type".into()),
        };
        for (field, value) in document.iter().flat_map(|document| document.as_object().expect("an object")) {
            let fits = match self.properties.get(field).and_then(|of| of["type"].as_str()) {
                Some("long") => value.is_i64() || value.is_null(),
                Some("boolean") => value.is_boolean(),
                Some(_) => !value.is_object(),
                None => true,
            };
            if !fits {
                let reason = format!("failed to parse field [{field}]");
                let error = json!({ "type": "document_parsing_exception", "reason": reason });
                return Ok(json!({ "_id": id, "status": 400, "error": error }));
            }
        }
        let was_there = self.documents.get(&id).is_some_and(|kept| kept.document.is_some());
        let (status, result) = match (&document, was_there) {
            (Some(_), true) => (200, "updated"),
            (Some(_), false) => (201, "created"),
            (None, true) => (200, "deleted"),
            (None, false) => (404, "not_found"),
        };
        self.documents.insert(id.clone(), Kept { version, document });
        Ok(json!({ "_id": id, "_version": version, "result": result, "status": status }))
    }
}
