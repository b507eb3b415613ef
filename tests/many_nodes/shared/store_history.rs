//! N7, N15: a store that is made anew, restored or failed over under a ledger that goes on, and two stores on one Redis.

use std::collections::HashSet;

use serde_json::Value;
use testbed::engine::{Engine, Launch};
use testbed::servers::postgres::Postgres;

use super::fixture::{Fixture, known_to_all, sell, sell_out, until};

/// Node `number` on the fixture's Redis and another database, found at the same addresses when it starts over.
fn launch(fixture: &Fixture, number: u16, url: &str, more: &[(&str, &str)]) -> Launch {
    let keys = [&[("POSTGRES__URL", url), ("LEDGER__REBUILD_PATIENCE_MS", "300")], more].concat();
    fixture.launch(number, &keys).with_addresses_of_its_own()
}

/// The order numbers that the stream tells of as bought.
fn relayed(fixture: &Fixture, stream: &str) -> HashSet<String> {
    let entries = fixture.redis.command(&format!("XRANGE {stream} - +"));
    let events = entries.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let bought = events.filter(|event| event["type"] == "order.created");
    bought.filter_map(|event| event["order_id"].as_str().map(str::to_owned)).collect()
}

/// The order numbers that the engine exports.
fn exported(engine: &Engine, sku: &str) -> HashSet<String> {
    let orders = engine.orders(sku, "");
    orders.iter().map(|order| order["order_id"].as_str().unwrap().to_owned()).collect()
}

/// Buyers who hold no order hear of none: who bought what was lost buys again.
fn buy_again(engine: &Engine, sku: &str, buyers: &[(String, String)]) -> usize {
    let mut bought = 0;
    for (buyer, _) in buyers {
        until("the buyer is served", || match engine.try_buy(sku, buyer) {
            None => false,
            Some(answer) if answer.status == 503 => false,
            Some(answer) => {
                assert_eq!(answer.status, 201, "{}", answer.body);
                bought += 1;
                true
            }
        });
    }
    bought
}

fn timeline(engine: &Engine) -> Option<String> {
    let metrics = testbed::client::try_request(engine.admin_addr(), "GET", "/metrics", "", "")?.body;
    metrics.lines().find_map(|line| line.strip_prefix("seckill_store_timeline ").map(str::to_owned))
}

/// Two nodes that sold 20 of 60 units before their database was dumped, and 20 after that.
struct Dumped {
    fixture: Fixture,
    nodes: [Engine; 2],
    dump: String,
    /// Who bought what the dump does not have.
    lost: Vec<(String, String)>,
}

impl Dumped {
    fn during_a_sale() -> Self {
        let fixture = Fixture::open();
        let nodes = [1, 2].map(|number| launch(&fixture, number, &fixture.database_url, &[]).start());
        let [one, two] = &nodes;
        one.sale("phone", 60, "");
        known_to_all(&[one, two], "phone");
        sell(&[one, two], "phone", 20);
        let dump = fixture.postgres.dump(fixture.database());
        let lost = sell(&[one, two], "phone", 20);
        Self { fixture, nodes, dump, lost }
    }
}

