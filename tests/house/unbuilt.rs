//! What no build of the workspace looks at: scripts, and packages that are not its members. They are read, not run.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use testbed::pages::{files, read};

use crate::sources::root;

/// What the shell says of each script that it cannot read.
pub fn scripts() -> Vec<String> {
    let scripts = files(".sh").into_iter().chain([".ci/run".to_owned()]);
    let said = scripts.map(|script| {
        let first = read(&script).lines().next().unwrap_or_default().to_owned();
        let shell = first.rsplit(['/', ' ']).next().unwrap_or_default();
        assert!(first.starts_with("#!") && ["bash", "sh"].contains(&shell), "{script} begins with {first:?}");
        let read =
            Command::new(shell).arg("-n").arg(root().join(&script)).output().expect("this test needs bash");
        String::from_utf8_lossy(&read.stderr).into_owned()
    });
    let said: Vec<String> = said.collect();
    assert!(said.len() > 3, "there are scripts");
    said.into_iter().filter(|said| !said.is_empty()).collect()
}

/// What is wrong with the manifest of each package that is a workspace of its own: cargo cannot read it, or a file is missing.
pub fn packages() -> Vec<String> {
    let of_their_own =
        |manifest: &String| manifest.contains('/') && read(manifest).contains("\n[workspace]\n");
    let manifests: Vec<_> = files("Cargo.toml").into_iter().filter(of_their_own).collect();
    assert!(manifests.len() > 1, "fuzz, and what makes the code of gRPC: {manifests:?}");
    manifests.iter().flat_map(|manifest| wrong(manifest)).collect()
}

fn wrong(manifest: &str) -> Vec<String> {
    let arguments = ["metadata", "--no-deps", "--offline", "--format-version", "1", "--manifest-path"];
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .arg(root().join(manifest))
        .output()
        .expect("cargo starts");
    if !output.status.success() {
        return vec![format!("{manifest}: {}", String::from_utf8_lossy(&output.stderr))];
    }
    let told: Value = serde_json::from_slice(&output.stdout).expect("cargo tells JSON");
    let members = |value: &Value, of: &str| value[of].as_array().cloned().unwrap_or_default();
    let packages = members(&told, "packages");
    let sources = packages.iter().flat_map(|package| members(package, "targets"));
    let sources = sources.filter_map(|target| target["src_path"].as_str().map(str::to_owned));
    let neighbours = packages.iter().flat_map(|package| members(package, "dependencies"));
    let neighbours = neighbours.filter_map(|needed| Some(format!("{}/Cargo.toml", needed["path"].as_str()?)));
    let named: Vec<String> = sources.chain(neighbours).collect();
    assert!(!named.is_empty(), "{manifest} has something to build");
    let missing = named.into_iter().filter(|file| !Path::new(file).exists());
    missing.map(|file| format!("{manifest} names {file}, which is not there")).collect()
}
