//! The scripts of `lua/` with typed arguments and answers.

use redis::{ErrorKind, FromRedisValue, ServerErrorKind, Value};

use super::link::{RedisFault, RedisLink};
use crate::domain::{NodeId, SaleKey};

/// A life of a Redis server: it changes with every restart and every promotion of a replica.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Life {
    /// The server's run id.
    pub run: String,
    /// Its replication id.
    pub repl: String,
}

/// Who calls: a node in one of its lives, counting in an epoch of the sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The node.
    pub node: NodeId,
    /// Its life, numbered by the store.
    pub incarnation: u64,
    /// The sale's epoch, numbered by the store.
    pub epoch: u64,
}

/// How a lease is sized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// What is available is divided by this, at least 1.
    pub divisor: u64,
    /// Units, if as many are available.
    pub min: u64,
    /// Units at most.
    pub max: u64,
}

/// One movement, as the script of its name says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Movement {
    /// The caller's incarnation is the current one.
    Register,
    /// Units to the caller, who has seen `seen` granted.
    Lease {
        /// The caller's `granted`.
        seen: u64,
        /// How many units.
        chunk: Chunk,
        /// Whether the caller has no unit on sale: others may hand some back for it.
        starves: bool,
    },
    /// Unsold units back; the sum of all that the caller handed back in this epoch.
    HandBack {
        /// Units.
        handed_back: u64,
    },
    /// The caller's units ever durable.
    Settle {
        /// Units.
        durable: u64,
    },
    /// The sale's units of cancelled and expired orders.
    Return {
        /// Units.
        returned: u64,
    },
    /// The sale's total as the operator changed it.
    Resize {
        /// Units.
        total: u64,
        /// The store's number of this total.
        revision: u64,
    },
    /// Everything that the (fenced) node of the caller did not sell.
    Reclaim {
        /// Units of that node ever durable.
        durable: u64,
    },
    /// What the caller holds, in a book that was opened anew.
    Announce {
        /// Units sold, in flight and on sale.
        held: u64,
        /// Units of them that are sold.
        durable: u64,
    },
}

/// A book to be opened anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebuild {
    /// Raised in the store for this one call.
    pub epoch: u64,
    /// The server's life that was seen.
    pub life: Life,
    /// Units ever put on sale.
    pub total: u64,
    /// The store's number of this total.
    pub revision: u64,
    /// Units of cancelled and expired orders.
    pub returned: u64,
    /// Every node that the store knows, with its incarnation, read after the epoch was raised.
    pub nodes: Vec<(NodeId, u64)>,
}

/// How the book answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Done, or done before.
    Ok,
    /// The server lost or rolled back the book: it must be opened anew.
    Lost,
    /// The book is older than the caller's epoch: somebody is about to open a new one.
    Behind,
    /// The book is newer than the caller's epoch.
    OldEpoch,
    /// The caller was fenced, or started again since.
    OldIncarnation,
    /// The caller's incarnation has not registered.
    Unregistered,
    /// The caller must first say what it holds.
    Awaited,
    /// Other nodes have not said yet what they hold.
    Rebuilding,
}

impl Verdict {
    fn of(word: &str) -> Option<Self> {
        Some(match word {
            "ok" => Self::Ok,
            "lost" => Self::Lost,
            "behind" => Self::Behind,
            "old-epoch" => Self::OldEpoch,
            "old-incarnation" => Self::OldIncarnation,
            "unregistered" => Self::Unregistered,
            "awaited" => Self::Awaited,
            "rebuilding" => Self::Rebuilding,
            _ => return None,
        })
    }
}

/// The answer to every movement: the verdict, and the book as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// How it was answered.
    pub verdict: Verdict,
    /// The server that answered.
    pub life: Life,
    /// The book's epoch.
    pub epoch: u64,
    /// The node's incarnation in the book.
    pub incarnation: u64,
    /// Units ever granted to the node in this epoch.
    pub granted: u64,
    /// Units that it handed back.
    pub handed_back: u64,
    /// Units of its orders ever durable, as far as it told.
    pub settled: u64,
    /// Units that may be lent; negative when more are lent than there are.
    pub available: i64,
    /// Units lent and not settled, over all nodes.
    pub leased: i64,
    /// Nodes that have not said what they hold.
    pub awaited: u64,
    /// Nodes that lately asked for units and got none.
    pub starving: u64,
}

