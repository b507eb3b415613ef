//! What the integrations cost where nothing happens that they tell of: refusals, with everything around the engine on, and off.

use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver as Hearer, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use testbed::client::request;
use testbed::receiver::{Receiver, SECRET};
use testbed::search::SearchServer;

use super::comparison::{Figures, median};
use super::server::{FrontEnd, Server};
use super::sink::Sink;
use super::{CPU, Options, P99, RATE};
use crate::Failure;

/// As a Prometheus that is told to.
const SCRAPE_EVERY: Duration = Duration::from_secs(1);
/// How a Prometheus asks that keeps native histograms.
const NATIVE: &str =
    "Accept: application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited\r\n";
/// The least ratio that is wanted.
const WANTED: f64 = 0.98;

/// What the engine tells of itself and its sales, each to somebody who takes all of it.
struct Around {
    traces: Sink,
    webhooks: Receiver,
    search: SearchServer,
}

impl Around {
    fn start() -> Result<Self, Failure> {
        Ok(Self { traces: Sink::start()?, webhooks: Receiver::start(), search: SearchServer::meili() })
    }

    /// The keys of an engine that tells all of them.
    fn keys(&self) -> Vec<(&'static str, String)> {
        let endpoint = format!(
            "[{{name=\"erp\",url=\"{}\",secrets=[{SECRET:?}],allow_http=true}}]",
            self.webhooks.url()
        );
        let mut keys = vec![
            ("TRACES__ENDPOINT", self.traces.url()),
            ("WEBHOOKS__ENDPOINTS", endpoint),
            ("WEBHOOKS__ALLOWED_NETWORKS", "[\"127.0.0.0/8\"]".to_owned()),
            ("GRPC__LISTEN", "127.0.0.1:0".to_owned()),
        ];
        // But for those that make it quicker than an operator would have it.
        let of_search = self
            .search
            .keys()
            .into_iter()
            .filter(|(key, _)| ["SEARCH__KIND", "SEARCH__URL", "SEARCH__KEY"].contains(key));
        keys.extend(of_search.map(|(key, value)| (key, value.to_owned())));
        keys
    }
}

/// Each turn has an engine of its own: what lies where in memory differs from one to the next by as much as is looked for.
///
/// # Errors
/// A contender does not start, or failed, or somebody around it was told nothing.
pub fn run(options: &Options) -> Result<String, Failure> {
    let around = Around::start()?;
    let keys = around.keys();
    let keys: Vec<(&str, &str)> = keys.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let contenders: [(&str, &[(&str, &str)]); 2] = [("everything off", &[]), ("everything on", &keys)];
    let (mut turns, mut scrapes) = ([Vec::new(), Vec::new()], 0);
    for round in 0..options.rounds {
        for turn in 0..contenders.len() {
            let place = (round + turn) % contenders.len();
            let (name, keys) = contenders[place];
            let server = Server::engine_with("around", FrontEnd::Hyper, 0, keys)?;
            let scraped = (place == 1).then(|| server.admin());
            let (figures, scraped) = measured(&server, options, scraped)?;
            eprintln!("  round {} {name}: {figures:?}", round + 1);
            turns[place].push(figures);
            scrapes += scraped;
        }
    }
    let told = [
        ("batches of spans", around.traces.taken()),
        ("deliveries", around.webhooks.deliveries().len() as u64),
        ("requests to the search server", around.search.requests().len() as u64),
        ("scrapes", scrapes),
    ];
    // A sale whose stock is changed, and nothing else, is no event that webhooks tell of.
    if let Some((what, _)) = told.iter().find(|(what, count)| *what != "deliveries" && *count == 0) {
        return Err(format!("there were no {what}: they were not on, or the turns are too short").into());
    }
    Ok(table(contenders.map(|(name, _)| name), &turns, &told))
}

