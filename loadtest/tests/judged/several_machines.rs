//! Several machines send one load: agents are other processes, spoken to over a command's input and output.

use std::path::Path;
use std::process::Stdio;

use crate::shop::{Habits, Shop};
use crate::tester::{run, run_command, scenario, summary};

/// The command of an agent on this machine.
fn agent() -> String {
    format!("{} agent", env!("CARGO_BIN_EXE_loadtest"))
}

fn logs(out: &Path) -> Vec<u64> {
    let entries = std::fs::read_dir(out).unwrap().map(|entry| entry.unwrap());
    let is_log = |name: &str| name.starts_with("answers-") && name.ends_with(".log");
    let logs = entries.filter(|entry| is_log(entry.file_name().to_str().unwrap()));
    logs.map(|entry| entry.metadata().unwrap().len()).collect()
}

#[test]
fn machines_together_send_what_one_would_and_are_judged_together() {
    let shop = Shop::open(Habits { pending_every: Some(7), ..Habits::default() });
    let out = tempfile::tempdir().unwrap();
    let scenario = scenario(100, 300, 1.0, "then = \"pay\"", "[verify]\nsold_out = true");
    let agent = agent();
    run(&scenario, &shop.url, out.path(), &["--agent", &agent, "--agent", &agent]).expect_code(0);
    let summary = summary(out.path());
    let count = |path: &str| summary["paths"][path]["all"]["count"].as_u64().unwrap();
    assert_eq!((count("seckill"), count("order")), (300, 100));
    assert_eq!(summary["paths"]["checkout"]["outcomes"]["paid"]["count"], 100);
    assert_eq!(summary["verification"]["orders_exported"], 100);
    assert_eq!(summary["client"]["sent"], summary["client"]["answered"], "{}", summary["client"]);
    let agents = summary["environment"]["agents"].as_array().unwrap();
    assert_eq!(agents.len(), 2);
    for told in agents {
        assert_eq!((told["command"].as_str(), told["workers"].as_u64()), (Some(agent.as_str()), Some(1)));
    }
    // Each worker, wherever it ran, has kept what its buyers were promised, and had its share of them.
    let logs = logs(out.path());
    assert!(logs.len() == 3 && logs.iter().all(|bytes| *bytes > 0), "{logs:?}");
    let answers =
        summary["series"].as_array().unwrap().iter().map(|second| second["answered"].as_u64().unwrap());
    assert_eq!(Some(answers.sum()), summary["client"]["answered"].as_u64(), "the seconds of all machines");
}

#[test]
fn what_an_agent_was_promised_is_held_against_the_shop() {
    let shop = Shop::open(Habits { lose_every: Some(9), ..Habits::default() });
    let out = tempfile::tempdir().unwrap();
    run(&scenario(100, 200, 1.0, "", ""), &shop.url, out.path(), &["--agent", &agent()]).expect_code(4);
    let summary = summary(out.path());
    let checks = summary["verification"]["checks"].as_array().unwrap();
    let lost = checks.iter().find(|check| check["name"] == "acknowledged-orders-durable").unwrap();
    let acknowledged = summary["paths"]["order"]["all"]["count"].as_u64().unwrap();
    let stored = summary["verification"]["orders_exported"].as_u64().unwrap();
    assert!(acknowledged > stored, "{acknowledged} acknowledged, {stored} stored");
    assert_eq!(lost["violations"], acknowledged - stored, "whoever was told of them: {lost}");
}

#[test]
fn an_agent_that_is_none_is_told_by_its_command() {
    let shop = Shop::open(Habits::default());
    for (command, why) in [
        ("exit 3", "ended; is `loadtest` there"),
        ("echo welcome to gen2; cat > /dev/null", "said \"welcome to gen2\""),
        ("no-such-program agent", "ended; is `loadtest` there"),
    ] {
        let out = tempfile::tempdir().unwrap();
        let finished = run(&scenario(5, 20, 1.0, "", ""), &shop.url, out.path(), &["--agent", command]);
        let told = &finished.expect_code(1).stderr;
        assert!(told.contains(&format!("--agent {command:?}")) && told.contains(why), "{command}: {told}");
        assert!(!out.path().join("summary.json").exists(), "there is no result");
    }
}

