//! What a request costs the bundled load tester, beside `h2load`: both in a closed loop against the engine's refusals.

use std::fs;
use std::path::Path;
use std::process::Command;

use testbed::install;

use super::Options;
use super::comparison::{Column, Comparison, Contender, Figures, said};
use super::edge::Secured;
use super::server::{FrontEnd, Server};
use crate::{Failure, load_tester};

/// Where the tester leaves what it finds, one run after the other.
const OUT: &str = "target/perf/tester";
const CPU: Column = Column { figure: "tester.cpu", heading: "client CPU, µs/request", decimals: 2 };
const SENDING: Column =
    Column { figure: "tester.sending_cpu", heading: "of that by its workers, µs/request", decimals: 2 };
const RATE: Column = Column { figure: "tester.rate", heading: "requests/s", decimals: 0 };
/// The kernel's unit of time in `/proc/PID/stat` on every Linux that this runs on.
const TICKS_A_SECOND: f64 = 100.0;

/// A way of asking that is compared.
struct Way {
    title: &'static str,
    is_secure: bool,
    connections: &'static str,
    /// Requests under way on each, over HTTP/2; over HTTP/1.1 one at a time.
    streams: Option<&'static str>,
}

const WAYS: [Way; 4] = [
    Way {
        title: "The load tester beside h2load: HTTP/1.1, 64 connections",
        is_secure: false,
        connections: "64",
        streams: None,
    },
    Way {
        title: "The same: HTTP/2, 8 connections with 32 streams",
        is_secure: false,
        connections: "8",
        streams: Some("32"),
    },
    Way {
        title: "The same: HTTP/1.1 under TLS, 64 connections",
        is_secure: true,
        connections: "64",
        streams: None,
    },
    Way {
        title: "The same: HTTP/2 under TLS, 8 connections with 32 streams",
        is_secure: true,
        connections: "8",
        streams: Some("32"),
    },
];

/// Both over each protocol, in the clear and under TLS. `h2load` sends the same request again and again and reads no body; the
/// tester has a new buyer each time, and reads and keeps what each was told.
///
/// # Errors
/// A contender does not start, or failed.
pub fn run(options: &Options) -> Result<String, Failure> {
    install::install_missing(&install::FOR_TESTER)?;
    if !options.no_build {
        load_tester::build()?;
    }
    let secured = Secured::new();
    let plain = Server::engine("tester", FrontEnd::Hyper, 0)?;
    let secure = Server::engine_with("tester-tls", FrontEnd::Hyper, 0, &secured.keys())?;
    let mut report = String::new();
    for way in WAYS {
        let server = if way.is_secure { &secure } else { &plain };
        let comparison = Comparison {
            title: way.title,
            columns: vec![CPU, SENDING, RATE],
            ratio: Some((CPU.figure, "CPU against h2load")),
            contenders: vec![
                h2load(&way, server, options.seconds),
                tester(&way, server, options.seconds, secured.cacert()),
            ],
        };
        report.push_str(&comparison.run(options.rounds)?.table());
    }
    Ok(report)
}

fn h2load(way: &Way, server: &Server, seconds: f64) -> Contender {
    let scheme = if way.is_secure { "https" } else { "http" };
    let url = format!("{scheme}://{}/seckill/demo/widget", server.target);
    let duration = format!("{:.0}ms", seconds * 1e3);
    let streams = way.streams.unwrap_or("1");
    let run =
        ["taskset", "-c", "1", "h2load", "-t", "1", "-c", way.connections, "-m", streams, "-D", &duration];
    let asked = ["-H", ":method: POST", "-H", "x-user-id: h2load", &url];
    let contender = Contender::command("h2load", &run).with(&asked).read_by(h2load_figures);
    if way.streams.is_none() { contender.with(&["--h1"]) } else { contender }
}

fn h2load_figures(command: &mut Command) -> Result<Figures, Failure> {
    let (told, cpu_s) = timed(command)?;
    let (Some(rate), Some(done), Some(refused)) =
        (before(&told, "req/s,"), before(&told, "done,"), before(&told, "4xx,"))
    else {
        return Err(format!("h2load tells no figures: {told}").into());
    };
    // It does not count what was sent before the time was over and answered after it, but tells its status.
    if done < 1.0 || refused < done {
        return Err(format!("not everything was refused: {told}").into());
    }
    let cpu_us = cpu_s * 1e6 / done;
    Ok([(CPU.figure, cpu_us), (SENDING.figure, cpu_us), (RATE.figure, rate)].map(owned).into())
}

