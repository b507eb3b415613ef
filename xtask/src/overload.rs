//! `cargo xtask overload`: several times as many purchases as the release engine can take, and what is dear beside them. It
//! goes on to sell as much as it can, and looks, payments and operators' reads give way.
//!
//! The engine has one serving thread and core 0; the load tester, and whoever asks for what is dear, have core 1.

mod dear;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clap::value_parser;
use serde_json::Value;

use crate::perf::server::{FrontEnd, Server};
use crate::perf::{PLENTY, WORK_FOLDER, append, machine};
use crate::plot::{Line, Plot};
use crate::{Failure, cargo, load_tester};
use dear::{Asking, Dear, Orders};

const FOLDER: &str = "target/perf/overload";
const PLOT: &str = "perf/overload.svg";
/// The sale of the engine, whose orders are looked up and paid for; the tester opens another one.
const SALE: &str = "/seckill/demo/widget";
/// What is offered, as a multiple of the best rate.
const OFFERED: [f64; 5] = [0.5, 1.0, 1.5, 2.0, 3.0];
/// Share of the best rate that is to be kept at the most that is offered.
const KEPT_MIN: f64 = 0.9;
/// Connections and requests under way on each, of which the best is looked for; the last are those of all that is offered.
const HTTP1: [(u32, u32); 3] = [(128, 1), (512, 1), (2_048, 1)];
const HTTP2: [(u32, u32); 3] = [(16, 32), (64, 32), (64, 100)];
/// Before the load begins: the first phase of the tester's scenario.
const WARM_UP_S: u32 = 1;
/// The tester takes so long at most to start and to write what it has found; what is dear is asked for meanwhile, too.
const AROUND_S: u32 = 20;

/// What is offered.
#[derive(clap::Args, Debug)]
pub struct Options {
    /// Offer over HTTP/1.1, on 2,048 connections, instead of over HTTP/2, on 64 with 100 streams.
    #[arg(long)]
    http1: bool,
    /// How long each load lasts, in s.
    #[arg(long, default_value_t = 10, value_parser = value_parser!(u32).range(2..=600))]
    seconds: u32,
    /// Put the table at the end of perf/RESULTS.md, too.
    #[arg(long)]
    append: bool,
    /// Take the binaries that are there.
    #[arg(long)]
    no_build: bool,
}

