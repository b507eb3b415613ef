//! Many nodes on one sale, each with a crowd of its own: whether all is sold exactly, how fair it is, how the last units are
//! found, and what Redis has to do for it.
//!
//! `SECKILL_CROWD_NODES` and `SECKILL_CROWD_UNITS` say how many; `cargo xtask crowd` sets them.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use testbed::client::request;
use testbed::crowd::BuyerClient;
use testbed::engine::orders;
use testbed::servers::cluster::{Cluster, ClusterPlan, Servers};
use testbed::servers::engine::binary;
use testbed::servers::postgres::Postgres;
use testbed::servers::redis::RedisServer;
use testbed::{asked, until};

use super::exactness::click;
use super::fixture::scripts_run;

const NODES: u16 = 8;
const UNITS: usize = 4_000;
const CLIENTS_A_NODE: usize = 2;
const SKU: &str = "crowded";
/// From one look at what Redis has done to the next.
const LOOK: Duration = Duration::from_millis(50);

/// Processor time of a Redis, in s.
fn processor_time(redis: &RedisServer) -> f64 {
    let about = redis.command("INFO cpu");
    let of = |name: &str| -> f64 {
        let line = about.lines().find_map(|line| line.strip_prefix(name));
        line.expect("it says so").trim().parse().expect("a number")
    };
    of("used_cpu_sys:") + of("used_cpu_user:")
}

/// One buyer at a time at one node. Returns who won and when, and when others heard that nothing is left.
fn shop(
    mut client: BuyerClient,
    buyers: impl Iterator<Item = String>,
) -> (Vec<(String, Instant)>, Vec<Instant>) {
    let (mut won, mut refused) = (Vec::new(), Vec::new());
    for buyer in buyers {
        let heard = click(&mut client, SKU, &buyer);
        match heard.last().map(|answer| (answer.status, answer.code.as_str())) {
            Some((201, _)) => won.push((buyer, Instant::now())),
            Some((409, "sold-out")) => refused.push(Instant::now()),
            other => panic!("{buyer} was told {other:?}"),
        }
    }
    (won, refused)
}

