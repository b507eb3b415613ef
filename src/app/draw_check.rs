//! The check itself: texts in, words out. It knows the rules of a room and nothing of an engine.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write;

use serde::Deserialize;

use super::draw_export::Export;
use super::draw_findings::Findings;
use crate::admission::{mixed_seed, priority_of, seed_commitment, who_is};
use crate::domain::{
    BeaconSource, BeaconTerms, BeaconValue, BuyerName, EpochMs, RoomMarks, RoomSeed, SaleKey, Who,
};

/// How far the calendars of the nodes may be apart: a purchase may carry a time that is so much before its admission's.
const APART_MS: i64 = 1_000;

/// What was found.
pub(super) struct Report {
    pub text: String,
    pub is_in_order: bool,
}

#[derive(Deserialize)]
struct Queue {
    tenant: String,
    campaign: String,
    sku: String,
    drawn_at: Option<String>,
    drawn: u64,
    seed_commit: Option<String>,
    seed: Option<String>,
    beacon: Option<Beacon>,
}

#[derive(Deserialize)]
struct Beacon {
    source: String,
    round: u64,
    state: String,
    value: Option<String>,
    seed: Option<String>,
}

#[derive(Deserialize)]
struct RegistrationLine<'a> {
    who: &'a str,
    joined_at: &'a str,
    priority: Option<u64>,
}

#[derive(Deserialize)]
struct MarkLine<'a> {
    at: &'a str,
    draw_mark: u64,
    fifo_mark: Option<&'a str>,
    drawn_at: Option<&'a str>,
    admitted: u64,
}

#[derive(Deserialize)]
struct OrderLine<'a> {
    order_id: &'a str,
    buyer: Cow<'a, str>,
    created_at: &'a str,
}

/// The marks from a moment on.
struct Move {
    at: EpochMs,
    marks: RoomMarks,
}

/// Checks what was exported.
///
/// # Errors
/// It is not such an export.
pub(super) fn check(export: &Export) -> Result<Report, String> {
    let queue: Queue = serde_json::from_str(&export.queue).map_err(|error| format!("the queue: {error}"))?;
    let key = SaleKey::new(&queue.tenant, &queue.campaign, &queue.sku);
    let key = key.map_err(|rule| format!("the queue names no sale: a part {rule}"))?;
    let mut findings = Findings::default();
    let seed = read_seed(&queue, &mut findings)?;
    let (seed, mixed) = mix(&queue, seed, &mut findings)?;
    let (joined, priorities) =
        read_registrations(&queue, seed.as_ref(), &export.registrations, &mut findings)?;
    let moves = read_moves(&export.marks, &mut findings)?;
    if let Some(priorities) = &priorities {
        check_draw(&queue, priorities, &moves, &mut findings);
    }
    let orders = check_orders(&key, seed.as_ref(), &joined, &moves, &export.orders, &mut findings)?;
    let mut text = String::new();
    let drawn = priorities.map_or(0, |priorities| priorities.len());
    let admitted = moves.last().map_or(0, |last| last.marks.admitted);
    // Writing to a text does not fail.
    let _ = writeln!(
        text,
        "{key}: {} buyers registered, {drawn} of them drawn; {admitted} admitted in {} moves; {orders} orders",
        joined.len(),
        moves.len()
    );
    text.push_str(&mixed);
    text.push_str(&findings.text);
    let is_in_order = findings.all == 0;
    let verdict =
        if is_in_order { "every admission was in order" } else { "NOT every admission was in order" };
    let _ = writeln!(text, "{verdict}");
    Ok(Report { text, is_in_order })
}

fn moment(text: &str) -> Result<EpochMs, String> {
    let at = text.parse::<jiff::Timestamp>().map_err(|error| format!("{text:?} is no time: {error}"))?;
    Ok(EpochMs(at.as_millisecond()))
}

fn read_seed(queue: &Queue, findings: &mut Findings) -> Result<Option<RoomSeed>, String> {
    let Some(text) = &queue.seed else { return Ok(None) };
    let seed = RoomSeed(bytes_of(text).ok_or("the seed is not 16 bytes as hexadecimal digits")?);
    let commitment: String = seed_commitment(&seed).iter().map(|byte| format!("{byte:02x}")).collect();
    if queue.seed_commit.as_deref() != Some(&commitment) {
        findings.add("seed", format_args!("{text} is not what was committed to"));
    }
    Ok(Some(seed))
}

