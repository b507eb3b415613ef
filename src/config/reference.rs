//! The page of all configuration keys, made from the settings themselves: their documentation, their defaults, and the
//! ranges that their own checks name. `CONFIGURATION.md` beside this file is that page; a test compares the two.

use std::fmt::Write;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value as Json};
use toml::{Table, Value};

use super::secret_files::is_secret as can_be_a_file;
use super::settings::Settings;

const HEAD: &str = "\
# Configuration

Made from the settings by `seckill config-reference`; do not edit it by hand.

Every key can stand in the TOML file of `--config`, in the environment as `SECKILL__SECTION__KEY`, and the common ones as a
flag (`seckill --help`). A later place wins: defaults, file, environment, flags. An unknown key is an error that names it.
`seckill check-config` prints every value in force and where it comes from.

Keys marked *live* are taken over by `POST /api/v1/config/reload` and SIGHUP; the others need a restart. The end of a key
is its unit: `_ms` milliseconds, `_s` seconds, `_bytes_max` bytes. Values that contradict each other refuse the start, by
name. A sale's own terms (stock, price, limit, times, rate) are no configuration: they come with the campaign.
";

/// The whole page, as Markdown.
pub fn reference() -> String {
    let settings = SchemaSettings::default().with(|settings| settings.inline_subschemas = true);
    let schema = settings.into_generator().into_root_schema_for::<Settings>();
    let mut page = Page { text: HEAD.to_owned(), ..Page::default() };
    page.defaults =
        Table::try_from(Settings::default()).expect("settings are tables, lists, texts and numbers");
    page.section("", schema.as_object().expect("settings have keys"));
    page.text
}

#[derive(Default)]
struct Page {
    text: String,
    defaults: Table,
}

impl Page {
    /// The keys of one section as a table, then the sections in it.
    fn section(&mut self, path: &str, schema: &Map<String, Json>) {
        let Some(keys) = schema.get("properties").and_then(Json::as_object) else { return };
        if !path.is_empty() {
            let _ = write!(self.text, "\n## `[{path}]`\n\n{}\n", about(schema));
        }
        let (sections, leaves): (Vec<_>, Vec<_>) =
            keys.iter().partition(|(_, schema)| inner(schema).is_some());
        if !leaves.is_empty() {
            self.text.push_str("\n| key | default | allowed | what it is for |\n|---|---|---|---|\n");
        }
        for (key, schema) in leaves {
            self.row(&join(path, key), schema);
        }
        for (key, schema) in sections {
            let mut inner = inner(schema).expect("sections have keys").clone();
            // What the section is for here says more than what such sections are for.
            inner.extend(schema.get("description").map(|about| ("description".to_owned(), about.clone())));
            self.section(&join(path, key), &inner);
        }
    }

    fn row(&mut self, path: &str, schema: &Json) {
        let live = if Settings::is_live(path) { " *live*" } else { "" };
        let default = self.default_of(path, schema).map_or("none".to_owned(), |value| format!("`{value}`"));
        let choices = choices(schema);
        let mut allowed = if choices.is_empty() {
            self.allowed(path, schema)
        } else {
            choices.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ")
        };
        if can_be_a_file(path) {
            let _ = write!(allowed, ", or in a file: `{path}_file`");
        }
        let mut about = schema.as_object().map(about).unwrap_or_default();
        for (name, means) in choices.iter().filter(|(_, means)| !means.is_empty()) {
            let _ = write!(about, " `{name}`: {}", in_one_line(means));
        }
        let _ = writeln!(self.text, "| `{path}`{live} | {default} | {allowed} | {about} |");
    }

    /// The default in force; of a section that is not there by default, the one that it has when it is.
    fn default_of(&self, path: &str, schema: &Json) -> Option<Value> {
        let built_in = lookup(&self.defaults, path).cloned();
        let of_section = || Value::try_from(schema.get("default").filter(|default| !default.is_null())?).ok();
        built_in.or_else(of_section).filter(|value| !(is_secret(schema) && value.as_str() == Some("")))
    }

