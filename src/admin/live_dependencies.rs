//! What selling stands on, for who watches: the queue, the order store, the payment gateway, the risk service, who lends the
//! stock, and the relay of events. Each has a word for programs and a line for people, so that pages and feed say the same.

use std::sync::atomic::Ordering::Relaxed;

use serde_json::{Value, json};

use super::cluster_figures::OtherNode;
use super::control_plane::ControlPlane;
use super::grouped::grouped;
use super::health::Checks;
use super::lease_agent_figures::sales_with_drift;
use super::relay_watch::RelayWatch;
use crate::admission::Intake;
use crate::checkout::BreakerState;

/// How it is with one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It does what it is there for.
    Ok,
    /// This engine does without.
    Off,
    /// Somebody should look.
    Wrong,
}

impl State {
    /// Wrong where it is not well.
    const fn of(is_well: bool) -> Self {
        if is_well { Self::Ok } else { Self::Wrong }
    }

    /// The word in the API.
    const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Off => "off",
            Self::Wrong => "wrong",
        }
    }
}

/// How it is, and what is said of it.
type Standing = (State, String);

/// All of them, in this order; `commits` are the store's, of the last second and the last minute.
pub(super) fn json(plane: &ControlPlane, checks: &Checks, commits: &Value, others: &[OtherNode]) -> Value {
    let (checkout, simulated) = (&plane.checkout, plane.checkout.simulated());
    let (entrance, records) = (plane.admission.queue(), &plane.telemetry.lease_agent);
    let stuck = checkout.stuck_payments();
    let payments = Payments {
        under_way: checkout.payments_under_way(),
        unknown: checkout.recovery_queue_len(),
        need_a_person: stuck.contradicted + stuck.without_gateway,
    };
    let elsewhere = others.iter().find_map(|other| Some((other.node.number(), other.figures.relay_waiting?)));
    let all = [
        ("queue", queue(entrance.depth(), entrance.capacity(), entrance.intake())),
        (
            "store",
            store(
                checks.store,
                &commits["minute"],
                plane.desk.steps_waiting(),
                plane.telemetry.writers.failed_batches.value(),
            ),
        ),
        ("gateway", gateway(checkout.gateway_breaker(), simulated.contains(&"gateway"), &payments)),
        ("risk", service(checkout.risk_breaker(), simulated.contains(&"risk"))),
        (
            "ledger",
            ledger(
                checks.ledger,
                records.cut_off.load(Relaxed),
                (records.comparisons.value() > 0).then(|| sales_with_drift(records)),
            ),
        ),
        ("relay", relay(plane.relay.as_ref(), elsewhere)),
    ];
    let row = |(name, (state, said)): (&str, Standing)| json!({ "name": name, "state": state.word(), "said": said });
    all.into_iter().map(row).collect()
}

fn queue(depth: usize, capacity: usize, intake: Intake) -> Standing {
    let end = match intake {
        Intake::Open => "",
        Intake::Stalled => "; the store takes nothing, and nobody can buy",
        Intake::Closed => "; it is closed, and nobody can buy",
    };
    let (depth, capacity) = (grouped(depth as u64), grouped(capacity as u64));
    (State::of(intake == Intake::Open), format!("{depth} of {capacity} orders wait for the store{end}"))
}

/// The order store: what its probe met with, its commits of the last minute, steps of orders that wait for its writer, and the
/// tries to commit that came to nothing since the start. Commits are counted as long as somebody watches.
fn store(check: &str, minute: &Value, steps: usize, failed: u64) -> Standing {
    let answer = match check {
        "ok" => "answers",
        "slow" => "does not answer in time",
        _ => "refuses to answer",
    };
    let commits = match minute["count"].as_u64() {
        None | Some(0) => "no commit seen of late".to_owned(),
        Some(count) => {
            let ms = |name: &str| minute[name].as_f64().unwrap_or_default() / 1_000.0;
            let (half, most) = (ms("p50_us"), ms("p99_us"));
            format!("{} commits seen in the last minute, P50 {half:.2} ms, P99 {most:.2} ms", grouped(count))
        }
    };
    let mut said = format!("{answer}; {commits}; {} steps of orders wait", grouped(steps as u64));
    if failed > 0 {
        said.push_str(&format!("; {} tries to commit failed since the start", grouped(failed)));
    }
    (State::of(check == "ok"), said)
}

/// A service behind its breaker.
fn service(breaker: BreakerState, is_simulated: bool) -> Standing {
    let said = match breaker {
        BreakerState::Closed => "calls go through",
        BreakerState::HalfOpen => "is tried out after failures",
        BreakerState::Open => "is left alone for a while after failures",
    };
    let end = if is_simulated { "; simulated" } else { "" };
    (State::of(breaker == BreakerState::Closed), format!("{said}{end}"))
}

/// Payments of this node.
struct Payments {
    under_way: usize,
    unknown: usize,
    need_a_person: usize,
}

fn gateway(breaker: BreakerState, is_simulated: bool, payments: &Payments) -> Standing {
    let Payments { under_way, unknown, need_a_person } = *payments;
    let (state, mut said) = service(breaker, is_simulated);
    let (under_way, unknown) = (grouped(under_way as u64), grouped(unknown as u64));
    said.push_str(&format!("; {under_way} payments under way, {unknown} of unknown outcome"));
    if need_a_person == 0 {
        return (state, said);
    }
    (State::Wrong, format!("{said}; {} need a person", grouped(need_a_person as u64)))
}

