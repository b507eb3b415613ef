//! MeiliSearch: documents as JSON lines, a task at a time, a rebuild by swapping indexes.
//!
//! It has no versions: what comes later wins. So the one writer waits for the end of each task before it sends the next, and a
//! server has one queue, in which whatever a writer before this one has sent stands further ahead.

use std::fmt::Write as _;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::client::{Body, Client, cut, said};
use super::outcome::{Fault, Line, Verdict};
use super::settings::SearchSettings;

/// The field that names a document.
const PRIMARY_KEY: &str = "id";
/// Fields that can be filtered by. `version` and `id` have to be: old documents are removed by them.
const FILTERABLE: [&str; 13] = [
    PRIMARY_KEY,
    "tenant",
    "campaign",
    "sku",
    "state",
    "units_left",
    "currency",
    "price_cents",
    "per_buyer_limit",
    "waiting_room",
    "starts_at_ms",
    "ends_at_ms",
    "version",
];
/// From one look at a task to the next, at first and at most.
const TASK_PAUSE: Duration = Duration::from_millis(20);
const TASK_PAUSE_MAX: Duration = Duration::from_secs(1);

/// A server of this kind.
#[derive(Debug)]
pub(super) struct Meili {
    client: Client,
    index: String,
}

impl Meili {
    pub fn new(settings: &SearchSettings) -> Result<Self, String> {
        Ok(Self { client: Client::new(settings)?, index: settings.index.clone() })
    }

    pub async fn prepare(&self) -> Result<u64, Fault> {
        let answer = self.client.ask(Method::GET, &format!("/indexes/{}", self.index), Body::Nothing).await?;
        if answer.status == 404 {
            self.make(&self.index).await?;
        } else {
            let found = answer.done()?;
            let key = found["primaryKey"].as_str().unwrap_or(PRIMARY_KEY);
            if key != PRIMARY_KEY {
                let why =
                    format!("the index {} has the primary key {key}, and not {PRIMARY_KEY}", self.index);
                return Err(Fault::Refused(why));
            }
        }
        self.have_filterable(&self.index).await?;
        let wanted = json!({ "q": "", "limit": 0, "facets": ["version"] });
        let path = format!("/indexes/{}/search", self.index);
        let found = self.client.done(Method::POST, &path, Body::Json(wanted)).await?;
        Ok(found["facetStats"]["version"]["max"].as_f64().map_or(0, |newest| newest.max(0.0) as u64))
    }

    pub async fn write(&self, lines: &[Line], into: Option<&str>) -> Result<Vec<Verdict>, Fault> {
        let documents = format!("/indexes/{}/documents", into.unwrap_or(&self.index));
        let removed: Vec<&str> =
            lines.iter().filter(|line| line.document.is_none()).map(|line| line.id.as_str()).collect();
        if !removed.is_empty() {
            let path = format!("{documents}/delete-batch");
            self.task(Method::POST, &path, Body::Json(json!(removed))).await?;
        }
        let mut put = String::new();
        for document in lines.iter().filter_map(|line| line.document.as_deref()) {
            let _ = writeln!(put, "{document}");
        }
        if !put.is_empty() {
            let path = format!("{documents}?primaryKey={PRIMARY_KEY}");
            self.task(Method::POST, &path, Body::Lines(put)).await?;
        }
        Ok(vec![Verdict::Taken; lines.len()])
    }

    pub async fn remove_below(&self, version: u64, kept: &[String]) -> Result<(), Fault> {
        let mut filter = format!("version < {version}");
        if !kept.is_empty() {
            let _ = write!(filter, " AND {PRIMARY_KEY} NOT IN [{}]", kept.join(", "));
        }
        let wanted = json!({ "filter": filter });
        self.task(Method::POST, &format!("/indexes/{}/documents/delete", self.index), Body::Json(wanted))
            .await
    }

