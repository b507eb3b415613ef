//! What people and pipelines read of a run, and the commands that need no scenario of one's own.

use crate::shop::{Habits, Shop};
use crate::tester::{binary, finish, run, scenario, summary};

#[test]
fn a_first_look_needs_no_scenario() {
    let shop = Shop::open(Habits::default());
    let out = tempfile::tempdir().unwrap();
    let mut command = binary();
    command.args([
        "quick", "--rate", "50", "--for", "2s", "--stock", "30", "--target", &shop.url, "--admin", &shop.url,
    ]);
    // A test beside others is no measurement: its client may be as slow as it is.
    command.args([
        "--set",
        "client.lag_p99_ms_max=60000",
        "--set",
        "client.busy_max=1e9",
        "--set",
        "phase.0.pacing=even",
    ]);
    let finished = finish(command.arg("--out").arg(out.path()).output().unwrap());
    assert!(finished.expect_code(0).stdout.contains("quick: "), "{}", finished.stdout);
    let summary = summary(out.path());
    assert_eq!(summary["paths"]["seckill"]["all"]["count"], 100);
    assert_eq!(summary["verification"]["orders_exported"], 30);
    for time in ["2 weeks", "0s", "-1s"] {
        let refused = finish(binary().args(["quick", &format!("--for={time}")]).output().unwrap());
        assert!(refused.expect_code(2).stderr.contains("is no time"), "{time}: {}", refused.stderr);
    }
}

#[test]
fn half_an_address_is_refused_and_none_means_this_machine() {
    for half in [["--target", "http://127.0.0.1:1"], ["--admin", "http://127.0.0.1:1"]] {
        let refused = finish(binary().arg("quick").args(half).output().unwrap());
        assert!(refused.expect_code(2).stderr.contains("required"), "{half:?}: {}", refused.stderr);
    }
    let help = finish(binary().args(["quick", "--help"]).output().unwrap());
    assert!(help.expect_code(0).stdout.contains("http://127.0.0.1:8080"), "{}", help.stdout);
}

#[test]
fn bundled_scenarios_are_listed_and_shown() {
    let told = |words: &[&str]| finish(binary().arg("scenarios").args(words).output().unwrap());
    let list = told(&[]).expect_code(0).stdout.clone();
    assert_eq!(list, told(&["list"]).stdout);
    for line in list.lines() {
        let name = line.split_whitespace().next().unwrap();
        let shown = told(&["show", name]);
        let file = format!("{}/scenarios/{name}.toml", env!("CARGO_MANIFEST_DIR"));
        assert_eq!(shown.expect_code(0).stdout, std::fs::read_to_string(file).unwrap());
    }
    assert!(list.lines().count() >= 8, "{list}");
    let refused = told(&["show", "sekill"]);
    assert!(refused.expect_code(2).stderr.contains("did you mean seckill?"), "{}", refused.stderr);
}

#[test]
fn each_verdict_stands_in_every_summary() {
    let missed = "[[objective]]\npath = \"seckill\"\ncount_min = 1000";
    let out = tempfile::tempdir().unwrap();
    let shop = Shop::open(Habits { lose_every: Some(9), ..Habits::default() });
    run(&scenario(30, 60, 1.0, "", missed), &shop.url, out.path(), &[]).expect_code(4);
    let read = |name: &str| std::fs::read_to_string(out.path().join(name)).unwrap();
    let (markdown, junit) = (read("summary.md"), read("junit.xml"));
    for row in
        ["## judged — correctness violated", "| acknowledged-orders-durable | **broken** |", "| **missed** |"]
    {
        assert!(markdown.contains(row), "{row}: {markdown}");
    }
    for part in [
        "<testsuite name=\"promises\"",
        "<testcase name=\"acknowledged-orders-durable\" classname=\"loadtest.judged.promises\">",
        "<failure message=\"broken 3 times: ",
        "<testcase name=\"seckill count_min\" classname=\"loadtest.judged.objectives\">",
    ] {
        assert!(junit.contains(part), "{part}: {junit}");
    }
}
