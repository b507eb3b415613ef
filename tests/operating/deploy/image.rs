//! The image. What its environment says beats every file, so a file says in vain what the image says otherwise.

use std::path::Path;

use serde_json::Value;
use testbed::certificates::Files;

use super::{compose, documents, in_force, manifests, text_of};

type Environment = Vec<(String, String)>;

/// The steps of the Dockerfile that make the image itself, each in one line.
fn steps() -> Vec<String> {
    let dockerfile = text_of("../Dockerfile");
    let lines: Vec<_> = dockerfile.lines().filter(|line| !line.starts_with('#')).collect();
    let steps = lines.join("\n").replace("\\\n", " ");
    let (_, last_stage) = steps.rsplit_once("\nFROM ").expect("a stage");
    last_stage.lines().map(str::to_owned).collect()
}

/// What the image's environment has.
fn of_the_image() -> Environment {
    let steps = steps();
    let words = steps.iter().filter_map(|step| step.strip_prefix("ENV ")).flat_map(str::split_whitespace);
    let pairs = words.map(|word| word.split_once('=').expect("a name and a value"));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// What a service of the compose file adds.
fn of_service(name: &str) -> Environment {
    let compose = compose::compose();
    let added = compose["services"][name]["environment"].as_object().expect("an environment").iter();
    added.map(|(name, value)| (name.clone(), value.as_str().expect("a text").to_owned())).collect()
}

/// What the pod adds. What it takes from elsewhere is a number.
fn of_the_pod() -> Environment {
    let manifests = documents("kubernetes/statefulset.yaml");
    let set = manifests.iter().find(|manifest| manifest["kind"] == "StatefulSet").expect("engines");
    let engine = &set["spec"]["template"]["spec"]["containers"][0];
    let added = engine["env"].as_array().expect("an environment").iter();
    let text = |value: &Value| value.as_str().unwrap_or("1").to_owned();
    added.map(|added| (text(&added["name"]), text(&added["value"]))).collect()
}

/// What the file says, with nothing but the engine's number beside it, has to be what is in force in the container.
fn check(file: &Path, added: Environment) {
    let number = added.iter().filter(|(name, _)| name == "SECKILL__NODE__ID").cloned();
    let alone = in_force(file, &number.collect::<Vec<_>>());
    let contained = in_force(file, &[of_the_image(), added].concat());
    let said: Vec<_> = alone.iter().filter(|(_, (_, origin))| origin.starts_with("file ")).collect();
    assert!(said.iter().any(|(key, _)| *key == "admin.listen") && said.len() > 8, "{said:?}");
    for (key, (value, _)) in said {
        let (is, origin) = &contained[key];
        assert_eq!(is, value, "{key} of {} is {is}, by {origin}", file.display());
    }
}

#[test]
fn what_a_file_says_is_in_force_in_the_container() {
    let folder = tempfile::tempdir().unwrap();
    let file = compose::engine_file(folder.path());
    for engine in ["engine", "engine2"] {
        check(&file, of_service(engine));
    }
    let files = Files::default();
    check(&manifests::engine_file(&files), of_the_pod());
}

#[test]
fn the_image_brings_the_authorities_that_a_system_trusts() {
    // Where the engine looks for them when no file is named: for `sslmode=verify-full`.
    let bundle = "/etc/ssl/certs/ca-certificates.crt";
    let steps = steps();
    assert!(steps.contains(&format!("COPY --from=build {bundle} {bundle}")), "{steps:#?}");
}