/// A turn of the client, and how often the page of figures was read meanwhile, if it is read at all.
fn measured(
    server: &Server,
    options: &Options,
    scraped: Option<SocketAddr>,
) -> Result<(Figures, u64), Failure> {
    let (seconds, pids) = (options.seconds.to_string(), server.pids());
    thread::scope(|scope| {
        let (over, hears_of_the_end) = mpsc::channel();
        let scraping = scraped.map(|admin| scope.spawn(move || scrape(admin, &hears_of_the_end)));
        let figures = server.client(&["--pid", &pids, "--seconds", &seconds]);
        drop(over);
        let scrapes = scraping.map_or(Ok(0), |scraping| scraping.join().expect("it does not panic"));
        Ok((figures?, scrapes?))
    })
}

/// Reads the figures, native histograms among them, until the other end of the channel is gone.
fn scrape(admin: SocketAddr, until: &Hearer<()>) -> Result<u64, String> {
    let mut scrapes = 0;
    while until.recv_timeout(SCRAPE_EVERY) == Err(RecvTimeoutError::Timeout) {
        let page = request(admin, "GET", "/metrics", NATIVE, "");
        let kind = page.field("content-type").unwrap_or_default();
        if page.status != 200 || !kind.starts_with("application/vnd.google.protobuf") {
            return Err(format!("the page of figures: {} {kind}", page.status));
        }
        scrapes += 1;
    }
    Ok(scrapes)
}

/// The medians, and that of the ratios of turns in the same round.
fn table(names: [&str; 2], turns: &[Vec<Figures>; 2], told: &[(&str, u64)]) -> String {
    let values = |place: usize, figure: &str| -> Vec<f64> {
        turns[place].iter().map(|turn| turn.get(figure).copied().unwrap_or(f64::NAN)).collect()
    };
    let columns = [RATE, CPU, P99];
    let mut table = String::from(
        "### What is around the engine: a sold-out POST, 64 keep-alive connections\n\n\
         On: traces (one refusal of 10,000), one endpoint of webhooks in CloudEvents, search, the gRPC port, native histograms \
         scraped each second.\n\n|",
    );
    columns.iter().for_each(|column| table.push_str(&format!(" | {}", column.heading)));
    table.push_str(" | rate against off | wanted |\n|---|---:|---:|---:|---:|---:|\n");
    for (place, name) in names.into_iter().enumerate() {
        table.push_str(&format!("| {name}"));
        for column in &columns {
            let decimals = column.decimals;
            table.push_str(&format!(" | {:.decimals$}", median(&values(place, column.figure))));
        }
        let pairs = values(place, RATE.figure).into_iter().zip(values(0, RATE.figure));
        let ratio = median(&pairs.map(|(one, off)| one / off).collect::<Vec<_>>());
        let wanted = if place == 0 { String::new() } else { format!("≥ {WANTED}") };
        table.push_str(&format!(" | {ratio:.3} | {wanted} |\n"));
    }
    let told: Vec<_> = told.iter().map(|(what, count)| format!("{count} {what}")).collect();
    table.push_str(&format!(
        "\nMedians of {} rounds of one turn each, each with an engine of its own; {} in all.\n\n",
        turns[0].len(),
        told.join(", "),
    ));
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_that_of_turns_in_the_same_round() {
        let turn = |rate: f64| Figures::from([(RATE.figure.to_owned(), rate)]);
        let turns: [Vec<Figures>; 2] =
            [[100.0, 200.0, 300.0].map(turn).into(), [99.0, 180.0, 299.0].map(turn).into()];
        let table = table(["off", "on"], &turns, &[("scrapes", 4)]);
        assert!(table.contains("| off | 200 | NaN | NaN | 1.000 |  |"), "{table}");
        assert!(table.contains("| on | 180 | NaN | NaN | 0.990 | ≥ 0.98 |"), "{table}");
        assert!(
            table.contains("3 rounds of one turn each, each with an engine of its own; 4 scrapes"),
            "{table}"
        );
    }
}
