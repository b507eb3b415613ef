//! Several nodes, one stock, through a real Redis: what happens to the units when a node or Redis dies, is paused or
//! forgets. The order store is in memory here, with the fence and the guard of a real one.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::node::{Node, SALE, sale_key};
use crate::server::RedisServer;
use crate::store::MemoryStore;
use seckill::domain::Rejection;

/// Nodes, their store and their Redis.
struct Cluster {
    redis: RedisServer,
    store: Arc<MemoryStore>,
    nodes: Vec<Option<Node>>,
    total: u64,
}

impl Cluster {
    fn start(nodes: u16, total: u64) -> Self {
        let redis = RedisServer::start();
        let store = Arc::new(MemoryStore::new(total));
        let nodes = (0..nodes).map(|n| Some(Node::start(n, &store, &redis.url()))).collect();
        Self { redis, store, nodes, total }
    }

    fn running(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().flatten()
    }

    fn start_node(&mut self, n: usize) {
        self.nodes[n] = Some(Node::start(n as u16, &self.store, &self.redis.url()));
    }

    /// New buyers click on the nodes in turn until `enough` says so.
    async fn sell_until(&self, what: &str, enough: impl Fn(&Self) -> bool) {
        let give_up = Instant::now() + Duration::from_secs(90);
        while !enough(self) {
            assert!(Instant::now() < give_up, "{what}: {}", self.describe());
            for node in self.running() {
                for _ in 0..5 {
                    let _ = node.click();
                }
            }
            assert!(self.store.sold() <= self.total, "{what}: oversold");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        println!("{what}: {}", self.describe());
    }

    /// Sells everything, and until every node says that it is final.
    async fn sell_out(&self) {
        self.sell_until("sold out", |cluster| cluster.store.sold() == cluster.total).await;
        self.sell_until("and known to be final", |cluster| {
            cluster.running().all(|node| node.click() == Err(Rejection::SoldOut))
        })
        .await;
        self.sell_until("and the three books agree", |cluster| {
            cluster.running().all(|node| node.counts.drifting.load(Ordering::SeqCst) == 0)
        })
        .await;
        assert_eq!(self.store.refusals(), 0, "the store's guard had to refuse: the ledger lent too much");
        let book = self.running().next().unwrap().books.read(&sale_key()).await.unwrap();
        assert_eq!((book.available(), book.leased(), book.sold()), (0, 0, self.total as i64));
    }

    fn describe(&self) -> String {
        let nodes: Vec<_> = self.running().map(|node| (node.on_sale(), &node.counts)).collect();
        format!("{} of {} sold, {:?}, {nodes:?}", self.store.sold(), self.total, self.store.look())
    }

    fn sum(&self, count: impl Fn(&Node) -> u64) -> u64 {
        self.running().map(count).sum()
    }
}

#[tokio::test]
async fn three_nodes_sell_one_stock_to_the_last_unit() {
    let cluster = Cluster::start(3, 1_000);
    cluster.sell_out().await;
    let calls = cluster.sum(|node| node.books.calls());
    println!("{calls} scripts for 1000 units");
}

#[tokio::test]
async fn units_of_a_node_without_buyers_reach_the_others() {
    let mut cluster = Cluster::start(2, 50);
    let idle = cluster.nodes[1].take().unwrap();
    cluster.sell_until("the idle node has units", |_| idle.on_sale() > 0).await;
    cluster.sell_out().await;
    assert_eq!(idle.on_sale(), 0);
}

#[tokio::test]
async fn a_dead_node_is_fenced_and_its_units_are_sold_by_others() {
    let mut cluster = Cluster::start(3, 300);
    cluster.sell_until("all have units", |c| c.running().all(|node| node.on_sale() > 0)).await;
    cluster.nodes[1] = None;
    cluster.sell_out().await;
    assert!(cluster.sum(|node| node.counts.reclaimed.load(Ordering::SeqCst)) > 0);
}

#[tokio::test]
async fn a_node_that_starts_again_has_its_units_again() {
    let mut cluster = Cluster::start(2, 200);
    cluster.sell_until("half is sold", |c| c.store.sold() > 100).await;
    cluster.nodes[0] = None;
    cluster.start_node(0);
    cluster.sell_out().await;
}

#[tokio::test]
async fn a_node_that_was_taken_for_dead_drops_its_stock_and_joins_again() {
    let cluster = Cluster::start(2, 400);
    cluster.sell_until("all have units", |c| c.running().all(|node| node.on_sale() > 0)).await;
    // Somebody fences node 0 although it runs.
    let node = seckill::domain::NodeId::new(0).unwrap();
    assert!(cluster.store.end_life(node, cluster.store.life_of(node)).is_some());
    cluster.sell_out().await;
    assert_eq!(cluster.nodes[0].as_ref().unwrap().counts.rejoined.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_redis_that_forgets_is_told_again() {
    for keep_data in [true, false] {
        let mut cluster = Cluster::start(2, 600);
        cluster.sell_until("some are sold", |c| c.store.sold() > 100).await;
        cluster.redis.restart(keep_data);
        cluster.sell_out().await;
        assert!(cluster.sum(|node| node.counts.rebuilt.load(Ordering::SeqCst)) >= 2);
    }
}

#[tokio::test]
async fn a_flushed_redis_and_a_dead_node_at_once() {
    let mut cluster = Cluster::start(3, 600);
    cluster.sell_until("some are sold", |c| c.store.sold() > 100).await;
    let books = Arc::clone(&cluster.nodes[0].as_ref().unwrap().books);
    cluster.nodes[2] = None;
    books.link().send(&redis::cmd("FLUSHALL")).await.unwrap().unwrap();
    cluster.sell_out().await;
}

#[tokio::test]
async fn while_redis_is_paused_nodes_sell_what_they_hold_and_then_ask_buyers_to_come_back() {
    let cluster = Cluster::start(2, 500);
    cluster.sell_until("all have units", |c| c.running().all(|node| node.on_sale() > 0)).await;
    cluster.redis.pause();
    cluster
        .sell_until("nothing is left in memory", |c| {
            c.running().all(|node| node.click() == Err(Rejection::Overloaded))
        })
        .await;
    assert!(cluster.store.sold() < 500, "there is more in the ledger");
    cluster.redis.go_on();
    cluster.sell_out().await;
}

#[tokio::test]
async fn expired_units_are_on_sale_again() {
    let cluster = Cluster::start(2, 40);
    cluster.sell_out().await;
    cluster.store.expire(7);
    cluster.sell_out().await;
}

#[tokio::test]
async fn a_node_whose_agent_is_frozen_is_fenced_and_cannot_sell_twice() {
    let mut cluster = Cluster::start(2, 300);
    cluster.sell_until("all have units", |c| c.running().all(|node| node.on_sale() > 0)).await;
    let zombie = cluster.nodes[0].take().unwrap();
    zombie.freeze_agent();
    cluster.sell_until("it is fenced", |c| c.sum(|n| n.counts.reclaimed.load(Ordering::SeqCst)) > 0).await;
    let sold = cluster.store.look().settled_by(seckill::domain::NodeId::new(0).unwrap());
    for _ in 0..50 {
        let _ = zombie.click();
    }
    cluster.sell_out().await;
    assert_eq!(cluster.store.look().settled_by(seckill::domain::NodeId::new(0).unwrap()), sold);
}

#[tokio::test]
async fn n4_a_node_that_loses_the_store_for_good_leaves_its_units_to_others_and_goes_on_when_it_is_there_again()
 {
    for has_orders_in_flight in [false, true] {
        let mut cluster = Cluster::start(2, 300);
        cluster.sell_until("all have units", |c| c.running().all(|node| node.on_sale() > 0)).await;
        let cut = cluster.nodes[1].take().unwrap();
        while cut.in_flight() > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        cut.cut_from_store(true);
        if has_orders_in_flight {
            cut.click().unwrap();
        }
        let life = cluster.store.life_of(cut.store.node);
        cluster.sell_out().await;
        assert_eq!(cut.on_sale(), 0);
        assert!(cluster.store.life_of(cut.store.node) > life, "the others took its share");
        cut.cut_from_store(false);
        cluster.nodes[1] = Some(cut);
        // It hears only after a while, and there may be nothing left by then.
        let sells_again = |c: &Cluster| {
            if c.store.sold() == c.total {
                c.store.expire(20);
            }
            c.store.look().settled.len() == 2
        };
        cluster.sell_until("both sell again", sells_again).await;
        cluster.sell_out().await;
    }
}

#[tokio::test]
async fn n6_a_book_that_forgets_units_is_counted_anew_and_no_life_is_used() {
    let cluster = Cluster::start(3, 400);
    cluster.sell_until("all have units", |c| c.running().all(|node| node.on_sale() > 0)).await;
    let lives = cluster.store.incarnations();
    let books = Arc::clone(&cluster.running().next().unwrap().books);
    let mut forget = redis::cmd("HINCRBY");
    forget.arg(seckill::ledger::redis::KeyNames::default().book(&sale_key())).arg("h:1").arg(20);
    books.link().send(&forget).await.unwrap().unwrap();
    cluster.sell_until("sold out", |c| c.store.sold() == c.total).await;
    cluster
        .sell_until("and known to be final", |c| {
            c.running().all(|node| node.click() == Err(Rejection::SoldOut) && node.on_sale() == 0)
        })
        .await;
    assert_eq!(cluster.store.refusals(), 0, "what the store has for nobody was never on sale");
    assert_eq!(cluster.store.incarnations(), lives);
}

#[tokio::test]
async fn o9_of_a_sale_that_has_ended_no_node_opens_a_book_whoever_hears_of_it_when() {
    let mut cluster = Cluster::start(3, 3_000);
    cluster.sell_until("all have units", |c| c.running().all(|node| node.on_sale() > 0)).await;
    // One that dies before it has heard of it, and one that hears late and has buyers meanwhile.
    let dies = cluster.nodes[2].take().unwrap();
    dies.freeze_agent();
    cluster.store.end_sale();
    let (hears, late) = (cluster.nodes[0].take().unwrap(), cluster.nodes[1].take().unwrap());
    let give_up = Instant::now() + Duration::from_secs(90);
    let has_no_book = async || hears.books.read(&sale_key()).await.is_ok_and(|book| book.epoch == 0);
    hears.admission.board().remove_all(&[SALE]);
    while !(has_no_book().await && cluster.store.ending().1) {
        assert!(Instant::now() < give_up, "its book is forgotten");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The other one looks for the book meanwhile, in vain: its buyers are refused by the store, and no epoch is given any more.
    let sold = cluster.store.sold();
    while late.on_sale() > 0 || late.in_flight() > 0 {
        assert!(Instant::now() < give_up, "what it has on sale goes");
        let _ = late.click();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(has_no_book().await);
    assert_eq!((cluster.store.sold(), cluster.store.end_epoch(0)), (sold, None));
    late.admission.board().remove_all(&[SALE]);
    assert!(
        late.handle.compare(SALE, Duration::from_secs(30)).await.is_none(),
        "there is nothing to compare"
    );
    drop(dies);
    // A node that starts later finds nothing to do.
    assert!(has_no_book().await);
}
