//! The scripts on a real server, held against the book of the protocol's model: random histories with repeats, late
//! calls, a flushed script cache, lost data and restarts.

use std::time::Duration;

use crate::book::{Call, Caller, Count, Server};
use crate::server::RedisServer;
use crate::wire::{account, same};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use redis::FromRedisValue;
use seckill::domain::{NodeId, SaleId, SaleKey};
use seckill::ledger::lease::{self, BookReply, Chunk, Movement, Rebuild, ServerId};
use seckill::ledger::redis::{Beats, KeyNames, RedisBooks, RedisFault, RedisLink, RedisSettings};

const NODES: usize = 3;
const TOTAL: Count = 40;

fn books_of(url: &str) -> RedisBooks {
    let settings = RedisSettings {
        url: url.into(),
        answer_ms_max: 5_000,
        connect_ms_max: 20_000,
        reconnect_pause_ms: 0,
        ..RedisSettings::default()
    };
    RedisBooks::new(RedisLink::new(&settings).expect("the address is sound"))
}

fn node(number: Count) -> NodeId {
    NodeId::new(number.into()).unwrap()
}

fn caller(from: Caller) -> lease::Caller {
    lease::Caller { node: node(from.node), incarnation: from.incarnation.into(), epoch: from.epoch.into() }
}

fn movement(call: Call<NODES>) -> Option<Movement> {
    Some(match call {
        Call::Register => Movement::Register,
        Call::Lease { seen, divisor, chunk_min, chunk_max } => Movement::Lease {
            seen: seen.into(),
            chunk: Chunk { divisor: divisor.into(), min: chunk_min.into(), max: chunk_max.into() },
            starves: true,
        },
        Call::HandBack { handed_back } => Movement::HandBack { handed_back: handed_back.into() },
        Call::Settle { durable } => Movement::Settle { durable: durable.into() },
        Call::Return { returned } => Movement::Return { returned: returned.into() },
        Call::Resize { total, revision } => {
            Movement::Resize { total: total.into(), revision: revision.into() }
        }
        Call::Reclaim { durable } => Movement::Reclaim { durable: durable.into() },
        Call::Announce { held, durable } => Movement::Announce { held: held.into(), durable: durable.into() },
        Call::Rebuild { .. } => return None,
    })
}

/// The real server and the model, side by side.
struct Pair {
    server: RedisServer,
    books: RedisBooks,
    model: Server<NODES>,
    /// The real server's identities, by the model's number.
    servers: Vec<ServerId>,
    sale: SaleKey,
    history: Vec<(Caller, Call<NODES>)>,
}

impl Pair {
    async fn new() -> Self {
        let server = RedisServer::start();
        let books = books_of(&server.url());
        let sale = SaleKey::new("default", "launch", "phone").unwrap();
        let mut pair = Self {
            server,
            books,
            model: Server { id: 0, book: None },
            servers: Vec::new(),
            sale,
            history: Vec::new(),
        };
        pair.learn_life().await;
        pair
    }

    async fn learn_life(&mut self) {
        // The first command after a restart meets the old connection.
        let mut seen = self.books.read(&self.sale).await;
        for _ in 0..3 {
            if seen.is_ok() {
                break;
            }
            seen = self.books.read(&self.sale).await;
        }
        let server = seen.expect("the server answers").server;
        assert!(!self.servers.contains(&server), "a server that starts again is another one");
        self.servers.push(server);
        self.model.id = Count::try_from(self.servers.len() - 1).unwrap();
    }

    /// Sends the call to both; they must say the same and be left with the same book.
    async fn call(&mut self, from: Caller, call: Call<NODES>) {
        self.history.push((from, call));
        let expected = self.model.run(from, call, None);
        let reply = self.send(from, call).await;
        let context = || format!("{from:?} {call:?} on {:?}", self.model.book);
        assert_eq!(reply.verdict, same(expected), "{}", context());
        let real = self.books.read(&self.sale).await.expect("the server answers");
        let valid = self.model.valid_book(None);
        assert_eq!(real.lost, valid.is_none(), "{}", context());
        let Some(book) = self.model.book else {
            assert!(real.accounts.is_empty(), "{}", context());
            return;
        };
        assert_eq!(
            (real.epoch, real.total, real.revision, real.returned, real.available()),
            (
                book.epoch.into(),
                book.total.into(),
                book.revision.into(),
                book.returned.into(),
                book.available().into()
            ),
            "{}",
            context()
        );
        for (n, of) in book.accounts.into_iter().enumerate() {
            let got = real.accounts.get(&node(n as Count)).copied().unwrap_or_default();
            let wanted = account(&of);
            assert_eq!(got, wanted, "node {n}: {}", context());
        }
        let mine = book.accounts[usize::from(from.node)];
        if movement(call).is_some() {
            assert_eq!(
                (reply.granted, reply.handed_back, reply.available, reply.awaited),
                (
                    mine.granted.into(),
                    mine.handed_back.into(),
                    book.available().into(),
                    book.awaited() as u64
                ),
                "{}",
                context()
            );
        }
    }

