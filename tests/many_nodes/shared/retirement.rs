//! Sales that end while, or before, several engines share the order store.

use testbed::engine::Engine;

use super::fixture::{Fixture, known_to_all, until};

const REASON: &str = r#"{"reason":"it is over"}"#;

fn told(answer: &testbed::client::Answer) -> (u16, String) {
    (answer.status, answer.member("code"))
}

#[test]
fn o9_several_engines_archive_and_delete_nothing_yet_and_say_so() {
    let fixture = Fixture::open();
    let (one, two) = (fixture.start(1), fixture.start(2));
    one.sale("phone", 10, "");
    known_to_all(&[&one, &two], "phone");
    assert_eq!(one.admin("POST", "/api/v1/campaigns/test/phone/end", REASON).status, 200);
    until("both know", || [&one, &two].iter().all(|engine| engine.sale_state("phone")["state"] == "ended"));
    let not_offered = (501, "archive-not-offered".to_owned());
    assert_eq!(told(&two.admin("POST", "/api/v1/campaigns/test/phone/archive", REASON)), not_offered);
    assert_eq!(told(&two.admin("DELETE", "/api/v1/campaigns/test/phone", "")), not_offered);
    // Nothing has changed.
    assert_eq!(told(&one.buy("phone", "ann")), (410, "sale-ended".into()));
    assert_eq!(two.admin("GET", "/api/v1/campaigns/test/phone", "").member("state"), "ended");
}

#[test]
fn o9_several_engines_find_what_one_has_archived() {
    let fixture = Fixture::open();
    let keys = [("POSTGRES__URL", fixture.database_url.as_str()), ("POSTGRES__CONNECT_WAIT_MS", "30000")];
    let alone = Engine::start(&keys);
    alone.sale("phone", 10, "");
    alone.sale("watch", 10, "");
    let order = alone.buy("phone", "ann").member("order_id");
    let paid = || {
        let path = format!("/orders/{order}/checkout");
        alone.ask("POST", &path, "ann", "", r#"{"payment_method":"card"}"#).status == 200
    };
    until("ann has paid", paid);
    assert_eq!(alone.admin("POST", "/api/v1/campaigns/test/phone/end", REASON).status, 200);
    let archived = alone.admin("POST", "/api/v1/campaigns/test/phone/archive", REASON);
    assert_eq!(archived.status, 200, "{}", archived.body);
    let moved = "SELECT count(*) FROM seckill.sales WHERE moved_through IS NOT NULL";
    until("its orders have moved", || fixture.query(moved) == "0");
    alone.terminate();

    let (one, two) = (fixture.start(1), fixture.start(2));
    for engine in [&one, &two] {
        let found = engine.ask("GET", &format!("/orders/{order}"), "ann", "", "");
        assert_eq!((found.status, found.member("status")), (200, "paid".into()), "{}", found.body);
        let again = engine.buy("phone", "ann");
        assert_eq!((told(&again).1, again.member("order_id")), ("already-purchased".into(), order.clone()));
        assert_eq!(told(&engine.buy("phone", "bob")), (410, "sale-ended".into()));
        let audit = engine.read("/api/v1/campaigns/test/phone/audit").json();
        assert_eq!((&audit["paid"], &audit["conserved"]), (&1.into(), &true.into()), "{audit}");
        // The export is complete, and waits for nobody.
        assert_eq!(engine.orders("phone", "").len(), 1);
    }
    until("they sell what is live", || two.buy("watch", "ann").status == 201);
    until("and the first one tells of it", || one.orders("watch", "").len() == 1);
}
