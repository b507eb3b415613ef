//! What the buyer's page keeps may be wrong by now: whose pass it is, what the sale costs, whether a node knows the order. It
//! believes the engine.

use seckill::domain::{EpochMs, NodeId, OrderId};
use testbed::engine::Engine;
use testbed::servers::browser::Browser;
use testbed::until;

use super::buyer_page::{ROOM, ask, change, crowd, engine, head_says, later, page};

/// Opens the page of the phone and waits until its script runs it.
fn open(browser: &Browser, engine: &Engine) {
    browser.go(&page(engine, "phone"));
    browser.wait_for("#main[data-view] #head", |head| !head.is_empty());
}

/// From now on `answer` answers what the page asks for, with `method` and `url` at hand, and `real` that asks the engine.
fn answers(browser: &Browser, answer: &str) {
    browser.script(&format!(
        "const asked = window.fetch; \
         const answer = async (method, url, real) => {{ {answer} }}; \
         window.fetch = (url, options) => answer(options.method, url, () => asked(url, options))"
    ));
}

/// Has the device's clock stand still until it is set again.
fn stop_the_clock(browser: &Browser) {
    browser.script("window.at = Date.now(); Date.now = () => window.at");
}

fn a_minute_later(browser: &Browser) {
    browser.script("window.at += 60000");
}

/// Accepts the purchase at one node, and asks for the order at another one that does not know it `window.unknown` times.
const ASKED_ELSEWHERE: &str = "if (url.startsWith('/orders/') && window.unknown > 0) { \
         window.unknown -= 1; \
         return new Response('{\"code\":\"unknown-order\"}', { status: 404 }); \
     } \
     const told = await real(); \
     if (method !== 'POST' || window.unknown === 0) return told; \
     const { order_id } = await told.json(); \
     return new Response(JSON.stringify({ order_id, status: 'pending' }), { status: 202 });";