#[test]
fn n15_two_databases_on_one_redis_both_sell() {
    let fixture = Fixture::open();
    let other = fixture.postgres.new_database();
    let (one, two) = (fixture.start(1), launch(&fixture, 1, &other, &[]).start());
    for engine in [&one, &two] {
        engine.sale("phone", 60, "");
    }
    // The same node number, the same sale: and yet nothing is shared.
    assert_eq!(sell_out(&[&one], "phone").len(), 60);
    assert_eq!(sell_out(&[&two], "phone").len(), 60);
    assert_eq!((one.audit("phone").held, two.audit("phone").held), (60, 60));
    // One of them has the stream; the other one says so, until it has a stream of its own.
    let told = |engine: &Engine| engine.admin("GET", "/healthz", "").json();
    let concern = |engine: &Engine| told(engine)["reasons"]["stream-of-another-store"].is_string();
    until("one of the two is told", || concern(&one) != concern(&two));
    let (has, lacks, url) = match concern(&one) {
        false => (&one, two, other),
        true => (&two, one, fixture.database_url.clone()),
    };
    assert_eq!(told(&lacks)["status"], "degraded");
    let metrics = lacks.admin("GET", "/metrics", "").body;
    assert!(metrics.contains(r#"seckill_ledger_concern{code="stream-of-another-store"} 1"#), "{metrics}");
    until("the first one's events are there", || {
        relayed(&fixture, "seckill:events") == exported(has, "phone")
    });
    drop(lacks.kill());
    let apart = launch(&fixture, 1, &url, &[("RELAY__STREAM", "seckill:others")]).start();
    until("and the other one's", || relayed(&fixture, "seckill:others") == exported(&apart, "phone"));
    assert_eq!(told(&apart)["status"], "ok");
}

#[test]
fn n7_a_database_made_anew_under_a_redis_that_goes_on() {
    let fixture = Fixture::open();
    let database = fixture.database().to_owned();
    let one = launch(&fixture, 1, &fixture.database_url, &[]).start();
    one.sale("phone", 40, "");
    sell(&[&one], "phone", 20);
    until("the events are sent", || relayed(&fixture, "seckill:events") == exported(&one, "phone"));
    let one = one.kill();
    fixture.postgres.make_anew(&database, None);
    // As it would be a minute later: nobody hears of the former database.
    for field in
        fixture.redis.command("HKEYS seckill:{stores}").lines().filter(|field| field.ends_with(":at"))
    {
        fixture.redis.command(&format!("HSET seckill:{{stores}} {field} 1"));
    }
    let one = one.start();
    one.sale("phone", 30, "");
    assert_eq!(sell_out(&[&one], "phone").len(), 30);
    until("its events are sent", || relayed(&fixture, "seckill:events") == exported(&one, "phone"));
    one.logged("stream-cleared");
}

#[test]
fn n7_a_database_restored_from_an_older_dump() {
    let Dumped { fixture, nodes: [one, two], dump, lost } = Dumped::during_a_sale();
    until("the events are sent", || relayed(&fixture, "seckill:events") == exported(&one, "phone"));
    // It is told every second; what it has not been told it cannot hold against the store.
    until("the ledger knows how far the store has come", || {
        let known = fixture.redis.command("HGETALL seckill:{stores}");
        let event = known.lines().skip_while(|line| !line.ends_with(":event")).nth(1);
        event.and_then(|event| event.parse::<u64>().ok()) >= Some(40)
    });
    let [one, two] = [one, two].map(Engine::kill);
    fixture.postgres.make_anew(fixture.database(), Some(&dump));
    let [one, two] = [one, two].map(|launch| launch.start());
    // Who had bought after the dump was made has bought nothing, and may.
    assert_eq!(buy_again(&two, "phone", &lost), 20);
    assert_eq!(sell_out(&[&one, &two], "phone").len(), 20);
    assert_eq!(one.audit("phone").held, 60);
    until("the stream tells of what is there", || {
        relayed(&fixture, "seckill:events") == exported(&one, "phone")
    });
    let told = || [&one, &two].map(|engine| engine.log().matches("order-store-went-back").count());
    until("it is said", || told() != [0, 0]);
    assert_eq!(told().iter().sum::<usize>(), 1, "once");
    assert_eq!([&one, &two].map(timeline), [Some("2".into()), Some("2".into())]);
}

#[test]
fn n7_a_database_restored_under_engines_that_run() {
    let Dumped { fixture, nodes: [one, two], dump, lost } = Dumped::during_a_sale();
    let pids = [one.pid(), two.pid()];
    fixture.postgres.make_anew(fixture.database(), Some(&dump));
    let anew = || [&one, &two].map(timeline) == [Some("2".into()), Some("2".into())];
    until("both have started over", anew);
    assert_eq!(pids, [one.pid(), two.pid()], "nobody has started them");
    assert_eq!(buy_again(&one, "phone", &lost), 20);
    assert_eq!(sell_out(&[&one, &two], "phone").len(), 20);
    assert_eq!(two.audit("phone").held, 60);
    until("the stream tells of what is there", || {
        relayed(&fixture, "seckill:events") == exported(&one, "phone")
    });
}

#[test]
fn n7_a_standby_that_takes_over_without_the_last_orders() {
    let mut first = Postgres::start("");
    let database = first.new_database().rsplit('/').next().unwrap().to_owned();
    let second = first.start_standby();
    let url = format!("postgres://postgres@{},{}/{database}", first.address(), second.address());
    let fixture = Fixture::open();
    let [one, two] = [1, 2].map(|number| launch(&fixture, number, &url, &[]).start());
    one.sale("phone", 60, "");
    known_to_all(&[&one, &two], "phone");
    let kept = sell(&[&one, &two], "phone", 20);
    until("the standby has them", || {
        second.query(&database, "SELECT coalesce(sum(sold), 0) FROM seckill.shares") == kept.len().to_string()
    });
    second.stop_following();
    let lost = sell(&[&one, &two], "phone", 20);
    first.crash();
    second.promote();
    until("both have started over", || {
        [&one, &two].map(timeline).iter().flatten().all(|number| number != "1")
    });
    assert_eq!(buy_again(&two, "phone", &lost), 20);
    assert_eq!(sell_out(&[&one, &two], "phone").len(), 20);
    assert_eq!(one.audit("phone").held, 60);
    until("the stream tells of what is there", || {
        relayed(&fixture, "seckill:events") == exported(&one, "phone")
    });
    until("it is said", || {
        let log = [one.log(), two.log()].concat();
        log.contains("order-store-lost-batches") || log.contains("order-store-went-back")
    });
}

#[test]
fn n15_a_database_of_before_keeps_its_names_unless_they_are_taken() {
    let fixture = Fixture::open();
    let other = fixture.postgres.new_database();
    // As a database that engines of before have sold from: it knows nothing of names.
    let names = |url: &str| {
        let database = url.rsplit('/').next().unwrap();
        fixture.postgres.query(database, "SELECT own_names FROM seckill.store_identity")
    };
    let before = |launch: Launch, url: &str| {
        let launch = launch.start().kill();
        let database = url.rsplit('/').next().unwrap();
        fixture.postgres.query(database, "UPDATE seckill.store_identity SET own_names = false");
        launch
    };
    let one = before(launch(&fixture, 1, &fixture.database_url, &[]), &fixture.database_url).start();
    one.sale("phone", 30, "");
    assert_eq!(sell_out(&[&one], "phone").len(), 30);
    assert_eq!(fixture.redis.command("EXISTS seckill:{default:test:phone}:book"), "1\n");
    assert_eq!(names(&fixture.database_url), "f");
    let two = before(launch(&fixture, 1, &other, &[]), &other).start();
    two.sale("phone", 40, "");
    assert_eq!(sell_out(&[&two], "phone").len(), 40);
    assert_eq!((names(&other).as_str(), one.audit("phone").held), ("t", 30));
    two.logged("ledger-names-taken");
}
