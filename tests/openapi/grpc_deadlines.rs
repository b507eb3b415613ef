//! Deadlines of calls, as the engine keeps them.

use rusqlite::Connection;
use testbed::PATIENCE;
use testbed::engine::Launch;
use testbed::servers::engine::NO_SIGN_OF_LIFE;
use testbed::servers::process;

use super::grpc_call::{DEADLINE_EXCEEDED, INVALID_ARGUMENT, OK, buy};

#[test]
fn a_call_past_its_deadline_is_not_begun_and_a_queued_purchase_is_told_of_in_time() {
    let address = process::free_address();
    let listen = address.to_string();
    // Nobody waits shorter than the callers say: winners would wait for a minute.
    let launch = Launch::new(&[
        ("GRPC__LISTEN", &listen),
        ("SQLITE__LOCK_WAIT_MS", "1"),
        ("LOG__LEVEL", "warn"),
        NO_SIGN_OF_LIFE,
    ]);
    let engine = launch.start();
    engine.sale("phone", 5, "");

    assert_eq!(buy(address, "late", "1n").0, DEADLINE_EXCEEDED);
    assert_eq!(buy(address, "late", "soon").0, INVALID_ARGUMENT);
    assert_eq!(engine.audit("phone").available, 5, "nothing was bought");

    let stranger = Connection::open(launch.folder().join("orders.sqlite")).unwrap();
    stranger.busy_timeout(PATIENCE).unwrap();
    stranger.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let (code, message) = buy(address, "ann", "3S");
    assert_eq!(code, OK, "it is told in time, and truthfully");
    // The frame's five bytes, then field 1: the number of the order.
    let (length, rest) = (message[6] as usize, &message[7..]);
    let (order, rest) = rest.split_at(length);
    let order = String::from_utf8(order.to_vec()).unwrap();
    assert_eq!(rest[..2], [0x10, 1], "field 2: pending");
    let own = engine.ask("GET", &format!("/orders/{order}"), "ann", "", "");
    assert_eq!((own.status, own.member("status").as_str()), (200, "pending"));
    stranger.execute_batch("COMMIT").unwrap();

    // The same attempt again hears of the same order, once it is durable.
    let (code, message) = buy(address, "ann", "1H");
    assert_eq!(code, OK);
    assert_eq!(&message[7..7 + length], order.as_bytes());
    assert_eq!(message[7 + length..][..2], [0x10, 2], "field 2: waits to be paid");
    assert_eq!(engine.audit("phone").available, 4);
}
