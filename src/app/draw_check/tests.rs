use super::*;
use crate::domain::Who;

const SEED: RoomSeed = RoomSeed(*b"0123456789abcdef");

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn time(ms: i64) -> String {
    format!("{:.3}", jiff::Timestamp::from_millisecond(ms).unwrap())
}

fn who(buyer: &str) -> Who {
    who_is(&SaleKey::new("default", "c", "s").unwrap(), BuyerName::new(buyer).unwrap())
}

/// A line of the log.
fn registration(buyer: &str, joined_at: i64) -> String {
    let line = serde_json::json!({"who": hex(&who(buyer)), "joined_at": time(joined_at), "priority": null});
    line.to_string() + "\n"
}

/// A draw of ten, of whom `admitted` were, and then an order of each of `orders`.
fn export(admitted: usize, orders: &[&str]) -> Export {
    let buyers: Vec<String> = (0..10).map(|n| format!("buyer-{n}")).collect();
    let mut order: Vec<u64> = buyers.iter().map(|buyer| priority_of(&SEED, &who(buyer))).collect();
    order.sort_unstable();
    let mark = order.get(admitted).copied().unwrap_or(RoomMarks::PRIORITY_END);
    let commit = hex(&seed_commitment(&SEED));
    let queue = serde_json::json!({
        "tenant": "default", "campaign": "c", "sku": "s", "terms": {"mode": "fifo"}, "drawn_at": time(5_000),
        "drawn": 10, "seed_commit": commit, "seed": hex(&SEED.0),
    });
    let registered = buyers.iter().enumerate().map(|(n, buyer)| registration(buyer, n as i64));
    let moved = serde_json::json!({
        "at": time(6_000), "draw_mark": mark, "fifo_mark": null, "drawn_at": time(5_000), "admitted": admitted,
    });
    let bought = orders.iter().map(|buyer| {
        serde_json::json!({"order_id": "o", "buyer": buyer, "created_at": time(6_500)}).to_string() + "\n"
    });
    Export {
        queue: queue.to_string(),
        registrations: registered.collect(),
        marks: moved.to_string(),
        orders: bought.collect(),
    }
}

/// The buyers in the order of the draw.
fn drawn() -> Vec<String> {
    let mut buyers: Vec<String> = (0..10).map(|n| format!("buyer-{n}")).collect();
    buyers.sort_by_key(|buyer| priority_of(&SEED, &who(buyer)));
    buyers
}

#[test]
fn a_draw_in_order_is_found_to_be() {
    let drawn = drawn();
    let report = check(&export(3, &[&drawn[0], &drawn[2]])).unwrap();
    assert!(report.is_in_order, "{}", report.text);
    assert!(report.text.contains("10 buyers registered, 10 of them drawn; 3 admitted in 1 moves; 2 orders"));
}

#[test]
fn each_deceit_is_found() {
    let drawn = drawn();
    let found = |export: &Export, kind: &str| {
        let report = check(export).unwrap();
        assert!(
            !report.is_in_order && report.text.contains(&format!("  {kind}: ")),
            "{kind}: {}",
            report.text
        );
    };
    found(&export(3, &[&drawn[3]]), "order");
    found(&export(3, &["stranger"]), "order");
    let mut other = export(3, &[]);
    other.queue = other.queue.replace(&hex(&SEED.0), &hex(b"fedcba9876543210"));
    found(&other, "seed");
    let mut more = export(3, &[]);
    more.marks = more.marks.replace("\"admitted\":3", "\"admitted\":4");
    found(&more, "draw");
    let mut fewer = export(3, &[]);
    fewer.registrations = fewer.registrations.lines().skip(1).map(|line| format!("{line}\n")).collect();
    found(&fewer, "draw");
    let mut fell = export(3, &[]);
    fell.marks = format!("{}\n{}", fell.marks, export(2, &[]).marks.replace(&time(6_000), &time(7_000)));
    found(&fell, "mark");
    let mut added = export(3, &[]);
    added.registrations += &registration("late-0", 4_999);
    added.registrations += &registration("late-1", 4_999);
    found(&added, "draw");
}