#[test]
#[ignore = "`cargo xtask crowd` runs it; exactness::a_crowd_at_three_nodes_buys_exactly_the_stock is its short form"]
fn many_nodes_sell_one_stock_exactly_and_fairly() {
    let nodes = asked("SECKILL_CROWD_NODES").unwrap_or(NODES);
    let units = asked("SECKILL_CROWD_UNITS").unwrap_or(UNITS);
    let keys = [("EDGE__THREADS", "1"), ("EDGE__ACK_WAIT_MS", "60000"), ("ADMISSION__BUYER_RATE_PER_S", "0")];
    let plan = ClusterPlan {
        engine: binary().to_owned(),
        nodes,
        keys: keys.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        is_proxied: false,
        first_edge: None,
        first_admin: None,
    };
    // Five connections a node, and some for those who look.
    let postgres = Postgres::start(&format!("max_connections = {}", 6 * nodes + 50));
    let cluster = Cluster::start_on(Servers { postgres, ..Servers::start() }, &plan);
    let (redis, admin) = (&cluster.redis, cluster.nodes[0].engine.as_ref().expect("it runs").admin());
    let body = format!(r#"{{"campaign":"test","sku":"{SKU}","price_cents":1999,"stock":{units}}}"#);
    let made = request(admin, "POST", "/api/v1/campaigns", "Content-Type: application/json\r\n", &body);
    assert_eq!(made.status, 201, "{}", made.body);
    let edges: Vec<_> = cluster.running().map(|engine| engine.edge()).collect();
    until("every node has the sale", || {
        let page = |&edge| request(edge, "GET", &format!("/seckill/test/{SKU}"), "", "").json();
        edges.iter().all(|edge| page(edge)["state"] == "open")
    });

    // A fifth more buyers than units, as many at each node.
    let buyers_a_client = (units * 6 / 5).div_ceil(edges.len() * CLIENTS_A_NODE);
    let (over, looks) = (AtomicBool::new(false), Mutex::new(Vec::new()));
    let (scripts, time, began) = (scripts_run(redis), processor_time(redis), Instant::now());
    let of_clients: Vec<_> = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                looks.lock().unwrap().push((Instant::now(), scripts_run(redis)));
                std::thread::sleep(LOOK);
            }
        });
        let clients = (0..edges.len() * CLIENTS_A_NODE).map(|number| {
            let client = BuyerClient::at(edges[number % edges.len()]);
            let buyers = (0..buyers_a_client).map(move |buyer| format!("buyer-{number}-{buyer}"));
            let thread = std::thread::Builder::new().stack_size(512 * 1024);
            thread.spawn_scoped(scope, || shop(client, buyers)).expect("a thread for each client")
        });
        let clients: Vec<_> = clients.collect();
        let done = clients.into_iter().map(|client| client.join().expect("nobody is told anything strange"));
        let done = done.collect();
        over.store(true, Ordering::SeqCst);
        done
    });
    let (scripts, time) = (scripts_run(redis) - scripts, processor_time(redis) - time);

    let mut of_nodes = vec![0_usize; edges.len()];
    let (mut winners, mut won_at, mut refused_at) = (HashMap::new(), Vec::new(), Vec::new());
    for (number, (won, refused)) in of_clients.into_iter().enumerate() {
        of_nodes[number % edges.len()] += won.len();
        won_at.extend(won.iter().map(|(_, at)| *at));
        refused_at.extend(refused);
        winners.extend(won.into_iter().map(|(buyer, _)| (buyer, number)));
    }
    let held = orders(admin, SKU, "");
    let holders: HashSet<_> = held.iter().map(|order| order["buyer"].as_str().expect("a buyer")).collect();
    assert_eq!((held.len(), holders.len(), winners.len()), (units, units, units), "each unit once");
    assert!(holders.iter().all(|buyer| winners.contains_key(*buyer)), "every order is known to its buyer");
    until("the books agree", || {
        let path = format!("/api/v1/campaigns/test/{SKU}/audit");
        let audit = request(admin, "GET", &path, "", "").json();
        audit["conserved"] == true && audit["buyers_over_limit"] == 0 && audit["sold"] == units
    });

    won_at.sort_unstable();
    of_nodes.sort_unstable();
    let (nine_tenths, last) = (won_at[units * 9 / 10 - 1], won_at[units - 1]);
    let early = refused_at.iter().filter(|at| **at < last).count();
    let scripts_at = |at: Instant| {
        let looks = looks.lock().unwrap();
        looks.iter().rev().find(|(looked, _)| *looked <= at).map_or(0, |(_, scripts)| *scripts)
    };
    let in_the_tail = scripts_at(last).saturating_sub(scripts_at(nine_tenths));
    let (took, tail) = ((last - began).as_secs_f64(), (last - nine_tenths).as_secs_f64());
    println!(
        "{nodes} nodes, {units} units, {} buyers: every unit sold once, in {took:.1} s ({:.0} a second)",
        buyers_a_client * edges.len() * CLIENTS_A_NODE,
        units as f64 / took,
    );
    println!(
        "fair: of {:.0} units a node on average, the node with the fewest sold {}, the median {}, the one with the most {}; \
         {early} buyers heard \"sold out\" before the last unit was acknowledged",
        units as f64 / edges.len() as f64,
        of_nodes[0],
        of_nodes[edges.len() / 2],
        of_nodes[edges.len() - 1],
    );
    println!(
        "last tenth: {tail:.2} s, {:.0} units a second, of {:.0} before; {:.0} scripts a second meanwhile",
        units as f64 / 10.0 / tail,
        units as f64 * 0.9 / (took - tail),
        in_the_tail as f64 / tail,
    );
    println!(
        "Redis: {scripts} scripts, {:.4} a win; {:.2} s of processor time, {:.1} µs a win, {:.1} % of a core",
        scripts as f64 / units as f64,
        time,
        time * 1e6 / units as f64,
        100.0 * time / took,
    );
}