/// What the draw is made with, and what there is to be said of its beacon: one that was named is used, unless the export says openly
/// that it was not, and is drawn after registration has closed.
fn mix(
    queue: &Queue,
    seed: Option<RoomSeed>,
    findings: &mut Findings,
) -> Result<(Option<RoomSeed>, String), String> {
    let (Some(beacon), Some(plain)) = (&queue.beacon, seed) else { return Ok((seed, String::new())) };
    let source = BeaconSource::parse(&beacon.source)
        .ok_or_else(|| format!("the beacon {:?} is not known", beacon.source))?;
    let named = BeaconTerms { source, round: beacon.round, wait_s: 0 };
    let drawn_at = queue.drawn_at.as_deref().map(moment).transpose()?;
    if let (Some(round_at), Some(drawn_at)) = (named.drawn_at(), drawn_at)
        && round_at < drawn_at
    {
        findings.add("beacon", format_args!("round {} was drawn before registration closed", beacon.round));
    }
    let name = format!("round {} of {}", beacon.round, beacon.source);
    let (seed, said) = match (beacon.state.as_str(), &beacon.value) {
        ("mixed", Some(digits)) => {
            let value =
                BeaconValue::parse(digits).filter(|value| value.bytes().len() == source.value_bytes());
            let value = value.ok_or_else(|| format!("{digits:?} is no value of {}", beacon.source))?;
            let address = source.address(beacon.round);
            (mixed_seed(&plain, &named, &value), format!("mixed with {name}: {address} has to say {value}\n"))
        }
        ("plain", None) => (plain, format!("drawn with the seed alone: {name} was named and not used\n")),
        (state, _) => {
            findings.add("beacon", format_args!("the draw was made while {name} was {state}"));
            (plain, String::new())
        }
    };
    let told = beacon.seed.as_deref().and_then(bytes_of);
    if told != Some(seed.0) {
        findings
            .add("beacon", format_args!("what {name} makes of the seed is told otherwise than is computed"));
    }
    Ok((Some(seed), said))
}

fn bytes_of(text: &str) -> Option<[u8; 16]> {
    let digits: &[u8; 32] = text.as_bytes().try_into().ok()?;
    let mut bytes = [0; 16];
    for (byte, pair) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        *byte = (digit(0)? * 16 + digit(1)?) as u8;
    }
    Some(bytes)
}

/// When each buyer joined first, and the priorities of those who are drawn, in their order.
type Registered = (HashMap<Who, EpochMs, ahash::RandomState>, Option<Vec<u64>>);

fn read_registrations(
    queue: &Queue,
    seed: Option<&RoomSeed>,
    lines: &str,
    findings: &mut Findings,
) -> Result<Registered, String> {
    let drawn_at = queue.drawn_at.as_deref().map(moment).transpose()?.zip(seed);
    let mut joined: HashMap<Who, EpochMs, ahash::RandomState> = HashMap::default();
    let mut priorities = Vec::new();
    for (number, line) in (1..).zip(lines.lines()) {
        let line: RegistrationLine<'_> =
            serde_json::from_str(line).map_err(|error| format!("registration {number}: {error}"))?;
        let who = bytes_of(line.who).ok_or_else(|| format!("registration {number}: no name of 16 bytes"))?;
        let at = moment(line.joined_at)?;
        joined.entry(who).and_modify(|first| *first = at.min(*first)).or_insert(at);
        let Some((_, seed)) = drawn_at.filter(|(drawn_at, _)| at < *drawn_at) else { continue };
        let priority = priority_of(seed, &who);
        if line.priority.is_some_and(|told| told != priority) {
            findings.add("priority", format_args!("{} is told another than is computed", line.who));
        }
        priorities.push(priority);
    }
    priorities.sort_unstable();
    priorities.dedup();
    Ok((joined, drawn_at.map(|_| priorities)))
}

