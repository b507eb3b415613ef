//! What the tester once said wrongly, asked again: of a shop with known faults, or of the command line.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;

use crate::shop::{Habits, Shop};
use crate::tester::{binary, finish, run, run_command, scenario, summary};

const SOLD_OUT: &str = "[verify]\nsold_out = true";

fn check(out: &Path, name: &str) -> Value {
    let checks = summary(out)["verification"]["checks"].clone();
    let found = checks.as_array().unwrap().iter().find(|check| check["name"] == name);
    found.unwrap_or_else(|| panic!("no check {name} in {checks}")).clone()
}

fn objective(text: &str) -> String {
    format!("[[objective]]\n{text}")
}

#[test]
fn l1_units_that_nobody_asked_for_are_not_held_against_the_engine() {
    let out = tempfile::tempdir().unwrap();
    // Ten buyers for a thousand units, then three hundred who are all told to come back later.
    let few = scenario(1_000, 10, 1.0, "", SOLD_OUT);
    let turned_away = scenario(100, 300, 1.0, "", SOLD_OUT);
    for (load, habits) in
        [(few, Habits::default()), (turned_away, Habits { limited: true, ..Habits::default() })]
    {
        run(&load, &Shop::open(habits).url, out.path(), &[]).expect_code(0);
        let check = check(out.path(), "sold-out");
        assert_eq!((&check["passed"], &check["judged"]), (&true.into(), &false.into()), "{check}");
    }
    // Enough who were answered, and units left all the same.
    let stranding = Shop::open(Habits { strand_units: 5, ..Habits::default() });
    let enough = scenario(100, 300, 1.0, "", SOLD_OUT);
    run(&enough, &stranding.url, out.path(), &[]).expect_code(4);
    assert_eq!(check(out.path(), "sold-out")["violations"], 5);
}

#[test]
fn l2_a_forgotten_secret_is_told_before_the_load() {
    let shop = Shop::open(Habits { origin_secret: Some("s3cret"), ..Habits::default() });
    let out = tempfile::tempdir().unwrap();
    // Nobody waits for this hour: nothing of it is run.
    let hour = scenario(5, 10, 3_600.0, "", "");
    let finished = run(&hour, &shop.url, out.path(), &[]);
    assert!(finished.expect_code(1).stderr.contains("--header 'X-Origin-Secret"), "{}", finished.stderr);
    assert!(!out.path().join("summary.json").exists());
    let second = scenario(5, 10, 1.0, "", "");
    run(&second, &shop.url, out.path(), &["--header", "X-Origin-Secret: s3cret"]).expect_code(0);
    assert_eq!(summary(out.path())["verification"]["orders_exported"], 5, "the first purchase left no order");
}

#[test]
fn l3_failed_purchases_count_for_the_objective_about_orders() {
    let out = tempfile::tempdir().unwrap();
    let away = || Shop::open(Habits { away: Some((20, 40)), ..Habits::default() });
    let strict = objective("path = \"order\"\nerror_rate = 0.0");
    run(&scenario(500, 100, 1.0, "", &strict), &away().url, out.path(), &[]).expect_code(3);
    let judged = summary(out.path())["objectives"][0].clone();
    assert_eq!(judged["met"], false, "{judged}");
    assert!(judged["measured"].as_f64().unwrap() > 0.1, "20 of 100: {judged}");
    // Errors that no objective is about are not green either.
    let only_slow = objective("path = \"order\"\np99_ms = 60000");
    let finished = run(&scenario(500, 100, 1.0, "", &only_slow), &away().url, out.path(), &[]);
    assert!(finished.expect_code(3).stdout.contains("no objective is about it"));
    let allowed = objective("path = \"seckill\"\nerror_rate = 0.5");
    run(&scenario(500, 100, 1.0, "", &allowed), &away().url, out.path(), &[]).expect_code(0);
}

#[test]
fn l4_a_short_run_that_is_far_slower_is_a_regression() {
    let folder = tempfile::tempdir().unwrap();
    let (fast, slow) = (folder.path().join("fast"), folder.path().join("slow"));
    let load = scenario(0, 300, 2.0, "", "").replace("connections = 16", "connections = 100");
    run(&load, &Shop::open(Habits::default()).url, &fast, &["--no-verify"]).expect_code(0);
    // Standing still for most of the time is beyond any noise.
    let stall = Some((Duration::from_millis(1_000), Duration::from_millis(900)));
    let shop = Shop::open(Habits { stall, ..Habits::default() });
    run(&load, &shop.url, &slow, &["--no-verify"]).expect_code(0);
    let compare = |before, after| finish(binary().arg("compare").arg(before).arg(after).output().unwrap());
    assert!(compare(&fast, &slow).expect_code(6).stdout.contains("REGRESSION"));
    compare(&fast, &fast).expect_code(0);
    // Runs that have no path in common tell nothing.
    let looking = scenario(0, 50, 1.0, "pages = 1\nclicks = 0", "");
    let pages = folder.path().join("pages");
    run(&looking, &Shop::open(Habits::default()).url, &pages, &["--no-verify"]).expect_code(0);
    assert!(compare(&fast, &pages).expect_code(7).stdout.contains("cannot tell"));
}

