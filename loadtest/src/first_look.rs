//! Before the load: every address must know the sale and take purchases from this tester. What is missing is told at
//! once, with the option that mends it, and not after a minute of refusals.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use crate::admin::{AdminError, SKU};
use crate::run::RunError;
use crate::wire::call::{CallReply, Caller};
use crate::wire::response::json_text;

/// How long a new campaign may take to be known at every address.
pub const VISIBLE_WITHIN: Duration = Duration::from_secs(10);
/// The name of a buyer who is not one of the load's.
pub const BUYER: &str = "first-look";
/// How long an address may be too busy for the first purchase.
const BUSY_WITHIN: Duration = Duration::from_secs(5);
const ASK_EVERY: Duration = Duration::from_millis(20);
/// Times that the server is asked for its clock.
const CLOCK_QUESTIONS: usize = 5;

/// Waits until every address knows the sale; returns how far the server's clock is ahead, in milliseconds.
///
/// # Errors
/// An address does not know it in time, or does not let this tester in.
pub fn wait_visible(callers: &mut [Caller], campaign: &str) -> Result<Option<i64>, RunError> {
    let path = format!("/seckill/{campaign}/{SKU}");
    let deadline = Instant::now() + VISIBLE_WITHIN;
    let mut skew_ms = None;
    for caller in callers {
        loop {
            let reply = caller.call("GET", &path, None).map_err(AdminError::from)?;
            if reply.status == 200 {
                skew_ms = clock_skew_ms(caller, &path)?;
                break;
            }
            if matches!(reply.status, 400 | 401 | 403) {
                return Err(not_let_in("GET", &path, &reply));
            }
            if Instant::now() > deadline {
                let (status, said) = (reply.status, reply.excerpt());
                let why = format!("GET {path}: the new campaign is not on sale: {status} {said}");
                return Err(RunError::Setup(why));
            }
            std::thread::sleep(ASK_EVERY);
        }
    }
    Ok(skew_ms)
}

/// Tries one purchase at every address: of no units, which every sale refuses and which leaves nothing behind. It shows
/// whether a buyer of this tester is let in.
///
/// # Errors
/// He is not; the message names the option that mends it.
pub fn try_purchase(callers: &mut [Caller], campaign: &str) -> Result<(), RunError> {
    let path = format!("/seckill/{campaign}/{SKU}");
    for caller in callers {
        let deadline = Instant::now() + BUSY_WITHIN;
        loop {
            let reply = caller.call("POST", &path, Some(r#"{"quantity":0}"#)).map_err(AdminError::from)?;
            match reply.status {
                // Any answer of the sale itself is one of somebody who was let in.
                200..=299 | 409 | 410 | 422 | 429 => break,
                503 if Instant::now() < deadline => std::thread::sleep(ASK_EVERY),
                _ => return Err(not_let_in("POST", &path, &reply)),
            }
        }
    }
    Ok(())
}

fn not_let_in(method: &str, path: &str, reply: &CallReply) -> RunError {
    let code = String::from_utf8_lossy(json_text(&reply.body, "code")).into_owned();
    let cure = match (reply.status, code.as_str()) {
        (401, _) => {
            "the engine does not know this buyer: it must take the buyer's name from X-User-ID \
             (edge.auth.mode = \"trusted_header\"), or needs tokens: --jwt-key-file with the secret of edge.auth.jwt.key"
        }
        (403, "waiting-room") => "the sale has a waiting room: run against a sale without one",
        (403, _) => {
            "the engine takes requests from its gateway only: give its secret with --header 'X-Origin-Secret: …'"
        }
        (404, _) => {
            "the engine does not know the sale there: is --target of the same engine as --admin, and --tenant right?"
        }
        (400, _) => "the engine does not understand the request: is --tenant or a --header missing or wrong?",
        (503, _) => "the engine takes no purchases: look at its /healthz",
        _ => "this is not an answer to a purchase: is --target the engine's edge?",
    };
    let status = reply.status;
    RunError::Setup(format!(
        "the first purchase was refused: {cure}\n  {method} {path}: {status} {}",
        reply.excerpt()
    ))
}

/// How far the server's clock is ahead, by the quickest of a few questions; zero when it could as well be the way.
fn clock_skew_ms(caller: &mut Caller, path: &str) -> Result<Option<i64>, RunError> {
    let mut best: Option<(SignedDuration, SignedDuration)> = None;
    for _ in 0..CLOCK_QUESTIONS {
        let before = Timestamp::now();
        let reply = caller.call("GET", path, None).map_err(AdminError::from)?;
        let round_trip = Timestamp::now().duration_since(before);
        let text = String::from_utf8_lossy(json_text(&reply.body, "server_time")).into_owned();
        let Ok(server_time) = text.parse::<Timestamp>() else { return Ok(None) };
        if best.is_none_or(|(quickest, _)| round_trip < quickest) {
            best = Some((round_trip, server_time.duration_since(before) - round_trip / 2));
        }
    }
    // The server's time is told in whole milliseconds.
    let sure =
        best.filter(|(round_trip, skew)| skew.abs() > *round_trip / 2 + SignedDuration::from_millis(1));
    Ok(best.map(|_| sure.map_or(0, |(_, skew)| skew.as_millis() as i64)))
}