#[test]
fn a_pass_of_another_buyer_or_of_a_former_sale_is_exchanged_for_one_of_the_own() {
    let engine = engine(&[]);
    let terms = format!(r#","starts_at":"{}","queue":{{"mode":"draw","rate_per_s":1000}}"#, later());
    engine.sale("phone", 5, &terms);
    let registered = |people: u64| {
        until(&format!("{people} take part"), || {
            engine.look("/seckill/test/phone/queue", "").json()["registered"] == people
        });
    };
    let browser = Browser::open(400);
    open(&browser, &engine);
    browser.click("#acts button");
    head_says(&browser, "You take part in the draw");
    registered(1);
    // Somebody else sits down, who is told so only if it is true.
    browser.forget_cookie("sale_guest");
    open(&browser, &engine);
    head_says(&browser, "You take part in the draw");
    registered(2);

    assert_eq!(engine.admin("DELETE", "/api/v1/campaigns/test/phone", "").status, 204);
    engine.sale("phone", 5, &terms);
    open(&browser, &engine);
    head_says(&browser, "You take part in the draw");
    registered(1);
    change(&engine, "phone", &format!(r#"{{"starts_at":"{}"}}"#, jiff::Timestamp::now()));
    head_says(&browser, "It is your turn");
    browser.click("#acts button");
    head_says(&browser, "Reserved for you");
}

#[test]
fn whether_one_takes_part_in_the_draw_is_told_by_when_it_was() {
    let engine = engine(&[]);
    engine.sale("phone", 5_000, r#","queue":{"mode":"fifo","rate_per_s":1}"#);
    crowd(&engine, "phone");
    let browser = Browser::open(400);
    open(&browser, &engine);
    browser.click("#acts button");
    head_says(&browser, "Please wait for your turn");
    // A pass by arrival, as it is after the sale was changed to a draw. By its mark all are admitted who take part.
    answers(
        &browser,
        "const told = await real(); \
         if (method !== 'GET' || !url.endsWith('/queue')) return told; \
         const drawn = { drawn_at: window.drawn_at, seed: '00'.repeat(16), draw_mark: 2 ** 53, fifo_mark: null }; \
         return new Response(JSON.stringify({ ...(await told.json()), ...drawn }));",
    );
    browser.script("window.drawn_at = '2100-01-01T00:00:00.000Z'");
    head_says(&browser, "It is your turn");
    browser.script("window.drawn_at = '2000-01-01T00:00:00.000Z'");
    head_says(&browser, "Please wait for your turn");
}

#[test]
fn a_new_price_is_read_while_the_room_is_open() {
    let engine = engine(&[]);
    engine.sale("phone", 5, ROOM);
    let browser = Browser::open(400);
    open(&browser, &engine);
    browser.wait_for("#facts", |facts| facts.contains("19.99"));
    change(&engine, "phone", r#"{"price_cents":500}"#);
    browser.wait_for("#facts", |facts| facts.contains("5.00"));
}

#[test]
fn an_order_that_another_node_does_not_know_yet_is_asked_for_again() {
    let engine = engine(&[]);
    engine.sale("phone", 5, "");
    let browser = Browser::open(400);
    open(&browser, &engine);
    stop_the_clock(&browser);
    browser.script("window.unknown = 3");
    answers(&browser, ASKED_ELSEWHERE);
    browser.click("#acts button");
    head_says(&browser, "Reserved for you");
    assert_eq!(browser.script("return window.unknown"), 0, "the order was not known at first");
}

#[test]
fn a_click_after_an_order_that_nobody_knew_makes_no_second_one() {
    let engine = engine(&[]);
    engine.sale("phone", 5, r#","per_buyer_limit":2"#);
    let browser = Browser::open(400);
    open(&browser, &engine);
    stop_the_clock(&browser);
    browser.script("window.unknown = Infinity");
    answers(&browser, ASKED_ELSEWHERE);
    browser.click("#acts button");
    head_says(&browser, "Your order is being written down");
    a_minute_later(&browser);
    browser.wait_for("#refusal", |refusal| refusal == "You have no such order.");
    head_says(&browser, "On sale now");
    browser.script("window.unknown = 0");
    browser.click("#acts button");
    head_says(&browser, "Reserved for you");
    assert_eq!(engine.audit("phone").durable_orders, 1);
}

#[test]
fn who_is_let_in_by_one_node_and_not_yet_by_another_need_not_click_again() {
    let engine = engine(&[]);
    engine.sale("phone", 5, ROOM);
    let browser = Browser::open(400);
    open(&browser, &engine);
    browser.click("#acts button");
    head_says(&browser, "It is your turn");
    answers(
        &browser,
        "if (method !== 'POST' || url.endsWith('/queue') || window.is_behind === false) return real(); \
         window.is_behind = false; \
         const refusal = JSON.stringify({ code: 'waiting-room', reason: 'not-admitted' }); \
         return new Response(refusal, { status: 403, headers: { 'Retry-After': '1' } });",
    );
    browser.click("#acts button");
    head_says(&browser, "Reserved for you");
}

#[test]
fn a_pass_that_is_over_buys_without_a_script_and_its_cookie_is_kept_for_that() {
    let engine = engine(&[]);
    engine.sale("phone", 5, ROOM);
    // A pass ends with its sale, as that was when the pass was issued. On a busy machine the sale may end before she comes.
    let joined = loop {
        let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(2);
        change(&engine, "phone", &format!(r#"{{"ends_at":"{soon}"}}"#));
        let joined = engine.ask("POST", "/seckill/test/phone/queue", "ann", "", "");
        change(&engine, "phone", r#"{"ends_at":null}"#);
        if joined.status == 201 {
            break joined;
        }
    };
    let (pass, how) = joined.field("set-cookie").unwrap().split_once("; ").unwrap();
    let kept_s = how.split("; ").find_map(|part| part.strip_prefix("Max-Age=")).expect("how long it is kept");
    assert!(kept_s.parse::<u32>().unwrap() >= 30 * 24 * 3_600, "{how}");
    let time = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
    let ends_at = time(&joined.member("expires_at"));
    until("the pass is over and she is admitted", || {
        let room = engine.look("/seckill/test/phone/queue", "").json();
        time(room["server_time"].as_str().unwrap()) >= ends_at && room["admitted"] == 1
    });
    let lines = format!("X-User-ID: ann\r\nSec-Fetch-Site: same-origin\r\nCookie: {pass}\r\n");
    let own = ask(&engine, "GET", "/seckill/test/phone/page/mine", &lines, "");
    assert!(own.body.contains("tabindex=\"-1\">It is your turn</h2>"), "{}", own.body);
    let bought = ask(&engine, "POST", "/seckill/test/phone/page", &lines, "act=buy&key=k");
    assert_eq!(bought.status, 303, "{}", bought.body);
    for renewed in [own, bought] {
        let cookie = renewed.field("set-cookie").expect("a pass in place of the one that is over");
        assert!(cookie.starts_with("sale_pass=") && !cookie.starts_with(pass), "{cookie}");
    }
}

#[test]
fn an_order_of_another_sale_is_none_of_this_one() {
    let engine = engine(&[]);
    for sku in ["phone", "watch"] {
        engine.sale(sku, 5, "");
    }
    let order = engine.buy("phone", "ann").member("order_id");
    let shown = |sku: &str| {
        let path = format!("/seckill/test/{sku}/page/mine?order={order}");
        ask(&engine, "GET", &path, "X-User-ID: ann\r\n", "")
    };
    let (own, other) = (shown("phone"), shown("watch"));
    assert_eq!((own.status, other.status), (200, 404), "{}", other.body);
    assert!(own.body.contains(&format!("data-order=\"{order}\"")), "{}", own.body);
    // A script would keep it as this sale's.
    assert!(other.body.contains("data-order=\"\""), "{}", other.body);
    assert!(other.body.contains("tabindex=\"-1\">On sale now</h2>"), "{}", other.body);
}

/// The address of the own page with an order that another node has accepted as long ago, and that this one does not know.
fn accepted_elsewhere(ago: jiff::SignedDuration) -> String {
    let at = EpochMs((jiff::Timestamp::now() - ago).as_millisecond());
    let order = OrderId::from_tick(OrderId::tick_at(at), NodeId::new(9).unwrap());
    format!("/seckill/test/phone/page/mine?order={order}&pending")
}

#[test]
fn an_order_that_another_node_has_accepted_is_none_only_once_it_would_be_written_down() {
    let engine = engine(&[]);
    engine.sale("phone", 5, "");
    let shown = |path: &str| ask(&engine, "GET", path, "X-User-ID: ann\r\n", "");
    let just_now = || accepted_elsewhere(jiff::SignedDuration::ZERO);
    until("it is being written down", || {
        let page = shown(&just_now());
        let says = |part: &str| page.body.contains(part);
        page.status == 200
            && says("tabindex=\"-1\">Your order is being written down</h2>")
            && says("http-equiv=\"refresh\"")
            && !says("name=\"act\" value=\"buy\"")
    });
    let not_accepted = just_now().replace("&pending", "");
    for path in [accepted_elsewhere(jiff::SignedDuration::from_hours(1)), not_accepted] {
        let page = shown(&path);
        assert!(
            page.status == 404 && page.body.contains("role=\"alert\">You have no such order."),
            "{path}: {}",
            page.body
        );
    }
    // The script goes on with it as the page does.
    let browser = Browser::open(400);
    until("the script waits for it", || {
        browser.go(&format!("http://{}{}", engine.edge(), just_now()));
        browser.wait_for("#main[data-view] #head", |head| !head.is_empty());
        browser.script("return document.getElementById('main').dataset.view") == "order_pending"
    });
}

#[test]
fn who_comes_after_the_draw_reads_of_a_queue_also_where_the_start_is_moved() {
    let engine = engine(&[]);
    engine.sale("phone", 5, r#","queue":{"mode":"draw","rate_per_s":1000}"#);
    until("it is drawn", || engine.look("/seckill/test/phone/queue", "").json()["seed"].is_string());
    change(&engine, "phone", &format!(r#"{{"starts_at":"{}"}}"#, later()));
    let shown = ask(&engine, "GET", "/seckill/test/phone/page", "", "");
    assert!(shown.body.contains("There is a queue</h2>"), "{}", shown.body);
    let browser = Browser::open(400);
    open(&browser, &engine);
    head_says(&browser, "There is a queue");
    browser.click("#acts button");
    head_says(&browser, "Please wait for your turn");
}