#[test]
fn l5_nothing_is_deleted_that_the_run_did_not_write() {
    let folder = tempfile::tempdir().unwrap();
    let (out, file) = (folder.path().join("mine"), folder.path().join("scenario.toml"));
    std::fs::create_dir_all(out.join("verify")).unwrap();
    std::fs::write(&file, scenario(5, 20, 1.0, "", "")).unwrap();
    let mine = ["answers-0.log", "seckill.hlog", "cancel.hgrm", "notes.txt", "verify/told-0"];
    for name in mine {
        std::fs::write(out.join(name), "mine").unwrap();
    }
    let all_there = || {
        mine.iter().filter(|name| **name != "seckill.hlog").for_each(|name| {
            assert_eq!(std::fs::read_to_string(out.join(name)).unwrap(), "mine", "{name}");
        });
    };
    let shop = Shop::open(Habits::default());
    let run = |url: &str, more: &[&str]| {
        let mut command = binary();
        command.current_dir(folder.path()).arg("run").arg(&file).args(["--target", url, "--admin", url]);
        finish(command.args(more).output().unwrap())
    };
    let into = out.to_str().unwrap();
    let refused = run(&shop.url, &["--out", into]);
    assert!(refused.expect_code(2).stderr.contains("--force"), "{}", refused.stderr);
    all_there();
    // Nobody listens there.
    run("http://127.0.0.1:9", &["--out", into, "--force"]).expect_code(1);
    all_there();
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), mine.len(), "and nothing of a run that never was");
    run(&shop.url, &["--out", into, "--force"]).expect_code(0);
    all_there();
    // Without a name there is a new folder each time.
    for number in 1..=2 {
        run(&shop.url, &[]).expect_code(0);
        assert_eq!(std::fs::read_dir(folder.path().join("out")).unwrap().count(), number);
    }
}

fn search(shop: &Shop, out: &Path, more: &[&str]) -> crate::tester::Finished {
    let file = out.with_extension("toml");
    std::fs::write(&file, scenario(100_000, 1, 1.0, "", "")).unwrap();
    let mut command = binary();
    command.arg("search").arg(&file).args(["--target", &shop.url, "--admin", &shop.url, "--out"]).arg(out);
    command.args(["--no-ladder", "--p99-ms", "60000", "--step-s", "1", "--from", "20"]).args(more);
    finish(command.output().unwrap())
}

#[test]
fn l6_l12_a_ceiling_is_told_and_the_rate_confirmed_for_as_long_as_asked() {
    let shop = Shop::open(Habits::default());
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("search");
    let more = ["--to", "20", "--confirm-s", "3", "--confirmations", "2"];
    let finished = search(&shop, &out, &more);
    let report = |name: &Path| -> Value {
        serde_json::from_str(&std::fs::read_to_string(out.join(name)).unwrap()).unwrap()
    };
    let found = report(Path::new("search.json"))["found"].clone();
    // On a machine with no quiet second nothing may be found; whatever is found is confirmed, and told as what it is.
    let text = &finished.stdout;
    assert_eq!(
        text.contains("the ceiling you set was reached: 20/s"),
        found["ceiling_reached"] == true,
        "{text}"
    );
    assert_eq!(text.contains("confirmed by 2 runs of 3 s: p99"), found["rate_per_s"].is_number(), "{text}");
    assert_eq!(finished.exit_code, if found["rate_per_s"].is_number() { 0 } else { 3 }, "{text}");
    assert!(!text.contains("bends"), "{text}");
    for (number, step) in found["steps"].as_array().unwrap().iter().enumerate() {
        let folder = format!("{:02}-{:.0}-per-s", number + 1, step["rate_per_s"].as_f64().unwrap());
        let phases = report(&Path::new(&folder).join("summary.json"))["phases"].clone();
        let long = step["stage"] == "confirm" || step["stage"] == "above";
        assert_eq!(phases[1]["duration_s"], if long { 3.0 } else { 1.0 }, "{step}");
    }
    // The folder is full now.
    search(&shop, &out, &more).expect_code(2);
}

