//! What leader and agent say to one another, a line of JSON each.

use std::io::{self, BufRead, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::environment::Machine;
use crate::load::recorder::Frame;
use crate::scenario::Scenario;
use crate::wire::buyer::BuyerTokens;
use crate::wire::request::Reach;

/// Testers understand one another if they are of the same version and this number of the protocol.
pub const PROTOCOL: u32 = 1;

/// The leader's words.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ToAgent {
    /// What time is it there?
    Ping,
    /// The share of the load to get ready for.
    Load(Box<Share>),
    /// Begin.
    Start {
        /// When, in nanoseconds of the agent's clock.
        at_ns: u64,
    },
    /// Come to an orderly end.
    Stop,
}

/// The agent's words.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FromAgent {
    /// The answer to a ping.
    Pong {
        /// Its clock, nanoseconds.
        now_ns: u64,
        /// Its version, and [`PROTOCOL`].
        version: (String, u32),
        /// Where it runs.
        machine: Machine,
    },
    /// A worker has opened so many connections.
    Ready(usize),
    /// A worker's second.
    Second(Box<Frame>),
    /// A worker has ended; why, if it could not go on.
    Ended(Option<String>),
    /// A piece of a log of answers.
    Log {
        /// The file's name.
        name: String,
        /// The piece, in base64.
        piece: String,
    },
    /// There is nothing more to come.
    Done {
        /// Whether its workers took the engine to be gone for good.
        engine_gone: bool,
    },
}

/// An agent's share of a load.
#[derive(Debug, Serialize, Deserialize)]
pub struct Share {
    /// The number of its first worker.
    pub first_worker: usize,
    /// How many workers it has.
    pub workers: usize,
    /// The scenario, whose client has the workers and connections of all machines.
    pub scenario: Scenario,
    /// Id of the run.
    pub run_id: String,
    /// `campaign/sku` of each campaign of the scenario.
    pub sales: Vec<String>,
    /// The engine's data-plane addresses.
    pub targets: Vec<String>,
    /// How they are found and trusted; the files are looked for on the agent's machine.
    pub reach: Reach,
    /// Headers of every request, whole lines.
    pub headers: Vec<String>,
    /// The tokens of buyers; their secret is looked for on the agent's machine.
    pub tokens: Option<BuyerTokens>,
}

/// Says something.
///
/// # Errors
/// Nobody listens.
pub fn say(out: &mut impl Write, what: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    out.write_all(&line)?;
    out.flush()
}

/// The next thing that is said; `None` when nothing will be.
///
/// # Errors
/// It cannot be read, or is none of this protocol's words.
pub fn hear<T: DeserializeOwned>(input: &mut impl BufRead) -> Result<Option<T>, String> {
    let mut line = String::new();
    if input.read_line(&mut line).map_err(|error| error.to_string())? == 0 {
        return Ok(None);
    }
    serde_json::from_str(&line).map(Some).map_err(|error| {
        let begin: String = line.trim_end().chars().take(120).collect();
        format!("said {begin:?}, which is nothing that an agent of this version says ({error})")
    })
}
