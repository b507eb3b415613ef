//! The rules: correct, each alarm shown to fire, each with a line in the runbook.

use std::process::Command;

use seckill::telemetry::Outcome;

use super::{content, dashboard, deployed, text_of};

/// What stands behind this word on lines of the rules.
fn values<'a>(rules: &'a str, key: &str) -> Vec<&'a str> {
    let lines = rules.lines().filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix(key));
    lines.map(str::trim).collect()
}

#[test]
fn each_alarm_fires_at_what_it_is_for_and_none_when_nothing_is_wrong() {
    let promtool = || {
        let mut command = Command::new("promtool");
        command.current_dir(deployed("prometheus"));
        command
    };
    content(promtool().args(["check", "rules", "--lint-fatal", "seckill.rules.yml"]));
    content(promtool().args(["test", "rules", "seckill.test.yml"]));

    let (rules, tests) = (text_of("prometheus/seckill.rules.yml"), text_of("prometheus/seckill.test.yml"));
    let alarms = values(&rules, "alert:");
    assert!(alarms.len() > 20);
    for alarm in alarms {
        let fires = format!("alertname: {alarm}\n        exp_alerts:\n          - exp_labels:");
        assert!(tests.contains(&fires), "no test has {alarm} fire");
        let keeps_quiet = format!("{{eval_time: 18m, alertname: {alarm}}}");
        assert!(tests.contains(&keeps_quiet), "no test has {alarm} keep quiet");
    }
}

#[test]
fn a_sale_that_is_not_to_sell_alarms_nobody_whatever_buyers_hear() {
    let (rules, tests) = (text_of("prometheus/seckill.rules.yml"), text_of("prometheus/seckill.test.yml"));
    // Where YAML joins lines it puts a space between them, which would be a part of the text.
    let broken: Vec<_> = rules.lines().filter(|line| line.matches('"').count() % 2 == 1).collect();
    assert!(broken.is_empty(), "a line ends within a text: {broken:#?}");
    let (_, excluded) = rules.split_once("outcome!~\"").expect("refusals that are as they should be");
    let excluded: Vec<_> = excluded.split('"').next().unwrap_or_default().split('|').collect();
    assert!(excluded.len() >= 5, "{excluded:?}");
    let known = Outcome::ALL.map(Outcome::code);
    let alone = "\n    alert_rule_test:\n      - {eval_time: 8m, alertname: SeckillSaleDoesNotSell}\n";
    let (case, _) = tests.split_once(alone).expect("a case in which it keeps quiet");
    let (_, case) = case.rsplit_once("input_series:").expect("a case has series");
    for code in excluded {
        assert!(known.contains(&code), "the engine has no outcome {code:?}");
        assert!(case.contains(&format!("outcome=\"{code}\"}}', values: '0+600x40'")), "no case has {code}");
    }
}

#[test]
fn each_alarm_has_its_line_in_the_runbook() {
    let (rules, page) = (text_of("prometheus/seckill.rules.yml"), text_of("RUNBOOK.md"));
    let (alarms, links) = (values(&rules, "alert:"), values(&rules, "runbook:"));
    let expected: Vec<_> =
        alarms.iter().map(|alarm| format!("RUNBOOK.md#{}", alarm.to_lowercase())).collect();
    assert_eq!(links, expected, "each alarm leads to its own entry");
    let entries: Vec<_> = page.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    assert_eq!(entries, alarms, "the runbook has the alarms, in their order");
    for entry in page.split("\n### ").skip(1) {
        let text = entry.split("\n## ").next().unwrap_or_default();
        assert!(text.lines().skip(1).any(|line| line.len() > 30), "an entry says nothing: {text}");
    }
}

#[test]
fn each_panel_that_the_runbook_names_is_on_the_dashboard() {
    let page = text_of("RUNBOOK.md").split_whitespace().collect::<Vec<_>>().join(" ");
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let titles: Vec<_> = panels.filter_map(|panel| panel["title"].as_str()).collect();
    let named: Vec<_> =
        page.split("panel \"").skip(1).map(|rest| rest.split('"').next().unwrap_or_default()).collect();
    assert!(!named.is_empty(), "the runbook names panels as: the panel \"…\"");
    for panel in named {
        assert!(titles.contains(&panel), "the dashboard has no {panel:?}: {titles:?}");
    }
}
