//! From a click on the console's pause form to the first buyer who is refused.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::crowd::{BuyerClient, Over};
use crate::engine::Engine;
use crate::operator::Operator;
use crate::until;

const SKU: &str = "paused";
const SALE: &str = "/sales/default/test/paused";
/// More than are bought while it is measured.
const UNITS: u32 = 1_000_000;
/// Kept connections to each engine on which buyers ask, one after the other.
const LINES: usize = 4;
/// From an answer to the next buyer on a line.
const REST: Duration = Duration::from_micros(500);

/// What a buyer was told.
#[derive(Clone, Copy, Debug)]
struct Told {
    asked: Instant,
    at: Instant,
    is_refused: bool,
}

/// What buyers on one line were told since the last click, in order.
type Line = Mutex<Vec<Told>>;

/// How long clicks took.
#[derive(Debug)]
pub struct Pauses {
    /// Until the form was answered, the shortest first.
    pub answered: Vec<Duration>,
    /// Until every engine had refused its first buyer, likewise.
    pub refused: Vec<Duration>,
}

impl fmt::Display for Pauses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, took) in [("buyers are refused", &self.refused), ("the form is answered", &self.answered)]
        {
            let ms = |share: usize| took[(took.len() * share / 100).min(took.len() - 1)].as_secs_f64() * 1e3;
            let (p50, p99, worst) = (ms(50), ms(99), ms(100));
            write!(f, "{what} after P50 {p50:.1} ms, P99 {p99:.1} ms, at most {worst:.1} ms; ")?;
        }
        write!(f, "{} clicks", self.refused.len())
    }
}

/// Clicks so often on pause and on resume at the console of the first engine, while buyers buy at all of them; the engines
/// have [`crate::operator::TOKEN`], and one stock.
///
/// # Panics
/// An engine sells to somebody who came after it had refused another, or does not do what was clicked.
pub fn measure(engines: &[&Engine], clicks: usize) -> Pauses {
    let operator = Operator::sign_in(engines[0].admin_addr());
    let terms = format!("campaign=test&sku={SKU}&price_cents=1999&stock={UNITS}&reason=a+figure");
    operator.submit("/sales/new", &terms);
    until("every engine knows the sale", || engines.iter().all(|one| one.sale_state(SKU)["sku"] == SKU));
    let lines: Vec<Line> = engines.iter().flat_map(|_| (0..LINES).map(|_| Line::default())).collect();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _over = Over(&is_over);
        for (number, line) in lines.iter().enumerate() {
            let (edge, is_over) = (engines[number / LINES].edge(), &is_over);
            scope.spawn(move || buy(edge, number, line, is_over));
        }
        let mut pauses = Pauses { answered: Vec::new(), refused: Vec::new() };
        for _ in 0..clicks {
            let since = Instant::now();
            until("buyers buy on every line", || lines.iter().all(|line| is_last(line, since, false)));
            let (answered, refused) = pause(&operator, &lines);
            pauses.answered.push(answered);
            pauses.refused.push(refused);
            operator.submit(&format!("{SALE}/resume"), "reason=a+figure");
        }
        pauses.answered.sort_unstable();
        pauses.refused.sort_unstable();
        pauses
    })
}

/// New buyers, one after the other, until it is over.
fn buy(edge: SocketAddr, number: usize, line: &Line, is_over: &AtomicBool) {
    let mut client = BuyerClient::at(edge);
    let mut buyers = 0_u64;
    while !is_over.load(Ordering::Relaxed) {
        buyers += 1;
        let asked = Instant::now();
        let answer = client.buy(SKU, &format!("buyer-{number}-{buyers}"), 1, None);
        let at = Instant::now();
        thread::sleep(REST);
        // The connection was closed: the next buyer opens one.
        let Some(answer) = answer else { continue };
        let is_refused = match (answer.status, answer.code.as_str()) {
            (201 | 202, _) => false,
            (409, "sale-paused") => true,
            // Units are on their way to this engine.
            (503, _) => continue,
            _ => panic!("{answer:?}"),
        };
        told(line).push(Told { asked, at, is_refused });
    }
}

/// Also of a buyer who is gone: then it is said what went wrong.
fn told(line: &Line) -> MutexGuard<'_, Vec<Told>> {
    line.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the last who was told something on the line asked after `since` and was refused, or not.
fn is_last(line: &Line, since: Instant, is_refused: bool) -> bool {
    told(line).last().is_some_and(|last| last.asked > since && last.is_refused == is_refused)
}

/// One click: until the form is answered, and until each engine has refused somebody.
fn pause(operator: &Operator, lines: &[Line]) -> (Duration, Duration) {
    // Nobody is told of the pause before now: on every line somebody has bought since the last one.
    lines.iter().for_each(|line| told(line).clear());
    let clicked = Instant::now();
    operator.submit(&format!("{SALE}/pause"), "reason=a+figure");
    let answered = clicked.elapsed();
    until("buyers are refused on every line", || lines.iter().all(|line| is_last(line, clicked, true)));
    let refused = lines.chunks(LINES).map(|of_engine| {
        let told: Vec<Told> = of_engine.iter().flat_map(|line| told(line).clone()).collect();
        let first = told.iter().filter(|told| told.is_refused).map(|told| told.at).min();
        let first = first.expect("somebody is refused");
        let late = told.iter().find(|told| !told.is_refused && told.asked > first);
        assert!(late.is_none(), "somebody buys who came after another was refused: {late:?}");
        first - clicked
    });
    (answered, refused.max().expect("an engine"))
}
