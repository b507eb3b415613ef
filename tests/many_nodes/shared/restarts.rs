//! Nodes that leave, die and come back.

use std::time::Duration;

use testbed::engine::Engine;

use super::fixture::{Fixture, known_to_all, sell_out, until};

#[test]
fn n11_neighbours_that_left_and_came_back_are_not_fenced() {
    const NODES: u16 = 5;
    let fixture = Fixture::open();
    let engines: Vec<Engine> = (0..NODES).map(|number| fixture.start(number)).collect();
    let all: Vec<&Engine> = engines.iter().collect();
    for sku in ["phone", "book"] {
        engines[0].sale(sku, 500, "");
        known_to_all(&all, sku);
    }
    for (number, engine) in engines.iter().enumerate() {
        until("the node has units", || engine.buy("phone", &format!("early-{number}")).status == 201);
    }
    let lives = |of: u64| (0..NODES).map(|node| format!("{node}:{of}")).collect::<Vec<_>>().join(" ");
    assert_eq!(fixture.lives(), lives(1));

    let launches: Vec<_> = std::thread::scope(|scope| {
        let ends: Vec<_> = engines.into_iter().map(|engine| scope.spawn(|| engine.terminate())).collect();
        ends.into_iter().map(|end| end.join().unwrap().1).collect()
    });
    // Longer than anybody may be silent.
    std::thread::sleep(Duration::from_secs(3));
    let engines: Vec<Engine> = std::thread::scope(|scope| {
        let starts: Vec<_> = launches.iter().map(|launch| scope.spawn(|| launch.start())).collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    });
    let all: Vec<&Engine> = engines.iter().collect();
    assert_eq!(usize::from(NODES) + sell_out(&all, "phone").len(), 500);
    assert_eq!(sell_out(&all, "book").len(), 500);
    assert_eq!(fixture.lives(), lives(2), "one life for each start");
}

#[test]
fn a_new_book_names_no_node_that_has_left() {
    let fixture = Fixture::open();
    let engines = [1, 2, 3].map(|number| fixture.start(number));
    let [one, two, three] = &engines;
    one.sale("phone", 30, "");
    known_to_all(&[one, two, three], "phone");
    until("the third node has sold", || three.buy("phone", "ann").status == 201);
    let [one, two, three] = engines;
    assert!(two.terminate().0.success() && three.terminate().0.success());
    let named = |sku: &str| {
        let book = fixture.redis.command(&format!("KEYS seckill:*:{{default:test:{sku}}}:book"));
        let fields = fixture.redis.command(&format!("HKEYS {}", book.trim()));
        let mut nodes: Vec<_> =
            fields.lines().filter_map(|field| field.strip_prefix("i:")).map(str::to_owned).collect();
        nodes.sort_unstable();
        nodes
    };
    one.sale("book", 5, "");
    assert_eq!(sell_out(&[&one], "book").len(), 5);
    assert_eq!(named("book"), ["1"]);
    // Who has had a share of a sale is named in each of its books: what it sold is sold.
    fixture.redis.command("FLUSHALL");
    assert_eq!(sell_out(&[&one], "phone").len(), 29);
    let sellers = fixture.query(
        "SELECT string_agg(node::text, ' ' ORDER BY node) FROM seckill.shares JOIN seckill.sales \
                                 USING (sale_id) WHERE sku = 'phone' AND granted > 0",
    );
    assert_eq!(named("phone").join(" "), sellers);
    assert!(sellers.contains('3'), "{sellers}");
}

#[test]
fn n11_the_first_book_of_a_sale_does_not_wait_for_a_node_that_has_died() {
    let fixture = Fixture::open();
    // Nobody would miss a node for ten minutes.
    let slow = [("LEDGER__SILENT_MS_MAX", "600000")];
    let (one, two) = (fixture.launch(1, &slow).start(), fixture.launch(2, &slow).start());
    one.sale("phone", 10, "");
    known_to_all(&[&one, &two], "phone");
    until("the second node has units", || two.buy("phone", "ann").status == 201);
    let _died = two.kill();
    one.sale("book", 5, "");
    assert_eq!(sell_out(&[&one], "book").len(), 5);
}

#[test]
fn m4_a_node_that_starts_beside_others_moves_no_deadline_and_one_that_starts_alone_does() {
    // Signs of life are given at starts only: what is missing since the last one is longer than a buyer fails to notice.
    const MISSING: Duration = Duration::from_secs(2);
    let fixture = Fixture::open();
    let rare = [("CHECKOUT__EXPIRY__ALIVE_MS", "60000")];
    let (one, two) = (fixture.launch(1, &rare).start(), fixture.launch(2, &rare).start());
    one.sale("phone", 10, "");
    known_to_all(&[&one, &two], "phone");
    until("it is bought", || one.buy("phone", "ann").status == 201);
    let outages = || fixture.query("SELECT count(*) FROM seckill.graces");
    std::thread::sleep(MISSING);
    let two = two.kill().start();
    assert_eq!(outages(), "0", "the other one lived");

    let (one, _two) = (one.kill(), two.kill());
    until("PostgreSQL knows that they are dead", || {
        fixture.query(
            "SELECT count(*) FROM pg_locks JOIN pg_database d ON database = d.oid \
             WHERE locktype = 'advisory' AND datname = current_database()",
        ) == "0"
    });
    std::thread::sleep(MISSING);
    let _one = one.start();
    assert_eq!(outages(), "1", "nobody did");
}