/// Offers it, prints a table, and writes the plot to `perf/overload.svg`.
///
/// # Errors
/// Purchases have not kept what they should of their best rate.
pub fn run(options: &Options) -> Result<(), Failure> {
    if !options.no_build {
        cargo::run(&["build", "--release", "--locked", "--package", "seckill"], &[])?;
        load_tester::build()?;
    }
    if fs::exists(FOLDER)? {
        fs::remove_dir_all(FOLDER)?;
    }
    fs::create_dir_all(WORK_FOLDER)?;
    let heading = machine::heading();
    stay_on_client_core()?;
    let keys = [("ADMISSION__BUYER_RATE_PER_S", "0"), ("ADMISSION__LOOKUP_RATE_PER_S", "0")];
    let engine = Server::engine_with("overload", FrontEnd::Hyper, PLENTY, &keys)?;
    let offers = Offers { engine: &engine, is_http2: !options.http1, seconds: options.seconds };
    let ways = if options.http1 { HTTP1 } else { HTTP2 };
    let widest = ways[ways.len() - 1];

    let mut alone = Vec::new();
    for way in ways {
        alone.push(offers.make(r#"{ curve = "closed" }"#, way)?.won_per_s);
    }
    let best = alone.iter().copied().fold(0.0, f64::max);
    eprintln!("xtask overload: {alone:.0?} a second in closed loops of {ways:?}");
    let orders = Dear::Pay.rate_per_s() * (options.seconds + AROUND_S) * OFFERED.len() as u32;
    let orders = Arc::new(Orders::buy(engine.target, orders as usize)?);
    let mut steps = Vec::new();
    for times in OFFERED {
        let asking = Asking::start(engine.target, engine.admin(), &orders);
        let load = format!(r#"{{ curve = "constant", rate_per_s = {:.1} }}"#, times * best);
        let made = offers.make(&load, widest);
        let (heard, sold) = (asking.end(), made?);
        let time = Duration::from_secs(options.seconds.into());
        let dear = Dear::ALL.map(|dear| heard.counts(dear, sold.began, time));
        eprintln!("xtask overload: {times} × {best:.0} a second: {sold:?}, {dear:?}");
        steps.push(Step { times, sold, dear });
    }
    let again = offers.make(r#"{ curve = "closed" }"#, widest)?.won_per_s;

    let (connections, streams) = widest;
    let mut table = format!(
        "### Overload: purchases that win, and what is dear beside them\n\n\
         {}, {connections} connections with {streams} request(s) under way on each; each load for {} s, open. Best rate, in closed loops \
         without anything beside it: {best:.0} purchases a second; {again:.0} once more at the end, on {connections} connections. Of what is \
         dear there are due, a second: {}.\n\n",
        if options.http1 { "HTTP/1.1" } else { "HTTP/2" },
        options.seconds,
        Dear::ALL.map(|dear| format!("{} {}", dear.rate_per_s(), dear.name())).join(", "),
    );
    table.push_str(&rows(best, &steps));
    println!("{heading}{table}");
    fs::write(PLOT, plot(best, options.seconds, &steps))?;
    if options.append {
        append(&format!("{heading}{table}"))?;
    }
    let kept = steps.last().map_or(0.0, |step| step.sold.won_per_s / best);
    if kept >= KEPT_MIN {
        return Ok(());
    }
    Err(format!("{:.0} % of the best rate are left; wanted {:.0} %", kept * 100.0, KEPT_MIN * 100.0).into())
}

/// What this process does, and starts, is done on core 1 from now on, unless it is told otherwise.
fn stay_on_client_core() -> Result<(), Failure> {
    let own = std::process::id().to_string();
    let status = Command::new("taskset").args(["-a", "-c", "-p", "1", &own]).output()?.status;
    if status.success() { Ok(()) } else { Err("there is no core 1 for the client".into()) }
}

/// How purchases are offered.
struct Offers<'a> {
    engine: &'a Server,
    is_http2: bool,
    seconds: u32,
}

/// What became of purchases that were offered.
#[derive(Debug)]
struct Sold {
    /// When the load began, behind the warm-up.
    began: SystemTime,
    /// Requests that were sent, a second.
    sent_per_s: f64,
    /// Purchases that were answered 201 or 202, a second.
    won_per_s: f64,
    /// P99 of those with 201, in ms: from when they were due, and from when they were sent.
    p99_ms: [f64; 2],
    /// The tester's share of its core, as a median of seconds.
    busy: f64,
}

impl Offers<'_> {
    /// Offers a load (TOML, of the tester's scenarios) for some time.
    fn make(&self, load: &str, (connections, streams): (u32, u32)) -> Result<Sold, Failure> {
        let set = [
            format!("phase.0.duration_s={WARM_UP_S}"),
            format!("phase.1.duration_s={}", self.seconds),
            format!("phase.1.load={load}"),
            format!("client.connections={connections}"),
            // What is answered later does not count, and the next load would wait for it.
            "client.drain_s=0".to_owned(),
        ];
        let keys: Vec<_> = set.iter().map(String::as_str).collect();
        let target = format!("http://{}", self.engine.target);
        let words = load_tester::command("order", &target, self.engine.admin(), FOLDER, &keys);
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        if self.is_http2 {
            command.args(["--http2", "--streams", &streams.to_string()]);
        }
        let output = command.output()?;
        // Its objectives are those of an engine that keeps up, and it is to be busy.
        if !matches!(output.status.code(), Some(0 | 3 | 5)) {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{command:?} ended with {}: {said}", output.status).into());
        }
        let summary = load_tester::summary(Path::new(FOLDER))?;
        let log = fs::read_to_string(format!("{FOLDER}/seckill.hlog"))?;
        let began = began(&log).ok_or("the tester's log does not say when it began")?;
        Sold::of(&summary, began, self.seconds).ok_or_else(|| "the tester tells no figures".into())
    }
}

/// When a run began, by its interval log.
fn began(log: &str) -> Option<SystemTime> {
    let line = log.lines().find_map(|line| line.strip_prefix("#[StartTime: "))?;
    let seconds = line.split_whitespace().next()?.parse().ok()?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds))
}

impl Sold {
    /// What a summary tells of the load of a run that began then.
    fn of(summary: &Value, began: SystemTime, seconds: u32) -> Option<Self> {
        // A second is named by its end.
        let (first, last) = (u64::from(WARM_UP_S) + 1, u64::from(WARM_UP_S + seconds));
        let is_of_load = |second: &&Value| second["t"].as_u64().is_some_and(|t| (first..=last).contains(&t));
        let of_load: Vec<_> = summary["series"].as_array()?.iter().filter(is_of_load).collect();
        let a_second = |of: &dyn Fn(&Value) -> u64| {
            of_load.iter().map(|second| of(second)).sum::<u64>() as f64 / f64::from(seconds)
        };
        let won = |second: &Value| {
            let outcomes = ["seckill/won", "seckill/pending"].map(|name| second["outcomes"][name].as_u64());
            outcomes.into_iter().flatten().sum::<u64>()
        };
        // By the name of the scenario's phase.
        let durable = &summary["by_phase"]["orders"]["seckill"]["outcomes"]["won"];
        let p99_ms = ["response", "service"]
            .map(|time| durable[time]["p99_us"].as_f64().map_or(f64::NAN, |us| us / 1e3));
        Some(Self {
            began: began + Duration::from_secs(WARM_UP_S.into()),
            sent_per_s: a_second(&|second| second["sent"].as_u64().unwrap_or_default()),
            won_per_s: a_second(&won),
            p99_ms,
            busy: summary["client"]["busy_median"].as_f64()?,
        })
    }
}