/// The number before a word.
fn before(text: &str, word: &str) -> Option<f64> {
    let words: Vec<_> = text.split_whitespace().collect();
    words.windows(2).find(|pair| pair[1] == word)?[0].parse().ok()
}

fn tester(way: &Way, server: &Server, seconds: f64, cacert: &str) -> Contender {
    let port = server.target.port();
    // The certificate is for this name.
    let target =
        if way.is_secure { format!("https://localhost:{port}") } else { format!("http://{}", server.target) };
    let connections = format!("client.connections={}", way.connections);
    let duration = format!("phase.0.duration_s={seconds:?}");
    let keys = [
        r#"phase.0.load={ curve = "closed" }"#,
        &duration,
        &connections,
        "campaign.0.stock=1",
        // It is to be busy all the time.
        "client.busy_max=1e9",
        "client.lag_p99_ms_max=1e9",
    ];
    let command = load_tester::command("quick", &target, server.admin(), OUT, &keys);
    let words: Vec<_> = command.iter().map(String::as_str).collect();
    let mut contender = Contender::command("the load tester", &words).read_by(tester_figures);
    if let Some(streams) = way.streams {
        contender = contender.with(&["--http2", "--streams", streams]);
    }
    if way.is_secure {
        let resolve = format!("localhost:{port}:127.0.0.1");
        contender = contender.with(&["--cacert", cacert, "--resolve", &resolve]);
    }
    contender
}

fn tester_figures(command: &mut Command) -> Result<Figures, Failure> {
    let (_, cpu_s) = timed(command)?;
    let summary = load_tester::summary(Path::new(OUT))?;
    let (client, purchases) = (&summary["client"], &summary["paths"]["seckill"]["all"]);
    let figures = [
        (CPU.figure, client["sent"].as_f64().map(|sent| cpu_s * 1e6 / sent)),
        (SENDING.figure, client["cpu_us_per_request"].as_f64()),
        (RATE.figure, purchases["rate_per_s"].as_f64()),
    ];
    Ok(figures.map(|(name, value)| owned((name, value.unwrap_or(f64::NAN)))).into())
}

fn owned((name, value): (&str, f64)) -> (String, f64) {
    (name.to_owned(), value)
}

/// What a command tells, and the processor time that it took from its beginning to its end, in s.
fn timed(command: &mut Command) -> Result<(String, f64), Failure> {
    let before = ended_children_s()?;
    let told = said(command)?;
    Ok((told, ended_children_s()? - before))
}

/// Processor time of all that this process has started and waited for, in s.
fn ended_children_s() -> Result<f64, Failure> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The name in parentheses may hold blanks; the fields after it do not.
    let fields: Vec<_> = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace().collect();
    let ticks = fields.get(13..15).ok_or("/proc does not look like Linux's")?;
    Ok(ticks.iter().filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS_A_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h2load_is_understood_and_what_is_no_refusal_is_noticed() {
        let told = |statuses: &str| {
            format!(
                "progress: 100% of clients started\nfinished in 502.35ms, 48.00 req/s, 6.04KB/s\n\
                 requests: 24 total, 26 started, 24 done, 0 succeeded, 24 failed, 0 errored, 0 timeout\n\
                 status codes: {statuses}\nreq/s           :      23.95       23.95       23.95        0.00   100.00%\n"
            )
        };
        let read = |statuses: &str| h2load_figures(Command::new("printf").args(["%s", &told(statuses)]));
        let figures = read("0 2xx, 0 3xx, 26 4xx, 0 5xx").expect("all were refused");
        assert_eq!(figures.get(RATE.figure), Some(&48.0));
        assert!(figures[CPU.figure] >= 0.0);
        read("26 2xx, 0 3xx, 0 4xx, 0 5xx").expect_err("all have won");
    }

    #[test]
    fn the_time_of_what_has_ended_counts() {
        let (told, _) = timed(Command::new("echo").arg("word")).expect("it runs");
        assert_eq!(told, "word\n");
        timed(&mut Command::new("false")).expect_err("it fails");
    }
}
