//! An agent as the leader has it: the command that runs it, and a thread that hears it.

use std::fs::OpenOptions;
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::message::{FromAgent, PROTOCOL, Share, ToAgent, hear, say};
use crate::environment::{AgentMachine, Machine};
use crate::load::answer_log;
use crate::load::plan::Clock;
use crate::load::worker::Report;

/// How often the other clock is asked; the quickest answer tells the most.
const PINGS: usize = 8;

/// How often the last word is tried to be said.
const LAST_TRIES: usize = 100;
/// From one try, or one look at what it has said, to the next.
const LOOK_PAUSE: Duration = Duration::from_millis(10);

/// What is said of a command that has ended before the run did.
const GONE: &str = "ended; is `loadtest` there, and may it be run without a password?";

/// A running agent; dropping it ends its command, and with that its input and itself.
#[derive(Debug)]
pub struct HiredAgent {
    command: String,
    child: Child,
    input: Arc<Mutex<ChildStdin>>,
    met: Arc<OnceLock<Met>>,
    /// When it last said something.
    heard: Arc<Mutex<Instant>>,
    hearing: Option<JoinHandle<Result<bool, String>>>,
}

/// What is known of it once it has answered.
#[derive(Debug)]
struct Met {
    /// Its clock minus the leader's, nanoseconds.
    ahead_ns: i128,
    machine: AgentMachine,
}

impl HiredAgent {
    /// Runs the command and hands it its share. What it says goes to `reports`; its logs come into `folder`.
    ///
    /// # Errors
    /// The command cannot be run. Whatever goes wrong later comes as [`Report::Ended`].
    pub fn hire(
        command: &str,
        share: Share,
        folder: &Path,
        clock: Clock,
        reports: &Sender<Report>,
    ) -> Result<Self, String> {
        let failed = |what: &str| format!("--agent {command:?}: {what}");
        let mut child = Command::new("sh")
            .args(["-c", command])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| failed(&error.to_string()))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(failed("no pipes to speak over"));
        };
        let input = Arc::new(Mutex::new(input));
        let met = Arc::new(OnceLock::new());
        let heard = Arc::new(Mutex::new(Instant::now()));
        let ear = Ear {
            command: command.to_owned(),
            folder: folder.to_owned(),
            clock,
            output: BufReader::new(output),
            input: Arc::clone(&input),
            met: Arc::clone(&met),
            heard: Arc::clone(&heard),
            reports: reports.clone(),
        };
        let hearing = std::thread::Builder::new().name("agent".into()).spawn(move || ear.hear_all(share));
        let hearing = Some(hearing.map_err(|error| failed(&format!("no thread to hear it: {error}")))?);
        Ok(Self { command: command.to_owned(), child, input, met, heard, hearing })
    }

    /// The load begins at this time of the leader's clock.
    ///
    /// # Errors
    /// It is gone.
    pub fn start(&self, at_ns: u64) -> Result<(), String> {
        let ahead_ns = self.met.get().map_or(0, |met| met.ahead_ns);
        let at_ns = u64::try_from(i128::from(at_ns) + ahead_ns).unwrap_or(0);
        tell(&self.input, &ToAgent::Start { at_ns })
            .map_err(|why| format!("--agent {:?}: {why}", self.command))
    }

    /// Asks it to come to an end. One that is gone has come to it.
    pub fn stop(&self) {
        let _ = tell(&self.input, &ToAgent::Stop);
    }

    /// Where it runs, if it has said so.
    pub fn machine(&self) -> Option<AgentMachine> {
        self.met.get().map(|met| met.machine.clone())
    }

    /// Looks whether it still speaks, as it does each second while it sends, and all the time while it hands on its logs. A
    /// machine that hangs or is cut off ends no connection.
    ///
    /// # Errors
    /// It has said nothing for so long.
    pub fn check_speaks(&self, silence_max: Duration) -> Result<(), String> {
        let silent = self.heard.lock().map_or(Duration::MAX, |heard| heard.elapsed());
        if self.has_said_all() || silent <= silence_max {
            return Ok(());
        }
        let (command, seconds) = (&self.command, silence_max.as_secs());
        Err(format!("--agent {command:?}: said nothing for {seconds} s (--agent-silence-max)"))
    }

    fn has_said_all(&self) -> bool {
        self.hearing.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits until everything of it is here. Tells whether it took the engine to be gone for good.
    ///
    /// # Errors
    /// It went away before, or falls silent.
    pub fn finish(mut self, silence_max: Duration) -> Result<bool, String> {
        while !self.has_said_all() {
            self.check_speaks(silence_max)?;
            std::thread::sleep(LOOK_PAUSE);
        }
        let heard = self.hearing.take().map(JoinHandle::join);
        heard
            .unwrap_or_else(|| Ok(Ok(false)))
            .unwrap_or_else(|_| Err("the thread that hears it broke down".into()))
    }
}