#[test]
fn a_run_that_loses_an_agent_has_no_result_and_leaves_no_sale_open() {
    let shop = Shop::open(Habits::default());
    let out = tempfile::tempdir().unwrap();
    // It is ended before the load is over, at the latest; on a slow machine before it has begun.
    let doomed = format!("timeout --signal KILL 2 {}", agent());
    let finished = run(&scenario(50, 20, 30.0, "", ""), &shop.url, out.path(), &["--agent", &doomed]);
    let told = &finished.expect_code(1).stderr;
    assert!(told.contains("timeout --signal KILL") && told.contains("ended"), "{told}");
    assert!(!told.contains("still open"), "{told}");
    assert!(!out.path().join("summary.json").exists() && logs(out.path()).is_empty());
}

#[test]
fn an_agent_that_falls_silent_loses_the_run() {
    let shop = Shop::open(Habits::default());
    let (out, beside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let id = beside.path().join("id");
    // Its connection stays, as that of a machine does which hangs.
    let hangs = format!("echo $$ > {}; exec {}", id.display(), agent());
    let arguments = ["--agent", &hangs, "--agent-silence-max", "2"];
    let mut command = run_command(&scenario(50, 50, 600.0, "", ""), &shop.url, out.path(), &arguments);
    let running = command.stderr(Stdio::piped()).spawn().unwrap();
    testbed::until("the load has begun", || shop.purchases() > 0);
    let id: i32 = std::fs::read_to_string(&id).unwrap().trim().parse().unwrap();
    let id = rustix::process::Pid::from_raw(id).unwrap();
    // On a slow machine it has been silent for so long by itself, and is gone.
    let _ = rustix::process::kill_process(id, rustix::process::Signal::STOP);
    let ended = running.wait_with_output().unwrap();
    let told = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{told}");
    assert!(told.contains("said nothing for 2 s") && !told.contains("still open"), "{told}");
    assert!(!out.path().join("summary.json").exists(), "there is no result");
}

#[test]
fn an_agent_behind_a_shell_is_told_when_the_run_is_lost() {
    let shop = Shop::open(Habits::default());
    let (out, beside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let told = beside.path().join("told");
    // The shell waits for what it runs, and to end the shell does not end that. An agent that has ended by itself, since nobody
    // hears it any more, does not end what writes down what it was told.
    let behind_a_shell = format!("(trap '' PIPE; exec tee {}) | {}; true", told.display(), agent());
    // A shell that is killed before it has run anything leaves nobody behind.
    let leaves = format!("until [ -s {} ]; do sleep 0.05; done; exit 3", told.display());
    let arguments = ["--agent", &behind_a_shell, "--agent", &leaves];
    run(&scenario(50, 20, 30.0, "", ""), &shop.url, out.path(), &arguments).expect_code(1);
    testbed::until("it is told", || {
        std::fs::read_to_string(&told).is_ok_and(|told| told.lines().any(|word| word == "\"stop\""))
    });
}

#[test]
fn a_signal_ends_the_agents_too_and_what_was_measured_is_reported() {
    let shop = Shop::open(Habits::default());
    let out = tempfile::tempdir().unwrap();
    let mut command =
        run_command(&scenario(50, 50, 600.0, "", ""), &shop.url, out.path(), &["--agent", &agent()]);
    let mut running = command.spawn().unwrap();
    testbed::until("the load has begun", || shop.purchases() > 0);
    let pid = rustix::process::Pid::from_child(&running);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(running.wait().unwrap().code(), Some(130));
    let summary = summary(out.path());
    assert_eq!(summary["interrupted"], true);
    assert_eq!(summary["environment"]["agents"].as_array().unwrap().len(), 1);
    assert_eq!(logs(out.path()).len(), 2);
}
