//! The engine's life as an operator sees it: it answers first, reloads, goes away without losing anybody, and ends with
//! a documented exit code.

use std::net::TcpListener;

use rustix::process::Signal;
use testbed::client::Client;
use testbed::until;
use testbed::watched::{WatchedEngine, shell};

#[test]
fn o5_the_admin_plane_answers_while_the_store_opens() {
    // A database that accepts connections and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://u:p@{}/d", silent.local_addr().unwrap());
    let mut engine = WatchedEngine::prepare();
    engine.run(engine.command("", &[("POSTGRES__URL", &url), ("POSTGRES__CONNECT_WAIT_MS", "600000")]));
    until("alive", || engine.asks("/livez").is_some());
    assert_eq!(engine.asks("/livez").unwrap().status, 200);
    let ready = engine.asks("/readyz").unwrap();
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json()["start"]["phase"], "opening-store", "{}", ready.body);
    assert_eq!(ready.json()["start"]["orders_read"], 0);
    let other = engine.asks("/api/v1/campaigns").unwrap();
    assert_eq!((other.status, other.member("code").as_str()), (503, "starting"));
    assert!(other.field("retry-after").is_some());

    // What restarts containers asks for life, what sends buyers for readiness.
    let check = |more: &str| {
        shell(
            engine.folder.path(),
            &format!("\"$0\" healthcheck {more} --admin-listen {} 2>&1", engine.admin),
        )
    };
    assert_eq!(check("").0, Some(0));
    let (code, said) = check("--ready");
    assert!(code == Some(1) && said.contains("opening-store"), "{said}");

    engine.signal(Signal::HUP);
    engine.signal(Signal::TERM);
    assert_eq!(engine.wait_for_end().code(), Some(0), "signals work from the first moment");
}

#[test]
fn o4_sighup_reloads_and_says_what_changed_or_why_not() {
    let mut engine = WatchedEngine::prepare();
    let file = engine.folder.path().join("engine.toml");
    std::fs::write(&file, "").unwrap();
    let mut command = engine.command("", &[]);
    command.env("SECKILL_CONFIG", &file);
    engine.run(command);
    engine.wait_until_ready();
    std::fs::write(&file, "admission.buyer_rate_per_s = 7\n").unwrap();
    engine.signal(Signal::HUP);
    until("reloaded", || engine.log_text().contains("admission.buyer_rate_per_s"));
    std::fs::write(&file, "node.id = 7\n").unwrap();
    engine.signal(Signal::HUP);
    until("refused", || engine.log_text().contains("node.id can only change with a restart"));
    assert_eq!(engine.asks("/readyz").unwrap().status, 200);
    engine.signal(Signal::TERM);
    assert_eq!(engine.wait_for_end().code(), Some(0));
}

#[test]
fn o3_a_lame_duck_serves_and_a_second_signal_hurries() {
    let mut engine = WatchedEngine::prepare();
    engine.start("", &[("EDGE__LAME_DUCK_MS", "600000"), ("STOP_MS_MAX", "3600000")]);
    engine.sale("phone", 10, "");
    let mut kept = Client::connect(engine.edge);
    let look = "GET /seckill/test/phone HTTP/1.1\r\nHost: h\r\n\r\n";
    assert_eq!(kept.send(look).answer().unwrap().field("connection"), None);
    engine.signal(Signal::TERM);
    until("leaving", || engine.asks("/readyz").unwrap().status == 503);
    assert_eq!(engine.asks("/readyz").unwrap().json()["checks"]["lifecycle"], "draining");
    assert_eq!(engine.asks("/livez").unwrap().status, 200);
    // Who is connected is served and told to go, and so is who comes now.
    let answer = kept.send(look).answer().unwrap();
    assert_eq!((answer.status, answer.field("connection")), (200, Some("close")));
    kept.wait_for_close();
    assert_eq!(engine.buy("phone", "ann").status, 201);
    engine.signal(Signal::INT);
    // A second is left for everything. Where that is too little, on a busy machine, the code says so; nothing is lost.
    let code = engine.wait_for_end().code();
    assert!(matches!(code, Some(0 | 75)), "{code:?}");
    engine.start("", &[]);
    let audit = engine.asks("/api/v1/campaigns/test/phone/audit").unwrap().json();
    assert_eq!(audit["durable_orders"], 1, "{audit}");
}

