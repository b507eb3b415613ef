//! The agent: sends its share, hands on what its workers measure.

use std::io::{BufRead, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::message::{FromAgent, PROTOCOL, Share, ToAgent, hear, say};
use crate::environment::Machine;
use crate::load::answer_log;
use crate::load::plan::{Clock, Interrupt, LifeSigns, Plan};
use crate::load::worker::Report;
use crate::load::workers::{Starter, Workers};
use crate::wire::buyer::BuyerIdentity;
use crate::wire::request::Target;

/// Bytes of a log in one message, a multiple of three so that base64 needs no padding.
const PIECE_BYTES: usize = 192 * 1024;

/// Serves one leader until it has everything.
///
/// # Errors
/// In words: it went away, asked for what cannot be done, or a file could not be used.
pub fn serve(
    mut input: impl BufRead + Send + 'static,
    out: &mut impl Write,
    interrupt: &Interrupt,
) -> Result<(), String> {
    let clock = Clock::start();
    let Some(share) = meet(&mut input, out, clock)? else { return Ok(()) };
    let folder = tempfile::tempdir().map_err(|error| format!("no folder for the answers: {error}"))?;
    let (first, workers) = (share.first_worker, share.workers);
    let plan = Arc::new(plan(*share, folder.path(), clock, interrupt)?);
    let (sender, reports) = channel();
    let (workers_here, starter) = Workers::spawn(&plan, first..first + workers, &sender)?;
    // Workers alone report from here on: when they are gone, nothing more comes.
    drop(sender);
    let listening = interrupt.clone();
    std::thread::spawn(move || listen(input, starter, &listening));

    for report in reports {
        let word = match report {
            Report::Ready(connected) => FromAgent::Ready(connected),
            Report::Second(frame) => FromAgent::Second(frame),
            Report::Ended(outcome) => FromAgent::Ended(outcome.err()),
        };
        tell(out, &word).inspect_err(|_| interrupt.request())?;
    }
    workers_here.join()?;
    send_logs(out, folder.path(), &plan.run_id)?;
    tell(out, &FromAgent::Done { engine_gone: plan.signs.gone() })
}

/// Answers pings until the leader says what is to be done; `None` when it leaves instead.
fn meet(input: &mut impl BufRead, out: &mut impl Write, clock: Clock) -> Result<Option<Box<Share>>, String> {
    let machine = Machine::observe();
    loop {
        match hear(input).map_err(|why| format!("the leader {why}"))? {
            Some(ToAgent::Ping) => {
                let version = (env!("CARGO_PKG_VERSION").to_owned(), PROTOCOL);
                tell(out, &FromAgent::Pong { now_ns: clock.now_ns(), version, machine: machine.clone() })?;
            }
            Some(ToAgent::Load(share)) => return Ok(Some(share)),
            Some(ToAgent::Start { .. }) => return Err("the leader began before it said with what".into()),
            Some(ToAgent::Stop) | None => return Ok(None),
        }
    }
}

fn plan(share: Share, folder: &Path, clock: Clock, interrupt: &Interrupt) -> Result<Plan, String> {
    Ok(Plan {
        targets: Target::resolve_all(&share.targets, &share.reach).map_err(|error| error.to_string())?,
        identity: BuyerIdentity::of(share.tokens.as_ref())?,
        scenario: share.scenario,
        run_id: share.run_id,
        sales: share.sales,
        headers: share.headers,
        folder: folder.to_owned(),
        clock,
        interrupt: interrupt.clone(),
        signs: LifeSigns::default(),
    })
}

/// Hears the leader while the load is sent. When it is gone, or has begun nothing, the workers end.
fn listen(mut input: impl BufRead, starter: Starter, interrupt: &Interrupt) {
    loop {
        match hear(&mut input) {
            // A worker that has ended before the start has said why already.
            Ok(Some(ToAgent::Start { at_ns })) => drop(starter.start(at_ns)),
            Ok(Some(ToAgent::Ping | ToAgent::Load(_))) => {}
            Ok(Some(ToAgent::Stop) | None) | Err(_) => return interrupt.request(),
        }
    }
}

fn send_logs(out: &mut impl Write, folder: &Path, run_id: &str) -> Result<(), String> {
    for path in answer_log::logs_in(folder, run_id).map_err(|error| error.to_string())? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut file = std::fs::File::open(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        loop {
            let mut piece = Vec::with_capacity(PIECE_BYTES);
            let read = Read::by_ref(&mut file).take(PIECE_BYTES as u64).read_to_end(&mut piece);
            if read.map_err(|error| format!("{}: {error}", path.display()))? == 0 {
                break;
            }
            tell(out, &FromAgent::Log { name: name.clone(), piece: STANDARD.encode(piece) })?;
        }
    }
    Ok(())
}

fn tell(out: &mut impl Write, word: &FromAgent) -> Result<(), String> {
    say(out, word).map_err(|error| format!("the leader is gone: {error}"))
}
