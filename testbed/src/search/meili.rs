//! The rules of MeiliSearch: everything that changes something is a task in one queue, done in its order.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

use super::wire::{Reply, Request};
use super::{Judge, Kind};

#[derive(Clone, Debug, Default)]
struct Index {
    primary_key: Option<String>,
    documents: BTreeMap<String, Value>,
    filterable: Vec<Value>,
    settings: Value,
}

#[derive(Clone, Debug)]
enum Work {
    Create(String, Option<String>),
    Delete(String),
    Put(String, Option<String>, Vec<Value>),
    Remove(String, Vec<String>),
    RemoveBelow(String, f64, Vec<String>),
    Filterable(String, Vec<Value>),
    Settings(String, Value),
    Swap(String, String),
}

#[derive(Debug)]
struct Task {
    work: Work,
    /// How often it was looked at: it takes some looks until it is done.
    looks: u32,
    /// Once it is done.
    outcome: Option<Result<(), (&'static str, String)>>,
}

#[derive(Default)]
pub(super) struct Meili {
    indexes: HashMap<String, Index>,
    tasks: Vec<Task>,
    judge: Option<Judge>,
}

fn error(status: u16, code: &str, message: &str) -> Reply {
    Reply::new(status, json!({ "message": message, "code": code, "type": "invalid_request", "link": "" }))
}

fn illegal(status: u16, code: &str, message: &str) -> Reply {
    error(status, code, message).breaking(message)
}

fn is_uid(uid: &str) -> bool {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    !uid.is_empty() && uid.len() <= 400 && uid.bytes().all(is_name)
}

/// The name of a document, if it can be one: a whole number, or a text of letters, digits, `-` and `_`.
fn id_of(value: &Value) -> Option<String> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    match value {
        Value::Number(number) if number.is_u64() || number.is_i64() => Some(number.to_string()),
        Value::String(id) if !id.is_empty() && id.len() <= 511 && id.bytes().all(is_name) => Some(id.clone()),
        _ => None,
    }
}

/// The two filters by which documents are removed here: those below a version, but for some by their names.
fn old_documents(filter: &str) -> Option<(f64, Vec<String>)> {
    let (below, kept) = match filter.split_once(" AND id NOT IN [") {
        Some((below, kept)) => (below, kept.strip_suffix(']')?.split(", ").map(str::to_owned).collect()),
        None => (filter, Vec::new()),
    };
    Some((below.strip_prefix("version < ")?.parse().ok()?, kept))
}

impl Kind for Meili {
    fn answer(&mut self, request: &Request) -> Reply {
        let kind = request.header("content-type").unwrap_or_default();
        let is_json = kind.starts_with("application/json");
        let parts = request.parts();
        let takes_lines = matches!(parts[..], ["indexes", _, "documents"]);
        let writes = ["POST", "PUT", "PATCH"].contains(&request.method.as_str());
        if writes && !is_json && !(takes_lines && kind == "application/x-ndjson") {
            return illegal(415, "invalid_content_type", &format!("The Content-Type `{kind}` is invalid."));
        }
        let body =
            || request.json().ok_or_else(|| illegal(400, "malformed_payload", "The payload is malformed."));
        let reply = match (request.method.as_str(), &parts[..]) {
            ("GET", ["tasks", number]) => Ok(self.look_at(number)),
            ("POST", ["indexes"]) => body().and_then(|body| {
                let uid = body["uid"].as_str().unwrap_or_default().to_owned();
                if !is_uid(&uid) {
                    return Err(illegal(
                        400,
                        "invalid_index_uid",
                        &format!("`{uid}` is not a valid index uid."),
                    ));
                }
                Ok(self.enqueue(Work::Create(uid, body["primaryKey"].as_str().map(str::to_owned))))
            }),
            ("POST", ["swap-indexes"]) => body().and_then(|body| self.swap(&body)),
            ("GET", ["indexes", uid]) => self
                .index(uid)
                .map(|index| Reply::new(200, json!({ "uid": uid, "primaryKey": index.primary_key }))),
            ("DELETE", ["indexes", uid]) => Ok(self.enqueue(Work::Delete((*uid).to_owned()))),
            ("POST", ["indexes", uid, "documents"]) => Ok(self.put(uid, request, is_json)),
            ("POST", ["indexes", uid, "documents", "delete-batch"]) => body().and_then(|body| {
                let ids: Option<Vec<String>> =
                    body.as_array().and_then(|ids| ids.iter().map(id_of).collect());
                let ids =
                    ids.ok_or_else(|| illegal(400, "bad_request", "Each id must be a number or a text."))?;
                Ok(self.enqueue(Work::Remove((*uid).to_owned(), ids)))
            }),
            ("POST", ["indexes", uid, "documents", "delete"]) => body().and_then(|body| {
                let (below, kept) = body["filter"].as_str().and_then(old_documents).ok_or_else(|| {
                    illegal(400, "invalid_document_filter", "Nothing else is filtered by here.")
                })?;
                Ok(self.enqueue(Work::RemoveBelow((*uid).to_owned(), below, kept)))
            }),
            ("POST", ["indexes", uid, "search"]) => body().and_then(|body| self.search(uid, &body)),
            ("GET", ["indexes", uid, "settings"]) => {
                self.index(uid).map(|index| Reply::new(200, index.settings.clone()))
            }
            ("PATCH", ["indexes", uid, "settings"]) => {
                body().map(|body| self.enqueue(Work::Settings((*uid).to_owned(), body)))
            }
            ("GET", ["indexes", uid, "settings", "filterable-attributes"]) => {
                self.index(uid).map(|index| Reply::new(200, index.filterable.clone().into()))
            }
            ("PUT", ["indexes", uid, "settings", "filterable-attributes"]) => body().and_then(|body| {
                let wanted = body.as_array().cloned();
                let wanted = wanted.ok_or_else(|| {
                    illegal(400, "invalid_settings_filterable_attributes", "It must be a list.")
                })?;
                Ok(self.enqueue(Work::Filterable((*uid).to_owned(), wanted)))
            }),
            _ => Err(illegal(404, "not_found", &format!("no route {} {}", request.method, request.path))),
        };
        reply.unwrap_or_else(|refusal| refusal)
    }

