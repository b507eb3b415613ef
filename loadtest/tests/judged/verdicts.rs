//! Exit codes and the subcommands that judge: objectives, comparison, search, a later check.

use std::time::Duration;

use crate::shop::{Habits, Shop};
use crate::tester::{binary, finish, run, scenario, seckill_ms, summary};

#[test]
fn a_missed_objective_and_an_unanswered_request_have_their_exit_code() {
    let objective = "[[objective]]\npath = \"seckill\"\nerror_rate = 0.5";
    let out = tempfile::tempdir().unwrap();
    let shop = Shop::open(Habits::default());
    // Met, then the same against a server that never answers.
    run(&scenario(5, 50, 1.0, "", objective), &shop.url, out.path(), &["--no-verify"]).expect_code(0);
    let deaf = Shop::open(Habits { deaf: true, ..Habits::default() });
    let impatient = format!("timeout_ms = 200\ndrain_s = 0.5\n{objective}");
    run(&scenario(5, 200, 1.0, "", &impatient), &deaf.url, out.path(), &["--no-verify"]).expect_code(3);
    let outcomes = &summary(out.path())["paths"]["seckill"]["outcomes"];
    let (timed_out, unsent) = (&outcomes["timed-out"]["count"], &outcomes["unsent"]["count"]);
    let all = timed_out.as_u64().unwrap() + unsent.as_u64().unwrap_or(0);
    assert_eq!(all, 200, "every due request is counted, sent or not: {outcomes}");
}

#[test]
fn what_cannot_run_says_why() {
    let out = tempfile::tempdir().unwrap();
    let nobody = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let finished = run(&scenario(5, 50, 1.0, "", ""), &nobody, out.path(), &[]);
    assert!(finished.expect_code(1).stderr.contains("is the engine running?"));
    let finished = run(&scenario(5, 50, 1.0, "colour = 1", ""), &nobody, out.path(), &[]);
    assert!(finished.expect_code(2).stderr.contains("colour"));
    let finished = finish(binary().args(["compare", "nowhere", "nowhere"]).output().unwrap());
    assert!(finished.expect_code(1).stderr.contains("summary.json"));
}

#[test]
fn a_slower_engine_is_a_regression_and_the_same_one_is_not() {
    /// A machine that stands still by itself may make either run the slower one: both are done again then.
    const TRIES: usize = 10;
    let folder = tempfile::tempdir().unwrap();
    let (fast, slow) = (folder.path().join("fast"), folder.path().join("slow"));
    let load = scenario(0, 50, 6.0, "", "");
    // Standing still for a third of the time.
    let stall = Some((Duration::from_millis(600), Duration::from_millis(200)));
    let is_twice_as_slow = (0..TRIES).any(|_| {
        for (out, stall) in [(&fast, None), (&slow, stall)] {
            let shop = Shop::open(Habits { stall, ..Habits::default() });
            run(&load, &shop.url, out, &["--no-verify"]).expect_code(0);
        }
        seckill_ms(&slow, "p90_us") > 2.0 * seckill_ms(&fast, "p90_us")
    });
    assert!(is_twice_as_slow, "this machine stands still more than the engine");
    let compare = |before, after| finish(binary().arg("compare").arg(before).arg(after).output().unwrap());
    assert!(compare(&fast, &slow).expect_code(6).stdout.contains("REGRESSION"));
    compare(&fast, &fast).expect_code(0);
}

#[test]
fn a_search_does_not_find_more_than_there_is() {
    // 300 requests a second, one after the other: above that, waiting time grows without end.
    let shop = Shop::open(Habits { capacity_per_s: Some(300.0), ..Habits::default() });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("scenario.toml");
    std::fs::write(&file, scenario(10, 1, 1.0, "", "")).unwrap();
    let out = folder.path().join("search");
    let finished = finish(
        binary()
            .arg("search")
            .arg(&file)
            .args(["--target", &shop.url, "--admin", &shop.url, "--out"])
            .arg(&out)
            .args([
                "--from",
                "20",
                "--to",
                "5000",
                "--p99-ms",
                "300",
                "--step-s",
                "1.5",
                "--precision",
                "0.5",
                "--confirm-s",
                "1.5",
            ])
            .args(["--no-ladder", "--plan", "buyers=3000,seconds=60,units=10"])
            .output()
            .unwrap(),
    );
    let text = std::fs::read_to_string(out.join("search.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    let found = &report["found"];
    let steps = found["steps"].as_array().unwrap();
    assert!(steps.iter().any(|step| step["met"] == false), "{}", finished.stdout);
    // On a machine with no quiet second nothing may be found; more than there is, never.
    match found["rate_per_s"].as_f64() {
        Some(rate) => assert!(rate <= 400.0, "{}", finished.expect_code(0).stdout),
        None => drop(finished.expect_code(3)),
    }
    assert!(out.join("report.html").exists());
}

#[test]
fn a_run_can_be_checked_again_later() {
    let shop = Shop::open(Habits::default());
    let out = tempfile::tempdir().unwrap();
    run(&scenario(30, 60, 1.0, "", ""), &shop.url, out.path(), &[]).expect_code(0);
    let again =
        || finish(binary().arg("verify").arg(out.path()).args(["--admin", &shop.url]).output().unwrap());
    assert!(
        again().expect_code(0).stdout.contains("30 answers of the client's log held against 30 exported")
    );
    // One more sale behind the tester's back is an order that nobody was told of.
    let target = loadtest::wire::request::Target::parse(&shop.url).unwrap();
    let headers = ["X-User-ID: b7".to_owned()];
    let mut caller = loadtest::wire::call::Caller::new(target, &headers, Duration::from_secs(5));
    let campaign = summary(out.path())["sales"][0]["campaign"].as_str().unwrap().to_owned();
    let raised = caller.call(
        "PATCH",
        &format!("/api/v1/campaigns/{campaign}/load-test"),
        Some("{\"stock\":31,\"open\":true}"),
    );
    assert_eq!(raised.unwrap().status, 200);
    let bought = caller.call("POST", &format!("/seckill/{campaign}/load-test"), None).unwrap();
    assert_eq!(bought.status, 201);
    assert!(again().expect_code(4).stdout.contains("BROKEN no-unheard-orders"));
}