impl Drop for HiredAgent {
    fn drop(&mut self) {
        // After `finish` it has ended by itself. Else it is told to: the command may be a shell that does not take what it
        // runs along, and the thread that hears the agent keeps its input open. Who does not take what is said to it keeps
        // nobody waiting.
        for _ in 0..LAST_TRIES {
            if let Ok(mut input) = self.input.try_lock() {
                let _ = say(&mut *input, &ToAgent::Stop);
                break;
            }
            std::thread::sleep(LOOK_PAUSE);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The thread that hears an agent.
struct Ear {
    command: String,
    folder: PathBuf,
    clock: Clock,
    output: BufReader<ChildStdout>,
    input: Arc<Mutex<ChildStdin>>,
    met: Arc<OnceLock<Met>>,
    heard: Arc<Mutex<Instant>>,
    reports: Sender<Report>,
}

impl Ear {
    fn hear_all(mut self, share: Share) -> Result<bool, String> {
        let outcome = self.converse(share).map_err(|why| format!("--agent {:?}: {why}", self.command));
        if let Err(why) = &outcome {
            // The leader may have given up already.
            let _ = self.reports.send(Report::Ended(Err(why.clone())));
        }
        outcome
    }

    fn converse(&mut self, share: Share) -> Result<bool, String> {
        let workers = share.workers;
        let run_id = share.run_id.clone();
        let met = self.meet(workers)?;
        self.met.set(met).map_err(|_| "was met twice")?;
        tell(&self.input, &ToAgent::Load(Box::new(share)))?;
        loop {
            let report = match self.next()? {
                FromAgent::Ready(connected) => Report::Ready(connected),
                FromAgent::Second(frame) => Report::Second(frame),
                FromAgent::Ended(problem) => Report::Ended(match problem {
                    Some(why) => Err(format!("--agent {:?}: {why}", self.command)),
                    None => Ok(()),
                }),
                FromAgent::Log { name, piece } => {
                    self.keep(&name, &piece, &run_id)?;
                    continue;
                }
                FromAgent::Done { engine_gone } => return Ok(engine_gone),
                FromAgent::Pong { .. } => return Err("said what time it is, unasked".into()),
            };
            self.reports.send(report).map_err(|_| "the run is over")?;
        }
    }

    /// Learns who it is and how its clock stands, from the quickest of some answers.
    fn meet(&mut self, workers: usize) -> Result<Met, String> {
        let mut best: Option<(u64, i128, Machine)> = None;
        for _ in 0..PINGS {
            let asked_ns = self.clock.now_ns();
            tell(&self.input, &ToAgent::Ping)?;
            let FromAgent::Pong { now_ns, version, machine } = self.next()? else {
                return Err("did not say what time it is".into());
            };
            let took_ns = self.clock.now_ns() - asked_ns;
            let own = (env!("CARGO_PKG_VERSION").to_owned(), PROTOCOL);
            if version != own {
                return Err(format!(
                    "is version {} ({}), this one {} ({})",
                    version.0, version.1, own.0, own.1
                ));
            }
            if best.as_ref().is_none_or(|(quickest_ns, ..)| took_ns < *quickest_ns) {
                let here_ns = i128::from(asked_ns) + i128::from(took_ns / 2);
                best = Some((took_ns, i128::from(now_ns) - here_ns, machine));
            }
        }
        let (took_ns, ahead_ns, machine) = best.ok_or("was not asked")?;
        let command = self.command.clone();
        let machine = AgentMachine { command, workers, round_trip_us: took_ns.div_ceil(1_000), machine };
        Ok(Met { ahead_ns, machine })
    }

    fn next(&mut self) -> Result<FromAgent, String> {
        let word = hear(&mut self.output)?.ok_or_else(|| GONE.to_owned())?;
        *self.heard.lock().map_err(|_| "a thread that looked after it broke down")? = Instant::now();
        Ok(word)
    }

    /// Appends a piece to a log of this run; other files are not an agent's to write.
    fn keep(&self, name: &str, piece: &str, run_id: &str) -> Result<(), String> {
        if !answer_log::is_log_of(name, run_id) {
            return Err(format!("sent a file {name:?} that is no log of this run"));
        }
        let path = self.folder.join(name);
        let bytes = STANDARD.decode(piece).map_err(|error| format!("{name}: {error}"))?;
        let file = OpenOptions::new().create(true).append(true).open(&path);
        file.and_then(|mut file| file.write_all(&bytes))
            .map_err(|error| format!("{}: {error}", path.display()))
    }
}

fn tell(input: &Mutex<ChildStdin>, word: &ToAgent) -> Result<(), String> {
    let mut input = input.lock().map_err(|_| "a thread that spoke to it broke down")?;
    // It has no other way not to listen: its input is a pipe.
    say(&mut *input, word).map_err(|_| GONE.to_owned())
}
