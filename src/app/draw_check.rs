//! The check itself: texts in, words out. It knows the rules of a room and nothing of an engine.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt::Write;
use std::num::NonZero;
use std::thread;

use serde::Deserialize;

use super::draw_export::{Export, bytes_of, moment};
use super::draw_findings::Findings;
use super::draw_registrations::Registered;
use crate::admission::{mixed_seed, priority_of, seed_commitment, who_is};
use crate::domain::{
    BeaconSource, BeaconTerms, BeaconValue, BuyerName, EpochMs, RoomMarks, RoomSeed, SaleKey,
};

/// How far the calendars of the nodes may be apart: a purchase may carry a time that is so much before its admission's.
const APART_MS: i64 = 1_000;
/// Of so many who are drawn one may have come into the log after the draw, and one of fewer: a node wrote its last registrations late.
const ONE_IS_LATE: u64 = 100;

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
    check_on(thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN), export)
}

/// Checks it on so many threads: on however many it finds the same.
fn check_on(threads: NonZero<usize>, export: &Export) -> Result<Report, String> {
    let queue: Queue = serde_json::from_str(&export.queue).map_err(|error| format!("the queue: {error}"))?;
    let key = SaleKey::new(&queue.tenant, &queue.campaign, &queue.sku);
    let key = key.map_err(|rule| format!("the queue names no sale: a part {rule}"))?;
    let mut findings = Findings::default();
    let seed = read_seed(&queue, &mut findings)?;
    let (seed, mixed) = mix(&queue, seed, &mut findings)?;
    let drawn_at = queue.drawn_at.as_deref().map(moment).transpose()?;
    let draw = drawn_at.zip(seed.as_ref());
    let registered = Registered::read(threads, &export.registrations, draw, &mut findings)?;
    let moves = read_moves(&export.marks, &mut findings)?;
    if let Some(priorities) = &registered.drawn {
        check_draw(&queue, priorities, &moves, &mut findings);
    }
    let orders = check_orders(&key, seed.as_ref(), &registered, &moves, &export.orders, &mut findings)?;
    let mut text = String::new();
    let drawn = registered.drawn.as_ref().map_or(0, Vec::len);
    let admitted = moves.last().map_or(0, |last| last.marks.admitted);
    // Writing to a text does not fail.
    let _ = writeln!(
        text,
        "{key}: {} buyers registered, {drawn} of them drawn; {admitted} admitted in {} moves; {orders} orders",
        registered.buyers(),
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

/// Whether the draw admitted as many as its mark has below, each time it moved; but for those who were late for being counted.
fn check_draw(queue: &Queue, priorities: &[u64], moves: &[Move], findings: &mut Findings) {
    let registered = priorities.len() as u64;
    let late = registered.saturating_sub(queue.drawn);
    // Who is added once a beacon's value is known could be chosen by it; and the draw has waited for that value.
    let is_mixed = queue.beacon.as_ref().is_some_and(|beacon| beacon.state == "mixed");
    let late_max = if is_mixed { 0 } else { (queue.drawn / ONE_IS_LATE).max(1) };
    if registered < queue.drawn || late > late_max {
        let drawn = queue.drawn;
        findings.add("draw", format_args!("{registered} registered before the draw, and {drawn} were drawn"));
        return;
    }
    if late > 0 {
        findings.note(format_args!(
            "{late} who registered before the draw came into the log after it; they were admitted by lot as all others"
        ));
    }
    for Move { at, marks } in moves.iter().filter(|moved| moved.marks.drawn_at.is_some()) {
        let below = priorities.partition_point(|priority| *priority < marks.draw_mark) as u64;
        let counted = marks.admitted.min(queue.drawn);
        if !(counted..=counted + late).contains(&below) {
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
    registered: &Registered,
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
        let Some(joined_at) = registered.joined_at(&who) else {
            findings
                .add("order", format_args!("{} is of {}, who did not register", line.order_id, line.buyer));
            continue;
        };
        let by_then = moment(line.created_at)?.plus_ms(APART_MS);
        let in_force = moves.partition_point(|moved| moved.at <= by_then);
        let admits = |marks: &RoomMarks| {
            marks.admits(joined_at, || seed.map_or(u64::MAX, |seed| priority_of(seed, &who)))
        };
        // Marks never fall: those of the last move by then admit whoever any before did.
        if !in_force.checked_sub(1).is_some_and(|last| admits(&moves[last].marks)) {
            findings.add("order", format_args!("{} of {} came before its turn", line.order_id, line.buyer));
        }
    }
    Ok(orders)
}
