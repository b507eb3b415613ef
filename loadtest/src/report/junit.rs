//! `junit.xml`: a run as a pipeline shows tests, one test case a promise, an objective, and for the client itself.

use std::io;
use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use crate::summary::{ObjectiveResult, Summary};
use crate::verify::Check;

/// The file's text.
///
/// # Errors
/// The text cannot be written as XML.
pub fn render(summary: &Summary) -> io::Result<String> {
    let mut report = Report::new(format!("loadtest {}", summary.scenario));
    report.set_time(duration(summary));
    for (name, cases) in
        [("promises", promises(summary)), ("objectives", objectives(summary)), ("client", client(summary))]
    {
        let class = format!("loadtest.{}.{name}", summary.scenario);
        let mut suite = TestSuite::new(name);
        suite.set_time(duration(summary));
        suite.add_test_cases(cases.into_iter().map(|mut case| {
            case.set_classname(class.as_str());
            case
        }));
        report.add_test_suite(suite);
    }
    report.to_string().map_err(io::Error::other)
}

fn duration(summary: &Summary) -> Duration {
    Duration::try_from_secs_f64(summary.duration_s).unwrap_or_default()
}

fn promises(summary: &Summary) -> Vec<TestCase> {
    let case = |check: &Check| {
        let status = match (check.passed, check.judged) {
            (false, _) => failed(format!("broken {} times: {}", check.violations, check.detail)),
            (true, false) => skipped(&check.detail),
            (true, true) => TestCaseStatus::success(),
        };
        TestCase::new(check.name.as_str(), status)
    };
    match (&summary.verification, &summary.verification_error) {
        (Some(verdict), _) => verdict.checks.iter().map(case).collect(),
        (None, Some(why)) => vec![TestCase::new("checked", could_not(why))],
        (None, None) => vec![TestCase::new("checked", skipped("was not asked for"))],
    }
}

fn objectives(summary: &Summary) -> Vec<TestCase> {
    let case = |objective: &ObjectiveResult| {
        let ObjectiveResult { what, limit, measured, met } = objective;
        let measured = measured.map_or("nothing was measured".to_owned(), |value| format!("{value:.4}"));
        let status =
            if *met { TestCaseStatus::success() } else { failed(format!("{measured}, limit {limit}")) };
        TestCase::new(what.as_str(), status)
    };
    summary.objectives.iter().map(case).collect()
}

/// A client that was too slow makes every figure worthless, which is no fault of the engine: an error, not a failure.
fn client(summary: &Summary) -> Vec<TestCase> {
    let client = &summary.client;
    let quick =
        if client.saturated { could_not(&client.reasons.join("; ")) } else { TestCaseStatus::success() };
    let whole = match (summary.interrupted, summary.engine_gone_at_s) {
        (_, Some(at_s)) => failed(format!("the engine stopped answering {at_s:.1} s into the run")),
        (true, None) => could_not("ended by a signal"),
        (false, None) => TestCaseStatus::success(),
    };
    vec![TestCase::new("quick-enough", quick), TestCase::new("ran-to-its-end", whole)]
}

fn failed(message: String) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
    status.set_message(message);
    status
}

fn could_not(message: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
    status.set_message(message);
    status
}

fn skipped(message: &str) -> TestCaseStatus {
    let mut status = TestCaseStatus::skipped();
    status.set_message(message);
    status
}