/// A load, and what became of it.
struct Step {
    /// What was offered, as a multiple of the best rate.
    times: f64,
    sold: Sold,
    /// Of each kind: answered, shed, failed.
    dear: [[usize; 3]; 3],
}

fn rows(best: f64, steps: &[Step]) -> String {
    let kinds = Dear::ALL.map(Dear::name).join(" | ");
    let mut table = format!(
        "| offered, × best | offered/s | sent/s | purchases answered 2xx/s | of the best | P99, ms, since due | since sent | {kinds} | tester busy |\n\
         |---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n"
    );
    for Step { times, sold, dear } in steps {
        let Sold { sent_per_s, won_per_s, p99_ms: [due, sent], busy, .. } = sold;
        let dear = dear.map(|[answered, shed, failed]| format!("{answered} · {shed} · {failed}")).join(" | ");
        table.push_str(&format!(
            "| {times} | {:.0} | {sent_per_s:.0} | {won_per_s:.0} | **{:.0} %** | {due:.1} | {sent:.1} | {dear} | {:.0} % |\n",
            times * best,
            won_per_s / best * 100.0,
            busy * 100.0,
        ));
    }
    table.push_str("\nOf what is dear: answered · shed (503 with `Retry-After`) · failed.\n");
    table
}

fn plot(best: f64, seconds: u32, steps: &[Step]) -> String {
    const COLORS: [&str; 3] = ["#b08800", "#8250df", "#cf222e"];
    let line = |name, color, up: &dyn Fn(&Step) -> f64| {
        let points = steps.iter().map(|step| (step.times, up(step) * 100.0)).collect();
        Line { name, color, points }
    };
    let mut lines = vec![
        line("90 %", "#8b949e", &|_| KEPT_MIN),
        line("purchases", "#2f81f7", &|step| step.sold.won_per_s / best),
    ];
    for (place, dear) in Dear::ALL.into_iter().enumerate() {
        let due = f64::from(dear.rate_per_s() * seconds);
        lines.push(line(dear.name(), COLORS[place], &|step| step.dear[place][0] as f64 / due));
    }
    Plot {
        title: "Overload: purchases, % of the best rate; what is dear, % answered",
        unit_across: " ×",
        steps_across: 6,
        lines,
        remark: None,
    }
    .svg()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(times: f64) -> Step {
        let summary = serde_json::json!({
            "series": [
                {"t": 1, "sent": 9, "outcomes": {"seckill/won": 9}},
                {"t": 2, "sent": 30, "outcomes": {"seckill/won": 20, "seckill/overloaded": 5}},
                {"t": 3, "sent": 30, "outcomes": {"seckill/won": 10, "seckill/pending": 10}},
                {"t": 4, "sent": 0, "outcomes": {"seckill/unsent": 50}},
            ],
            "by_phase": {"orders": {"seckill": {"outcomes": {"won": {
                "response": {"p99_us": 2500}, "service": {"p99_us": 1500},
            }}}}},
            "client": {"busy_median": 0.5},
        });
        let log = "#[Histogram log format version 1.3]\n#[StartTime: 100.250 (seconds since epoch)]\n";
        let sold = Sold::of(&summary, began(log).expect("a time"), 2).expect("figures");
        Step { times, sold, dear: [[400, 0, 0], [100, 100, 0], [0, 40, 0]] }
    }

    #[test]
    fn only_the_seconds_of_the_load_count() {
        let Sold { began, sent_per_s, won_per_s, p99_ms, busy } = step(3.0).sold;
        assert_eq!(began, SystemTime::UNIX_EPOCH + Duration::from_millis(101_250));
        assert_eq!((sent_per_s, won_per_s, p99_ms, busy), (30.0, 20.0, [2.5, 1.5], 0.5));
    }

    #[test]
    fn the_table_and_the_plot_tell_all_of_it() {
        let steps = [step(1.0), step(3.0)];
        let table = rows(20.0, &steps);
        let row =
            "| 3 | 60 | 30 | 20 | **100 %** | 2.5 | 1.5 | 400 · 0 · 0 | 100 · 100 · 0 | 0 · 40 · 0 | 50 % |";
        assert!(table.contains(row), "{table}");
        let svg = plot(20.0, 2, &steps);
        assert_eq!(svg.matches("<polyline").count(), 5);
        assert!(svg.contains(">3.0 ×<") && svg.contains(">payments<"), "{svg}");
    }
}
