//! D2: an order that is not durable yet is found by its number, whatever else is and was on sale.

use rusqlite::Connection;
use testbed::engine::Launch;
use testbed::servers::engine::NO_SIGN_OF_LIFE;
use testbed::until;

const OTHER_SALES: usize = 200;

#[test]
fn d2_an_order_on_its_way_is_found_among_many_sales_and_by_its_buyer_alone() {
    let launch = Launch::new(&[
        ("EDGE__ACK_WAIT_MS", "100"),
        ("SQLITE__LOCK_WAIT_MS", "1"),
        ("LOG__LEVEL", "warn"),
        NO_SIGN_OF_LIFE,
    ]);
    let engine = launch.start();
    for n in 0..OTHER_SALES {
        engine.sale(&format!("other-{n}"), 1, "");
    }
    engine.sale("phone", 5, "");
    // The buyer has an order in another sale, too.
    let other = format!("/orders/{}", engine.buy("other-0", "ann").member("order_id"));
    let status = |path: &str| engine.ask("GET", path, "ann", "", "").member("status");
    until("it is durable", || status(&other) == "pre_pay");

    let stranger = Connection::open(launch.folder().join("orders.sqlite")).unwrap();
    stranger.busy_timeout(std::time::Duration::from_secs(120)).unwrap();
    stranger.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let bought = engine.buy("phone", "ann");
    assert_eq!((bought.status, bought.member("status").as_str()), (202, "pending"));
    let path = format!("/orders/{}", bought.member("order_id"));
    let own = engine.ask("GET", &path, "ann", "", "");
    assert_eq!((own.status, own.member("status").as_str()), (200, "pending"));
    assert_eq!(own.member("sku"), "phone");
    assert_eq!(engine.ask("GET", &path, "bob", "", "").status, 404, "another buyer");
    assert_eq!(engine.ask("GET", &path, "ann", "X-Tenant-ID: other\r\n", "").status, 404, "another tenant");
    stranger.execute_batch("COMMIT").unwrap();
    until("the order is durable", || status(&path) == "pre_pay");
}