#[test]
fn who_came_into_the_log_after_the_draw_is_told_and_is_no_deceit() {
    let drawn = drawn();
    let mut late = export(3, &[&drawn[2]]);
    late.registrations += &registration("late-0", 4_999);
    let report = check(&late).unwrap();
    assert!(report.is_in_order && report.text.contains("  note: 1 who registered"), "{}", report.text);
    // One is late, and two more than were counted are below the mark.
    let beyond = export(5, &[]);
    late.marks = beyond.marks.replace("\"admitted\":5", "\"admitted\":3");
    let report = check(&late).unwrap();
    assert!(!report.is_in_order && report.text.contains("  draw: "), "{}", report.text);
}

#[test]
fn a_check_in_one_piece_and_in_many_says_the_same() {
    let drawn = drawn();
    let said = |threads: usize, registrations: &str| {
        let export =
            Export { registrations: registrations.to_owned(), ..export(3, &[&drawn[0], "stranger"]) };
        let report = check_on(NonZero::new(threads).unwrap(), &export)?;
        Ok::<_, String>((report.is_in_order, report.text))
    };
    let whole = export(3, &[]).registrations;
    let lines: Vec<&str> = whole.lines().collect();
    let with = |at: usize, line: &str| {
        let mut lines = lines.clone();
        lines[at] = line;
        lines.join("\n") + "\n"
    };
    // Those of the first lines are told.
    let lies = whole.replace("null", "1");
    let (_, told) = said(3, &lies).unwrap();
    let of_first = |buyer: usize| hex(&who(&format!("buyer-{buyer}")));
    let told: Vec<&str> =
        told.lines().filter_map(|line| line.strip_prefix("  priority: ")?.get(..32)).collect();
    assert_eq!(told, (0..5).map(of_first).collect::<Vec<_>>());
    let later = registration("buyer-0", 5_001);
    let mut asked = vec![
        (String::new(), "0 buyers registered, 0 of them drawn"),
        (whole.clone(), "10 buyers registered, 10 of them drawn"),
        (whole.trim_end().to_owned(), "10 buyers registered, 10 of them drawn"),
        (whole.replace('\n', "\r\n"), "10 buyers registered, 10 of them drawn"),
        // Twice, and once after the draw: it is the first time that counts.
        (format!("{later}{whole}{whole}{later}"), "10 buyers registered, 10 of them drawn"),
        (lies, "  priority: and more"),
        // A letter that takes two bytes, wherever a piece would end.
        (with(4, &lines[4].replace("\"who\"", "\"ééééééééééééééééééé\":0,\"who\"")), "10 buyers registered"),
    ];
    let broken: Vec<(String, String)> = (0..lines.len())
        .flat_map(|at| {
            let number = at + 1;
            let short = lines[at].replace("\"who\":\"", "\"who\":\"0");
            let untimely = lines[at].replace("\"1970-", "\"19x0-");
            [
                (with(at, ""), format!("registration {number}: EOF")),
                (with(at, "[]"), format!("registration {number}: ")),
                (with(at, &short), format!("registration {number}: no name of 16 bytes")),
                (with(at, &untimely), "is no time".to_owned()),
                // Of two the first is told.
                (with(at, "x") + "y\n", format!("registration {number}: ")),
            ]
        })
        .collect();
    asked.extend(broken.iter().map(|(registrations, expected)| (registrations.clone(), expected.as_str())));
    for (registrations, expected) in asked {
        let once = said(1, &registrations);
        let text = once.as_ref().map_or_else(String::as_str, |(_, text)| text.as_str());
        assert!(text.contains(expected), "{expected}: {text}");
        for threads in [2, 3, 7, 20] {
            assert_eq!(said(threads, &registrations), once, "on {threads} threads: {registrations}");
        }
    }
}

