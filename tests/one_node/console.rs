//! The console in a real browser. What counts after each click is what a buyer then gets.

use serde_json::Value;
use testbed::engine::Engine;
use testbed::receiver::{Receiver, SECRET};
use testbed::search::SearchServer;
use testbed::servers::browser::Browser;
use testbed::until;

const CARD: &str = "section[data-sale='/sales/default/test/phone']";

fn console(engine: &Engine, path: &str) -> String {
    format!("http://{}{path}", engine.admin_addr())
}

/// What the next buyer is told.
fn hears(engine: &Engine, sku: &str, buyer: &str) -> (u16, String) {
    let answer = engine.buy(sku, buyer);
    (answer.status, answer.member("code"))
}

#[test]
fn a_sale_is_paused_resumed_changed_and_ended_with_clicks() {
    let engine = Engine::start(&[]);
    engine.sale("phone", 3, "");
    let browser = Browser::open(1_400);
    browser.go(&console(&engine, "/"));
    browser.wait_for(&format!("{CARD} .state"), |state| state == "open");
    assert_eq!(hears(&engine, "phone", "ada"), (201, String::new()));
    browser.wait_for(&format!("{CARD} [data-f=held]"), |held| held == "1");
    let said = |name: &str| format!("[data-dependency={name}] td");
    browser.wait_for(&said("store"), |said| said.contains("commits seen in the last minute, P50 "));
    browser.wait_for(&said("relay"), |said| said.starts_with("not used: this engine sells alone"));

    browser.fill(&format!("{CARD} form[action$='/pause'] [name=reason]"), "prices are wrong");
    browser.click(&format!("{CARD} form[action$='/pause'] button"));
    browser.wait_for("main", |page| page.contains("sale-paused, and to come back"));
    assert_eq!(hears(&engine, "phone", "bob"), (409, "sale-paused".into()));

    browser.fill("form[action$='/resume'] [name=reason]", "prices are right");
    browser.click("form[action$='/resume'] button");
    browser.wait_for("main", |page| page.contains("an order, while there are units"));
    assert_eq!(hears(&engine, "phone", "bob"), (201, String::new()));

    browser.fill("form[action$='/change'] [name=stock_delta]", "-1");
    browser.fill("form[action$='/change'] [name=reason]", "one was broken");
    browser.click("form[action$='/change'] button");
    until("it is changed", || engine.audit("phone").total == 2);
    assert_eq!(hears(&engine, "phone", "cid"), (409, "sold-out".into()));

    browser.go(&console(&engine, "/sales/default/test/phone/end"));
    browser.fill("[name=confirm]", "fone");
    browser.fill("[name=reason]", "that was all");
    browser.click("form[action$='/end'] button");
    browser.wait_for("main", |page| page.contains("confirm must be phone"));
    assert_eq!(hears(&engine, "phone", "dan"), (409, "sold-out".into()), "it is not ended");
    browser.click("main a");
    browser.click("a[href$='/end']");
    browser.fill("[name=confirm]", "phone");
    browser.fill("[name=reason]", "that was all");
    browser.click("form[action$='/end'] button");
    browser.wait_for("main", |page| page.contains("sale-ended"));
    assert_eq!(hears(&engine, "phone", "eve"), (410, "sale-ended".into()));

    let trail = engine.admin("GET", "/api/v1/trail", "").body;
    let told: Vec<Value> = trail.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let said: Vec<_> =
        told.iter().map(|entry| (entry["act"].as_str().unwrap(), entry["reason"].as_str())).collect();
    assert_eq!(
        said,
        [
            ("campaign.created", None),
            ("campaign.paused", Some("prices are wrong")),
            ("campaign.resumed", Some("prices are right")),
            ("campaign.changed", Some("one was broken")),
            ("campaign.ended", Some("that was all")),
        ]
    );
}

