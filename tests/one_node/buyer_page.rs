//! The buyer's page in a real browser, with and without scripts; and as what it is to caches and other sites' pages.

use std::process::Command;

use testbed::client::{Answer, request};
use testbed::engine::Engine;
use testbed::servers::browser::{Browser, ENTER, TAB};
use testbed::until;

pub(super) const ROOM: &str = r#","queue":{"mode":"fifo","rate_per_s":1000}"#;

pub(super) fn engine(keys: &[(&str, &str)]) -> Engine {
    Engine::start(&[&[("EDGE__PAGE", "true")][..], keys].concat())
}

pub(super) fn page(engine: &Engine, sku: &str) -> String {
    format!("http://{}/seckill/test/{sku}/page", engine.edge())
}

pub(super) fn ask(engine: &Engine, method: &str, path: &str, lines: &str, body: &str) -> Answer {
    request(engine.edge(), method, path, lines, body)
}

/// In one hour, in the API's words.
pub(super) fn later() -> jiff::Timestamp {
    jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1)
}

pub(super) fn change(engine: &Engine, sku: &str, body: &str) {
    let changed = engine.admin("PATCH", &format!("/api/v1/campaigns/test/{sku}"), body);
    assert_eq!(changed.status, 200, "{}", changed.body);
}

/// Many who come first, at a room that lets one in a second.
pub(super) fn crowd(engine: &Engine, sku: &str) {
    for n in 0..300 {
        assert_eq!(
            engine.ask("POST", &format!("/seckill/test/{sku}/queue"), &format!("b{n}"), "", "").status,
            201
        );
    }
}

pub(super) fn head_says(browser: &Browser, words: &str) {
    browser.wait_for("#head", |head| head == words);
}

/// From the queue to the payment, with clicks.
fn buys_through_the_room(browser: &Browser) {
    head_says(browser, "There is a queue");
    browser.click("#acts button");
    // Without a script the page looks again by itself.
    head_says(browser, "It is your turn");
    browser.click("#acts button");
    head_says(browser, "Reserved for you");
    browser.wait_for("#facts", |facts| facts.contains("19.99"));
    browser.click("#acts button.main");
    head_says(browser, "Paid");
}

#[test]
fn a_purchase_through_the_room_with_a_script() {
    let engine = engine(&[]);
    engine.sale("phone", 5, ROOM);
    let browser = Browser::open(400);
    browser.go(&page(&engine, "phone"));
    buys_through_the_room(&browser);
    assert_eq!(engine.audit("phone").paid, 1);
    // The page knows its buyer again, and offers nothing more.
    browser.go(&page(&engine, "phone"));
    head_says(&browser, "Paid");
    assert_eq!(browser.count("#acts button"), 0);
}

#[test]
fn a_purchase_through_the_room_without_a_script() {
    let engine = engine(&[]);
    engine.sale("phone", 5, ROOM);
    let browser = Browser::open_without_scripts(400);
    browser.go(&page(&engine, "phone"));
    let marked = browser.script("return document.getElementById('main').dataset.view || null");
    assert_eq!(marked, serde_json::Value::Null, "a script runs");
    buys_through_the_room(&browser);
    assert_eq!(engine.audit("phone").paid, 1);
    assert!(browser.url().contains("/page/mine?order="), "a reload does nothing twice: {}", browser.url());
    browser.click("noscript a[href$='/page']");
    head_says(&browser, "There is a queue");
    browser.click("noscript a[href$='/mine']");
    head_says(&browser, "Paid");
}

/// Sends a form of the page as a browser does whose script is not there yet.
fn sends(browser: &Browser, fields: &str) {
    let script = format!(
        "const form = document.createElement('form'); \
         form.method = 'post'; form.action = main.dataset.sale + '/page'; form.innerHTML = {fields:?}; \
         document.body.append(form); form.submit();"
    );
    browser.script(&script);
}

