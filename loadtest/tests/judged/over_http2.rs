//! The tester against a real engine over HTTP/2: in the clear by prior knowledge, under TLS by ALPN.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use testbed::certificates::{Authority, Files};
use testbed::client::request;
use testbed::engine::Engine;
use testbed::servers::engine::{self, EngineProcess, PATIENT, variables};
use testbed::until;

use crate::tester::{Finished, binary, finish, run_command_at, scenario, summary, text, winners};

/// `loadtest run` over HTTP/2 against an edge and an admin address.
fn run(load: &str, edge: &str, admin: &str, out: &Path, more: &[&str]) -> Finished {
    let mut command = run_command_at(load, [edge, admin], out, more);
    finish(command.args(["--quiet", "--http2"]).output().unwrap())
}

fn run_at(engine: &Engine, load: &str, out: &Path, more: &[&str]) -> Finished {
    let (edge, admin) = (engine.edge(), engine.admin_addr());
    run(load, &format!("http://{edge}"), &format!("http://{admin}"), out, more)
}

#[test]
fn buyers_win_and_pay_over_few_connections_with_many_streams() {
    let engine = Engine::start(&[]);
    let out = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        let run = scope.spawn(|| run_at(&engine, &winners(120), out.path(), &["--streams", "8"]));
        let figure = "seckill_edge_http2_connections 3";
        until("the engine sees them", || engine.admin("GET", "/metrics", "").body.contains(figure));
        run.join().unwrap().expect_code(0);
    });
    let summary = summary(out.path());
    let client = &summary["environment"]["scenario"]["client"];
    assert_eq!((&client["http2"], &client["streams"]), (&true.into(), &8.into()));
    assert_eq!(summary["verification"]["passed"], true);
    assert_eq!(summary["verification"]["orders_exported"], 60);
}

#[test]
fn connections_that_end_after_a_few_requests_lose_none() {
    let out = tempfile::tempdir().unwrap();
    // The tester ends them, then the engine does.
    let engine = Engine::start(&[]);
    let load = winners(120).replace("connections = 3", "connections = 3\nrequests_per_connection = 5");
    run_at(&engine, &load, out.path(), &["--streams", "4"]).expect_code(0);
    assert!(summary(out.path())["client"]["connects"].as_u64().unwrap() >= 20);
    let engine = Engine::start(&[("EDGE__KEEP_ALIVE", "false")]);
    run_at(&engine, &winners(120), out.path(), &["--streams", "4"]).expect_code(0);
    assert!(summary(out.path())["client"]["connects"].as_u64().unwrap() >= 20);
}

/// Who is due while the engine stands still waits for the rest of it, and that is what is told: of a run of 3 s, those who
/// come in the first 150 ms of 400 are 5 %.
#[test]
fn a_stall_is_counted_from_the_due_time() {
    let (data, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let free = ([127, 0, 0, 1], 0).into();
    let mut command = Command::new(engine::binary());
    command.envs(PATIENT);
    let engine = EngineProcess::start(command, data.path(), free, free);
    let load = scenario(0, 200, 3.0, "", "").replace("connections = 16", "connections = 2");
    let (edge, admin) = (format!("http://{}", engine.edge()), format!("http://{}", engine.admin()));
    std::thread::scope(|scope| {
        let run = scope.spawn(|| run(&load, &edge, &admin, out.path(), &["--streams", "16", "--no-verify"]));
        until("it has begun", || {
            let stats = request(engine.admin(), "GET", "/api/v1/stats", "", "").json();
            stats["paths"]["seckill"]["count"].as_u64().is_some_and(|count| count > 20)
        });
        engine.pause();
        std::thread::sleep(Duration::from_millis(400));
        engine.go_on();
        run.join().unwrap().expect_code(0);
    });
    let response = &summary(out.path())["paths"]["seckill"]["all"]["response"];
    assert!(response["max_us"].as_u64().unwrap() >= 390_000, "{response}");
    let over = std::fs::read_to_string(out.path().join("seckill.hgrm")).unwrap();
    let p95 = over.lines().filter_map(|line| {
        let mut words = line.split_whitespace().map(str::parse::<f64>);
        Some((words.next()?.ok()?, words.next()?.ok()?))
    });
    let (ms, _) = p95.into_iter().find(|(_, at)| *at >= 0.95).unwrap();
    assert!(ms >= 200.0, "{ms} ms");
}

#[test]
fn the_protocol_is_agreed_on_under_tls_and_told_where_it_is_not_spoken() {
    let (authority, files) = (Authority::new("ca"), Files::default());
    let (certificate, key) = files.write_pair("engine", &authority.sign("localhost"));
    let cacert = files.write("ca.pem", authority.pem());
    for (enabled, code) in [("true", 0), ("false", 1)] {
        let keys = [
            ("EDGE__TLS__CERT_FILE".to_owned(), text(&certificate).to_owned()),
            ("EDGE__TLS__KEY_FILE".to_owned(), text(&key).to_owned()),
            ("EDGE__HTTP2__ENABLED".to_owned(), enabled.to_owned()),
        ];
        let (data, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut command = Command::new(engine::binary());
        command.envs(PATIENT).envs(variables(&keys));
        let free = ([127, 0, 0, 1], 0).into();
        let engine = EngineProcess::start(command, data.path(), free, free);
        let port = engine.edge().port();
        let resolve = format!("localhost:{port}:127.0.0.1");
        let more = ["--streams", "8", "--cacert", text(&cacert), "--resolve", &resolve];
        let (edge, admin) = (format!("https://localhost:{port}"), format!("http://{}", engine.admin()));
        let finished = run(&winners(120), &edge, &admin, out.path(), &more);
        assert_eq!(finished.expect_code(code).stderr.contains("HTTP/2"), code == 1, "{}", finished.stderr);
    }
}

#[test]
fn streams_are_of_http2_alone() {
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("scenario.toml");
    std::fs::write(&file, winners(1)).unwrap();
    let mut command = binary();
    command.arg("run").arg(&file).args(["--target", "http://127.0.0.1:1", "--admin", "http://127.0.0.1:1"]);
    let finished = finish(command.args(["--set", "client.streams=4"]).output().unwrap());
    assert!(finished.expect_code(2).stderr.contains("client.http2"), "{}", finished.stderr);
}
