//! What `deploy/` hands to operators, tried with the programs that it is for.

mod alarms;
mod campaign;
mod compose;
mod figures;
mod image;
mod manifests;
mod page;
mod passed_on;
mod recipe;
mod shell;
mod units;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use testbed::servers::engine::binary;

/// A file of `deploy/`.
fn deployed(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file)
}

fn text_of(file: &str) -> String {
    std::fs::read_to_string(deployed(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Runs a program to its end; what it said, if it is content.
fn content(command: &mut Command) -> String {
    let done = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{command:?}: {said}");
    said
}

/// The documents of a file, as who reads YAML sees them.
fn documents(file: &str) -> Vec<Value> {
    let read = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))";
    let mut python = Command::new("python3");
    python.args(["-c", read]).arg(deployed(file)).env("PYTHONPATH", manifests::packages());
    serde_json::from_str(&content(&mut python)).unwrap()
}

/// What an engine goes by that is started with this file and this environment, without flags: each key with its value and
/// where that comes from, as `check-config` shows them.
fn in_force(file: &Path, environment: &[(String, String)]) -> BTreeMap<String, (String, String)> {
    let mut check = Command::new(binary());
    check.arg("check-config").env_clear().envs(environment.iter().cloned()).env("SECKILL_CONFIG", file);
    let (mut section, mut keys) = (String::new(), BTreeMap::new());
    for line in content(&mut check).lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = format!("{name}.");
        } else if let Some((setting, origin)) = line.rsplit_once(" # ")
            && let Some((key, value)) = setting.split_once(" = ")
        {
            keys.insert(format!("{section}{key}"), (value.trim().to_owned(), origin.to_owned()));
        }
    }
    keys
}

/// The names of figures in a text: of the engine and of its process, not those that rules record (which have colons).
fn figures_named_in(text: &str) -> BTreeSet<&str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let words = text.split(|c| !is_part(c)).filter(|word| !word.contains(':'));
    words.filter(|word| word.starts_with("seckill_") || word.starts_with("process_")).collect()
}

fn dashboard() -> Value {
    serde_json::from_str(&text_of("grafana/seckill.json")).unwrap()
}

/// The expressions of the dashboard's panels and variables, with something in place of each variable.
fn dashboard_expressions() -> Vec<String> {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().cloned().unwrap_or_default());
    let mut expressions: Vec<_> =
        targets.map(|target| target["expr"].as_str().expect("each target has one").to_owned()).collect();
    let annotations = dashboard["annotations"]["list"].as_array().unwrap();
    expressions.extend(annotations.iter().map(|list| list["expr"].as_str().unwrap().to_owned()));
    let variables = ["$job", "$tenant", "$campaign", "$sku"];
    let filled = |text: String| variables.iter().fold(text, |text, variable| text.replace(variable, ".*"));
    expressions.into_iter().map(filled).collect()
}
