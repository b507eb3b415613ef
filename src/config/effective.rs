//! The configuration in force, as a TOML file that says where each value comes from.

use std::collections::BTreeMap;
use std::fmt::Write;

use toml::{Table, Value};

use super::source::Config;
use crate::settings::{Secret, without_passwords};

impl Config {
    /// Every value in force with its origin as a comment; secrets are masked. The text is valid TOML.
    pub fn effective(&self) -> String {
        let mut lines = Vec::new();
        self.section("", &self.table(), &mut lines);
        let width = lines.iter().filter(|(_, origin)| !origin.is_empty()).map(|(line, _)| line.len()).max();
        let mut text = String::new();
        for (line, origin) in &lines {
            let _ = match (origin.as_str(), width) {
                ("", _) | (_, None) => writeln!(text, "{line}"),
                (origin, Some(width)) => writeln!(text, "{line:width$}  # {origin}"),
            };
        }
        text
    }

    /// Every value in force by its key, secrets masked.
    pub(super) fn flat(&self) -> BTreeMap<String, Value> {
        let mut flat = BTreeMap::new();
        flatten("", self.table(), &mut flat);
        flat
    }

    /// The keys whose values differ between two configurations.
    pub(super) fn changed_keys(&self, other: &Self) -> Vec<String> {
        let (ours, theirs) = (self.flat(), other.flat());
        let masked = |value: Option<&Value>| value.is_some_and(is_masked);
        let mut keys: Vec<_> = ours.keys().chain(theirs.keys()).collect();
        keys.sort_unstable();
        keys.dedup();
        keys.retain(|key| {
            let (a, b) = (ours.get(*key), theirs.get(*key));
            if masked(a) && masked(b) { self.given(key) != other.given(key) } else { a != b }
        });
        keys.into_iter().cloned().collect()
    }

    fn table(&self) -> Table {
        Table::try_from(&self.settings).expect("settings are tables, lists, texts and numbers")
    }

    /// The lines of a table, each with its origin: values first, then the tables in it.
    fn section(&self, prefix: &str, table: &Table, lines: &mut Vec<(String, String)>) {
        for (key, value) in table.iter().filter(|(_, value)| !value.is_table()) {
            let mut line = String::new();
            let _ = write!(line, "{} = {}", bare_or_quoted(key), shown(value));
            lines.push((line, self.origin(&join(prefix, key)).to_string()));
        }
        for (key, value) in table {
            if let Value::Table(inner) = value {
                let path = join(prefix, &bare_or_quoted(key));
                lines.push((String::new(), String::new()));
                lines.push((format!("[{path}]"), String::new()));
                self.section(&path, inner, lines);
            }
        }
    }
}

/// The value without the passwords of addresses.
fn shown(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(without_passwords(text).into_owned()),
        Value::Array(values) => Value::Array(values.iter().map(shown).collect()),
        Value::Table(table) => {
            Value::Table(table.iter().map(|(key, value)| (key.clone(), shown(value))).collect())
        }
        other => other.clone(),
    }
}

/// Whether the value is a secret, or holds one.
fn is_masked(value: &Value) -> bool {
    match value {
        Value::String(text) => text == Secret::MASK,
        Value::Array(values) => values.iter().any(is_masked),
        Value::Table(table) => table.values().any(is_masked),
        _ => false,
    }
}

fn flatten(prefix: &str, table: Table, flat: &mut BTreeMap<String, Value>) {
    for (key, value) in table {
        let path = join(prefix, &key);
        match value {
            Value::Table(inner) => flatten(&path, inner, flat),
            value => {
                flat.insert(path, value);
            }
        }
    }
}

fn join(prefix: &str, key: &str) -> String {
    if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") }
}

fn bare_or_quoted(key: &str) -> String {
    let bare = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    if !key.is_empty() && key.bytes().all(bare) { key.to_owned() } else { Value::from(key).to_string() }
}

#[cfg(test)]
mod tests {
    use super::super::source::ConfigSource;
    use super::*;

