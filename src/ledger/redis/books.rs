//! The scripts of `lua/` with the arguments and answers of [`lease`](super::super::lease).

use std::time::Duration;

use redis::{ErrorKind, FromRedisValue, ServerErrorKind, Value};

use super::super::lease::{Book, BookReply, Caller, Movement, Rebuild, ServerId, Verdict};
use super::fault::RedisFault;
use super::link::RedisLink;
use super::names::KeyNames;
use crate::domain::{NodeId, SaleId, SaleKey};

/// A script: the shared head and its own part.
pub(super) struct Script {
    pub text: &'static str,
}

macro_rules! script {
    ($name:literal) => {
        Script {
            text: concat!(
                include_str!("../../../lua/book.lua"),
                include_str!(concat!("../../../lua/", $name))
            ),
        }
    };
}

const REGISTER: Script = script!("register.lua");
const LEASE: Script = script!("lease.lua");
const HAND_BACK: Script = script!("hand_back.lua");
const SETTLE: Script = script!("settle.lua");
const RETURN: Script = script!("return.lua");
const RESIZE: Script = script!("resize.lua");
const RECLAIM: Script = script!("reclaim.lua");
const ANNOUNCE: Script = script!("announce.lua");
const REBUILD: Script = script!("rebuild.lua");
const FORGET: Script = script!("forget.lua");
const SNAPSHOT: Script = script!("snapshot.lua");
const BEAT: Script = Script { text: include_str!("../../../lua/beat.lua") };

/// What a beat hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beats {
    /// The server, which keeps this and, but in a Cluster, all books.
    pub server: ServerId,
    /// The ms since this node's earlier beat by the server's clock, less than 0 where that was set back; `None` if it
    /// remembers none.
    pub since_own_ms: Option<i64>,
    /// Every node that ever beat there, with the ms since it last did; `None` for one that has left.
    pub silent_ms: Vec<(NodeId, Option<u64>)>,
    /// The sales to which somebody has called of late, and when, in ms of the server's clock: a call has another time than
    /// the one before.
    pub calls: Vec<(SaleId, u64)>,
}

/// The books in Redis.
#[derive(Debug)]
pub struct RedisBooks {
    link: RedisLink,
    names: KeyNames,
    calls: std::sync::atomic::AtomicU64,
}

impl RedisBooks {
    /// The books behind a link, found by the names of sales alone.
    pub fn new(link: RedisLink) -> Self {
        Self { link, names: KeyNames::default(), calls: std::sync::atomic::AtomicU64::new(0) }
    }

    /// The same with these names.
    pub fn named(self, names: KeyNames) -> Self {
        Self { names, ..self }
    }

    /// The link, for commands that are not the ledger's.
    pub fn link(&self) -> &RedisLink {
        &self.link
    }

    /// Scripts run since the start.
    pub fn calls(&self) -> u64 {
        self.calls.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Runs one movement.
    ///
    /// # Errors
    /// [`RedisFault::Away`]: it may have been carried out, or may be later.
    pub async fn run(
        &self,
        sale: &SaleKey,
        from: Caller,
        movement: &Movement,
    ) -> Result<BookReply, RedisFault> {
        let (script, rest): (&Script, Vec<u64>) = match *movement {
            Movement::Register => (&REGISTER, vec![]),
            Movement::Lease { seen, chunk, starves } => {
                (&LEASE, vec![seen, chunk.divisor.max(1), chunk.min, chunk.max, starves.into()])
            }
            Movement::HandBack { handed_back } => (&HAND_BACK, vec![handed_back]),
            Movement::Settle { durable } => (&SETTLE, vec![durable]),
            Movement::Return { returned } => (&RETURN, vec![returned]),
            Movement::Resize { total, revision } => (&RESIZE, vec![total, revision]),
            Movement::Reclaim { durable } => (&RECLAIM, vec![durable]),
            Movement::Announce { held, durable } => (&ANNOUNCE, vec![held, durable]),
        };
        let mut arguments = vec![u64::from(from.node.number()), from.incarnation, from.epoch];
        arguments.extend(rest);
        let arguments: Vec<String> = arguments.iter().map(u64::to_string).collect();
        reply(self.evaluate(script, &[self.names.book(sale)], &arguments).await?)
    }

    /// Opens the sale's book anew. Send a [`Rebuild`] once: after a fault, raise the epoch again.
    ///
    /// # Errors
    /// As [`RedisBooks::run`].
    pub async fn rebuild(&self, sale: &SaleKey, rebuild: &Rebuild) -> Result<BookReply, RedisFault> {
        let mut arguments = vec![
            rebuild.epoch.to_string(),
            rebuild.server.run.clone(),
            rebuild.server.repl.clone(),
            rebuild.total.to_string(),
            rebuild.revision.to_string(),
            rebuild.returned.to_string(),
            u8::from(rebuild.waits).to_string(),
        ];
        for (node, incarnation) in &rebuild.nodes {
            arguments.extend([node.number().to_string(), incarnation.to_string()]);
        }
        reply(self.evaluate(&REBUILD, &[self.names.book(sale)], &arguments).await?)
    }

    /// Forgets the book of a sale that has ended, of which `last_epoch` is the last epoch: one of a later sale of its name stays.
    ///
    /// # Errors
    /// As [`RedisBooks::run`].
    pub async fn forget(&self, sale: &SaleKey, last_epoch: u64) -> Result<(), RedisFault> {
        self.evaluate(&FORGET, &[self.names.book(sale)], &[last_epoch.to_string()]).await.map(drop)
    }

    /// Reads the sale's book.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn read(&self, sale: &SaleKey) -> Result<Book, RedisFault> {
        let value = self.evaluate(&SNAPSHOT, &[self.names.book(sale)], &[]).await?;
        let words = Vec::<String>::from_redis_value(value).map_err(|error| strange(&error))?;
        book(&words).ok_or_else(|| RedisFault::Strange(words.join(" ")))
    }

