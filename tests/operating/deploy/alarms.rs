//! The rules: correct, each alarm shown to fire, each with a line in the runbook.

use std::process::Command;

use super::{content, deployed, text_of};

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
