//! What people and pipelines read of a run. `report.html` is one file that needs no network, with the curves of a run
//! drawn by its own few lines of script; beside it stand `summary.md` and `junit.xml`.

mod junit;
mod markdown;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path as FilePath, PathBuf};

use serde::Serialize;

use crate::compare::{Comparison, compare};
use crate::hdr_files::read_hgrm;
use crate::outcome::Outcome;
use crate::probes;
use crate::search::SearchReport;
use crate::summary::Summary;
use crate::text;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("style.css");
const CHARTS: &str = include_str!("charts.js");
const RUN_SCRIPT: &str = include_str!("run.js");
const SEARCH_SCRIPT: &str = include_str!("search.js");

/// Points of a percentile curve: quantile, milliseconds.
type Curve = Vec<(f64, f64)>;

/// What the page of a run is drawn from.
#[derive(Debug, Serialize)]
struct RunData {
    run: Drawn,
    against: Option<Drawn>,
    comparison: Option<Comparison>,
    errors: Vec<&'static str>,
}

/// One run with its curves by file name.
#[derive(Debug, Serialize)]
struct Drawn {
    summary: Summary,
    curves: BTreeMap<String, Curve>,
}

impl Drawn {
    fn read(folder: &FilePath) -> io::Result<Self> {
        let summary = Summary::read(folder)?;
        let mut curves = BTreeMap::new();
        for (path, measured) in &summary.paths {
            let path = path.name();
            let outcomes = measured.outcomes.keys().map(|outcome| format!("{path}.{}", outcome.name()));
            for name in outcomes.chain([path.to_owned(), format!("{path}.service")]) {
                let file = folder.join(format!("{name}.hgrm"));
                if file.exists() {
                    curves.insert(name, read_hgrm(&file)?);
                }
            }
        }
        Ok(Self { summary, curves })
    }
}

/// Writes the reports of an output folder, in `report.html` with a second run beside it if given; returns its path.
///
/// # Errors
/// When a folder cannot be read or the report cannot be written.
pub fn write(folder: &FilePath, against: Option<&FilePath>) -> io::Result<PathBuf> {
    let run = Drawn::read(folder)?;
    let title = format!("{} – {}", run.summary.scenario, run.summary.result.name);
    let data = RunData {
        run,
        against: against.map(Drawn::read).transpose()?,
        // The other run is the one before, unless the report says otherwise.
        comparison: against.map(|against| compare(against, folder, 0.1)).transpose()?,
        errors: Outcome::ALL
            .iter()
            .filter(|outcome| outcome.is_error())
            .map(|outcome| outcome.name())
            .collect(),
    };
    std::fs::write(folder.join("summary.md"), markdown::render(&data.run.summary))?;
    std::fs::write(folder.join("junit.xml"), junit::render(&data.run.summary)?)?;
    let plain = text::render(&data.run.summary);
    write_page(&folder.join("report.html"), &title, &plain, &data, RUN_SCRIPT)
}

/// Writes `search.json` and `report.html` of a search.
///
/// # Errors
/// When they cannot be written.
pub fn write_search(folder: &FilePath, report: &SearchReport) -> io::Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(
        folder.join("search.json"),
        serde_json::to_string_pretty(report).map_err(io::Error::other)?,
    )?;
    let title = format!("{} – search", report.scenario);
    write_page(&folder.join("report.html"), &title, &probes::render(report), report, SEARCH_SCRIPT)
}

/// `plain` is what is read where no script runs.
fn write_page(
    path: &FilePath,
    title: &str,
    plain: &str,
    data: &impl Serialize,
    script: &str,
) -> io::Result<PathBuf> {
    // Inside a script element the only dangerous text is its end.
    let data = serde_json::to_string(data).map_err(io::Error::other)?.replace('<', "\\u003c");
    let title: String = title.chars().filter(|c| !matches!(c, '<' | '>' | '&')).collect();
    let page = PAGE
        .replace("{{title}}", &title)
        .replace("{{style}}", STYLE)
        .replace("{{script}}", &format!("{CHARTS}\n{script}"))
        .replace("{{plain}}", &plain.replace('&', "&amp;").replace('<', "&lt;").replace('{', "&#123;"))
        // Last, so that nothing in the data is taken for a placeholder.
        .replace("{{data}}", &data);
    std::fs::write(path, page)?;
    Ok(path.to_owned())
}