/// Who lends the stock: what its probe met with, whether this node has handed its units back, and in how many sales the books
/// were apart; `None` before they were compared.
fn ledger(check: Option<&str>, is_cut_off: bool, apart: Option<usize>) -> Standing {
    let Some(check) = check else {
        return (State::Off, "not used: this engine sells alone and holds all of its stock itself".into());
    };
    let mut said = match check {
        "ok" => "Redis answers",
        "away" => "Redis does not answer",
        _ => "Redis refuses this engine",
    }
    .to_owned();
    if is_cut_off {
        said.push_str("; cut off from the order store, nothing is on sale here");
    } else if check != "ok" {
        said.push_str("; this node sells what it was lent");
    }
    said.push_str(&match apart {
        None => "; the books were not compared yet".to_owned(),
        Some(0) => "; the books agree".to_owned(),
        Some(sales) => format!("; the books of {} sales are apart", grouped(sales as u64)),
    });
    (State::of(check == "ok" && !is_cut_off), said)
}

/// The relay of events: as this node has it, and the node that has told that so many wait for it.
fn relay(own: Option<&RelayWatch>, elsewhere: Option<(u16, u64)>) -> Standing {
    let Some(own) = own else {
        return (State::Off, "not used: this engine sells alone and sends no events to Redis".into());
    };
    let sends = |who: String, waiting: u64| {
        (State::Ok, format!("{who} sends the events to Redis; {} wait", grouped(waiting)))
    };
    match (own.waiting(), elsewhere) {
        (Some(waiting), _) => sends("this node".into(), waiting),
        (None, _) if own.is_elected() => {
            let why = "Redis or the order store does not answer, or the stream is another store's";
            (State::Wrong, format!("this node is to send the events to Redis, and cannot now: {why}"))
        }
        (None, Some((node, waiting))) => sends(format!("node {node}"), waiting),
        (None, None) => {
            (State::Ok, "not sent to Redis by this node, and no other has told how many wait".into())
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::*;

    #[test]
    fn the_queue_and_the_store_are_told_of_in_words() {
        assert_eq!(
            queue(1_234, 65_536, Intake::Open),
            (State::Ok, "1,234 of 65,536 orders wait for the store".into())
        );
        assert_eq!(queue(7, 8, Intake::Stalled).0, State::Wrong);
        let minute = json!({ "count": 1_200, "p50_us": 850.4, "p99_us": 12_346.0 });
        assert_eq!(
            store("ok", &minute, 3, 0),
            (
                State::Ok,
                "answers; 1,200 commits seen in the last minute, P50 0.85 ms, P99 12.35 ms; 3 steps of orders wait".into()
            )
        );
        let idle = json!({ "count": 0, "p50_us": 0.0, "p99_us": 0.0 });
        assert_eq!(
            store("slow", &idle, 0, 2),
            (
                State::Wrong,
                "does not answer in time; no commit seen of late; 0 steps of orders wait; 2 tries to \
                 commit failed since the start"
                    .into()
            )
        );
    }

    #[test]
    fn a_gateway_is_wrong_while_it_is_left_alone_and_while_a_payment_needs_a_person() {
        let payments = |need_a_person| Payments { under_way: 4, unknown: 1, need_a_person };
        assert_eq!(
            gateway(BreakerState::Closed, true, &payments(0)),
            (State::Ok, "calls go through; simulated; 4 payments under way, 1 of unknown outcome".into())
        );
        let (state, said) = gateway(BreakerState::Closed, false, &payments(2));
        assert!(state == State::Wrong && said.ends_with("; 2 need a person"), "{said}");
        for breaker in [BreakerState::HalfOpen, BreakerState::Open] {
            assert_eq!(gateway(breaker, false, &payments(0)).0, State::Wrong);
            assert_eq!(service(breaker, false).0, State::Wrong);
        }
    }

    #[test]
    fn an_engine_that_sells_alone_says_so_and_shows_no_zeros() {
        for (state, said) in [ledger(None, false, None), relay(None, None)] {
            assert!(state == State::Off && said.starts_with("not used: this engine sells alone"), "{said}");
        }
    }

    #[test]
    fn who_lends_the_stock_is_told_of_with_the_books() {
        assert_eq!(ledger(Some("ok"), false, Some(0)), (State::Ok, "Redis answers; the books agree".into()));
        assert_eq!(
            ledger(Some("ok"), false, Some(2)),
            (State::Ok, "Redis answers; the books of 2 sales are apart".into()),
            "for a moment they are, while orders are on their way"
        );
        for check in ["away", "refused"] {
            assert_eq!(ledger(Some(check), false, None).0, State::Wrong, "{check}");
        }
        let (state, said) = ledger(Some("ok"), true, Some(0));
        assert!(state == State::Wrong && said.contains("cut off from the order store"), "{said}");
    }

    #[test]
    fn every_node_says_who_sends_events_and_how_many_wait() {
        let (elect, elected) = watch::channel(true);
        let (_see, newest) = watch::channel(9);
        let (send, sent) = watch::channel(None);
        let own = RelayWatch { elected, newest, sent };
        assert_eq!(relay(Some(&own), None).0, State::Wrong, "the stream was not reached");
        send.send_replace(Some(7));
        assert_eq!(
            relay(Some(&own), None),
            (State::Ok, "this node sends the events to Redis; 2 wait".into())
        );
        elect.send_replace(false);
        assert_eq!(
            relay(Some(&own), Some((3, 1_000))),
            (State::Ok, "node 3 sends the events to Redis; 1,000 wait".into())
        );
        assert!(relay(Some(&own), None).1.starts_with("not sent to Redis by this node"));
    }
}