    async fn send(&self, from: Caller, call: Call<NODES>) -> BookReply {
        let answer = match (movement(call), call) {
            (Some(movement), _) => self.books.run(&self.sale, caller(from), &movement).await,
            (None, Call::Rebuild { server, total, revision, returned, incarnations, waits }) => {
                let named = |(node, incarnation): (NodeId, Option<Count>)| Some((node, incarnation?.into()));
                let rebuild = Rebuild {
                    epoch: from.epoch.into(),
                    server: self.servers[usize::from(server)].clone(),
                    total: total.into(),
                    revision: revision.into(),
                    returned: returned.into(),
                    nodes: (0..).map(node).zip(incarnations).filter_map(named).collect(),
                    waits,
                };
                self.books.rebuild(&self.sale, &rebuild).await
            }
            (None, other) => unreachable!("{other:?} is no movement"),
        };
        answer.expect("the server answers")
    }

    async fn command(&self, words: &[&str]) {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        self.books.link().send(&command).await.expect("the server answers").expect("and agrees");
    }

    /// One step of a random history.
    async fn step(&mut self, random: &mut SmallRng) {
        match random.random_range(0..200) {
            0..2 => {
                self.server.restart(true);
                self.learn_life().await;
            }
            2 => {
                self.server.restart(false);
                self.model.book = None;
                self.learn_life().await;
            }
            3 => {
                self.command(&["FLUSHALL"]).await;
                self.model.book = None;
            }
            4..10 => self.command(&["SCRIPT", "FLUSH"]).await,
            // A call of any age once more: lost answers, repeats and late arrivals all look like this.
            10..80 if !self.history.is_empty() => {
                let (from, call) = self.history[random.random_range(0..self.history.len())];
                self.call(from, call).await;
            }
            _ => {
                let (from, call) = self.random_call(random);
                self.call(from, call).await;
            }
        }
    }

    fn random_call(&self, random: &mut SmallRng) -> (Caller, Call<NODES>) {
        let sound = self.model.valid_book(None);
        let (epoch, accounts) =
            self.model.book.map_or((0, Default::default()), |book| (book.epoch, book.accounts));
        let n = random.random_range(0..NODES);
        let mine = accounts[n];
        // Mostly the right one; sometimes one too old or too new.
        let mut about = |right: Count| match random.random_range(0..8) {
            0 => right.saturating_sub(1),
            1 => right + 1,
            _ => right,
        };
        let from =
            Caller { node: n as Count, incarnation: about(mine.incarnation.max(1)), epoch: about(epoch) };
        let (seen, handed_back) = (about(mine.granted), about(mine.handed_back));
        let some = random.random_range(0..5);
        let kind = random.random_range(0..64);
        // A node that is gone is not named.
        let incarnations =
            accounts.map(|account| (random.random_range(0..4) > 0).then_some(account.incarnation));
        let call = match kind / 4 {
            _ if sound.is_none() && some > 0 => Call::Rebuild {
                server: self.model.id - Count::from(some == 4).min(self.model.id),
                total: TOTAL,
                revision: 1,
                returned: some,
                incarnations,
                waits: some != 2,
            },
            // What is most likely to be taken, so that histories get far.
            _ if mine.awaited && kind % 4 > 0 => Call::Announce { held: mine.settled + some, durable: 0 },
            0 => Call::Register,
            1..6 => Call::Lease { seen, divisor: 1 + some, chunk_min: some % 2, chunk_max: 3 },
            6..8 => Call::HandBack { handed_back: handed_back + some % 3 },
            8..10 => Call::Settle { durable: mine.settled + some % 2 },
            10 => Call::Return { returned: some },
            11 => Call::Resize { total: TOTAL - some, revision: some },
            12 => Call::Reclaim { durable: mine.settled + some % 2 },
            13 if kind % 4 == 0 => Call::Rebuild {
                server: self.model.id,
                total: TOTAL,
                revision: 1,
                returned: 0,
                incarnations,
                waits: true,
            },
            _ => Call::Announce { held: mine.settled + some, durable: mine.settled },
        };
        let epoch = if matches!(call, Call::Rebuild { .. }) { from.epoch.max(epoch) + 1 } else { from.epoch };
        (Caller { epoch, ..from }, call)
    }
}