/// A script: the shared head and its own part.
struct Script {
    text: &'static str,
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
const SNAPSHOT: Script = script!("snapshot.lua");
const RELAY: Script = Script { text: include_str!("../../../lua/relay.lua") };
const BEAT: Script = Script { text: include_str!("../../../lua/beat.lua") };

/// The hash of all nodes' beats.
const BEATS_KEY: &str = "seckill:{nodes}:beats";

/// The key of a sale's book. The braces keep a sale in one slot of a Cluster.
pub fn book_key(sale: &SaleKey) -> String {
    format!("seckill:{{{}:{}:{}}}:book", sale.tenant(), sale.campaign(), sale.sku())
}

/// The books in Redis.
#[derive(Debug)]
pub struct RedisBooks {
    link: RedisLink,
    calls: std::sync::atomic::AtomicU64,
}

impl RedisBooks {
    /// The books behind a link.
    pub fn new(link: RedisLink) -> Self {
        Self { link, calls: std::sync::atomic::AtomicU64::new(0) }
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
    pub async fn run(&self, sale: &SaleKey, from: Caller, movement: &Movement) -> Result<Reply, RedisFault> {
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
        reply(self.evaluate(script, &book_key(sale), &arguments).await?)
    }

    /// Opens the sale's book anew. Send a [`Rebuild`] once: after a fault, raise the epoch again.
    ///
    /// # Errors
    /// As [`RedisBooks::run`].
    pub async fn rebuild(&self, sale: &SaleKey, rebuild: &Rebuild) -> Result<Reply, RedisFault> {
        let mut arguments = vec![
            rebuild.epoch.to_string(),
            rebuild.life.run.clone(),
            rebuild.life.repl.clone(),
            rebuild.total.to_string(),
            rebuild.revision.to_string(),
            rebuild.returned.to_string(),
        ];
        for (node, incarnation) in &rebuild.nodes {
            arguments.extend([node.number().to_string(), incarnation.to_string()]);
        }
        reply(self.evaluate(&REBUILD, &book_key(sale), &arguments).await?)
    }

    /// Reads the sale's book.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn snapshot(&self, sale: &SaleKey) -> Result<Snapshot, RedisFault> {
        let value = self.evaluate(&SNAPSHOT, &book_key(sale), &[]).await?;
        let words = Vec::<String>::from_redis_value(value).map_err(|error| strange(&error))?;
        Snapshot::of(&words).ok_or_else(|| RedisFault::Strange(words.join(" ")))
    }

    /// Says that `node` lives. Returns every node that ever said so, with the ms since it last did; `None` for one that
    /// has left.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn beat(&self, node: NodeId) -> Result<Vec<(NodeId, Option<u64>)>, RedisFault> {
        let value = self.evaluate(&BEAT, BEATS_KEY, &[node.number().to_string()]).await?;
        let beats = Vec::<(u16, i64)>::from_redis_value(value).map_err(|error| strange(&error))?;
        let known = |(node, ms): (u16, i64)| Some((NodeId::new(node)?, u64::try_from(ms).ok()));
        Ok(beats.into_iter().filter_map(known).collect())
    }