/// `cargo xtask room verify` says of how many, and tells how long it took.
#[test]
fn a_long_draw_is_checked_in_little_time() {
    let long =
        std::env::var("SECKILL_ROOM_PEOPLE").ok().map(|people| people.parse::<usize>().expect("a number"));
    let people = long.unwrap_or(2_000);
    let key = SaleKey::new("default", "c", "s").unwrap();
    let name = |number: usize| format!("buyer-{number}");
    let who = |number: usize| who_is(&key, BuyerName::new(&name(number)).unwrap());
    let mut drawn: Vec<(u64, usize)> =
        (0..people).map(|number| (priority_of(&SEED, &who(number)), number)).collect();
    let registered: String = (0..people)
        .map(|number| {
            let (who, at) = (hex(&who(number)), time(number as i64 / 256));
            format!(
                "{{\"mark\":\"{number}\",\"who\":\"{who}\",\"joined_at\":\"{at}\",\"priority\":{}}}\n",
                drawn[number].0
            )
        })
        .collect();
    drawn.sort_unstable();
    // A hundredth buys, in ten moves.
    let admitted = people / 100;
    let at = |step: usize| time(10_000 + step as i64 * 2_000);
    let moves: String = (1..=10)
        .map(|step| {
            let by_then = admitted * step / 10;
            let moved = serde_json::json!({
                "at": at(step), "draw_mark": drawn[by_then].0, "fifo_mark": null, "drawn_at": time(9_000),
                "admitted": by_then,
            });
            moved.to_string() + "\n"
        })
        .collect();
    let orders: String = (0..admitted)
        .map(|place| {
            let step = (1..=10).find(|step| place < admitted * step / 10).unwrap();
            let order =
                serde_json::json!({"order_id": "o", "buyer": name(drawn[place].1), "created_at": at(step)});
            order.to_string() + "\n"
        })
        .collect();
    let mut queue: serde_json::Value = serde_json::from_str(&export(3, &[]).queue).unwrap();
    (queue["drawn"], queue["drawn_at"]) = (people.into(), time(9_000).into());
    let queue = queue.to_string();
    let export = Export { queue, registrations: registered, marks: moves, orders };
    let began = std::time::Instant::now();
    let report = check(&export).unwrap();
    let took = began.elapsed();
    assert!(report.is_in_order, "{}", report.text);
    if long.is_some() {
        println!("{}checked in {} ms", report.text, took.as_millis());
    }
}

/// The same draw, mixed with a round of drand that is drawn after the start.
fn mixed_export(value: &str, round: u64) -> Export {
    let named = BeaconTerms { source: BeaconSource::DrandQuicknet, round, wait_s: 0 };
    let mixed = mixed_seed(&SEED, &named, &BeaconValue::parse(value).unwrap());
    let mut order: Vec<u64> = (0..10).map(|n| priority_of(&mixed, &who(&format!("buyer-{n}")))).collect();
    order.sort_unstable();
    let mut export = export(3, &[]);
    let mut queue: serde_json::Value = serde_json::from_str(&export.queue).unwrap();
    queue["beacon"] = serde_json::json!({
        "source": "drand-quicknet", "round": round, "state": "mixed", "value": value, "seed": hex(&mixed.0),
    });
    export.queue = queue.to_string();
    export.marks = serde_json::json!({
        "at": time(6_000), "draw_mark": order[3], "fifo_mark": null, "drawn_at": time(5_000), "admitted": 3,
    })
    .to_string();
    export
}

#[test]
fn a_draw_with_a_beacon_is_computed_from_its_value() {
    let value = "ab".repeat(32);
    let whole = mixed_export(&value, 7);
    let report = check(&whole).unwrap();
    assert!(report.is_in_order && report.text.contains("/public/7 has to say abab"), "{}", report.text);
    let deceived = |export: &Export, kind: &str| {
        let report = check(export).unwrap();
        let said = format!("  {kind}: ");
        assert!(!report.is_in_order && report.text.contains(&said), "{kind}: {}", report.text);
    };
    // Another value or round than the draw was made with, one that was not used, and one that was used and is not told.
    let mut other = mixed_export(&value, 7);
    other.queue = other.queue.replace(&value, &"cd".repeat(32));
    deceived(&other, "beacon");
    other.queue = whole.queue.replace("\"round\":7", "\"round\":8");
    deceived(&other, "beacon");
    other.queue = whole.queue.replace("\"mixed\"", "\"awaited\"");
    deceived(&other, "beacon");
    other.queue = export(3, &[]).queue;
    deceived(&other, "draw");
    // Whoever is added when the value is known may have been chosen by it.
    let mut added = mixed_export(&value, 7);
    added.registrations += &registration("late-0", 4_999);
    deceived(&added, "draw");
    // The round was known while people registered.
    let late = whole.queue.replace(&time(5_000), "2030-01-31T12:00:00.000Z");
    deceived(&Export { queue: late, ..mixed_export(&value, 7) }, "beacon");
}