    /// What a value may be: the range that the settings' own check names for one outside of it, or its kind.
    fn allowed(&self, path: &str, schema: &Json) -> String {
        match kind(schema) {
            Some("boolean") => "`true`, `false`".into(),
            Some("integer" | "number") => self.range(path).unwrap_or_else(|| "a number".into()),
            Some("array") => "a list".into(),
            Some("object") => "a table".into(),
            _ => match path.rsplit(['.', '_']).next() {
                Some("file" | "dir") => "a path".into(),
                Some("url") => "a URL".into(),
                Some("listen") => "an address with its port".into(),
                _ => "a text".into(),
            },
        }
    }

    fn range(&self, path: &str) -> Option<String> {
        let too_large = [i64::MAX, u32::MAX.into(), u16::MAX.into()].map(Value::Integer);
        too_large.into_iter().filter_map(|value| self.problem_with(path, value)).find_map(|problem| {
            let (_, range) =
                ["set it to a number from ", "must be "].iter().find_map(|lead| problem.split_once(lead))?;
            // What follows is about the value that was tried, or the reason.
            let end = range.find([':', ';']).unwrap_or(range.len());
            Some(range[..end].to_owned())
        })
    }

    /// What the check says of settings with this one value: of the defaults, or where all that is optional is used.
    fn problem_with(&self, path: &str, value: Value) -> Option<String> {
        let everything: Table = EVERYTHING_USED.parse().expect("it is TOML");
        [&self.defaults, &merged(&self.defaults, everything)].into_iter().find_map(|base| {
            let mut table = base.clone();
            set(&mut table, path, value.clone())?;
            let settings: Settings = table.try_into().ok()?;
            settings.check().into_iter().find(|problem| problem.key == path).map(|problem| problem.text)
        })
    }
}

/// What is checked only where it is used.
const EVERYTHING_USED: &str = r#"
edge.auth = { mode = "jwt", jwt = { algorithm = "HS256", key = "thirty-two bytes, never to be used" } }
checkout.gateway = { kind = "http", http = { url = "http://127.0.0.1" } }
checkout.risk = { kind = "http", http = { url = "http://127.0.0.1" } }
gatekeeper = { http = { url = "http://127.0.0.1" } }
"#;

fn merged(base: &Table, over: Table) -> Table {
    let mut merged = base.clone();
    for (key, value) in over {
        let value = match (merged.get(&key), value) {
            (Some(Value::Table(base)), Value::Table(over)) => Value::Table(self::merged(base, over)),
            (_, value) => value,
        };
        merged.insert(key, value);
    }
    merged
}

fn lookup<'a>(table: &'a Table, path: &str) -> Option<&'a Value> {
    match path.split_once('.') {
        Some((section, rest)) => lookup(table.get(section)?.as_table()?, rest),
        None => table.get(path),
    }
}

fn set(table: &mut Table, path: &str, value: Value) -> Option<()> {
    match path.split_once('.') {
        Some((section, rest)) => set(table.get_mut(section)?.as_table_mut()?, rest, value),
        None => {
            table.insert(path.to_owned(), value);
            Some(())
        }
    }
}

/// The keys that a schema has, if it is a section: as it stands, or behind "or null" where a section may be left out.
fn inner(schema: &Json) -> Option<&Map<String, Json>> {
    let alternatives = schema.get("anyOf").and_then(Json::as_array).into_iter().flatten();
    std::iter::once(schema).chain(alternatives).find(|schema| schema.get("properties").is_some())?.as_object()
}

/// The documentation, in one line.
fn about(schema: &Map<String, Json>) -> String {
    in_one_line(schema.get("description").and_then(Json::as_str).unwrap_or_default())
}

fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

fn is_secret(schema: &Json) -> bool {
    schema.get("format").and_then(Json::as_str) == Some("secret")
}