    /// Says that `node` leaves: the others need not wait for it.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn leave(&self, node: NodeId) -> Result<(), RedisFault> {
        let arguments = [node.number().to_string(), "leaves".to_owned()];
        self.evaluate(&BEAT, BEATS_KEY, &arguments).await.map(drop)
    }

    /// Appends numbered events to a stream, if `after` is the last number in it. Returns the last number that is there now.
    ///
    /// # Errors
    /// Redis does not answer: the events may be there, or come later.
    pub async fn append(
        &self,
        stream: &str,
        after: u64,
        length_max: u64,
        events: impl Iterator<Item = (u64, &str)>,
    ) -> Result<u64, RedisFault> {
        let mut arguments = vec![after.to_string(), length_max.max(1).to_string()];
        for (seq, json) in events {
            arguments.extend([seq.to_string(), json.to_owned()]);
        }
        let value = self.evaluate(&RELAY, stream, &arguments).await?;
        u64::from_redis_value(value).map_err(|error| strange(&error))
    }

    /// By hash first; the text only when the server does not know it (a new one, or its cache was flushed).
    async fn evaluate(&self, script: &Script, key: &str, arguments: &[String]) -> Result<Value, RedisFault> {
        self.calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let hash = redis::Script::new(script.text);
        let mut command = redis::cmd("EVALSHA");
        command.arg(hash.get_hash()).arg(1).arg(key).arg(arguments);
        match self.link.send(&command).await? {
            Ok(value) => return Ok(value),
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {}
            Err(error) => return Err(RedisFault::Strange(error.to_string())),
        }
        let mut command = redis::cmd("EVAL");
        command.arg(script.text).arg(1).arg(key).arg(arguments);
        self.link.send(&command).await?.map_err(|error| RedisFault::Strange(error.to_string()))
    }
}

/// A node's line in a book.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// Its incarnation.
    pub incarnation: u64,
    /// Units ever granted in this epoch.
    pub granted: u64,
    /// Units handed back.
    pub handed_back: u64,
    /// Units ever durable.
    pub settled: u64,
    /// Whether it has still to say what it holds.
    pub awaited: bool,
}

impl Line {
    /// Units lent to the node and not settled. Negative when it settled more than it was lent.
    pub fn leased(&self) -> i64 {
        self.granted as i64 - self.handed_back as i64 - self.settled as i64
    }
}

/// A book as it was at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Whether the server lost or rolled back the book, or never had it.
    pub lost: bool,
    /// The server that answered.
    pub life: Life,
    /// The book's epoch.
    pub epoch: u64,
    /// Units ever put on sale.
    pub total: u64,
    /// The store's number of this total.
    pub revision: u64,
    /// Units of cancelled and expired orders.
    pub returned: u64,
    /// The nodes, by number.
    pub lines: std::collections::BTreeMap<NodeId, Line>,
}

impl Snapshot {
    fn of(words: &[String]) -> Option<Self> {
        let [verdict, run, repl, fields @ ..] = words else { return None };
        let mut book = Self {
            lost: verdict != "ok",
            life: Life { run: run.clone(), repl: repl.clone() },
            ..Self::default()
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
                    let line = book.lines.entry(NodeId::new(node.parse().ok()?)?).or_default();
                    match kind {
                        "i" => line.incarnation = number,
                        "g" => line.granted = number,
                        "h" => line.handed_back = number,
                        "s" => line.settled = number,
                        "w" => line.awaited = true,
                        _ => {}
                    }
                }
            }
        }
        Some(book)
    }

    /// Units that may be lent, once nobody is awaited.
    pub fn available(&self) -> i64 {
        let held: i64 = self.lines.values().map(|line| line.granted as i64 - line.handed_back as i64).sum();
        self.total as i64 - held + self.returned as i64
    }

    /// Units lent and not settled.
    pub fn leased(&self) -> i64 {
        self.lines.values().map(Line::leased).sum()
    }

    /// Units sold, as far as the nodes told.
    pub fn sold(&self) -> i64 {
        self.lines.values().map(|line| line.settled as i64).sum::<i64>() - self.returned as i64
    }
}

fn reply(value: Value) -> Result<Reply, RedisFault> {
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
    let verdict = text(0)?;
    let verdict = Verdict::of(&verdict).ok_or(RedisFault::Strange(verdict))?;
    Ok(Reply {
        verdict,
        life: Life { run: text(1)?, repl: text(2)? },
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

fn strange(error: &impl std::fmt::Display) -> RedisFault {
    RedisFault::Strange(error.to_string())
}
