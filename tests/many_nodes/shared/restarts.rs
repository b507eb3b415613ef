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