    /// Says that `node` lives, and calls the others to these sales; hears of the others, and their calls of the last
    /// `calls_told`.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn beat(
        &self,
        node: NodeId,
        calls_told: Duration,
        calling: impl Iterator<Item = SaleId>,
    ) -> Result<Beats, RedisFault> {
        let mut arguments = vec![node.number().to_string(), calls_told.as_millis().to_string()];
        arguments.extend(calling.map(|sale| sale.0.to_string()));
        let value = self.evaluate(&BEAT, &self.beat_keys(), &arguments).await?;
        let (run, repl, since_own_ms, silent, calls) =
            <(String, String, Option<i64>, Vec<(u16, i64)>, Vec<(u32, u64)>)>::from_redis_value(value)
                .map_err(|error| strange(&error))?;
        let known = |(node, ms): (u16, i64)| Some((NodeId::new(node)?, u64::try_from(ms).ok()));
        Ok(Beats {
            server: ServerId { run, repl },
            since_own_ms,
            silent_ms: silent.into_iter().filter_map(known).collect(),
            calls: calls.into_iter().map(|(sale, at_ms)| (SaleId(sale), at_ms)).collect(),
        })
    }

    /// Says that `node` leaves: the others need not wait for it.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn leave(&self, node: NodeId) -> Result<(), RedisFault> {
        let arguments = [node.number().to_string(), "leaves".to_owned()];
        self.evaluate(&BEAT, &self.beat_keys(), &arguments).await.map(drop)
    }

    fn beat_keys(&self) -> [String; 2] {
        [self.names.beats(), self.names.calls()]
    }

    /// By hash first; the text only when the server does not know it (a new one, or its cache was flushed).
    pub(super) async fn evaluate(
        &self,
        script: &Script,
        keys: &[String],
        arguments: &[String],
    ) -> Result<Value, RedisFault> {
        self.calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let hash = redis::Script::new(script.text);
        let mut command = redis::cmd("EVALSHA");
        command.arg(hash.get_hash()).arg(keys.len()).arg(keys).arg(arguments);
        match self.link.send(&command).await? {
            Ok(value) => return Ok(value),
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {}
            Err(error) => return Err(RedisFault::Strange(error.to_string())),
        }
        let mut command = redis::cmd("EVAL");
        command.arg(script.text).arg(keys.len()).arg(keys).arg(arguments);
        self.link.send(&command).await?.map_err(|error| RedisFault::Strange(error.to_string()))
    }
}

fn book(words: &[String]) -> Option<Book> {
    let [verdict, run, repl, fields @ ..] = words else { return None };
    let mut book = Book {
        lost: verdict != "ok",
        server: ServerId { run: run.clone(), repl: repl.clone() },
        ..Book::default()
    };
    for pair in fields.chunks_exact(2) {
        let (field, value) = (pair[0].as_str(), pair[1].as_str());
        if matches!(field, "run" | "repl") {
            continue;
        }
        let number: u64 = value.parse().ok()?;
        match field {
            "epoch" => book.epoch = number,
            "total" => book.total = number,
            "revision" => book.revision = number,
            "returned" => book.returned = number,
            _ => {
                let (kind, node) = field.split_once(':')?;
                let account = book.accounts.entry(NodeId::new(node.parse().ok()?)?).or_default();
                match kind {
                    "i" => account.incarnation = number,
                    "g" => account.granted = number,
                    "h" => account.handed_back = number,
                    "s" => account.settled = number,
                    "w" => account.awaited = true,
                    _ => {}
                }
            }
        }
    }
    Some(book)
}

fn verdict(word: &str) -> Option<Verdict> {
    Some(match word {
        "ok" => Verdict::Ok,
        "lost" => Verdict::Lost,
        "behind" => Verdict::Behind,
        "old-epoch" => Verdict::OldEpoch,
        "old-incarnation" => Verdict::OldIncarnation,
        "unregistered" => Verdict::Unregistered,
        "awaited" => Verdict::Awaited,
        "rebuilding" => Verdict::Rebuilding,
        _ => return None,
    })
}

fn reply(value: Value) -> Result<BookReply, RedisFault> {
    let words = Vec::<Value>::from_redis_value(value).map_err(|error| strange(&error))?;
    let text = |at: usize| {
        let word = words.get(at).cloned().unwrap_or(Value::Nil);
        String::from_redis_value(word).map_err(|error| strange(&error))
    };
    let number = |at: usize| {
        let word = words.get(at).cloned().unwrap_or(Value::Nil);
        i64::from_redis_value(word).map_err(|error| strange(&error))
    };
    let count = |at: usize| number(at).and_then(|n| u64::try_from(n).map_err(|error| strange(&error)));
    let word = text(0)?;
    let verdict = verdict(&word).ok_or(RedisFault::Strange(word))?;
    Ok(BookReply {
        verdict,
        server: ServerId { run: text(1)?, repl: text(2)? },
        epoch: count(3)?,
        incarnation: count(4)?,
        granted: count(5)?,
        handed_back: count(6)?,
        settled: count(7)?,
        available: number(8)?,
        leased: number(9)?,
        awaited: count(10)?,
        starving: count(11)?,
    })
}

pub(super) fn strange(error: &impl std::fmt::Display) -> RedisFault {
    RedisFault::Strange(error.to_string())
}