#[tokio::test]
async fn random_histories_leave_the_server_and_the_model_with_the_same_book() {
    let histories: u64 = std::env::var("SECKILL_HISTORIES").ok().and_then(|n| n.parse().ok()).unwrap_or(12);
    for seed in 0..histories {
        println!("history {seed}");
        let mut random = SmallRng::seed_from_u64(seed);
        let mut pair = Pair::new().await;
        for _ in 0..200 {
            pair.step(&mut random).await;
        }
    }
}

/// A book of two nodes, opened, with both announced.
async fn open(books: &RedisBooks, sale: &SaleKey) -> lease::Caller {
    let server = books.read(sale).await.unwrap().server;
    let nodes = vec![(node(0), 1), (node(1), 1)];
    let rebuild = Rebuild { epoch: 1, server, total: 10, revision: 1, returned: 0, nodes, waits: true };
    assert_eq!(books.rebuild(sale, &rebuild).await.unwrap().verdict, lease::Verdict::Ok);
    let nothing = Movement::Announce { held: 0, durable: 0 };
    for number in [1, 0] {
        let from = lease::Caller { node: node(number), incarnation: 1, epoch: 1 };
        assert_eq!(books.run(sale, from, &nothing).await.unwrap().verdict, lease::Verdict::Ok);
    }
    lease::Caller { node: node(0), incarnation: 1, epoch: 1 }
}

#[tokio::test]
async fn a_lease_that_was_not_answered_is_granted_once() {
    let server = RedisServer::start();
    let sale = SaleKey::new("default", "launch", "phone").unwrap();
    let patient = books_of(&server.url());
    let from = open(&patient, &sale).await;
    let hasty = RedisSettings {
        url: server.url().as_str().into(),
        answer_ms_max: 50,
        connect_ms_max: 20_000,
        reconnect_pause_ms: 0,
        ..RedisSettings::default()
    };
    let hasty = RedisBooks::new(RedisLink::new(&hasty).unwrap());
    // Connected before the server stops, so that the call waits in its socket and is carried out late.
    let lease = Movement::Lease { seen: 0, chunk: Chunk { divisor: 1, min: 1, max: 4 }, starves: true };
    while hasty.read(&sale).await.is_err() {}
    server.pause();
    assert!(matches!(hasty.run(&sale, from, &lease).await, Err(RedisFault::Away(_))));
    server.go_on();
    let answer = patient.run(&sale, from, &lease).await.unwrap();
    assert_eq!((answer.verdict, answer.granted), (lease::Verdict::Ok, 4));
    let again = patient.run(&sale, from, &lease).await.unwrap();
    assert_eq!((again.granted, again.available), (4, 6), "the same question has the same answer");
}

#[tokio::test]
async fn n2_who_asks_ahead_of_need_leaves_units_to_those_whose_buyers_wait() {
    let server = RedisServer::start();
    let (books, sale) = (books_of(&server.url()), SaleKey::new("default", "launch", "phone").unwrap());
    let seen = books.read(&sale).await.unwrap();
    let nodes = [1, 2, 3].map(|number| (node(number), 1)).to_vec();
    let open =
        Rebuild { epoch: 2, server: seen.server, total: 4, revision: 1, returned: 0, nodes, waits: false };
    books.rebuild(&sale, &open).await.unwrap();
    let ask = async |number, seen, max, starves| {
        let from = lease::Caller { node: node(number), incarnation: 1, epoch: 2 };
        let lease = Movement::Lease { seen, chunk: Chunk { divisor: 1, min: 1, max }, starves };
        let reply = books.run(&sale, from, &lease).await.unwrap();
        assert_eq!(reply.verdict, lease::Verdict::Ok);
        reply.granted - seen
    };
    let hand_back = async |number, handed_back| {
        let from = lease::Caller { node: node(number), incarnation: 1, epoch: 2 };
        let reply = books.run(&sale, from, &Movement::HandBack { handed_back }).await.unwrap();
        assert_eq!(reply.verdict, lease::Verdict::Ok);
    };
    assert_eq!(ask(1, 0, 4, false).await, 4, "nobody else wants them");
    assert_eq!((ask(2, 0, 4, true).await, ask(3, 0, 4, true).await), (0, 0));
    // What one node hands back is for the two others, whoever asks first.
    hand_back(1, 1).await;
    assert_eq!(ask(1, 4, 4, false).await, 0);
    hand_back(1, 4).await;
    assert_eq!(ask(1, 4, 4, false).await, 2, "the rest is free");
    assert_eq!(ask(3, 0, 1, true).await, 1);
    assert_eq!(ask(1, 6, 4, false).await, 0);
    assert_eq!(ask(2, 0, 4, true).await, 1);
    hand_back(1, 6).await;
    // Whoever has a unit starves no more, nor whoever asks ahead of need.
    assert_eq!(ask(2, 1, 1, true).await, 1);
    assert_eq!(ask(3, 1, 1, true).await, 1);
    assert_eq!(ask(3, 2, 1, true).await, 0);
    hand_back(2, 1).await;
    assert_eq!(ask(3, 2, 1, false).await, 1, "its own want of before keeps nothing from it");
}

