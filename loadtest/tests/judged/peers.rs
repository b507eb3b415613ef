//! The files of a run are read by somebody else's tools: `hdrhistogram`, `jsonschema` and `junitparser` from PyPI.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::shop::{Habits, Shop};
use crate::tester::{binary, finish, run, scenario};

/// Python's packages, installed into the test's own folder where they are missing.
fn packages() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pypi");
    let import = "import hdrh.histogram, hdrh.log, jsonschema, junitparser";
    let present = Command::new("python3").args(["-c", import]).env("PYTHONPATH", &folder).output();
    if !present.expect("this test needs python3").status.success() {
        let install = ["-m", "pip", "install", "--quiet", "--upgrade", "--target"];
        let installed = finish(
            Command::new("python3")
                .args(install)
                .arg(&folder)
                .args(["hdrhistogram>=0.10,<0.11", "jsonschema>=4,<5", "junitparser>=3,<5"])
                .output()
                .unwrap(),
        );
        installed.expect_code(0);
    }
    folder
}

#[test]
fn other_tools_read_the_same_figures() {
    let shop = Shop::open(Habits { pending_every: Some(20), hang_up_every: Some(33), ..Habits::default() });
    let out = tempfile::tempdir().unwrap();
    let forgiving = "[[objective]]\npath = \"seckill\"\nerror_rate = 0.5";
    run(&scenario(150, 300, 2.0, "then = \"pay\"\npages = 1", forgiving), &shop.url, out.path(), &[])
        .expect_code(0);
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let checked = finish(
        Command::new("python3")
            .arg(here.join("tests/judged/peers.py"))
            .arg(out.path())
            .arg(here.join("schema/summary.v1.json"))
            .env("PYTHONPATH", packages())
            .output()
            .unwrap(),
    );
    assert!(checked.expect_code(0).stdout.contains("histograms agree"));

    // The report is one file that asks for nothing from outside and holds the run's own figures.
    let report = std::fs::read_to_string(out.path().join("report.html")).unwrap();
    assert!(!report.contains("src=") && !report.contains("href=") && !report.contains("{{"));
    assert!(report.contains("\"loadtest.summary/1\""));
    let again =
        finish(binary().arg("report").arg(out.path()).arg("--against").arg(out.path()).output().unwrap());
    again.expect_code(0);
    assert!(std::fs::read_to_string(out.path().join("report.html")).unwrap().contains("\"comparison\":{"));
}
