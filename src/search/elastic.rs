//! Elasticsearch and OpenSearch: documents by `_bulk`, in order by external versions, a rebuild by an alias.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::client::{Body, Client, cut, said};
use super::outcome::{Fault, Line, Verdict};
use super::settings::SearchSettings;

/// A server of this kind.
#[derive(Debug)]
pub(super) struct Elastic {
    client: Client,
    /// The alias, or an index that an operator made.
    index: String,
    /// Whether it is an alias. What was found last; relaxed.
    is_alias: AtomicBool,
}

impl Elastic {
    pub fn new(settings: &SearchSettings) -> Result<Self, String> {
        let is_alias = AtomicBool::new(false);
        Ok(Self { client: Client::new(settings)?, index: settings.index.clone(), is_alias })
    }

    pub async fn prepare(&self) -> Result<u64, Fault> {
        let mut found = self.led_to().await?;
        if found.is_empty() {
            // An alias from the beginning: the first rebuild then has one to move.
            let first = format!("{}-0", self.index);
            self.make(&first).await?;
            let named = json!({ "actions": [{ "add": { "index": first, "alias": self.index } }] });
            self.client.done(Method::POST, "/_aliases", Body::Json(named)).await?;
            found.push(first);
        }
        self.is_alias.store(!found.contains(&self.index), Ordering::Relaxed);
        let wanted = json!({ "size": 0, "aggs": { "newest": { "max": { "field": "version" } } } });
        let found =
            self.client.done(Method::POST, &format!("/{}/_search", self.index), Body::Json(wanted)).await?;
        // A number with a fraction in this interface; milliseconds are exact in it.
        Ok(found["aggregations"]["newest"]["value"].as_f64().map_or(0, |newest| newest.max(0.0) as u64))
    }

    pub async fn write(&self, lines: &[Line], into: Option<&str>) -> Result<Vec<Verdict>, Fault> {
        let mut path = format!(
            "/{}/_bulk?filter_path=errors,items.*.status,items.*.error.type,items.*.error.reason",
            into.unwrap_or(&self.index)
        );
        if into.is_none() && self.is_alias.load(Ordering::Relaxed) {
            // Where the alias is gone the server would make an index of its own under that name.
            path.push_str("&require_alias=true");
        }
        let answer = self.client.done(Method::POST, &path, Body::Lines(bulk(lines))).await?;
        if answer["errors"] == false {
            return Ok(vec![Verdict::Taken; lines.len()]);
        }
        let items = answer["items"].as_array().map_or(&[][..], Vec::as_slice);
        if items.len() != lines.len() {
            return Err(Fault::Refused("an answer to _bulk without a verdict for each document".into()));
        }
        items.iter().zip(lines).map(|(item, line)| verdict(item, line)).collect()
    }

    pub async fn remove_below(&self, version: u64, kept: &[String]) -> Result<(), Fault> {
        // What somebody writes meanwhile is not below.
        let path = format!("/{}/_delete_by_query?conflicts=proceed", self.index);
        let (old, kept) =
            (json!({ "range": { "version": { "lt": version } } }), json!({ "ids": { "values": kept } }));
        let wanted = json!({ "query": { "bool": { "filter": old, "must_not": kept } } });
        let answer = self.client.done(Method::POST, &path, Body::Json(wanted)).await?;
        match answer["failures"].as_array().and_then(|failures| failures.first()) {
            None => Ok(()),
            Some(failure) => Err(Fault::Later(cut(&said(&json!({ "error": failure["cause"] }))), None)),
        }
    }

    pub async fn fresh(&self, rebuild: u64) -> Result<Option<String>, Fault> {
        let name = format!("{}-{rebuild}", self.index);
        if self.led_to().await?.contains(&name) {
            return Ok(None);
        }
        // One that was not finished.
        self.remove(&name).await?;
        self.make(&name).await?;
        Ok(Some(name))
    }

    pub async fn swap(&self, fresh: &str) -> Result<(), Fault> {
        let old = self.led_to().await?;
        let removed = old.into_iter().map(|old| json!({ "remove_index": { "index": old } }));
        let added = json!({ "add": { "index": fresh, "alias": self.index } });
        let actions: Vec<Value> = removed.chain([added]).collect();
        let moved = Body::Json(json!({ "actions": actions }));
        self.client.done(Method::POST, "/_aliases", moved).await.map(drop)
    }

    /// The indices that the name leads to: itself, those of an alias, or none.
    async fn led_to(&self) -> Result<Vec<String>, Fault> {
        let answer = self.client.ask(Method::GET, &format!("/{}", self.index), Body::Nothing).await?;
        if answer.status == 404 {
            return Ok(Vec::new());
        }
        Ok(answer.done()?.as_object().map(|indices| indices.keys().cloned().collect()).unwrap_or_default())
    }

    async fn make(&self, name: &str) -> Result<(), Fault> {
        let wanted = json!({ "mappings": { "dynamic": false, "properties": properties() } });
        let answer = self.client.ask(Method::PUT, &format!("/{name}"), Body::Json(wanted)).await?;
        let is_there = answer.body["error"]["type"] == "resource_already_exists_exception";
        if is_there { Ok(()) } else { answer.done().map(drop) }
    }

