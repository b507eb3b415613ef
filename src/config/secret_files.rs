//! Secrets that stand in files of their own, as orchestrators hand them out: `admin.token_file` names the file that holds
//! `admin.token`. A reload reads the file again.

use std::path::{Path, PathBuf};

use figment::value::{Dict, Value};

use super::error::Problem;
use super::origin::Origin;

const SUFFIX: &str = "_file";
/// A list: one secret a line.
const LISTS: [&str; 3] = ["edge.auth.origin_secrets", "traces.headers", "waiting_room.keys"];
const SECRETS: [&str; 8] = [
    "admin.former_token",
    "admin.token",
    "edge.auth.jwt.key",
    "edge.auth.origin_secret",
    "postgres.url",
    "redis.password",
    "redis.url",
    "search.key",
];
/// Lists of tables, and the secrets that each of them has, or whose files it names.
const TABLES: [(&str, &[&str]); 2] =
    [("admin.tokens", &["token"]), ("webhooks.endpoints", &["secrets", "url"])];
/// Of those secrets, what is a list.
const LIST_IN_TABLES: &str = "secrets";
/// Sections whose peers hold secrets, and the last parts of their keys.
const PEERS: [&str; 2] = ["checkout.", "gatekeeper."];
const OF_PEERS: [&str; 2] = [".token", ".url"];

/// A secret that a layer of the configuration leaves to a file.
#[derive(Debug)]
pub(super) struct SecretFile {
    /// The secret's key.
    pub key: String,
    /// Where it stands.
    pub path: PathBuf,
}

/// Whether the value of this key is a secret.
pub(super) fn is_secret(key: &str) -> bool {
    SECRETS.contains(&key)
        || LISTS.contains(&key)
        || in_table(key).is_some()
        || (PEERS.iter().any(|section| key.starts_with(section))
            && OF_PEERS.iter().any(|part| key.ends_with(part)))
}

/// The secret of a table in a list that this key is.
fn in_table(key: &str) -> Option<&str> {
    let (table, secret) = key.rsplit_once('.')?;
    let is_in = |(list, secrets): &(&str, &[&str])| {
        table.strip_prefix(list).is_some_and(|rest| rest.starts_with('.')) && secrets.contains(&secret)
    };
    TABLES.iter().any(is_in).then_some(secret)
}

impl SecretFile {
    /// What `key` names, if it is the `_file` of a secret.
    pub fn named(key: &str, path: &str) -> Option<Self> {
        let key = key.strip_suffix(SUFFIX).filter(|key| is_secret(key))?;
        Some(Self { key: key.to_owned(), path: path.trim().into() })
    }

    /// Takes those out of a layer, or of the table at `path` in one, that it names.
    ///
    /// # Errors
    /// One is named beside its secret, or not by a path.
    pub fn take_from(layer: &mut Dict, path: &str, origin: &Origin) -> Result<Vec<Self>, Problem> {
        let mut files = Vec::new();
        take(layer, path, origin, &mut files)?;
        Ok(files)
    }

    /// Reads the secrets that the tables of a list leave to files, into their places.
    ///
    /// # Errors
    /// One is named beside its secret or not by a path, or cannot be read.
    pub fn read_into_list(key: &str, list: &mut Value, origin: &Origin) -> Result<(), Problem> {
        let is_one = TABLES.iter().any(|(list, _)| *list == key);
        let (true, Value::Array(_, tables)) = (is_one, list) else { return Ok(()) };
        for (place, table) in tables.iter_mut().enumerate() {
            let Value::Dict(_, table) = table else { continue };
            for file in Self::take_from(table, &format!("{key}.{place}"), origin)? {
                let secret = in_table(&file.key).unwrap_or_default().to_owned();
                table.insert(secret, file.read(origin)?);
            }
        }
        Ok(())
    }

    /// Reads the secret.
    ///
    /// # Errors
    /// The file cannot be read, or holds nothing.
    pub fn read(&self, origin: &Origin) -> Result<Value, Problem> {
        let text = std::fs::read_to_string(&self.path);
        let text = text.map_err(|error| self.problem(origin, &format!("which cannot be read: {error}")))?;
        if text.trim().is_empty() {
            return Err(self.problem(origin, "which is empty"));
        }
        if !LISTS.contains(&self.key.as_str()) && in_table(&self.key) != Some(LIST_IN_TABLES) {
            return Ok(Value::from(text.trim()));
        }
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        Ok(Value::from(lines.map(Value::from).collect::<Vec<_>>()))
    }

    /// Where the secret then comes from.
    pub fn origin(&self) -> Origin {
        Origin::File(self.path.clone())
    }

    fn problem(&self, origin: &Origin, what: &str) -> Problem {
        let text = format!("names {}, {what}", Path::display(&self.path));
        Problem { key: format!("{}{SUFFIX}", self.key), origin: origin.to_string(), text }
    }
}

fn take(table: &mut Dict, prefix: &str, origin: &Origin, files: &mut Vec<SecretFile>) -> Result<(), Problem> {
    let path_of = |key: &str| if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") };
    let named: Vec<String> = table
        .keys()
        .filter(|key| path_of(key).strip_suffix(SUFFIX).is_some_and(is_secret))
        .cloned()
        .collect();
    for key in named {
        let wrong =
            |text: &str| Problem { key: path_of(&key), origin: origin.to_string(), text: text.into() };
        let secret = key.strip_suffix(SUFFIX).unwrap_or(&key);
        if table.contains_key(secret) {
            return Err(wrong(&format!("is set beside {}; set one of them", path_of(secret))));
        }
        let file = match table.remove(&key) {
            Some(Value::String(_, path)) => SecretFile::named(&path_of(&key), &path),
            _ => None,
        };
        files.push(file.ok_or_else(|| wrong("must be the path of a file, in quotes"))?);
    }
    for (key, value) in table.iter_mut() {
        let path = path_of(key);
        match value {
            Value::Dict(_, inner) => take(inner, &path, origin, files)?,
            list => SecretFile::read_into_list(&path, list, origin)?,
        }
    }
    Ok(())
}