#[test]
fn what_a_form_got_before_the_script_ran_is_what_the_script_goes_on_with() {
    let engine = engine(&[]);
    engine.sale("phone", 5, ROOM);
    let browser = Browser::open(400);
    browser.go(&page(&engine, "phone"));
    browser.wait_for("#main[data-view=join] #head", |head| head == "There is a queue");
    sends(&browser, "<input name=act value=register>");
    browser.wait_for("#main[data-view=turn] #head", |head| head == "It is your turn");
    sends(&browser, "<input name=act value=buy><input name=key value=early>");
    browser.wait_for("#main[data-view=order_pre_pay] #head", |head| head == "Reserved for you");
    let own = browser.url();
    let own = own.strip_prefix(&format!("http://{}", engine.edge())).expect("a page of the engine");
    let bobs = ask(&engine, "GET", own, "X-User-ID: bob\r\n", "");
    assert!(
        own.contains("?order=") && bobs.body.contains("data-order=\"\""),
        "another's order is none: {own}"
    );
    // Also where the address does not say which order.
    browser.go(&page(&engine, "phone"));
    browser.wait_for("#main[data-view=order_pre_pay] #head", |head| head == "Reserved for you");
    assert_eq!(engine.audit("phone").durable_orders, 1);
}

#[test]
fn the_keyboard_alone_buys_and_gives_back() {
    let engine = engine(&[]);
    engine.sale("phone", 5, "");
    let browser = Browser::open(1_000);
    browser.go(&page(&engine, "phone"));
    head_says(&browser, "On sale now");
    until("the script runs", || {
        browser.script("return document.getElementById('main').dataset.view") == "on_sale"
    });
    let press = |button: &str| {
        until(&format!("{button} has the focus"), || {
            browser.press(TAB);
            browser.script("return document.activeElement.tagName + document.activeElement.textContent")
                == format!("BUTTON{button}")
        });
        browser.press(ENTER);
    };
    press("Buy one");
    head_says(&browser, "Reserved for you");
    until("who cannot see hears what came of it", || {
        browser.script("return document.activeElement.id") == "head"
    });
    press("Give it back");
    head_says(&browser, "Cancelled");
    assert_eq!(engine.audit("phone").available, 5);
    press("Back to the sale");
    head_says(&browser, "On sale now");
    press("Buy one");
    head_says(&browser, "Reserved for you");
    assert_eq!(engine.audit("phone").held, 1, "a new attempt is a new order");
}