#[tokio::test]
async fn o9_a_book_is_forgotten_with_its_sale_and_not_that_of_a_later_sale_of_its_name() {
    let server = RedisServer::start();
    let (books, sale) = (books_of(&server.url()), SaleKey::new("default", "launch", "phone").unwrap());
    books.forget(&sale, 9).await.expect("there is none");
    let seen = books.read(&sale).await.unwrap();
    let nodes = vec![(node(1), 1)];
    let open =
        Rebuild { epoch: 4, server: seen.server, total: 9, revision: 1, returned: 0, nodes, waits: false };
    books.rebuild(&sale, &open).await.unwrap();
    books.forget(&sale, 3).await.unwrap();
    assert_eq!(books.read(&sale).await.unwrap().epoch, 4, "it is a later sale's");
    books.forget(&sale, 4).await.unwrap();
    let keys = books.link().send(&redis::cmd("DBSIZE")).await.unwrap().unwrap();
    assert_eq!(keys, redis::Value::Int(0));
    // A word that comes late finds no book.
    let from = lease::Caller { node: node(1), incarnation: 1, epoch: 4 };
    let late = books.run(&sale, from, &Movement::HandBack { handed_back: 2 }).await.unwrap();
    assert_eq!(late.verdict, lease::Verdict::Lost);
    assert!(books.read(&sale).await.unwrap().lost);
}

#[tokio::test]
async fn beats_are_aged_by_the_server() {
    let server = RedisServer::start();
    let books = books_of(&server.url());
    beat(&books, 1, &[]).await;
    let heard = beat(&books, 2, &[]).await;
    let mut nodes: Vec<_> = heard.silent_ms.iter().map(|(node, _)| node.number()).collect();
    nodes.sort_unstable();
    assert_eq!(nodes, [1, 2]);
    books.leave(node(1)).await.unwrap();
    let heard = beat(&books, 2, &[]).await;
    assert!(heard.silent_ms.contains(&(node(1), None)));
    // Who left an engine of before did not say when; who was not heard for a day is forgotten.
    let beats = KeyNames::default().beats();
    // What lies in the future was written by a clock that was ahead.
    const FUTURE: i64 = 99_999_999_999_999;
    let others = [("3", 0), ("4", -1), ("5", 1), ("6", FUTURE), ("7", -FUTURE), ("2", FUTURE)];
    for (number, beat) in others {
        books.link().send(redis::cmd("HSET").arg(&beats).arg(number).arg(beat)).await.unwrap().unwrap();
    }
    let Beats { silent_ms: mut heard, since_own_ms, .. } = beat(&books, 2, &[]).await;
    assert!(since_own_ms.is_some_and(|since| since < 0), "{since_own_ms:?}");
    heard.sort_unstable_by_key(|(node, _)| node.number());
    assert_eq!(heard.iter().map(|(node, _)| node.number()).collect::<Vec<_>>(), [1, 2, 3, 6, 7]);
    assert_eq!([heard[2].1, heard[3].1, heard[4].1], [None, Some(0), None]);
    let kept = books.link().send(redis::cmd("HGET").arg(&beats).arg("6")).await.unwrap().unwrap();
    assert!(i64::from_redis_value(kept).unwrap() < FUTURE, "it is silent from now on");
}

#[tokio::test]
async fn n2_calls_are_heard_by_every_node_and_a_server_that_forgot_a_node_says_so() {
    let server = RedisServer::start();
    let books = books_of(&server.url());
    let first = beat(&books, 1, &[]).await;
    assert!(first.since_own_ms.is_none() && first.calls.is_empty());
    let called = beat(&books, 1, &[7, 9]).await;
    assert!(called.since_own_ms.is_some_and(|since| since >= 0));
    let heard = beat(&books, 2, &[]).await;
    assert_eq!(heard.server, first.server);
    assert_eq!(heard.calls, called.calls);
    let mut sales: Vec<_> = heard.calls.iter().map(|(sale, _)| sale.0).collect();
    sales.sort_unstable();
    assert_eq!(sales, [7, 9]);
    books.link().send(&redis::cmd("FLUSHALL")).await.unwrap().unwrap();
    let after = beat(&books, 1, &[]).await;
    assert!(after.since_own_ms.is_none() && after.calls.is_empty());
}

async fn beat(books: &RedisBooks, number: Count, calling: &[u32]) -> Beats {
    let calling = calling.iter().map(|sale| SaleId(*sale));
    books.beat(node(number), Duration::from_secs(600), calling).await.unwrap()
}