    fn documents(&self) -> BTreeMap<String, Value> {
        self.indexes.get("sales").map(|index| index.documents.clone()).unwrap_or_default()
    }

    fn indices(&self) -> Vec<String> {
        let mut names: Vec<_> = self.indexes.keys().cloned().collect();
        names.sort();
        names
    }

    fn judge(&mut self, judge: Judge) {
        self.judge = Some(judge);
    }
}

impl Meili {
    fn index(&self, uid: &str) -> Result<&Index, Reply> {
        let missing = || error(404, "index_not_found", &format!("Index `{uid}` not found."));
        self.indexes.get(uid).ok_or_else(missing)
    }

    fn enqueue(&mut self, work: Work) -> Reply {
        self.tasks.push(Task { work, looks: 0, outcome: None });
        let number = self.tasks.len() - 1;
        Reply::new(202, json!({ "taskUid": number, "status": "enqueued" }))
    }

    /// A task is enqueued, then processing, and then all up to it are done.
    fn look_at(&mut self, number: &str) -> Reply {
        let Some(number) = number.parse().ok().filter(|number: &usize| *number < self.tasks.len()) else {
            return illegal(404, "task_not_found", "Task not found.");
        };
        self.tasks[number].looks += 1;
        let looks = self.tasks[number].looks;
        if looks > 2 {
            for place in 0..=number {
                if self.tasks[place].outcome.is_none() {
                    let work = self.tasks[place].work.clone();
                    self.tasks[place].outcome = Some(self.work(work));
                }
            }
        }
        let (status, told) = match &self.tasks[number].outcome {
            None if looks == 1 => ("enqueued", Value::Null),
            None => ("processing", Value::Null),
            Some(Ok(())) => ("succeeded", Value::Null),
            Some(Err((code, message))) => {
                ("failed", json!({ "code": code, "message": message, "type": "invalid_request" }))
            }
        };
        Reply::new(200, json!({ "uid": number, "status": status, "error": told }))
    }

    fn put(&mut self, uid: &str, request: &Request, is_json: bool) -> Reply {
        if request.body.trim().is_empty() {
            return illegal(400, "missing_payload", "A payload is missing.");
        }
        let documents: Result<Vec<Value>, _> = if is_json {
            serde_json::from_str(&request.body)
        } else {
            request.body.lines().filter(|line| !line.is_empty()).map(serde_json::from_str).collect()
        };
        let Ok(documents) = documents else {
            return illegal(400, "malformed_payload", "The payload is malformed.");
        };
        let key =
            request.query.split('&').find_map(|part| part.strip_prefix("primaryKey=")).map(str::to_owned);
        self.enqueue(Work::Put(uid.to_owned(), key, documents))
    }

