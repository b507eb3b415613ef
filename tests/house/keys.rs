//! The keys of the configuration that pages name: whether there is each of them.

use std::collections::BTreeSet;

use testbed::pages::{in_code, read};

/// Look like keys and are none: a host of the proxies' recipes, an act of the trail.
const NO_KEYS: [&str; 2] = ["edge.internal", "search.rebuilt"];
/// How an environment variable that sets a key begins.
const VARIABLE: &str = "SECKILL__";
/// Stands for any key behind that.
const ANY_KEY: &str = "section.key";

/// All keys.
pub struct Keys(BTreeSet<String>);

impl Keys {
    /// As the page has them that is made from the settings (a test of theirs holds it to them).
    pub fn read() -> Self {
        let page = read("src/config/CONFIGURATION.md");
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
        let names = rows.flat_map(|(key, row)| {
            let in_file = row.split_once("in a file: `").and_then(|(_, rest)| rest.split('`').next());
            [Some(key), in_file]
        });
        let keys: BTreeSet<String> = names.flatten().map(str::to_owned).collect();
        assert!(keys.len() > 100, "{keys:?}");
        Self(keys)
    }

    /// Those that a page names, in code or as environment variables, and that are not there.
    pub fn missing(&self, page: &str) -> Vec<String> {
        let sections: BTreeSet<&str> = self.0.iter().filter_map(|key| Some(key.split_once('.')?.0)).collect();
        let of_key = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._".contains(c);
        let is_named = |name: &&str| {
            let section = name.split_once('.').map(|(section, _)| section);
            name.chars().all(of_key) && section.is_some_and(|section| sections.contains(section))
        };
        let in_code = in_code(page).map(|code| code.split(" = ").next().unwrap_or(code).trim());
        let in_code = in_code.filter(is_named).filter(|name| !NO_KEYS.contains(name)).map(str::to_owned);
        let of_variable = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        let variables = page.split(VARIABLE).skip(1).map(|rest| {
            let name = rest.split(|c| !of_variable(c)).next().unwrap_or_default();
            name.to_lowercase().replace("__", ".")
        });
        let variables = variables.filter(|key| !key.is_empty() && key != ANY_KEY);
        in_code.chain(variables).filter(|name| !self.has(name)).collect()
    }

    /// Whether it is a key, or a table of keys.
    fn has(&self, name: &str) -> bool {
        let table = format!("{name}.");
        self.0.contains(name) || self.0.iter().any(|key| key.starts_with(&table))
    }
}