#[test]
fn a_waiting_room_is_seen_and_empties_faster_with_a_click() {
    let engine = Engine::start(&[]);
    engine.sale("phone", 9, r#","queue":{"mode":"fifo","rate_per_s":1}"#);
    assert_eq!(engine.ask("POST", "/seckill/test/phone/queue", "ada", "", "").status, 201);
    let browser = Browser::open(1_400);
    browser.go(&console(&engine, "/"));
    browser.wait_for(&format!("{CARD} [data-f=waiting_room]"), |words| words.contains("1 registered"));
    browser.go(&console(&engine, "/sales/default/test/phone"));
    browser.fill("form[action$='/queue'] [name=rate_per_s]", "7");
    browser.fill("form[action$='/queue'] [name=reason]", "it is slow");
    browser.click("form[action$='/queue'] button");
    browser.wait_for("main", |page| page.contains("7 a second"));
    let sale = engine.admin("GET", "/api/v1/campaigns/test/phone", "").json();
    assert_eq!((&sale["queue"]["mode"], &sale["queue"]["rate_per_s"]), (&"fifo".into(), &7.into()));
}

#[test]
fn a_beacon_is_named_and_its_value_given_with_clicks() {
    let engine = Engine::start(&[]);
    let later = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    engine.sale("phone", 9, &format!(r#","starts_at":"{later}","queue":{{"mode":"draw"}}"#));
    let browser = Browser::open(1_400);
    browser.go(&console(&engine, "/sales/default/test/phone"));
    browser.script("document.querySelector('[name=beacon_source]').value = 'nist-chain-2'");
    browser.fill("form[action$='/queue'] [name=beacon_round]", "12345");
    browser.fill("form[action$='/queue'] [name=reason]", "nobody shall doubt it");
    browser.click("form[action$='/queue'] button");
    browser.wait_for("main", |page| page.contains("nist-chain-2 round 12345: awaited until"));
    assert_eq!(browser.count("form[action$='/beacon']"), 0, "nobody gives a value while people register");
    let now = format!(r#"{{"starts_at":"{}"}}"#, jiff::Timestamp::now());
    assert_eq!(engine.admin("PATCH", "/api/v1/campaigns/test/phone", &now).status, 200);
    let state = || engine.ask("GET", "/seckill/test/phone/queue", "nobody", "", "").member("state");
    until("the sale has started", || state() == "drawing");
    browser.go(&console(&engine, "/sales/default/test/phone"));
    assert!(browser.accessibility_findings().is_empty(), "{:?}", browser.accessibility_findings());
    let value = "5e".repeat(64);
    browser.fill("form[action$='/beacon'] [name=value]", &value);
    browser.click("form[action$='/beacon'] button");
    browser.wait_for("main", |page| page.contains(&format!("mixed with {value}")));
    until("it is drawn", || state() == "open");
    assert_eq!(browser.count("form[action$='/beacon']"), 0);
}

#[test]
fn everything_is_stopped_and_goes_on() {
    let engine = Engine::start(&[]);
    engine.sale("phone", 9, "");
    let browser = Browser::open(1_400);
    browser.go(&console(&engine, "/"));
    browser.click("a[href='/stop']");
    browser.fill("[name=confirm]", "stop");
    browser.fill("[name=reason]", "the bank is down");
    browser.click("form[action='/stop'] button");
    browser.wait_for("[role=status]", |said| said.contains("All sales are stopped"));
    assert_eq!(hears(&engine, "phone", "ada"), (409, "sale-paused".into()));
    browser.click("form[action='/go'] button");
    until("it goes on", || hears(&engine, "phone", "ada").0 != 409);
    assert_eq!(browser.count("[role=status]"), 0);
}

#[test]
fn an_order_is_found_given_time_and_cancelled() {
    let engine = Engine::start(&[]);
    engine.sale("phone", 1, "");
    let order = engine.buy("phone", "ada").member("order_id");
    let browser = Browser::open(1_400);
    for wanted in ["ada", order.as_str()] {
        browser.go(&console(&engine, "/orders"));
        browser.fill("[name=q]", wanted);
        browser.click("main form button");
        browser.wait_for("main", |page| page.contains(&order));
    }
    assert!(browser.url().ends_with(&format!("/orders/{order}")), "a number leads to its page");
    browser.fill("[name=pay_before]", "2000-01-01T00:00:00Z");
    browser.fill("form[action$='/extend'] [name=reason]", "the bank was away");
    browser.click("form[action$='/extend'] button");
    browser.wait_for("main", |page| page.contains("must be later than now"));
    browser.click("main a");
    browser.fill("form[action$='/cancel'] [name=reason]", "the buyer called");
    browser.click("form[action$='/cancel'] button");
    browser.wait_for("main", |page| page.contains("cancelled"));
    assert_eq!(hears(&engine, "phone", "bob"), (201, String::new()), "the unit is on sale again");

    browser.go(&console(&engine, "/orders?q=nobody"));
    assert!(browser.text("main [role=status]").contains("nobody"));
}

#[test]
fn what_was_paid_is_given_back_and_its_unit_sold_again() {
    let engine = Engine::start(&[]);
    engine.sale("phone", 1, "");
    let order = engine.buy("phone", "ada").member("order_id");
    let paid =
        engine.ask("POST", &format!("/orders/{order}/checkout"), "ada", "", r#"{"payment_method":"card"}"#);
    assert_eq!((paid.status, paid.member("status").as_str()), (200, "paid"), "{}", paid.body);
    let browser = Browser::open(1_400);
    browser.go(&console(&engine, &format!("/orders/{order}")));
    browser.click("a[href$='/refund']");
    browser.fill("form[method=get] [name=amount_cents]", "2000");
    browser.click("form[method=get] button");
    browser.wait_for("main [role=status]", |said| said.contains("must be 1 to 1999"));
    browser.fill("form[method=get] [name=amount_cents]", "");
    browser.fill("form[method=get] [name=restock]", "1");
    browser.click("form[method=get] button");
    browser.wait_for("main", |page| {
        page.contains("19.99 USD go back to ada") && page.contains("1 of the order's units")
    });
    let give_back = |word: &str| {
        browser.fill("form[method=post][action$='/refund'] [name=confirm]", word);
        browser.fill("form[method=post][action$='/refund'] [name=reason]", "arrived broken");
        browser.click("form[method=post][action$='/refund'] button");
    };
    give_back("refunt");
    browser.wait_for("main", |page| page.contains("confirm must be refund"));
    assert_eq!(hears(&engine, "phone", "bob"), (409, "sold-out".into()), "nothing is given back");
    browser.go(&console(&engine, &format!("/orders/{order}/refund?restock=1")));
    give_back("refund");
    browser.wait_for("main", |page| page.contains("arrived broken") && page.contains("made"));
    let seen = engine.ask("GET", &format!("/orders/{order}"), "ada", "", "");
    assert_eq!(
        (seen.member("status").as_str(), &seen.json()["refunded_cents"]),
        ("refunded", &Value::from(1_999))
    );
    assert_eq!(hears(&engine, "phone", "bob"), (201, String::new()), "the unit is on sale again");
}

#[test]
fn a_sale_is_made_once_it_was_seen_what_it_does() {
    let engine = Engine::start(&[]);
    let browser = Browser::open(1_400);
    browser.go(&console(&engine, "/sales"));
    browser.click("a[href='/sales/new']");
    let fill = |name: &str, value: &str| browser.fill(&format!("form[method=get] [name={name}]"), value);
    for (name, value) in [("campaign", "test"), ("sku", "coat"), ("price_cents", "19900"), ("stock", "x")] {
        fill(name, value);
    }
    browser.script("document.querySelector('[name=stock]').removeAttribute('pattern')");
    browser.click("form[method=get] button");
    browser.wait_for("main [role=status]", |said| said.contains("stock must be"));
    for (name, value) in [("stock", "1000"), ("rate_per_s", "500"), ("burst", "500"), ("zone", "+02:00")] {
        fill(name, value);
    }
    browser.script("document.querySelector('[name=starts_at]').value = '2099-01-31T12:00'");
    browser.click("form[method=get] button");
    browser.wait_for("main", |page| {
        page.contains("2099-01-31 12:00:00 in +02:00 (2099-01-31 10:00:00 UTC)")
            && page.contains("has sold everything at 2099-01-31 12:00:01")
            && page.contains("199000.00 USD in all")
    });
    assert_eq!(hears(&engine, "coat", "ada"), (404, "unknown-sale".into()), "nothing is made by looking");
    browser.fill("form[method=post][action='/sales/new'] [name=reason]", "the winter");
    browser.click("form[method=post][action='/sales/new'] button");
    browser.wait_for("main", |page| page.contains("sale-not-started, with the time of the opening"));
    let told = engine.buy("coat", "ada");
    assert_eq!((told.status, told.member("starts_at").as_str()), (409, "2099-01-31T10:00:00.000Z"));
    assert_eq!(engine.audit("coat").total, 1_000);

    browser.go(&console(&engine, "/trail"));
    browser.wait_for("main table", |page| page.contains("campaign.created") && page.contains("the winter"));
    browser.fill("form [name=object]", "test/shirt");
    browser.click("main form button");
    browser.wait_for("main [role=status]", |said| said.contains("Nothing of this kind"));
    let saved = engine.admin("GET", "/trail.ndjson?act=campaign.created&object=coat", "").body;
    let saved: Vec<Value> = saved.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((saved.len(), &saved[0]["reason"]), (1, &Value::from("the winter")));
    browser.go(&console(&engine, "/"));
    browser.wait_for("#acts", |acts| acts.contains("campaign.created test/coat the winter"));
    until("the act is marked on the chart", || browser.count("svg line.mark") == 1);
}

/// The endpoint `erp` of webhooks at this address.
fn endpoint_at(url: &str) -> String {
    format!("[{{name=\"erp\",url=\"{url}\",secrets=[\"{SECRET}\"],allow_http=true}}]")
}

#[test]
fn an_endpoint_of_webhooks_is_disabled_enabled_and_told_once_more_and_the_index_built_anew() {
    let (receiver, search) = (Receiver::start(), SearchServer::meili());
    let endpoints = endpoint_at(&receiver.url());
    let mut keys = search.keys();
    keys.extend([
        ("WEBHOOKS__ENDPOINTS", endpoints.as_str()),
        ("WEBHOOKS__ALLOWED_NETWORKS", "[\"127.0.0.0/8\"]"),
        ("WEBHOOKS__IDLE_MS", "20"),
    ]);
    let engine = Engine::start(&keys);
    engine.sale("phone", 9, "");
    let told = |buyer: &str| receiver.deliveries().iter().filter(|it| it.event["buyer"] == buyer).count();
    assert_eq!(engine.buy("phone", "ada").status, 201);
    until("the order is told", || told("ada") > 0);
    let browser = Browser::open(1_400);
    browser.go(&console(&engine, "/"));
    browser.click("a[href='/integrations']");
    browser.wait_for("[data-endpoint=erp]", |shown| shown.contains("delivering"));

    browser.fill("form[action$='/disable'] [name=reason]", "stocktaking");
    browser.click("form[action$='/disable'] button");
    browser.wait_for("[data-endpoint=erp]", |shown| shown.contains("Tell it again"));
    assert_eq!(engine.buy("phone", "bob").status, 201);
    browser.click("form[action$='/enable'] button");
    until("what waited is told", || told("bob") > 0);

    browser.wait_for("[data-endpoint=erp]", |shown| shown.contains("Tell it nothing"));
    browser.fill("form[action$='/replay'] [name=from]", "1000");
    browser.fill("form[action$='/replay'] [name=reason]", "a new receiver");
    browser.click("form[action$='/replay'] button");
    browser.wait_for("main", |page| page.contains("from must be the number of an event"));
    browser.click("main a");
    browser.fill("form[action$='/replay'] [name=from]", "1");
    browser.fill("form[action$='/replay'] [name=reason]", "a new receiver");
    browser.click("form[action$='/replay'] button");
    until("both are told again", || told("ada") > 1 && told("bob") > 1);

    browser.wait_for("#search", |shown| shown.contains("meilisearch"));
    browser.fill("form[action$='/search/rebuild'] [name=reason]", "a new mapping");
    browser.click("form[action$='/search/rebuild'] button");
    browser.wait_for("#search", |shown| shown.contains("asked for"));
    until("it is done", || engine.read("/api/v1/search").json()["rebuild"]["state"] == "done");
}

/// An engine with a sale and a paid order, and the addresses of all pages.
fn engine_with_pages() -> (Engine, Vec<String>) {
    let engine = Engine::start(&[
        ("WEBHOOKS__ENDPOINTS", &endpoint_at("http://127.0.0.1:9/")),
        ("WEBHOOKS__ALLOWED_NETWORKS", "[\"127.0.0.0/8\"]"),
        ("SEARCH__KIND", "meilisearch"),
        ("SEARCH__URL", "http://127.0.0.1:9"),
    ]);
    engine.sale("phone", 1, "");
    let order = engine.buy("phone", "ada").member("order_id");
    engine.ask("POST", &format!("/orders/{order}/checkout"), "ada", "", r#"{"payment_method":"card"}"#);
    let pages = vec![
        "/".to_owned(),
        "/sales".into(),
        "/sales?archived=1".into(),
        "/sales/default/test/phone".into(),
        "/sales/default/test/phone/end".into(),
        "/stop".into(),
        "/orders?q=ada".into(),
        "/sales/new?campaign=test&sku=coat&price_cents=5&stock=7".into(),
        "/integrations".into(),
        "/trail".into(),
        format!("/orders/{order}"),
        format!("/orders/{order}/refund?restock=1"),
    ];
    let pages = pages.iter().map(|page| console(&engine, page)).collect();
    (engine, pages)
}

#[test]
fn no_page_has_a_finding_of_the_accessibility_checker_in_the_light_or_in_the_dark() {
    let (_engine, pages) = engine_with_pages();
    let browser = Browser::open(1_400);
    for is_dark in [false, true] {
        if is_dark {
            browser.prefer_dark();
        }
        for page in &pages {
            browser.go(page);
            let found = browser.accessibility_findings();
            assert!(found.is_empty(), "{page}, dark: {is_dark}:\n{}", found.join("\n"));
        }
    }
}

#[test]
fn every_page_fits_a_telephone_and_says_what_it_is() {
    let (_engine, pages) = engine_with_pages();
    let browser = Browser::open(400);
    for page in pages {
        browser.go(&page);
        assert_eq!(browser.count("main h1"), 1, "{page}");
        let over = browser.script("return document.documentElement.scrollWidth - window.innerWidth");
        assert!(over.as_i64().unwrap() <= 0, "{page} is {over} pixels too wide");
        let raw = browser.script(r"return document.body.innerText.match(/\d{4}-\d\d-\d\dT\d\d.*/)");
        assert!(raw.is_null(), "{page} shows a moment as programs read it: {raw}");
        let unnamed = browser.script(
            "return [...document.querySelectorAll('input:not([type=hidden]),select,button')]\
             .filter(e => !(e.labels && e.labels.length) && !e.textContent.trim()).length",
        );
        assert_eq!(unnamed, 0, "{page} has fields without a name");
    }
}

#[test]
fn load_tests_and_what_is_archived_stand_apart_from_sales_for_buyers() {
    let engine = Engine::start(&[]);
    ["phone", "load-test", "coat"].iter().for_each(|sku| engine.sale(sku, 1, ""));
    let because = r#"{"reason":"it is over"}"#;
    for act in ["end", "archive"] {
        let done = engine.admin("POST", &format!("/api/v1/campaigns/test/coat/{act}"), because);
        assert_eq!(done.status, 200, "{}", done.body);
    }
    let page = |path: &str| engine.admin("GET", path, "").body;
    let list = page("/sales");
    let (sales, tests) = list.split_once("<h2>Load tests</h2>").expect("they have a table of their own");
    assert!(sales.contains("test/phone") && !sales.contains("test/load-test"), "{sales}");
    assert!(tests.contains("test/load-test") && !list.contains("test/coat"), "{tests}");
    let archived = page("/sales?archived=1");
    assert!(archived.contains("test/coat") && !archived.contains("test/phone"), "{archived}");
    assert!(!page("/sales?archived=1&q=phone").contains("test/coat"));
    assert!(!page("/sales?archived=1&tenant=other").contains("test/coat"));
    until("the picture shows both", || {
        page("/").split_once("<h2 id=\"tests\">").is_some_and(|(sales, tests)| {
            sales.contains("data-sale=\"/sales/default/test/phone\"") && tests.contains("test/load-test")
        })
    });
}