    fn config(vars: &[(&str, &str)]) -> Config {
        let vars = vars.iter().map(|(name, value)| (name.into(), value.into()));
        ConfigSource::new(None).with_env(vars).unwrap().load().unwrap()
    }

    #[test]
    fn what_is_shown_is_toml_with_origins_and_without_secrets() {
        let config = config(&[
            ("SECKILL__ADMIN__TOKEN", "t0ken-t0ken-t0ken"),
            ("SECKILL__STORE__QUEUE_ORDERS_MAX", "9"),
        ]);
        let text = config.effective();
        let table: Table = text.parse().unwrap();
        assert_eq!(table["store"]["queue_orders_max"].as_integer(), Some(9));
        assert_eq!(table["admin"]["token"].as_str(), Some(Secret::MASK));
        assert!(!text.contains("t0ken-t0ken-t0ken"));
        let origin = |start: &str| {
            let line = text.lines().find(|line| line.starts_with(start)).unwrap();
            line.rsplit_once("# ").unwrap().1.to_owned()
        };
        assert_eq!(origin("queue_orders_max ="), "env SECKILL__STORE__QUEUE_ORDERS_MAX");
        assert_eq!(origin("token ="), "env SECKILL__ADMIN__TOKEN");
        assert_eq!(origin("data_dir ="), "default");
    }

    #[test]
    fn the_defaults_are_shown_as_a_file_that_gives_them_again() {
        let text = config(&[]).effective();
        assert_eq!(toml::from_str::<super::super::Settings>(&text).unwrap(), Default::default());
    }

    #[test]
    fn a_changed_secret_is_a_change() {
        let one = config(&[("SECKILL__ADMIN__TOKEN", "one-one-one-one-")]);
        let other = config(&[("SECKILL__ADMIN__TOKEN", "two-two-two-two-")]);
        assert_eq!(one.changed_keys(&other), ["admin.token"]);
        assert_eq!(one.changed_keys(&config(&[("SECKILL__ADMIN__TOKEN", "one-one-one-one-")])), [""; 0]);
        assert_eq!(one.changed_keys(&config(&[])), ["admin.token"]);
    }

    #[test]
    fn o6_a_changed_secret_of_a_list_is_a_change() {
        let listed = |secret: &str| {
            config(&[(
                "SECKILL__EDGE__AUTH__ORIGIN_SECRETS",
                &format!("[\"{secret}\", \"the-same-as-before\"]"),
            )])
        };
        let changed = listed("one-one-one-one-").changed_keys(&listed("two-two-two-two-"));
        assert_eq!(changed, ["edge.auth.origin_secrets"]);
    }

    #[test]
    fn a_changed_token_of_the_list_is_a_change_and_is_not_shown() {
        let listed = |token: &str| {
            let tokens = format!("[{{name=\"ada\", role=\"viewer\", token=\"{token}\"}}]");
            config(&[("SECKILL__ADMIN__TOKENS", &tokens)])
        };
        let one = listed("one-one-one-one-");
        assert_eq!(one.changed_keys(&listed("two-two-two-two-")), ["admin.tokens"]);
        let shown = one.effective();
        assert!(shown.contains("ada") && !shown.contains("one-one"), "{shown}");
    }

    #[test]
    fn o6_no_password_of_an_address_is_shown() {
        let shown = config(&[
            ("SECKILL__CHECKOUT__GATEWAY__KIND", "http"),
            ("SECKILL__CHECKOUT__GATEWAY__HTTP__URL", "http://me:hunter2@bank"),
        ]);
        let text = shown.effective();
        assert!(text.contains("http://********@bank") && !text.contains("hunter2"), "{text}");
    }

    #[test]
    fn keys_that_are_not_bare_are_quoted() {
        assert_eq!(bare_or_quoted("a-b_1"), "a-b_1");
        assert_eq!(bare_or_quoted("a b"), "\"a b\"");
    }
}