fn read_moves(lines: &str, findings: &mut Findings) -> Result<Vec<Move>, String> {
    let mut moves: Vec<Move> = Vec::new();
    for (number, line) in (1..).zip(lines.lines()) {
        let line: MarkLine<'_> =
            serde_json::from_str(line).map_err(|error| format!("move {number}: {error}"))?;
        let marks = RoomMarks {
            draw_mark: line.draw_mark,
            fifo_mark: line.fifo_mark.map_or(Ok(EpochMs(0)), moment)?,
            drawn_at: line.drawn_at.map(moment).transpose()?,
            admitted: line.admitted,
            ..RoomMarks::default()
        };
        let at = moment(line.at)?;
        if let Some(Move { marks: before, .. }) = moves.last()
            && (marks.draw_mark < before.draw_mark
                || marks.fifo_mark < before.fifo_mark
                || marks.admitted < before.admitted)
        {
            findings.add("mark", format_args!("a mark fell at {}", line.at));
        }
        moves.push(Move { at, marks });
    }
    moves.sort_by_key(|moved| moved.at);
    Ok(moves)
}

/// Whether the draw admitted as many as its mark has below, each time it moved.
fn check_draw(queue: &Queue, priorities: &[u64], moves: &[Move], findings: &mut Findings) {
    let drawn = priorities.len() as u64;
    if drawn != queue.drawn {
        findings
            .add("draw", format_args!("{drawn} registered before the draw, and {} were drawn", queue.drawn));
        return;
    }
    for Move { at, marks } in moves.iter().filter(|moved| moved.marks.drawn_at.is_some()) {
        let below = priorities.partition_point(|priority| *priority < marks.draw_mark) as u64;
        if below != marks.admitted.min(drawn) {
            findings.add(
                "draw",
                format_args!("{below} are below the mark of {}, and {} were counted", at.0, marks.admitted),
            );
        }
    }
}

/// Whether every order was made by somebody who was admitted by then. Answers with how many there are.
fn check_orders(
    key: &SaleKey,
    seed: Option<&RoomSeed>,
    joined: &HashMap<Who, EpochMs, ahash::RandomState>,
    moves: &[Move],
    lines: &str,
    findings: &mut Findings,
) -> Result<usize, String> {
    let mut orders = 0;
    for (number, line) in (1..).zip(lines.lines()) {
        let line: OrderLine<'_> =
            serde_json::from_str(line).map_err(|error| format!("order {number}: {error}"))?;
        orders += 1;
        let buyer = BuyerName::new(&line.buyer).map_err(|rule| format!("order {number}: {rule}"))?;
        let who = who_is(key, buyer);
        let Some(joined_at) = joined.get(&who) else {
            findings
                .add("order", format_args!("{} is of {}, who did not register", line.order_id, line.buyer));
            continue;
        };
        let by_then = moment(line.created_at)?.plus_ms(APART_MS);
        let in_force = moves.partition_point(|moved| moved.at <= by_then);
        let admits = |marks: &RoomMarks| {
            marks.admits(*joined_at, || seed.map_or(u64::MAX, |seed| priority_of(seed, &who)))
        };
        // Marks never fall: those of the last move by then admit whoever any before did.
        if !in_force.checked_sub(1).is_some_and(|last| admits(&moves[last].marks)) {
            findings.add("order", format_args!("{} of {} came before its turn", line.order_id, line.buyer));
        }
    }
    Ok(orders)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let registered = buyers.iter().enumerate().map(|(n, buyer)| {
            let line =
                serde_json::json!({"who": hex(&who(buyer)), "joined_at": time(n as i64), "priority": null});
            line.to_string() + "\n"
        });
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
        assert!(
            report.text.contains("10 buyers registered, 10 of them drawn; 3 admitted in 1 moves; 2 orders")
        );
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
    }

    /// `cargo xtask room verify` says of how many, and tells how long it took.
    #[test]
    fn a_long_draw_is_checked_in_little_time() {
        let long = std::env::var("SECKILL_ROOM_PEOPLE")
            .ok()
            .map(|people| people.parse::<usize>().expect("a number"));
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
                let order = serde_json::json!({"order_id": "o", "buyer": name(drawn[place].1), "created_at": at(step)});
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
        // The round was known while people registered.
        let late = whole.queue.replace(&time(5_000), "2030-01-31T12:00:00.000Z");
        deceived(&Export { queue: late, ..mixed_export(&value, 7) }, "beacon");
    }
}