    async fn remove(&self, name: &str) -> Result<(), Fault> {
        let answer = self.client.ask(Method::DELETE, &format!("/{name}"), Body::Nothing).await?;
        if answer.status == 404 { Ok(()) } else { answer.done().map(drop) }
    }
}

/// The lines of a `_bulk` request: an action each, a document behind it where one is put, a line feed behind every one.
fn bulk(lines: &[Line]) -> String {
    let mut text = String::new();
    for Line { id, version, document } in lines {
        let act = if document.is_some() { "index" } else { "delete" };
        let action = json!({ act: { "_id": id, "version": version, "version_type": "external" } });
        let _ = writeln!(text, "{action}");
        if let Some(document) = document {
            let _ = writeln!(text, "{document}");
        }
    }
    text
}

/// What became of one line.
///
/// # Errors
/// It says something about all of them: the index is gone.
fn verdict(item: &Value, line: &Line) -> Result<Verdict, Fault> {
    let outcome = item.as_object().and_then(|item| item.values().next()).unwrap_or(&Value::Null);
    let why = || cut(&said(outcome));
    Ok(match outcome["status"].as_u64() {
        Some(200..=299) => Verdict::Taken,
        // What is to be removed is not there.
        Some(404) if line.document.is_none() && outcome["error"].is_null() => Verdict::Taken,
        Some(409) => Verdict::Stale,
        Some(404) => return Err(Fault::Refused(why())),
        Some(429 | 500..=599) | None => Verdict::Later(why()),
        Some(_) => Verdict::Refused(why()),
    })
}

/// How the fields of a document are searched.
fn properties() -> Map<String, Value> {
    let of = |kind: &str, fields: &[&str]| -> Vec<(String, Value)> {
        fields.iter().map(|field| ((*field).to_owned(), json!({ "type": kind }))).collect()
    };
    let keywords = ["id", "tenant", "campaign", "sku", "state", "units_left", "currency"];
    let mut properties: Map<String, Value> = of("keyword", &keywords).into_iter().collect();
    properties.extend(of("text", &["title"]));
    properties.extend(of("boolean", &["waiting_room"]));
    properties.extend(of("date", &["starts_at", "ends_at", "as_of", "updated_at"]));
    properties
        .extend(of("long", &["price_cents", "per_buyer_limit", "starts_at_ms", "ends_at_ms", "version"]));
    properties
}

#[cfg(test)]
mod tests {
    use super::super::document::tests::sale;
    use super::super::document::{Face, Moment, document};
    use super::*;
    use crate::domain::{EpochMs, SalePhase};

    #[test]
    fn a_bulk_request_is_lines_and_ends_with_a_line_feed() {
        let put = Line { id: "1".into(), version: 7, document: Some("{}".into()) };
        let removed = Line { id: "2".into(), version: 8, document: None };
        let text = bulk(&[put, removed]);
        assert!(text.ends_with('\n'));
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0]["index"], json!({ "_id": "1", "version": 7, "version_type": "external" }));
        assert_eq!(lines[2]["delete"]["version"], 8);
    }

    #[test]
    fn each_line_is_judged_alone_unless_the_index_is_gone() {
        let put = Line { id: "1".into(), version: 7, document: Some("{}".into()) };
        let removed = Line { document: None, ..put.clone() };
        let of = |line: &Line, status: u16, error: Value| {
            verdict(&json!({ "index": { "status": status, "error": error } }), line)
        };
        let error = |kind: &str| json!({ "type": kind, "reason": "r" });
        assert_eq!(of(&put, 201, Value::Null), Ok(Verdict::Taken));
        assert_eq!(of(&removed, 404, Value::Null), Ok(Verdict::Taken));
        assert_eq!(of(&put, 409, error("version_conflict_engine_exception")), Ok(Verdict::Stale));
        let busy = of(&put, 429, error("es_rejected_execution_exception"));
        assert_eq!(busy, Ok(Verdict::Later("es_rejected_execution_exception: r".into())));
        let wrong = of(&put, 400, error("document_parsing_exception"));
        assert_eq!(wrong, Ok(Verdict::Refused("document_parsing_exception: r".into())));
        let gone = of(&removed, 404, error("index_not_found_exception"));
        assert_eq!(gone, Err(Fault::Refused("index_not_found_exception: r".into())));
    }

    #[test]
    fn every_field_of_a_document_has_its_kind() {
        let sale = sale(1, 100, 0);
        let face = Face::of(&sale, SalePhase::Open, &SearchSettings::default());
        let moment = Moment { as_of: EpochMs(1), since: EpochMs(1), version: 1 };
        let document = document(&sale, face, moment);
        let fields: Vec<_> = document.as_object().unwrap().keys().collect();
        let properties = properties();
        assert!(fields.iter().all(|field| properties.contains_key(*field)), "{fields:?}");
        assert_eq!(fields.len(), properties.len());
    }
}