    fn swap(&mut self, body: &Value) -> Result<Reply, Reply> {
        let pairs = body.as_array().filter(|pairs| pairs.len() == 1);
        let pair = pairs.and_then(|pairs| pairs[0]["indexes"].as_array()).filter(|pair| pair.len() == 2);
        let names = pair.and_then(|pair| Some((pair[0].as_str()?.to_owned(), pair[1].as_str()?.to_owned())));
        let (one, two) = names.filter(|(one, two)| one != two).ok_or_else(|| {
            illegal(400, "invalid_swap_indexes", "Two different indexes must be given for each swap.")
        })?;
        Ok(self.enqueue(Work::Swap(one, two)))
    }

    fn search(&self, uid: &str, wanted: &Value) -> Result<Reply, Reply> {
        let index = self.index(uid)?;
        let facets = wanted["facets"].as_array().map_or(&[][..], Vec::as_slice);
        if facets.iter().any(|facet| !index.filterable.contains(facet)) {
            return Err(illegal(400, "invalid_search_facets", "A facet must be a filterable attribute."));
        }
        let versions = index.documents.values().filter_map(|document| document["version"].as_f64());
        let newest = versions.reduce(f64::max);
        let stats = newest.map_or(json!({}), |newest| json!({ "version": { "min": 0, "max": newest } }));
        Ok(Reply::new(200, json!({ "hits": [], "facetStats": stats })))
    }

    fn work(&mut self, work: Work) -> Result<(), (&'static str, String)> {
        let missing = |uid: &str| ("index_not_found", format!("Index `{uid}` not found."));
        match work {
            Work::Create(uid, primary_key) => {
                if self.indexes.contains_key(&uid) {
                    return Err(("index_already_exists", format!("Index `{uid}` already exists.")));
                }
                let settings = json!({ "searchableAttributes": ["*"], "filterableAttributes": [] });
                self.indexes.insert(uid, Index { primary_key, settings, ..Index::default() });
            }
            Work::Delete(uid) => drop(self.indexes.remove(&uid).ok_or_else(|| missing(&uid))?),
            Work::Put(uid, key, documents) => {
                let mut judge = self.judge.as_mut();
                let is_refused = |it| judge.as_mut().is_some_and(|judge| judge(it).is_some());
                if documents.iter().any(is_refused) {
                    return Err(("invalid_document_fields", "A field is not this one.".into()));
                }
                let index = self.indexes.entry(uid).or_default();
                let key = index.primary_key.clone().or(key).unwrap_or_else(|| "id".into());
                let ids: Result<Vec<String>, _> = documents
                    .iter()
                    .map(|document| {
                        let id = id_of(&document[&key]);
                        id.ok_or_else(|| {
                            (
                                "invalid_document_id",
                                format!("Document identifier {} is invalid.", document[&key]),
                            )
                        })
                    })
                    .collect();
                // All of them or none.
                index.documents.extend(ids?.into_iter().zip(documents));
                index.primary_key = Some(key);
            }
            Work::Remove(uid, ids) => {
                let index = self.indexes.get_mut(&uid).ok_or_else(|| missing(&uid))?;
                index.documents.retain(|id, _| !ids.contains(id));
            }
            Work::RemoveBelow(uid, below, kept) => {
                let index = self.indexes.get_mut(&uid).ok_or_else(|| missing(&uid))?;
                for field in ["version", "id"].iter().take(if kept.is_empty() { 1 } else { 2 }) {
                    if !index.filterable.contains(&(*field).into()) {
                        let why = format!("Attribute `{field}` is not filterable.");
                        return Err(("invalid_document_filter", why));
                    }
                }
                index.documents.retain(|id, it| {
                    kept.contains(id) || it["version"].as_f64().is_none_or(|version| version >= below)
                });
            }
            Work::Filterable(uid, wanted) => {
                let index = self.indexes.get_mut(&uid).ok_or_else(|| missing(&uid))?;
                index.settings["filterableAttributes"] = wanted.clone().into();
                index.filterable = wanted;
            }
            Work::Settings(uid, wanted) => {
                let index = self.indexes.get_mut(&uid).ok_or_else(|| missing(&uid))?;
                for (name, value) in wanted.as_object().into_iter().flatten() {
                    index.settings[name] = value.clone();
                }
                index.filterable =
                    index.settings["filterableAttributes"].as_array().cloned().unwrap_or_default();
            }
            Work::Swap(one, two) => {
                let first = self.indexes.remove(&one).ok_or_else(|| missing(&one))?;
                let Some(second) = self.indexes.remove(&two) else {
                    self.indexes.insert(one, first);
                    return Err(missing(&two));
                };
                self.indexes.insert(one, second);
                self.indexes.insert(two, first);
            }
        }
        Ok(())
    }
}
