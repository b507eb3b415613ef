//! What can happen to a node: a line that is not mended, a clock that is wrong, a restart.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use testbed::calendar::FakeCalendar;
use testbed::servers::cluster::Node;
use testbed::servers::proxy::{Mode, Proxy};

use super::super::fixture::Fixture;
use super::super::round::under_load_for_good;
use super::{LONG_CUT, victim, wait};

/// Lines of one node are cut, and stay so until the others have sold everything.
fn under_load_without_lines(name: &str, lines: impl Fn(&Node) -> Vec<&Proxy>) {
    let set = |fixture: &Fixture, round, mode| {
        let node = &fixture.cluster.nodes[victim(fixture, round)];
        lines(node).into_iter().for_each(|line| line.set(mode));
    };
    under_load_for_good(
        name,
        Fixture::open(&[]).slowly().once(),
        |fixture, round| {
            set(fixture, round, Mode::Silence);
            // Buyers go on to come there, until whoever sends them has noticed.
            wait(LONG_CUT);
            fixture.give_up(victim(fixture, round));
            Instant::now()
        },
        |fixture, round| set(fixture, round, Mode::Pass),
    );
}

fn to_redis(node: &Node) -> &Proxy {
    node.to_redis.as_ref().expect("a proxy")
}

fn to_postgres(node: &Node) -> &Proxy {
    node.to_postgres.as_ref().expect("a proxy")
}

#[test]
fn the_line_between_a_node_and_redis_is_cut_for_good() {
    under_load_without_lines("line-to-redis-lost", |node| vec![to_redis(node)]);
}

#[test]
#[ignore = "the short form is shared::hearing::n4_a_node_that_loses_postgresql_for_good_gives_its_units_to_the_others"]
fn the_line_between_a_node_and_postgresql_is_cut_for_good() {
    under_load_without_lines("line-to-postgres-lost", |node| vec![to_postgres(node)]);
}

#[test]
#[ignore = "each line by itself: the_line_between_a_node_and_redis_is_cut_for_good, shared::hearing::n4_a_node_that_loses_postgresql_for_good_gives_its_units_to_the_others"]
fn both_lines_of_a_node_are_cut_for_good() {
    under_load_without_lines("both-lines-lost", |node| vec![to_redis(node), to_postgres(node)]);
}

#[test]
#[ignore = "the short form is shared::calendar::n5_a_node_whose_clock_is_off_takes_payments_and_expires_nothing_that_it_inherits"]
fn the_clock_of_a_node_jumps() {
    let mut fixture = Fixture::open(&[]);
    let calendars: Vec<_> = fixture.cluster.nodes.iter().map(|_| FakeCalendar::new()).collect();
    for (node, calendar) in calendars.iter().enumerate() {
        fixture.kill(node);
        fixture.cluster.nodes[node].environment = calendar.environment();
        fixture.start(node);
    }
    under_load_for_good(
        "clock-jumps",
        fixture.slowly(),
        |fixture, round| {
            let off_s = if round.is_multiple_of(2) { 7_200 } else { -7_200 };
            calendars[victim(fixture, round)].set(off_s);
            Instant::now()
        },
        |fixture, round| calendars[victim(fixture, round)].set(0),
    );
}

#[test]
#[ignore = "the short form is shared::restarts::n11_neighbours_that_left_and_came_back_are_not_fenced"]
fn all_nodes_leave_and_come_back_after_three_seconds() {
    let wanted = RefCell::new(Vec::new());
    let lives = |fixture: &Fixture| -> Vec<u64> {
        (0..fixture.cluster.nodes.len()).map(|node| fixture.lives(node)).collect()
    };
    under_load_for_good(
        "nodes-restarted",
        Fixture::open(&[]),
        |fixture, _| {
            wanted.replace(lives(fixture).into_iter().map(|lives| lives + 1).collect());
            fixture.cluster.running().for_each(|engine| engine.ask_to_stop());
            for node in &mut fixture.cluster.nodes {
                if let Some(mut engine) = node.engine.take() {
                    engine.wait_for_end();
                }
            }
            fixture.publish_addresses();
            wait(Duration::from_secs(3));
            (0..fixture.cluster.nodes.len()).for_each(|node| fixture.start(node));
            Instant::now()
        },
        |fixture, _| assert_eq!(lives(fixture), *wanted.borrow(), "one life for each start"),
    );
}
