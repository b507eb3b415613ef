//! Broken promises are found, each by its check; an honest shop passes.

use crate::shop::{Habits, Shop};
use crate::tester::{run, scenario, summary};

fn broken(out: &std::path::Path) -> Vec<String> {
    let summary = summary(out);
    let checks = summary["verification"]["checks"].as_array().unwrap();
    let failed = checks.iter().filter(|check| check["passed"] == false);
    failed.map(|check| check["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_honest_shop_passes() {
    let shop = Shop::open(Habits { pending_every: Some(7), ..Habits::default() });
    let out = tempfile::tempdir().unwrap();
    let shopper = "then = \"pay\"\nclicks = 2\nquantity = [1, 1]";
    let rules = "[verify]\nsold_out = true";
    run(&scenario(100, 300, 1.0, shopper, rules), &shop.url, out.path(), &[]).expect_code(0);
    let summary = summary(out.path());
    assert_eq!(summary["verification"]["passed"], true);
    assert_eq!(summary["verification"]["orders_exported"], 100);
    let count = |path: &str| summary["paths"][path]["all"]["count"].as_u64().unwrap();
    assert_eq!(count("seckill"), 600, "two clicks of each of 300 visitors");
    assert_eq!(count("order"), 100);
    assert_eq!(summary["paths"]["checkout"]["outcomes"]["paid"]["count"], 100);
}

#[test]
fn each_kind_of_cheating_is_found() {
    let three_clicks = "clicks = 3\nclick_gap_ms = 40";
    let table: [(&str, Habits, &str, &[&str]); 5] = [
        (
            "overselling",
            Habits { oversell_units: 3, ..Habits::default() },
            "",
            &["no-oversell", "audit-agrees-with-orders"],
        ),
        (
            "losing orders",
            Habits { lose_every: Some(9), ..Habits::default() },
            "",
            &["acknowledged-orders-durable"],
        ),
        (
            "ignoring the limit",
            Habits { ignore_limit: true, ..Habits::default() },
            three_clicks,
            &["buyers-within-limit"],
        ),
        (
            "denying orders",
            Habits { deny_holders: true, ..Habits::default() },
            three_clicks,
            &["truthful-answers"],
        ),
        (
            "forgetting payments",
            Habits { forget_payments: true, ..Habits::default() },
            "then = \"pay\"",
            &["paid-orders-paid"],
        ),
    ];
    std::thread::scope(|scope| {
        for (name, habits, shopper, expected) in table {
            scope.spawn(move || {
                let shop = Shop::open(habits);
                let out = tempfile::tempdir().unwrap();
                run(&scenario(50, 100, 1.0, shopper, ""), &shop.url, out.path(), &[]).expect_code(4);
                let broken = broken(out.path());
                assert!(expected.iter().all(|check| broken.iter().any(|b| b == check)), "{name}: {broken:?}");
            });
        }
    });
}

#[test]
fn an_answer_that_never_came_excuses_its_order() {
    let shop = Shop::open(Habits { hang_up_every: Some(10), ..Habits::default() });
    let out = tempfile::tempdir().unwrap();
    let forgiving = "[[objective]]\npath = \"seckill\"\nerror_rate = 0.5";
    run(&scenario(100, 100, 1.0, "retries = 2", forgiving), &shop.url, out.path(), &[]).expect_code(0);
    let summary = summary(out.path());
    assert!(summary["paths"]["seckill"]["outcomes"]["connection-lost"]["count"].as_u64().unwrap() > 0);
    assert_eq!(summary["verification"]["orders_exported"], 100);
}
