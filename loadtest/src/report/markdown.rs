//! `summary.md`: a run for a pull request, a ticket or a chat: the verdict first, then what it rests on.

use std::fmt::{self, Write};

use crate::outcome::Path;
use crate::summary::{Latencies, Summary};

/// The file's text.
pub fn render(summary: &Summary) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_all(&mut out, summary);
    out
}

fn write_all(out: &mut String, summary: &Summary) -> fmt::Result {
    let Summary { scenario, about, result, client, environment, .. } = summary;
    writeln!(out, "## {} — {}\n\n{}", cell(scenario), cell(&result.name), cell(about))?;
    for reason in &result.reasons {
        writeln!(out, "\n- {}", cell(reason))?;
    }
    writeln!(out, "\n| ms, from the due time | count | per s | mean | P50 | P99 | P99.9 | max |")?;
    writeln!(out, "|---|--:|--:|--:|--:|--:|--:|--:|")?;
    for path in Path::ALL {
        let Some(measured) = summary.paths.get(path) else { continue };
        write_row(out, &format!("**{}**", path.name()), &measured.all)?;
        for (outcome, latencies) in &measured.outcomes {
            write_row(out, outcome.name(), latencies)?;
        }
    }
    if !summary.objectives.is_empty() {
        writeln!(out, "\n| objective | limit | measured | |\n|---|--:|--:|---|")?;
    }
    for objective in &summary.objectives {
        let measured = objective.measured.map_or("nothing".to_owned(), |value| format!("{value:.4}"));
        let met = if objective.met { "met" } else { "**missed**" };
        writeln!(out, "| {} | {} | {measured} | {met} |", cell(&objective.what), objective.limit)?;
    }
    match &summary.verification {
        Some(verdict) => {
            writeln!(out, "\n| promise | | |\n|---|---|---|")?;
            for check in &verdict.checks {
                let kept = match (check.passed, check.judged) {
                    (false, _) => "**broken**",
                    (true, false) => "not judged",
                    (true, true) => "kept",
                };
                writeln!(out, "| {} | {kept} | {} |", cell(&check.name), cell(&check.detail))?;
            }
        }
        None => {
            let why = summary.verification_error.as_deref().unwrap_or("not asked for");
            writeln!(out, "\nThe promises were not checked: {}.", cell(why))?;
        }
    }
    let own_lag_ms = client.own_lag.p99_us as f64 / 1e3;
    writeln!(
        out,
        "\nClient: own lag P99 {own_lag_ms:.2} ms, busy {:.0} %{}.",
        client.busy_median * 100.0,
        if client.saturated { ", **saturated: this run says nothing about the engine**" } else { "" },
    )?;
    let machine = &environment.machine;
    let others = match environment.agents.len() {
        0 => String::new(),
        count => format!(" and {count} more machines"),
    };
    writeln!(
        out,
        "{} on {}, {} cores{others}; commit {}; run {}.",
        summary.started_at,
        cell(&machine.cpu),
        machine.cores,
        if environment.commit.is_empty() { "unknown" } else { &environment.commit },
        summary.run_id,
    )?;
    writeln!(out, "\n```sh\n{}\n```", environment.command)
}

fn write_row(out: &mut String, name: &str, latencies: &Latencies) -> fmt::Result {
    let response = &latencies.response;
    let ms = |us: u64| us as f64 / 1e3;
    writeln!(
        out,
        "| {name} | {} | {:.1} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} |",
        latencies.count,
        latencies.rate_per_s,
        response.mean_us / 1e3,
        ms(response.p50_us),
        ms(response.p99_us),
        ms(response.p999_us),
        ms(response.max_us)
    )
}

/// Text that stands in a table: what an engine or a scenario said must not end its cell, nor become markup.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;").replace(['\r', '\n'], " ")
}