#[test]
fn a_draw_is_followed_from_the_pass_and_the_public_document() {
    let engine = engine(&[]);
    let starts_at = later();
    engine.sale(
        "phone",
        5,
        &format!(r#","starts_at":"{starts_at}","queue":{{"mode":"draw","rate_per_s":1000}}"#),
    );
    let browser = Browser::open(1_000);
    browser.go(&page(&engine, "phone"));
    head_says(&browser, "Take part in the draw");
    browser.click("#acts button");
    head_says(&browser, "You take part in the draw");
    browser.wait_for("#countdown", |countdown| countdown.starts_with("Starts in 00:"));
    // The tab forgets; the browser does not.
    browser.go("about:blank");
    browser.go(&page(&engine, "phone"));
    head_says(&browser, "You take part in the draw");
    let before = browser.script("return localStorage.length");
    assert_eq!(before, 1);
    change(&engine, "phone", &format!(r#"{{"starts_at":"{}"}}"#, jiff::Timestamp::now()));
    head_says(&browser, "It is your turn");
    browser.click("#acts button");
    head_says(&browser, "Reserved for you");
}

#[test]
fn who_waits_reads_how_long_and_hears_of_a_pause_and_of_the_end() {
    let engine = engine(&[]);
    engine.sale("phone", 5_000, r#","queue":{"mode":"fifo","rate_per_s":1}"#);
    crowd(&engine, "phone");
    let browser = Browser::open(400);
    browser.go(&page(&engine, "phone"));
    head_says(&browser, "There is a queue");
    browser.click("#acts button");
    head_says(&browser, "Please wait for your turn");
    browser.wait_for("#facts", |facts| {
        facts.contains("People ahead of you") && facts.contains("Estimated wait")
    });
    change(&engine, "phone", r#"{"stock":3}"#);
    head_says(&browser, "There may be nothing left at your turn");
    engine.admin("POST", "/api/v1/campaigns/test/phone/pause", r#"{"reason":"a look"}"#);
    head_says(&browser, "The sale is paused");
    engine.admin("POST", "/api/v1/campaigns/test/phone/resume", r#"{"reason":"go on"}"#);
    engine.admin("POST", "/api/v1/campaigns/test/phone/end", r#"{"reason":"over"}"#);
    head_says(&browser, "The sale is over");
}

#[test]
fn nobody_is_asked_while_nobody_looks_and_at_once_when_somebody_does() {
    let engine = engine(&[]);
    engine.sale("phone", 5, "");
    let browser = Browser::open(400);
    browser.go(&page(&engine, "phone"));
    head_says(&browser, "On sale now");
    let hide = |is_hidden: bool| {
        browser.script(&format!(
            "Object.defineProperty(document, 'hidden', {{ configurable: true, value: {is_hidden} }}); \
             document.dispatchEvent(new Event('visibilitychange'))"
        ));
    };
    let asked = || browser.script("return performance.getEntriesByType('resource').length").as_u64();
    until("it looks", || asked() > Some(4));
    hide(true);
    until("it rests", || {
        let before = asked();
        std::thread::sleep(std::time::Duration::from_secs(4));
        asked() == before
    });
    engine.admin("POST", "/api/v1/campaigns/test/phone/pause", r#"{"reason":"a look"}"#);
    assert_eq!(browser.text("#head"), "On sale now");
    hide(false);
    head_says(&browser, "The sale is paused");
}

/// Brings a browser to each state of the page, one after the other; `look` is told what stands above it.
pub(super) fn in_each_state(browser: &Browser, engine: &Engine, mut look: impl FnMut(&str)) {
    let starts_at = later();
    let opens_at = starts_at - jiff::SignedDuration::from_mins(10);
    for (sku, terms, head) in [
        (
            "closed",
            format!(r#","starts_at":"{starts_at}","queue":{{"mode":"draw","opens_at":"{opens_at}"}}"#),
            "Not open yet",
        ),
        ("upcoming", format!(r#","starts_at":"{starts_at}""#), "Not started yet"),
        (
            "drawn",
            format!(r#","starts_at":"{starts_at}","queue":{{"mode":"draw"}}"#),
            "Take part in the draw",
        ),
        ("full", r#","queue":{"mode":"fifo","rate_per_s":1}"#.to_owned(), "There is a queue"),
        ("room", ROOM.to_owned(), "There is a queue"),
        ("gone", String::new(), "On sale now"),
    ] {
        engine.sale(sku, 5, &terms);
        browser.go(&page(engine, sku));
        head_says(browser, head);
        look(head);
    }
    change(engine, "gone", r#"{"stock":1}"#);
    assert_eq!(engine.buy("gone", "somebody").status, 201);
    head_says(browser, "Sold out");
    look("Sold out");
    change(engine, "full", r#"{"stock":5000}"#);
    crowd(engine, "full");
    browser.go(&page(engine, "full"));
    browser.click("#acts button");
    head_says(browser, "Please wait for your turn");
    look("Please wait for your turn");
    browser.go(&page(engine, "room"));
    browser.click("#acts button");
    head_says(browser, "It is your turn");
    look("It is your turn");
    browser.click("#acts button");
    head_says(browser, "Reserved for you");
    look("Reserved for you");
    browser.click("#acts button.main");
    head_says(browser, "Paid");
    look("Paid");
    browser.go(&page(engine, "nothing"));
    head_says(browser, "There is no such sale");
    look("There is no such sale");
}

#[test]
fn no_state_has_a_finding_of_the_accessibility_checker_in_the_light_or_in_the_dark() {
    for is_dark in [false, true] {
        let engine = engine(&[]);
        let browser = Browser::open(1_000);
        if is_dark {
            browser.prefer_dark();
        }
        in_each_state(&browser, &engine, |state| {
            let found = browser.accessibility_findings();
            assert!(found.is_empty(), "{state}, dark: {is_dark}:\n{}", found.join("\n"));
        });
    }
}

#[test]
fn every_state_fits_a_telephone() {
    let engine = engine(&[]);
    let browser = Browser::open(400);
    in_each_state(&browser, &engine, |state| {
        let over = browser.script("return document.documentElement.scrollWidth - window.innerWidth");
        assert!(over.as_i64().unwrap() <= 0, "{state} is {over} pixels too wide");
        assert_eq!(browser.count("main h1"), 1, "{state}");
        if state == "Reserved for you" {
            let lines = "const range = document.createRange(); \
                         range.selectNodeContents(document.querySelector('#facts .whole dd')); \
                         return new Set([...range.getClientRects()].map(line => line.top)).size";
            assert_eq!(browser.script(lines), 1, "the number of the order is in one piece");
        }
    });
}

#[test]
fn a_page_is_the_same_for_everybody_and_says_so_to_caches() {
    let engine = engine(&[("EDGE__PAGE_GUESTS", "false")]);
    engine.sale("phone", 5, "");
    let path = "/seckill/test/phone/page";
    let shown = ask(&engine, "GET", path, "Accept-Language: de-CH, en;q=0.5\r\n", "");
    assert_eq!(shown.status, 200, "{}", shown.body);
    assert!(
        shown.body.contains("<html lang=\"de\">") && shown.body.contains("Jetzt im Verkauf"),
        "{}",
        shown.body
    );
    assert_eq!(shown.field("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(shown.field("cache-control"), Some("public, s-maxage=1, stale-while-revalidate=2"));
    assert!(shown.field("vary").unwrap().contains("accept-language"), "{:?}", shown.fields);
    assert!(shown.field("content-security-policy").unwrap().starts_with("default-src 'none'"));
    assert!(shown.field("set-cookie").is_none());
    let is_part = |text: &&str| text.ends_with(".css") || text.ends_with(".js");
    let parts: Vec<&str> = shown.body.split('"').filter(is_part).collect();
    assert_eq!(parts.len(), 3, "a style and two scripts: {parts:?}");
    for part in parts {
        let asset = ask(&engine, "GET", part, "", "");
        assert_eq!(
            (asset.status, asset.field("cache-control")),
            (200, Some("public, max-age=31536000, immutable"))
        );
    }
    assert_eq!(ask(&engine, "GET", &format!("{path}/other.js"), "", "").status, 404);
    assert_eq!(ask(&engine, "DELETE", path, "", "").status, 405);
    // Whoever is named by the gateway is served; nobody else is.
    let form = |lines: &str, body: &str| ask(&engine, "POST", path, lines, body);
    let unknown = form("Origin: http://localhost\r\n", "act=buy&key=k");
    assert!(unknown.status == 401 && unknown.body.contains("does not know who you are"), "{}", unknown.body);
    let bought = form("Origin: http://localhost\r\nX-User-ID: ann\r\n", "act=buy&key=k");
    assert_eq!(bought.status, 303, "{}", bought.body);
    let mine = bought.field("location").unwrap().to_owned();
    let mine = ask(&engine, "GET", &mine, "X-User-ID: ann\r\n", "");
    assert_eq!((mine.status, mine.field("cache-control")), (200, Some("no-store")));
    assert!(mine.body.contains("tabindex=\"-1\">Reserved for you</h2>"), "{}", mine.body);
    // Sent twice it bought once.
    assert_eq!(form("Origin: http://localhost\r\nX-User-ID: ann\r\n", "act=buy&key=k").status, 303);
    assert_eq!(engine.audit("phone").held, 1);
    let others = ask(&engine, "GET", bought.field("location").unwrap(), "X-User-ID: bob\r\n", "");
    assert!(others.status == 404 && others.body.contains("You have no such order"), "{}", others.body);
}

#[test]
fn forms_of_other_sites_and_of_nobody_do_nothing() {
    let engine = engine(&[]);
    engine.sale("phone", 5, "");
    let post = |lines: &str| {
        let lines = format!("X-User-ID: ann\r\n{lines}");
        ask(&engine, "POST", "/seckill/test/phone/page", &lines, "act=buy&key=k")
    };
    for lines in
        ["", "Origin: https://evil.example\r\n", "Origin: null\r\n", "Sec-Fetch-Site: cross-site\r\n"]
    {
        let refused = post(lines);
        assert_eq!((refused.status, refused.member("code")), (403, "cross-site".into()), "{lines}");
    }
    assert_eq!(engine.audit("phone").held, 0);
    assert_eq!(post("Sec-Fetch-Site: same-origin\r\n").status, 303);
    let wrong =
        ask(&engine, "POST", "/seckill/test/phone/page", "Sec-Fetch-Site: same-origin\r\n", "act=steal");
    assert_eq!(wrong.status, 400);
}

#[test]
fn a_page_is_where_it_was_asked_for_and_the_demo_has_one() {
    let off = Engine::start(&[("EDGE__PAGE", "false")]);
    assert_eq!(ask(&off, "GET", "/seckill/demo/widget/page", "", "").status, 404);
    let unset = Engine::start(&[]);
    unset.sale("phone", 5, "");
    assert_eq!(ask(&unset, "GET", "/seckill/test/phone/page", "", "").status, 404);
    let demo = ask(&unset, "GET", "/seckill/demo/widget/page", "", "");
    assert!(demo.status == 200 && demo.body.contains("Demo widget"), "{}", demo.body);
    let guest = demo.field("set-cookie").expect("a guest").split(';').next().unwrap().to_owned();
    assert_eq!(demo.field("cache-control"), Some("no-store"), "a guest's page is one guest's");
    let lines = format!("Cookie: {guest}\r\n");
    let bought = ask(&unset, "POST", "/seckill/demo/widget", &lines, "");
    assert_eq!(bought.status, 201, "{}", bought.body);
    assert_eq!(format!("sale_guest={}", bought.member("buyer")), guest);
    assert_eq!(ask(&unset, "POST", "/seckill/demo/widget", "", "").status, 401);
    // Where nobody may say whether there is such a sale, the page does not say that there is none.
    let fixed = engine(&[("EDGE__TENANT__FROM", "fixed")]);
    let kept_from = ask(&fixed, "GET", "/seckill/test/phone/page", "X-Tenant-ID: other\r\n", "");
    assert_eq!(kept_from.status, 403);
    assert!(kept_from.body.contains(">The sale cannot be shown now</h2>"), "{}", kept_from.body);
    let proven = Engine::start(&[("EDGE__AUTH__ORIGIN_SECRET", "sixteen-bytes-ok")]);
    let heard = "X-Origin-Secret: sixteen-bytes-ok\r\n";
    let shown = ask(&proven, "GET", "/seckill/demo/widget/page", heard, "");
    assert_eq!((shown.status, shown.field("set-cookie")), (200, None), "the gateway names buyers there");
}

#[test]
fn the_page_is_the_same_on_every_protocol_and_front_end() {
    let engine_of = |front_end: &str| {
        let engine = engine(&[("EDGE__FRONT_END", front_end), ("EDGE__PAGE_GUESTS", "false")]);
        engine.sale("phone", 5, "");
        engine
    };
    // Each copy names an attempt of its own.
    let without_key = |page: &str| {
        let (before, rest) = page.split_once("name=\"key\" value=\"").expect("it can be bought");
        format!("{before}{}", &rest[32..])
    };
    let (hyper, may) = (engine_of("hyper"), engine_of("may"));
    let path = "/seckill/test/phone/page";
    let of_hyper = without_key(&ask(&hyper, "GET", path, "", "").body);
    let of_may = ask(&may, "GET", path, "", "");
    assert_eq!((of_may.status, without_key(&of_may.body)), (200, of_hyper.clone()));
    let curl = |arguments: &[&str]| {
        let told =
            Command::new("curl").args(["-s", "--http2-prior-knowledge"]).args(arguments).output().unwrap();
        String::from_utf8(told.stdout).unwrap()
    };
    let url = page(&hyper, "phone");
    assert_eq!(without_key(&curl(&[url.as_str()])), of_hyper);
    let form = [
        "-i",
        "-H",
        "X-User-ID: ann",
        "-H",
        "Sec-Fetch-Site: same-origin",
        "-d",
        "act=buy&key=k",
        url.as_str(),
    ];
    let bought = curl(&form);
    assert!(
        bought.starts_with("HTTP/2 303") && bought.contains("location: /seckill/test/phone/page/mine?order="),
        "{bought}"
    );
    let form = "X-User-ID: ann\r\nSec-Fetch-Site: same-origin\r\n";
    assert_eq!(ask(&may, "POST", path, form, "act=buy&key=k").status, 303);
}

#[test]
fn a_guest_with_a_pass_is_known_by_cookies_in_fields_of_their_own() {
    let engine = engine(&[]);
    engine.sale("phone", 5, ROOM);
    let url = page(&engine, "phone") + "/mine";
    let guest = ask(&engine, "GET", "/seckill/test/phone/page", "", "");
    let guest = guest.field("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let joined = ask(&engine, "POST", "/seckill/test/phone/queue", &format!("Cookie: {guest}\r\n"), "");
    let pass = joined.field("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    // Each cookie in a field of its own, as browsers send them over HTTP/2.
    let told = Command::new("curl")
        .args([
            "-s",
            "--http2-prior-knowledge",
            "-H",
            &format!("Cookie: theme=dark; {guest}"),
            "-H",
            &format!("Cookie: {pass}"),
            &url,
        ])
        .output()
        .unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains("It is your turn") || told.contains("Please wait for your turn"), "{told}");
}