/// The type of a value, also where it may be left out.
fn kind(schema: &Json) -> Option<&str> {
    let kind = schema.get("type")?;
    kind.as_str().or_else(|| kind.as_array()?.iter().filter_map(Json::as_str).find(|kind| *kind != "null"))
}

/// The names of a choice, each with the first paragraph of what it means.
fn choices(schema: &Json) -> Vec<(&str, &str)> {
    if let Some(name) = schema.get("const").and_then(Json::as_str) {
        let means = schema.get("description").and_then(Json::as_str).unwrap_or_default();
        return vec![(name, means.split("\n\n").next().unwrap_or_default())];
    }
    let names = schema.get("enum").and_then(Json::as_array).into_iter().flatten();
    let names = names.filter_map(Json::as_str).map(|name| (name, ""));
    let alternatives = schema.get("oneOf").and_then(Json::as_array).into_iter().flatten();
    names.chain(alternatives.flat_map(choices)).collect()
}

fn join(section: &str, key: &str) -> String {
    if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") }
}

#[cfg(test)]
mod tests {
    use super::super::source::ConfigSource;
    use super::*;

    const PAGE: &str = include_str!("CONFIGURATION.md");

    fn row(key: &str) -> &'static str {
        let start = format!("| `{key}`");
        PAGE.lines()
            .find(|line| line.starts_with(&start))
            .unwrap_or_else(|| panic!("no key {key} on the page"))
    }

    #[test]
    fn the_page_is_the_one_of_these_settings() {
        let made = reference();
        let not_in = |lines: &str, others: &str, sign: char| -> Vec<String> {
            let missing = lines.lines().filter(|line| !others.lines().any(|other| other == *line));
            missing.map(|line| format!("{sign} {line}")).collect()
        };
        let differences = [not_in(PAGE, &made, '-'), not_in(&made, PAGE, '+')].concat();
        assert!(
            PAGE == made,
            "src/config/CONFIGURATION.md is not the page of these settings; make it anew with \
             cargo run -- config-reference > src/config/CONFIGURATION.md\n{}",
            differences.join("\n")
        );
    }

    #[test]
    fn every_key_and_section_says_what_it_is_for() {
        let silent = |line: &&str| line.ends_with("|  |");
        assert_eq!(PAGE.lines().filter(silent).collect::<Vec<_>>(), [""; 0]);
        let sections = PAGE.split("\n## ").skip(1);
        let silent =
            sections.filter(|section| section.lines().nth(2).is_none_or(|line| line.starts_with('|')));
        assert_eq!(silent.filter_map(|section| section.lines().next()).collect::<Vec<_>>(), [""; 0]);
    }

    #[test]
    fn every_key_in_force_is_on_the_page() {
        let is_there = |key: &str| {
            // A table that holds names of one's own has one row for all of them.
            let mut above = key.match_indices('.').map(|(dot, _)| &key[..dot]).chain([key]);
            above.any(|key| PAGE.contains(&format!("\n| `{key}`")))
        };
        let config = ConfigSource::default().load().unwrap();
        let missing: Vec<_> = config.flat().into_keys().filter(|key| !is_there(key)).collect();
        assert_eq!(missing, [""; 0]);
    }

    #[test]
    fn a_row_tells_default_range_and_whether_the_key_is_live() {
        assert!(row("edge.headers_max").contains("| `100` | 16 to 1000 |"), "{}", row("edge.headers_max"));
        for (key, cells) in [
            ("edge.front_end", "` | `\"hyper\"` | `hyper`, `may` |"),
            ("checkout.gateway.http.connect_ms", "` | `1000` | 1 to 60000 |"),
            ("checkout.risk.retry.tries_max", "` | `2` | 1 to 20 |"),
            ("edge.auth.jwt.jwks_refresh_s", "` *live* | `300` | 1 to 86400 |"),
            ("admin.token", "` *live* | none | a text, or in a file: `admin.token_file` |"),
        ] {
            assert!(row(key).contains(cells), "{}", row(key));
        }
    }
}