#[test]
fn o12_every_way_out_has_its_documented_code() {
    let folder = tempfile::tempdir().unwrap();
    let code = |line: &str| shell(folder.path(), line).0;
    // Standard error may be full or closed.
    for gone in ["2>/dev/full", "2>&-"] {
        assert_eq!(code(&format!("\"$0\" --no-such-flag {gone}")), Some(2), "{gone}");
        assert_eq!(code(&format!("\"$0\" serve --node-id 5000 {gone}")), Some(78), "{gone}");
        assert_eq!(code(&format!("\"$0\" healthcheck --admin-listen 127.0.0.1:1 {gone}")), Some(1), "{gone}");
        assert_eq!(code(&format!("\"$0\" reconcile --check {gone}")), Some(69), "{gone}");
    }
    // And so may standard output; who has read enough is no failure.
    assert_eq!(code("\"$0\" check-config >/dev/full"), Some(74));
    assert_eq!(code("{ \"$0\" check-config; echo $? >code; } | true; read code <code; exit $code"), Some(0));
    assert_eq!(code("\"$0\" --help >/dev/full"), Some(0));
}

#[test]
fn o12_a_full_disk_with_nobody_to_tell_ends_with_the_stores_code() {
    // Blocks of 512 bytes: the log of an empty store fits, that of some hundred orders does not.
    let shell = "trap '' XFSZ; ulimit -f 1024";
    let mut engine = WatchedEngine::prepare();
    let mut command = engine.command(shell, &[("EDGE__ACK_WAIT_MS", "0")]);
    command.stderr(std::fs::File::options().write(true).open("/dev/full").unwrap());
    command.stdout(std::fs::File::options().write(true).open("/dev/full").unwrap());
    engine.run(command);
    engine.wait_until_ready();
    engine.sale("phone", 1_000_000, "");
    let mut client = Client::connect(engine.edge);
    for click in 0..100_000 {
        let buy = format!(
            "POST /seckill/test/phone HTTP/1.1\r\nHost: h\r\nX-User-ID: b-{click}\r\nContent-Length: 0\r\n\r\n"
        );
        if client.send(buy).answer().is_none() {
            break;
        }
    }
    assert_eq!(engine.wait_for_end().code(), Some(74));
}

#[test]
fn m6_nothing_simulated_is_sold_to_strangers_unasked() {
    let mut engine = WatchedEngine::prepare();
    engine.edge.set_ip([0, 0, 0, 0].into());
    let open = [("EDGE__AUTH__INSECURE", "true")];
    engine.run(engine.command("", &open));
    assert_eq!(engine.wait_for_end().code(), Some(78));
    assert!(engine.log_text().contains("checkout.allow_simulated"), "{}", engine.log_text());

    engine.start("", &[open[0], ("CHECKOUT__ALLOW_SIMULATED", "true")]);
    let health = engine.asks("/healthz").unwrap().json();
    assert_eq!(health["simulated"], serde_json::json!(["gateway", "risk"]));
    assert_eq!(health["campaigns"], 0, "no demo sale where others can buy");
    until("said", || engine.log_text().contains("no money is taken"));
    engine.signal(Signal::TERM);
    engine.signal(Signal::TERM);
    assert_eq!(engine.wait_for_end().code(), Some(0));
    engine.start("", &[open[0], ("CHECKOUT__ALLOW_SIMULATED", "true"), ("DEMO", "true")]);
    assert_eq!(engine.asks("/healthz").unwrap().json()["campaigns"], 1);

    let mut local = WatchedEngine::prepare();
    local.start("", &[]);
    assert_eq!(local.asks("/healthz").unwrap().json()["campaigns"], 1);
    // One that takes money is no demo.
    let mut earnest = WatchedEngine::prepare();
    let http = [("CHECKOUT__GATEWAY__KIND", "http"), ("CHECKOUT__GATEWAY__HTTP__URL", "http://127.0.0.1:1")];
    earnest.start("", &http);
    let health = earnest.asks("/healthz").unwrap().json();
    assert_eq!((&health["campaigns"], &health["simulated"]), (&0.into(), &serde_json::json!(["risk"])));
}

/// Nobody waits longer than the tests' patience for what is told to end at once.
#[test]
fn o3_a_stop_keeps_its_one_budget_with_a_request_that_never_ends() {
    let mut engine = WatchedEngine::prepare();
    let keys =
        [("STOP_MS_MAX", "1000"), ("EDGE__DRAIN_MS", "600000"), ("EDGE__BODY_READ_TIMEOUT_MS", "600000")];
    engine.start("", &keys);
    let mut stuck = Client::connect(engine.edge);
    stuck.send(
        "POST /seckill/demo/widget HTTP/1.1\r\nHost: h\r\nX-User-ID: a\r\nExpect: 100-continue\r\n\
         Content-Length: 5\r\n\r\n",
    );
    // It is being read when the stop begins.
    assert_eq!(stuck.answer().unwrap().status, 100);
    stuck.send("{");
    engine.signal(Signal::TERM);
    assert_eq!(engine.wait_for_end().code(), Some(0));
}
