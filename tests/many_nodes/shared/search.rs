//! Search of several nodes on one store: one of them writes, another goes on where that one is gone.

use serde_json::Value;
use testbed::engine::Engine;
use testbed::search::SearchServer;

use super::fixture::{Fixture, known_to_all, sell, until};

fn standing(engine: &Engine) -> Value {
    engine.read("/api/v1/search").json()
}

#[test]
fn s10_another_node_follows_the_sales_where_one_is_gone() {
    for server in [SearchServer::elastic(), SearchServer::meili()] {
        let fixture = Fixture::open();
        let keys = server.keys();
        let (one, two) = (fixture.launch(1, &keys).start(), fixture.launch(2, &keys).start());
        one.sale("phone", 100, "");
        one.sale("watch", 100, "");
        for sku in ["phone", "watch"] {
            known_to_all(&[&one, &two], sku);
        }
        // What each of them sells is told by one.
        sell(&[&one, &two], "phone", 60);
        until("some are left", || server.shows("phone", "open", "some"));
        let writes = |engine: &Engine| standing(engine)["writer"] == true;
        until("one of them writes", || writes(&one) != writes(&two));
        let (gone, left) = if writes(&one) { (one, two) } else { (two, one) };

        // Whoever is asked, the one that writes builds anew.
        let asked = left.admin("POST", "/api/v1/search/rebuild", r#"{"reason":"a test"}"#);
        assert_eq!(asked.status, 202, "{}", asked.body);
        until("it is done, and all know", || {
            [&gone, &left].iter().all(|node| standing(node)["rebuild"]["state"] == "done")
        });

        server.set_away(true);
        sell(&[&gone, &left], "phone", 40);
        drop(gone.kill());
        server.set_away(false);
        until("the other one has told it", || server.shows("phone", "sold_out", "none"));
        assert!(writes(&left));
        sell(&[&left], "watch", 30);
        let paused = left.admin("POST", "/api/v1/campaigns/test/watch/pause", r#"{"reason":"a test"}"#);
        assert_eq!(paused.status, 200, "{}", paused.body);
        until("it follows the next", || server.shows("watch", "paused", "plenty"));
        server.check_rules();
    }
}