    pub async fn fresh(&self) -> Result<String, Fault> {
        let name = self.fresh_name();
        // What a rebuild has left that was not finished, or was and could not clean up.
        self.remove(&name).await?;
        self.make(&name).await?;
        // What operators have set of the index is of the next one, too.
        let path = format!("/indexes/{}/settings", self.index);
        let settings = self.client.ask(Method::GET, &path, Body::Nothing).await?;
        if settings.status != 404 {
            let mut kept = settings.done()?;
            if let Some(kept) = kept.as_object_mut() {
                // Their keys are shown masked, and would be set so.
                kept.remove("embedders");
            }
            self.task(Method::PATCH, &format!("/indexes/{name}/settings"), Body::Json(kept)).await?;
        }
        self.have_filterable(&name).await?;
        Ok(name)
    }

    pub async fn swap(&self, fresh: &str) -> Result<(), Fault> {
        let swapped = Body::Json(json!([{ "indexes": [self.index, fresh] }]));
        self.task(Method::POST, "/swap-indexes", swapped).await?;
        self.remove(fresh).await
    }

    fn fresh_name(&self) -> String {
        format!("{}-rebuild", self.index)
    }

    async fn make(&self, name: &str) -> Result<(), Fault> {
        let wanted = Body::Json(json!({ "uid": name, "primaryKey": PRIMARY_KEY }));
        match self.task(Method::POST, "/indexes", wanted).await {
            // Somebody was faster.
            Err(fault) if fault.why().contains("index_already_exists") => Ok(()),
            made => made,
        }
    }

    async fn remove(&self, name: &str) -> Result<(), Fault> {
        match self.task(Method::DELETE, &format!("/indexes/{name}"), Body::Nothing).await {
            Err(fault) if fault.why().contains("index_not_found") => Ok(()),
            removed => removed,
        }
    }

    /// Has the index filter by what documents are removed and found by; what operators have set stays.
    async fn have_filterable(&self, name: &str) -> Result<(), Fault> {
        let path = format!("/indexes/{name}/settings/filterable-attributes");
        let found = self.client.done(Method::GET, &path, Body::Nothing).await?;
        let mut wanted = found.as_array().cloned().unwrap_or_default();
        let has = wanted.len();
        for field in FILTERABLE {
            // They are names, or tables with patterns.
            if !wanted.iter().any(|is| is == field) {
                wanted.push(field.into());
            }
        }
        if wanted.len() == has {
            return Ok(());
        }
        self.task(Method::PUT, &path, Body::Json(wanted.into())).await
    }

    /// Asks for something that the server puts into its queue, and waits until it is done.
    async fn task(&self, method: Method, path: &str, body: Body) -> Result<(), Fault> {
        let summary = self.client.done(method, path, body).await?;
        let Some(number) = summary["taskUid"].as_u64() else {
            return Err(Fault::Refused(format!("an answer without a taskUid at {path}")));
        };
        let mut pause = TASK_PAUSE;
        loop {
            let task = self.client.done(Method::GET, &format!("/tasks/{number}"), Body::Nothing).await?;
            match task["status"].as_str() {
                Some("succeeded") => return Ok(()),
                Some("enqueued" | "processing") => {
                    sleep(pause).await;
                    pause = (pause * 2).min(TASK_PAUSE_MAX);
                }
                status => return Err(failed(status.unwrap_or_default(), &task)),
            }
        }
    }
}

/// Why a task has not succeeded. One that is wrong fails with all of its documents.
fn failed(status: &str, task: &Value) -> Fault {
    let why = cut(&format!("a task has {status}: {}", said(task)));
    match task["error"]["type"].as_str() {
        Some("invalid_request") => Fault::Whole(why),
        Some("auth") => Fault::Refused(why),
        _ => Fault::Later(why, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_fails_tells_whether_its_documents_are_to_blame() {
        let task = |kind: &str| json!({ "error": { "message": "m", "code": "c", "type": kind } });
        let whole = failed("failed", &task("invalid_request"));
        assert_eq!(whole, Fault::Whole("a task has failed: c: m".into()));
        assert!(matches!(failed("failed", &task("internal")), Fault::Later(..)));
        assert!(matches!(failed("canceled", &json!({ "error": null })), Fault::Later(..)));
    }
}
