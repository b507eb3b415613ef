//! The check itself: texts in, words out. It knows the rules of a room and nothing of an engine.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write;

use serde::Deserialize;

use super::draw_export::Export;
use crate::admission::{priority_of, seed_commitment, who_is};
use crate::domain::{BuyerName, EpochMs, RoomMarks, RoomSeed, SaleKey, Who};

/// How far the calendars of the nodes may be apart: a purchase may carry a time that is so much before its admission's.
const APART_MS: i64 = 1_000;
/// Findings of one kind that are shown one by one.
const SHOWN_MAX: usize = 5;

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
    terms: Terms,
    drawn_at: Option<String>,
    drawn: u64,
    seed_commit: Option<String>,
    seed: Option<String>,
}

#[derive(Deserialize)]
struct Terms {
    mode: String,
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
    text.push_str(&findings.text);
    let is_in_order = findings.all == 0;
    let verdict =
        if is_in_order { "every admission was in order" } else { "NOT every admission was in order" };
    let _ = writeln!(text, "{verdict}");
    Ok(Report { text, is_in_order })
}

/// What is not as it should be.
#[derive(Default)]
struct Findings {
    text: String,
    all: usize,
    of_kind: HashMap<&'static str, usize>,
}

impl Findings {
    fn add(&mut self, kind: &'static str, what: impl std::fmt::Display) {
        self.all += 1;
        let of_kind = self.of_kind.entry(kind).or_default();
        *of_kind += 1;
        if *of_kind <= SHOWN_MAX {
            let _ = writeln!(self.text, "  {kind}: {what}");
        } else if *of_kind == SHOWN_MAX + 1 {
            let _ = writeln!(self.text, "  {kind}: and more");
        }
    }
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
    let drawn_at = queue.drawn_at.as_deref().filter(|_| queue.terms.mode == "draw");
    let drawn_at = drawn_at.map(moment).transpose()?.zip(seed);
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
            "tenant": "default", "campaign": "c", "sku": "s", "terms": {"mode": "draw"}, "drawn_at": time(5_000),
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
}
