//! Contenders that take turns, and the table of their medians.

use std::collections::BTreeMap;
use std::process::Command;

use super::server::Server;
use super::{Options, binary};
use crate::Failure;

/// Figures that a binary of `perf` printed, by name.
pub type Figures = BTreeMap<String, f64>;

/// A figure that is shown.
#[derive(Clone, Copy)]
pub struct Column {
    /// Its name in the output of the binary.
    pub figure: &'static str,
    /// Its name in the table.
    pub heading: &'static str,
    /// Digits after the point.
    pub decimals: usize,
}

/// One that is compared: a command that prints figures.
pub struct Contender {
    name: String,
    command: Vec<String>,
    /// Whether each turn is given buyers that have not been seen.
    buys: bool,
    /// Runs the command of a turn and reads its figures.
    read: fn(&mut Command) -> Result<Figures, Failure>,
}

impl Contender {
    /// The client of `perf` against a server.
    pub fn client(name: &str, server: &Server, options: &Options) -> Self {
        let seconds = options.seconds.to_string();
        let client = binary("client");
        let (pids, target) = (server.pids(), server.target.to_string());
        let command =
            ["taskset", "-c", "1", &client, "--target", &target, "--pid", &pids, "--seconds", &seconds];
        Self { buys: true, ..Self::command(name, &command) }
    }

    /// The client of `perf` that speaks HTTP/2 and TLS against a server.
    pub fn edge_client(name: &str, server: &Server, options: &Options) -> Self {
        let mut client = Self::client(name, server, options);
        client.command[3] = binary("edge_client");
        client
    }

    /// Any command.
    pub fn command(name: &str, command: &[&str]) -> Self {
        let command = command.iter().map(|&word| word.into()).collect();
        Self { name: name.into(), command, buys: false, read: figures }
    }

    /// The same, where the command tells its figures in a form of its own.
    pub fn read_by(self, read: fn(&mut Command) -> Result<Figures, Failure>) -> Self {
        Self { read, ..self }
    }

    /// The same with more arguments.
    pub fn with(mut self, args: &[&str]) -> Self {
        self.command.extend(args.iter().map(|&arg| arg.into()));
        self
    }

    fn turn(&self, number: usize) -> Result<Figures, Failure> {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]);
        if self.buys {
            command.args(["--first-buyer", &(number * 5_000_000).to_string()]);
        }
        (self.read)(&mut command)
    }
}

/// Runs a command; what it prints.
pub fn said(command: &mut Command) -> Result<String, Failure> {
    let output = command.output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{command:?} failed: {said}").into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Runs a command and reads the figures that it prints.
pub fn figures(command: &mut Command) -> Result<Figures, Failure> {
    let mut figures = Figures::new();
    for line in said(command)?.lines() {
        let mut words = line.split_whitespace();
        if let (Some(name), Some(Ok(value))) = (words.next(), words.next().map(str::parse)) {
            figures.insert(name.into(), value);
        }
    }
    Ok(figures)
}

/// Contenders and what is shown of them.
pub struct Comparison {
    /// The table's heading.
    pub title: &'static str,
    /// What is shown.
    pub columns: Vec<Column>,
    /// The figure that is also shown as a ratio to the first contender's, and the heading of that.
    pub ratio: Option<(&'static str, &'static str)>,
    /// Who takes turns.
    pub contenders: Vec<Contender>,
}

impl Comparison {
    /// Lets them take turns.
    pub fn run(self, rounds: usize) -> Result<Outcome, Failure> {
        let mut turns: Vec<Vec<Figures>> = self.contenders.iter().map(|_| Vec::new()).collect();
        let mut number = 0;
        for round in 0..rounds {
            for turn in 0..self.contenders.len() {
                let place = (turn + round) % self.contenders.len();
                number += 1;
                let figures = self.contenders[place].turn(number)?;
                eprintln!("  round {} {}: {figures:?}", round + 1, self.contenders[place].name);
                turns[place].push(figures);
            }
        }
        Ok(Outcome { comparison: self, turns })
    }
}

/// All turns of a comparison.
pub struct Outcome {
    comparison: Comparison,
    turns: Vec<Vec<Figures>>,
}

impl Outcome {
    /// The median of a figure for each contender, by name.
    pub fn medians(&self, figure: &str) -> Vec<(String, f64)> {
        let names = self.comparison.contenders.iter().map(|contender| contender.name.clone());
        names.zip((0..).map(|place| median(&self.values(place, figure)))).collect()
    }

    /// The table, as Markdown.
    pub fn table(&self) -> String {
        let mut head = String::from("| |");
        let mut rule = String::from("|---|");
        let headings = self.comparison.columns.iter().map(|column| column.heading);
        for heading in headings.chain(self.comparison.ratio.map(|(_, heading)| heading)) {
            head.push_str(&format!(" {heading} |"));
            rule.push_str("---:|");
        }
        let mut table = format!("### {}\n\n{head}\n{rule}\n", self.comparison.title);
        for (place, contender) in self.comparison.contenders.iter().enumerate() {
            table.push_str(&format!("| {} |", contender.name));
            for Column { figure, decimals, .. } in &self.comparison.columns {
                table.push_str(&format!(" {:.decimals$} |", median(&self.values(place, figure))));
            }
            if let Some((figure, _)) = self.comparison.ratio {
                let pairs = self.values(place, figure).into_iter().zip(self.values(0, figure));
                let ratios: Vec<f64> = pairs.map(|(mine, first)| mine / first).collect();
                table.push_str(&format!(" {:.2} |", median(&ratios)));
            }
            table.push('\n');
        }
        table.push_str(&format!("\nMedians of {} interleaved rounds.\n\n", self.turns[0].len()));
        table
    }

    fn values(&self, place: usize, figure: &str) -> Vec<f64> {
        self.turns[place].iter().map(|turn| turn.get(figure).copied().unwrap_or(f64::NAN)).collect()
    }
}

/// The middle value.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}
