//! What can be set about search.

use std::path::PathBuf;

use reqwest::Url;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::FieldError;
use crate::settings::{Secret, within};

/// Characters of an index's name: what both kinds of servers take, with room for a number behind it.
const INDEX_CHARS_MAX: usize = 100;

/// `[search]`: the search server that sale documents follow the sales into (src/search/SEARCH.md).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SearchSettings {
    /// Which kind of server it is.
    pub kind: SearchKind,
    /// Where it is, such as `https://search.internal:9200`.
    pub url: String,
    /// Whether the address may be one of `http://` that is not this machine's, where anybody on the way can read the key.
    pub allow_http: bool,
    /// A file with certificates (PEM) of authorities that the server's may be of, beside the public ones. Empty: those alone.
    pub ca_file: PathBuf,
    /// What the server knows this engine by: a key of MeiliSearch, an API key of Elasticsearch as it was given out in base64, or
    /// `name:password` for OpenSearch. Empty: nothing is shown.
    pub key: Secret,
    /// The index (MeiliSearch) or the alias of one. It is made if it is not there, and belongs to the engine: documents of
    /// sales that are gone are removed. Several engines on one store need the same.
    pub index: String,
    /// How often is looked what has changed, in ms: of one sale there is at most one document in that time.
    pub interval_ms: u64,
    /// How often everything is written again and what should not be there is removed, in seconds: whatever went wrong outside
    /// of the engine is good again then.
    pub refresh_s: u64,
    /// Documents of one request at most.
    pub batch_documents_max: usize,
    /// Bytes of one request at most.
    pub batch_bytes_max: usize,
    /// How long a request may take until its answer, in ms.
    pub timeout_ms: u64,
    /// The pause after a request that failed, in ms. It doubles with each further one, and is drawn from its upper half.
    pub retry_ms: u64,
    /// The longest pause, in ms.
    pub retry_ms_max: u64,
    /// A document that is late for longer, in seconds, is told in the log.
    pub behind_s: u64,
    /// Up to this part of a sale's units, in percent, `few` are left.
    pub few_percent: u32,
    /// From this part of a sale's units on, in percent, there are `plenty`.
    pub plenty_percent: u32,
}

/// The kinds of search servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SearchKind {
    /// None: nothing is written anywhere.
    #[default]
    Off,
    /// MeiliSearch.
    Meilisearch,
    /// Elasticsearch.
    Elasticsearch,
    /// OpenSearch.
    Opensearch,
}

impl SearchKind {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Meilisearch => "meilisearch",
            Self::Elasticsearch => "elasticsearch",
            Self::Opensearch => "opensearch",
        }
    }
}

impl Default for SearchSettings {
    fn default() -> Self {
        Self {
            kind: SearchKind::Off,
            url: String::new(),
            allow_http: false,
            ca_file: PathBuf::new(),
            key: Secret::default(),
            index: "sales".into(),
            interval_ms: 1_000,
            refresh_s: 600,
            batch_documents_max: 500,
            batch_bytes_max: 1 << 20,
            timeout_ms: 10_000,
            retry_ms: 500,
            retry_ms_max: 30_000,
            behind_s: 60,
            few_percent: 10,
            plenty_percent: 50,
        }
    }
}

impl SearchSettings {
    /// Checks each value.
    ///
    /// # Errors
    /// The first field that breaks its rule.
    pub fn check(&self) -> Result<(), FieldError> {
        let wrong = |field, problem: &str| Err(FieldError { field, problem: problem.to_owned() });
        within("interval_ms", self.interval_ms, 50..=60_000)?;
        within("refresh_s", self.refresh_s, 1..=86_400)?;
        within("batch_documents_max", self.batch_documents_max, 1..=10_000)?;
        within("batch_bytes_max", self.batch_bytes_max, 4_096..=64 << 20)?;
        within("timeout_ms", self.timeout_ms, 100..=120_000)?;
        within("retry_ms", self.retry_ms, 1..=60_000)?;
        within("retry_ms_max", self.retry_ms_max, self.retry_ms..=3_600_000)?;
        within("behind_s", self.behind_s, 1..=86_400)?;
        within("few_percent", self.few_percent, 0..=100)?;
        within("plenty_percent", self.plenty_percent, self.few_percent..=100)?;
        if !is_index_name(&self.index) {
            return wrong(
                "index",
                "must be 1 to 100 of a-z 0-9 - _ and begin with a letter: what all kinds of servers take",
            );
        }
        if self.kind == SearchKind::Off {
            return Ok(());
        }
        self.address().map(drop)
    }

    /// Where the server is.
    ///
    /// # Errors
    /// An address that cannot be one, or should not.
    pub(super) fn address(&self) -> Result<Url, FieldError> {
        let wrong = |problem: &str| FieldError { field: "url", problem: problem.to_owned() };
        if self.url.is_empty() {
            return Err(wrong("is empty; set it to where the search server is, or search.kind to \"off\""));
        }
        let url: Url = self.url.parse().map_err(|_| wrong("is no address"))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("has a name or password in it; put it into search.key or search.key_file"));
        }
        if url.query().is_some() || url.fragment().is_some() || url.host_str().is_none_or(str::is_empty) {
            return Err(wrong("must be the address of a server, such as https://search.internal:9200"));
        }
        match url.scheme() {
            "https" => Ok(url),
            "http" if self.allow_http || is_this_machine(&url) => Ok(url),
            "http" => Err(wrong("is one of http://; set search.allow_http where that is meant")),
            _ => Err(wrong("is none of https://")),
        }
    }
}

fn is_index_name(name: &str) -> bool {
    let is_usable = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    name.len() <= INDEX_CHARS_MAX
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(is_usable)
}

fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_work_or_should_not_does_not_start() {
        let off = SearchSettings::default();
        assert_eq!(off.check(), Ok(()), "it is off by default");
        let on = SearchSettings { kind: SearchKind::Elasticsearch, ..off };
        let with = |change: &dyn Fn(&mut SearchSettings)| {
            let mut settings = SearchSettings { url: "https://search.internal:9200".into(), ..on.clone() };
            change(&mut settings);
            settings.check().map_err(|wrong| wrong.field)
        };
        assert_eq!(with(&|_| {}), Ok(()));
        assert_eq!(with(&|it| it.url = "http://127.0.0.1:7700".into()), Ok(()));
        assert_eq!(with(&|it| (it.url, it.allow_http) = ("http://meili:7700".into(), true)), Ok(()));
        assert_eq!(with(&|it| it.url = "https://proxy.internal/search/".into()), Ok(()));
        for (field, refused) in [
            ("url", with(&|it| it.url.clear())),
            ("url", with(&|it| it.url = "search.internal".into())),
            ("url", with(&|it| it.url = "http://search.internal:9200".into())),
            ("url", with(&|it| it.url = "https://me:secret@search.internal".into())),
            ("url", with(&|it| it.url = "ftp://search.internal".into())),
            ("index", with(&|it| it.index = "Sales".into())),
            ("index", with(&|it| it.index = "_sales".into())),
            ("index", with(&|it| it.index = "sales,orders".into())),
            ("index", with(&|it| it.index.clear())),
            ("plenty_percent", with(&|it| it.few_percent = 60)),
            ("interval_ms", with(&|it| it.interval_ms = 1)),
            ("batch_bytes_max", with(&|it| it.batch_bytes_max = 1)),
            ("retry_ms_max", with(&|it| it.retry_ms_max = 100)),
        ] {
            assert_eq!(refused, Err(field));
        }
    }
}
