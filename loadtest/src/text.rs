//! The result of a run as text, for the terminal and for the log of a pipeline.

use std::fmt::Write;

use crate::outcome::Path;
use crate::summary::{Latencies, Summary};
use crate::verify::Verification;

/// The whole result.
pub fn render(summary: &Summary) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_all(&mut out, summary);
    out
}

fn write_all(out: &mut String, summary: &Summary) -> std::fmt::Result {
    writeln!(out, "\n{}: {}", summary.scenario, summary.about)?;
    let closed = summary.phases.iter().any(|phase| phase.model == "closed" && phase.measured);
    let basis = if closed { "closed model: visitors wait for the engine" } else { "from the due time" };
    writeln!(out, "\nresponse time in ms, {basis}")?;
    writeln!(
        out,
        "{:<21}{:>9}{:>9}{:>8}{:>8}{:>8}{:>8}{:>9}",
        "", "count", "per s", "mean", "p50", "p99", "p99.9", "max"
    )?;
    for path in Path::ALL {
        let Some(measured) = summary.paths.get(path) else { continue };
        write_row(out, path.name(), &measured.all)?;
        for (outcome, latencies) in &measured.outcomes {
            write_row(out, &format!("  {}", outcome.name()), latencies)?;
        }
        if measured.errors > 0 {
            writeln!(out, "  {} errors, {:.4} %", measured.errors, measured.error_rate * 100.0)?;
        }
    }
    for (what, count) in &summary.oddities {
        writeln!(out, "  unexpected: {what} × {count}")?;
    }
    write_published(out, summary)?;
    let client = &summary.client;
    writeln!(
        out,
        "\nclient: lag p99 {:.2} ms (own {:.2}), busy {:.0} % (worst second {:.0} %), {:.1} µs a request",
        client.lag.p99_us as f64 / 1e3,
        client.own_lag.p99_us as f64 / 1e3,
        client.busy_median * 100.0,
        client.busy_max * 100.0,
        client.cpu_us_per_request
    )?;
    if client.saturated {
        writeln!(out, "*** THE CLIENT WAS SATURATED: this run says nothing about the engine ***")?;
    }
    if !client.caution.is_empty() {
        writeln!(out, "client: {}", client.caution)?;
    }
    match &summary.verification {
        Some(verdict) => out.push_str(&render_verdict(verdict)),
        None => {
            let why = summary.verification_error.as_deref().unwrap_or("not asked for");
            writeln!(out, "verify: not done ({why})")?;
        }
    }
    for objective in &summary.objectives {
        let mark = if objective.met { "met   " } else { "MISSED" };
        let measured = objective.measured.map_or("nothing measured".into(), |value| format!("{value:.4}"));
        writeln!(out, "  {mark} {:<40} {measured} (limit {})", objective.what, objective.limit)?;
    }
    writeln!(out, "\nresult: {} (exit code {})", summary.result.name, summary.result.exit_code)?;
    for reason in &summary.result.reasons {
        writeln!(out, "  {reason}")?;
    }
    Ok(())
}

/// The checks of every promise.
pub fn render_verdict(verdict: &Verification) -> String {
    let (answers, orders) = (verdict.answers_logged, verdict.orders_exported);
    let mut out =
        format!("verify: {answers} answers of the client's log held against {orders} exported orders\n");
    for check in &verdict.checks {
        let mark = match (check.passed, check.judged) {
            (false, _) => "BROKEN",
            (true, false) => "?     ",
            (true, true) => "ok    ",
        };
        out += &format!("  {mark} {:<28} {}\n", check.name, check.detail);
    }
    out
}

fn write_row(out: &mut String, name: &str, latencies: &Latencies) -> std::fmt::Result {
    let response = &latencies.response;
    let ms = |us: u64| us as f64 / 1e3;
    writeln!(
        out,
        "{name:<21}{:>9}{:>9.1}{:>8.2}{:>8.2}{:>8.2}{:>8.2}{:>9.2}",
        latencies.count,
        latencies.rate_per_s,
        response.mean_us / 1e3,
        ms(response.p50_us),
        ms(response.p99_us),
        ms(response.p999_us),
        ms(response.max_us)
    )
}

/// The published figures, each beside what was measured here.
fn write_published(out: &mut String, summary: &Summary) -> std::fmt::Result {
    if summary.published.is_empty() {
        return Ok(());
    }
    let figure = |value: Option<f64>, digits: usize, unit: &str| {
        value.map_or("–".to_owned(), |value| format!("{value:.digits$}{unit}"))
    };
    writeln!(
        out,
        "\n{:<12}{:<12}{:>10}{:>12}{:>12}{:>12}",
        "path", "", "QPS", "mean ms", "P99 ms", "errors"
    )?;
    for row in &summary.published {
        let measured = summary.path(row.path, Some(&row.phase));
        let all = measured.map(|path| &path.all);
        for (name, who, qps, mean_ms, p99_ms, errors) in [
            (row.path.name(), "published", Some(row.qps), row.mean_ms, Some(row.p99_ms), row.error_rate),
            (
                "",
                "here",
                all.map(|all| all.rate_per_s),
                all.map(|all| all.response.mean_us / 1e3),
                all.map(|all| all.response.p99_us as f64 / 1e3),
                measured.map(|path| path.error_rate),
            ),
        ] {
            writeln!(
                out,
                "{name:<12}{who:<12}{:>10}{:>12}{:>12}{:>12}",
                figure(qps, 0, ""),
                figure(mean_ms, 2, ""),
                figure(p99_ms, 1, ""),
                figure(errors.map(|rate| rate * 100.0), 3, " %")
            )?;
        }
    }
    Ok(())
}
