//! Buyers who come one after the other, at whatever node: some pay, some change their mind, some click twice. What they
//! are told is kept.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use testbed::PATIENCE;
use testbed::crowd::{BuyerAnswer, BuyerClient};
use testbed::promises::{Log, Word};

use super::fixture::{Addresses, Fixture, address_of};

const THREADS: usize = 12;
/// From one question about an order that a node has not heard of to the next; below the buyer's own rate.
const HEARSAY: Duration = Duration::from_millis(100);

struct Shared {
    addresses: Addresses,
    sku: String,
    pause_ms: Range<u64>,
    /// An order that was acknowledged may be unknown to everybody: the database has lost it.
    loses_orders: bool,
    over: AtomicBool,
    nobody_cancels: AtomicBool,
    next: AtomicU64,
    /// When each node last sold a unit, or said that there is none any more.
    served: Vec<Mutex<Option<Instant>>>,
}

/// What a crowd was told.
#[derive(Default)]
pub struct Heard {
    /// What was promised to whom.
    pub log: Log,
    /// How often each answer was given: status, and code if it is a refusal. Status 0 is no answer.
    pub answers: BTreeMap<(u16, String), usize>,
    /// When the last word on an order was heard.
    heard_at: HashMap<String, Instant>,
}

impl Heard {
    fn note(&mut self, answer: Option<&BuyerAnswer>) {
        let answer = answer.map_or((0, String::new()), |answer| (answer.status, answer.code.clone()));
        *self.answers.entry(answer).or_default() += 1;
    }

    /// Nobody was told anything of orders whose last word was heard in this time. Returns how many there are.
    pub fn forget(&mut self, (since, until): (Instant, Instant)) -> usize {
        let before = self.log.acknowledged.len();
        let heard_at = &self.heard_at;
        self.log.acknowledged.retain(|order, _| !(since..=until).contains(&heard_at[order]));
        before - self.log.acknowledged.len()
    }

    /// Keeps what a buyer was told of an order.
    fn keep(&mut self, order_id: &str, buyer: &str, word: Word) {
        self.log.acknowledged.insert(order_id.to_owned(), (buyer.to_owned(), word));
        self.heard_at.insert(order_id.to_owned(), Instant::now());
    }

    fn merge(&mut self, other: Self) {
        self.log.merge(other.log);
        self.heard_at.extend(other.heard_at);
        for (answer, count) in other.answers {
            *self.answers.entry(answer).or_default() += count;
        }
    }
}

/// A running crowd.
pub struct Shoppers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Heard>>,
}

impl Shoppers {
    /// Lets them in.
    pub fn come(fixture: &Fixture, sku: &str) -> Self {
        let shared = Arc::new(Shared {
            addresses: Arc::clone(&fixture.addresses),
            sku: sku.to_owned(),
            pause_ms: fixture.pause_ms.clone(),
            loses_orders: fixture.loses_orders,
            over: AtomicBool::new(false),
            nobody_cancels: AtomicBool::new(false),
            next: AtomicU64::new(0),
            served: fixture.addresses.iter().map(|_| Mutex::new(None)).collect(),
        });
        let shop = |_| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || Shopper::new(&shared).shop_until_over())
        };
        let threads = (0..THREADS).map(shop).collect();
        Self { shared, threads }
    }

    /// From now on everybody keeps what he has.
    pub fn keep_everything(&self) {
        self.shared.nobody_cancels.store(true, Ordering::SeqCst);
    }

    /// Whether the node has sold a unit, or said that none is left, since then.
    pub fn were_served(&self, node: usize, since: Instant) -> bool {
        let served = *self.shared.served[node].lock().unwrap_or_else(PoisonError::into_inner);
        served.is_some_and(|at| at > since)
    }

    /// Sends them home. Returns what they were told.
    pub fn go(mut self) -> Heard {
        self.shared.over.store(true, Ordering::SeqCst);
        let mut heard = Heard::default();
        for thread in std::mem::take(&mut self.threads) {
            heard.merge(thread.join().expect("no buyer is told anything strange"));
        }
        heard
    }
}

impl Drop for Shoppers {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
    }
}

/// One thread, which is one buyer after the other.
struct Shopper<'a> {
    shared: &'a Shared,
    clients: Vec<(Option<SocketAddr>, BuyerClient)>,
    dice: SmallRng,
    heard: Heard,
}

impl<'a> Shopper<'a> {
    fn new(shared: &'a Shared) -> Self {
        let nowhere = || (None, BuyerClient::at(([127, 0, 0, 1], 1).into()));
        let clients = shared.addresses.iter().map(|_| nowhere()).collect();
        Self { shared, clients, dice: SmallRng::seed_from_u64(rand::random()), heard: Heard::default() }
    }

    fn shop_until_over(mut self) -> Heard {
        while !self.shared.over.load(Ordering::SeqCst) {
            self.visit();
            std::thread::sleep(Duration::from_millis(self.dice.random_range(self.shared.pause_ms.clone())));
        }
        self.heard
    }

