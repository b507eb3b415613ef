//! N2: sales where nothing happens cost nothing, and are there at once when something does.
//!
//! The long form, `cargo xtask idle`, looks at 10,000 sales and three nodes at 1 ms of network each way, of which ten sales
//! sell, and tells what a node costs: `SECKILL_IDLE_SALES` is how many there are, `SECKILL_IDLE_NETWORK_US` how far away
//! their servers are.

use std::time::{Duration, Instant};

use testbed::asked;
use testbed::engine::Engine;
use testbed::processor::used;
use testbed::servers::proxy::Proxy;

use super::fixture::{Fixture, sell, sell_out, until};

const SALES: usize = 300;
/// Sales that sell, in the short form and in the long one.
const HOT: (usize, usize) = (3, 10);
/// Scripts that all nodes run together from one sign of life to the next, beside those signs: the relay's look at its stream, and
/// what falls into the beat because nodes do not beat at the same moment.
const SCRIPTS_BESIDE_SIGNS: u64 = 2;

/// Fewer than this, however late a busy machine has one of the nodes be.
const SCRIPTS_IDLE_MAX: u64 = 50;

/// As an operator leaves them: the short times of other tests would be work for nothing.
pub(super) const CALM: [(&str, &str); 4] = [
    ("LEDGER__BEAT_MS", "1000"),
    ("LEDGER__RECONCILE_MS", "1000"),
    ("LEDGER__SILENT_MS_MAX", "10000"),
    ("LEDGER__SALES_MAX", "20000"),
];

fn sku(number: usize) -> String {
    format!("sale-{number}")
}

/// A fixture with so many sales of two units each.
fn with_sales(sales: usize) -> Fixture {
    let fixture = Fixture::open();
    // It makes the tables.
    fixture.launch(1, &CALM).start().terminate();
    let insert = format!(
        "INSERT INTO seckill.sales (tenant, campaign, sku, title, price_cents, currency, per_buyer_limit, starts_at_ms, \
         ends_at_ms, pay_within_s, paused, total) SELECT 'default', 'test', 'sale-' || n, 'A sale', 500, 'USD', 1, 0, \
         4102444800000, 900, false, 2 FROM generate_series(1, {sales}) n"
    );
    fixture.postgres.query(fixture.database(), &insert);
    fixture
}

/// Scripts that Redis has run.
fn scripts(fixture: &Fixture) -> u64 {
    let about = fixture.redis.command("INFO commandstats");
    let calls = |name: &str| {
        let line = about.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{name}:calls=")));
        line.and_then(|line| line.split(',').next()?.parse::<u64>().ok()).unwrap_or(0)
    };
    calls("evalsha") + calls("eval")
}

/// Signs of life of node 1.
fn beats(fixture: &Fixture) -> u64 {
    let select = "SELECT beats FROM seckill.nodes WHERE node = 1";
    fixture.postgres.query(fixture.database(), select).parse().expect("it has lived")
}

/// Scripts from one sign of life of node 1 to the next, over so many of them.
fn scripts_a_beat(fixture: &Fixture, over: u64) -> u64 {
    let (before, from) = (scripts(fixture), beats(fixture));
    until("the node lives on", || beats(fixture) >= from + over);
    (scripts(fixture) - before) / over
}

#[test]
fn n2_sales_where_nothing_happens_cost_nothing_and_are_there_when_something_does() {
    let long: Option<usize> = asked("SECKILL_IDLE_SALES");
    let (sales, nodes, hot) = long.map_or((SALES, 2, HOT.0), |sales| (sales, 3, HOT.1));
    let fixture = with_sales(sales);
    let network = Duration::from_micros(asked("SECKILL_IDLE_NETWORK_US").unwrap_or(0));
    let to_postgres = Proxy::slowly_to(fixture.postgres_address(), network);
    let to_redis = Proxy::slowly_to(fixture.redis.address(), network);
    let urls = [
        ("POSTGRES__URL", fixture.postgres.url_at(to_postgres.address(), fixture.database())),
        ("REDIS__URL", format!("redis://{}", to_redis.address())),
    ];
    let keys = urls.iter().map(|(key, url)| (*key, url.as_str()));
    let keys: Vec<_> = keys.filter(|_| !network.is_zero()).chain(CALM).collect();
    let began = Instant::now();
    let engines: Vec<Engine> = (1..=nodes).map(|number| fixture.launch(number, &keys).start()).collect();
    let all: Vec<&Engine> = engines.iter().collect();
    let at_rest = u64::from(nodes) + SCRIPTS_BESIDE_SIGNS;
    until("all sales rest", || scripts_a_beat(&fixture, 2) <= at_rest);
    let joined = began.elapsed();

    let (times, began) =
        (engines.iter().map(|engine| used(engine.pid())).collect::<Vec<_>>(), Instant::now());
    let scripts_idle = scripts_a_beat(&fixture, if long.is_some() { 30 } else { 5 });
    assert!(scripts_idle < SCRIPTS_IDLE_MAX, "{scripts_idle} scripts a beat for {sales} sales");
    if long.is_some() {
        let shares = engines.iter().zip(&times).map(|(engine, before)| {
            100.0 * (used(engine.pid()) - *before).as_secs_f64() / began.elapsed().as_secs_f64()
        });
        let shares: Vec<String> = shares.map(|share| format!("{share:.2} %")).collect();
        println!(
            "{sales} sales, {nodes} nodes, {network:?} of network each way: at rest after {:.1} s; then {scripts_idle} scripts a second in all, and of a core: {}",
            joined.as_secs_f64(),
            shares.join(", ")
        );
    }

    // Any of them sells, wherever its units are, and what comes back is on sale at another node.
    let mut slowest = Duration::ZERO;
    for number in (1..=sales).step_by(sales / hot) {
        let sku = sku(number);
        let won = sell(&all, &sku, 1);
        assert_eq!(sell_out(&all, &sku).len(), 1);
        let (buyer, order) = &won[0];
        let cancelled = all[0].ask("DELETE", &format!("/orders/{order}"), buyer, "", "");
        assert_eq!(cancelled.status, 200, "{}", cancelled.body);
        let began = Instant::now();
        until("the unit is on sale at another node", || {
            all[1].buy(&sku, &format!("late-{sku}")).status == 201
        });
        slowest = slowest.max(began.elapsed());
        assert_eq!(all[0].audit(&sku).held, 2);
    }
    if long.is_some() {
        println!(
            "a cancelled unit of any of {hot} sales was sold at another node within {} ms",
            slowest.as_millis()
        );
        println!("wanted: below 1 % of a core a node, below 50 scripts a second, within 2,000 ms");
    }
    until("all sales rest again", || scripts_a_beat(&fixture, 2) <= at_rest);
}