#[test]
fn l7_progress_fits_a_terminal_of_80_columns() {
    let shop = Shop::open(Habits::default());
    let out = tempfile::tempdir().unwrap();
    let long = scenario(50, 100, 2.0, "then = \"pay\"", "")
        .replace("name = \"load\"", "name = \"a-phase-whose-name-alone-is-long\"");
    let command = run_command(&long, &shop.url, out.path(), &[]);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/judged/terminal.py");
    let mut terminal = Command::new("python3");
    terminal.arg(script).arg("80").arg(command.get_program()).args(command.get_args());
    let shown = finish(terminal.output().expect("this test needs python3"));
    let lines: Vec<&str> = shown.expect_code(0).stdout.lines().filter(|line| line.contains(" % ")).collect();
    let progress: Vec<&&str> = lines.iter().filter(|line| line.contains(" left")).collect();
    assert!(!progress.is_empty(), "{}", shown.stdout);
    for line in progress {
        assert!(line.chars().count() < 80, "{line}");
        assert!(line.contains("of 100/s") || line.contains("drain"), "{line}");
        assert!(line.contains("paid"), "{line}");
    }
    let finished = finish(
        binary().args(["run", "sekill", "--target", &shop.url, "--admin", &shop.url]).output().unwrap(),
    );
    assert!(finished.expect_code(2).stderr.contains("did you mean seckill?"), "{}", finished.stderr);
}

#[test]
fn l8_a_reader_that_goes_away_ends_no_command() {
    let shop = Shop::open(Habits::default());
    let out = tempfile::tempdir().unwrap();
    let mut command = run_command(&scenario(5, 20, 1.0, "", ""), &shop.url, out.path(), &[]);
    let nobody_reads = |command: &mut Command| {
        let [stdout, stderr] = [(); 2].map(|()| {
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            writer
        });
        command.stdout(stdout).stderr(stderr).status().unwrap().code()
    };
    assert_eq!(nobody_reads(&mut command), Some(0));
    assert_eq!(nobody_reads(binary().arg("compare").arg(out.path()).arg(out.path())), Some(0));
    assert_eq!(nobody_reads(binary().arg("compare").arg(out.path()).arg(out.path()).arg("--json")), Some(0));
    assert_eq!(nobody_reads(binary().arg("report").arg(out.path())), Some(0));
    assert_eq!(nobody_reads(binary().arg("verify").arg(out.path()).args(["--admin", &shop.url])), Some(0));
    assert_eq!(nobody_reads(binary().args(["compare", "nowhere", "nowhere"])), Some(1));
    assert_eq!(nobody_reads(binary().arg("--help")), Some(0));
}

#[test]
fn l9_an_engine_that_is_gone_for_good_ends_the_run_with_a_report() {
    let shop = Shop::open(Habits { dies_after: Some(50), ..Habits::default() });
    let out = tempfile::tempdir().unwrap();
    let hour = scenario(1_000, 100, 3_600.0, "", "give_up_s = 1");
    let finished = run(&hour, &shop.url, out.path(), &[]);
    let text = &finished.expect_code(1).stdout;
    assert!(text.contains("the engine stopped answering"), "{text}");
    assert!(
        text.contains(&format!("loadtest verify {} --admin {}", out.path().display(), shop.url)),
        "{text}"
    );
    let summary = summary(out.path());
    assert!(
        summary["engine_gone_at_s"].as_f64().is_some() && summary["duration_s"].as_f64().unwrap() < 3_600.0
    );
    assert_eq!(summary["result"]["exit_code"], 1);
    assert!(out.path().join("report.html").exists());
}

#[test]
fn l10_every_address_of_a_name_is_tried_and_the_load_dealt_over_them() {
    let out = tempfile::tempdir().unwrap();
    let load = scenario(50, 100, 1.0, "", "");
    let two = Shop::open_at(Habits::default(), &["127.0.0.1", "127.0.0.2"]);
    let port = two.url.rsplit_once(':').unwrap().1;
    let named = format!("http://shop.test:{port}");
    // The first address is one where nobody listens.
    let resolve = format!("shop.test:{port}:127.0.0.3,127.0.0.1,127.0.0.2");
    run(&load, &named, out.path(), &["--resolve", &resolve]).expect_code(0);
    let accepted: Vec<u64> = two.accepted.iter().map(|count| count.load(Ordering::SeqCst)).collect();
    // Eight of sixteen connections each, beside those of the preparations.
    assert!(accepted.iter().all(|count| *count >= 8), "{accepted:?}");
}

#[test]
fn l11_the_report_is_read_without_a_script_and_on_a_phone() {
    let shop = Shop::open(Habits::default());
    let out = tempfile::tempdir().unwrap();
    run(&scenario(20, 50, 1.0, "", ""), &shop.url, out.path(), &[]).expect_code(0);
    let report = std::fs::read_to_string(out.path().join("report.html")).unwrap();
    let plain = report.split("<noscript>").nth(1).and_then(|rest| rest.split("</noscript>").next()).unwrap();
    for part in ["response time in ms", "seckill", "acknowledged-orders-durable", "result: ok"] {
        assert!(plain.contains(part), "{part}: {plain}");
    }
    assert!(report.contains("@media (max-width: 560px)") && report.contains("width=device-width"));
    assert!(report.contains("ResizeObserver"), "charts are drawn for the width that there is");
}