    /// A random node, as long as one is up.
    fn any_node(&mut self) -> Option<usize> {
        let up = |&node: &usize| address_of(&self.shared.addresses, node).is_some();
        let nodes: Vec<usize> = (0..self.shared.addresses.len()).filter(up).collect();
        (!nodes.is_empty()).then(|| nodes[self.dice.random_range(0..nodes.len())])
    }

    /// The connection to a node, made anew when the node has moved.
    fn client(&mut self, node: usize) -> &mut BuyerClient {
        let address = address_of(&self.shared.addresses, node);
        let (at, client) = &mut self.clients[node];
        if let Some(address) = address
            && *at != Some(address)
        {
            (*at, *client) = (Some(address), BuyerClient::at(address));
        }
        client
    }

    fn click(&mut self, node: usize, buyer: &str) -> Option<BuyerAnswer> {
        let sku = self.shared.sku.clone();
        let answer = self.client(node).buy(&sku, buyer, 1, None);
        self.heard.note(answer.as_ref());
        if answer.as_ref().is_some_and(|answer| answer.status == 201 || answer.code == "sold-out") {
            *self.shared.served[node].lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        answer
    }

    fn visit(&mut self) {
        let number = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let buyer = format!("{}-{number}", self.shared.sku);
        let (Some(node), Some(other)) = (self.any_node(), self.any_node()) else { return };
        let first = self.click(node, &buyer);
        let Some(order_id) = self.remember(&buyer, first.as_ref()) else { return };
        match number % 8 {
            0 | 1 => self.pay(other, &buyer, &order_id),
            2 if !self.shared.nobody_cancels.load(Ordering::SeqCst) => self.give_up(other, &buyer, &order_id),
            3 => self.click_again(other, &buyer, &order_id),
            _ => {}
        }
    }

    /// Keeps what a buyer was told. Returns the order, if it is durable.
    fn remember(&mut self, buyer: &str, answer: Option<&BuyerAnswer>) -> Option<String> {
        match answer.map(|answer| (answer.status, answer.code.as_str())) {
            Some((201, _)) => {
                let order_id = answer.map(|answer| answer.order_id.clone())?;
                self.heard.keep(&order_id, buyer, Word::Bought);
                Some(order_id)
            }
            Some((409, "sold-out")) => None,
            // Of his order, or of another one that he has bought since it was lost.
            Some((409, "already-purchased")) if self.shared.loses_orders => None,
            // Nobody knows, or nobody knows yet.
            None | Some((202 | 503, _)) => {
                self.heard.log.unanswered.push(buyer.to_owned());
                None
            }
            Some(_) => panic!("{buyer} was told {answer:?}"),
        }
    }

    /// A buyer who holds an order hears of that order, wherever he asks. A node without stock may have to hear of it
    /// from the others first.
    fn click_again(&mut self, node: usize, buyer: &str, order_id: &str) {
        let began = Instant::now();
        while let Some(answer) = self.click(node, buyer) {
            match (answer.status, answer.code.as_str()) {
                (201 | 409, _) if self.shared.loses_orders => {
                    return drop(self.remember(buyer, Some(&answer)));
                }
                (409, "already-purchased") => return assert_eq!(answer.order_id, order_id, "{buyer}"),
                (409, "sold-out") => assert!(began.elapsed() < PATIENCE, "{buyer} holds {order_id}"),
                (202 | 503, _) => return,
                _ => panic!("{buyer} holds {order_id} and was told {answer:?}"),
            }
            std::thread::sleep(HEARSAY);
        }
    }

    /// Whether the answer is that of an order which the store has lost: it is unknown, or a node knows it that has not noticed
    /// yet, and says that it is not durable.
    fn may_be_lost(&self, (status, code): (u16, &str)) -> bool {
        self.shared.loses_orders && (status == 404 || code == "order-pending")
    }

    fn pay(&mut self, node: usize, buyer: &str, order_id: &str) {
        let answer = self.client(node).pay(buyer, order_id);
        self.heard.note(answer.as_ref());
        match answer.as_ref().map(|answer| (answer.status, answer.code.as_str())) {
            Some((200, _)) => self.heard.keep(order_id, buyer, Word::Paid),
            None | Some((202 | 402 | 503, _)) => {}
            Some(lost) if self.may_be_lost(lost) => {}
            Some(_) => panic!("{buyer} pays for {order_id} and is told {answer:?}"),
        }
    }

    fn give_up(&mut self, node: usize, buyer: &str, order_id: &str) {
        let answer = self.client(node).cancel(buyer, order_id);
        self.heard.note(answer.as_ref());
        match answer.as_ref().map(|answer| (answer.status, answer.code.as_str())) {
            Some((200, _)) => self.heard.keep(order_id, buyer, Word::Cancelled),
            None | Some((202 | 503, _)) => {}
            Some(lost) if self.may_be_lost(lost) => {}
            Some(_) => panic!("{buyer} gives {order_id} up and is told {answer:?}"),
        }
    }
}
