//! The bill of materials is one that others' tools take, and has what is built in.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The standard's own library, installed into the test's own folder where it is missing.
fn packages() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pypi");
    let python = |args: &[&str]| {
        let mut command = Command::new("python3");
        command.args(args).env("PYTHONPATH", &folder);
        command.output().expect("this test needs python3")
    };
    if !python(&["-c", "import cyclonedx.validation.json, jsonschema"]).status.success() {
        let to = folder.to_str().unwrap();
        let wanted = "cyclonedx-python-lib[json-validation]>=11,<12";
        let installed = python(&["-m", "pip", "install", "--quiet", "--upgrade", "--target", to, wanted]);
        assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
    }
    folder
}

const VALIDATE: &str = "
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read())
sys.exit(str(fault) if fault else 0)
";

#[test]
fn the_bill_of_materials_is_valid_and_complete() {
    let folder = tempfile::tempdir().unwrap();
    let made = Command::new(env!("CARGO_BIN_EXE_xtask")).args(["sbom", "--out"]).arg(folder.path()).output();
    let made = made.unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let bill = folder.path().join("seckill.cdx.json");
    let judged = Command::new("python3")
        .args(["-c", VALIDATE])
        .arg(&bill)
        .env("PYTHONPATH", packages())
        .output()
        .unwrap();
    assert!(judged.status.success(), "{}", String::from_utf8_lossy(&judged.stderr));

    let bill: Value = serde_json::from_str(&std::fs::read_to_string(bill).unwrap()).unwrap();
    assert_eq!(bill["metadata"]["component"]["name"], "seckill");
    let parts = bill["components"].as_array().unwrap();
    let part = |name: &str| parts.iter().find(|part| part["name"] == name);
    let (tokio, cc) = (part("tokio").expect("it is built in"), part("cc").expect("it builds SQLite"));
    assert_eq!((&tokio["scope"], &cc["scope"]), (&"required".into(), &"excluded".into()));
    assert_eq!(tokio["licenses"][0]["expression"], "MIT");
    assert_eq!(tokio["hashes"][0]["content"].as_str().map(str::len), Some(64));
    assert!(part("proptest").is_none() && part("testbed").is_none(), "what only tests need is not delivered");

    let licences = std::fs::read_to_string(folder.path().join("THIRD-PARTY-LICENCES.txt")).unwrap();
    assert!(licences.contains("\ntokio ") && licences.contains("Permission is hereby granted"));
}
