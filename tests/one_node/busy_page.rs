//! The buyer's page while the shop is busy: it waits as long as it is told to, asks again by itself, and never twice for one thing.

use std::sync::atomic::{AtomicBool, Ordering};

use rusqlite::Connection;
use testbed::engine::Engine;
use testbed::servers::browser::Browser;
use testbed::servers::engine::NO_SIGN_OF_LIFE;
use testbed::{PATIENCE, until};

fn page(engine: &Engine) -> String {
    format!("http://{}/seckill/test/phone/page", engine.edge())
}

fn head_says(browser: &Browser, words: &str) {
    browser.wait_for("#head", |head| head == words);
}

/// Waits until the script runs the page, which says the same without it.
fn script_says(browser: &Browser, words: &str) {
    browser.wait_for("#main[data-view] #head", |head| head == words);
}

/// What the page says while it waits for its next try.
const NEXT_TRY: &str = "The next try is in";

#[test]
fn a_store_that_stands_is_waited_for_and_the_buyer_need_not_click_again() {
    let engine = Engine::start(&[
        ("EDGE__PAGE", "true"),
        ("EDGE__ACK_WAIT_MS", "100"),
        ("SQLITE__LOCK_WAIT_MS", "1"),
        NO_SIGN_OF_LIFE,
    ]);
    engine.sale("phone", 1_000, "");
    let (early, late) = (Browser::open(400), Browser::open(400));
    for browser in [&early, &late] {
        browser.go(&page(&engine));
        script_says(browser, "On sale now");
    }
    let stranger = Connection::open(engine.launch().folder().join("orders.sqlite")).unwrap();
    stranger.busy_timeout(PATIENCE).unwrap();
    stranger.execute_batch("BEGIN EXCLUSIVE").unwrap();
    // 202: accepted, and not durable yet. The page asks for the order until it is.
    early.click("#acts button");
    head_says(&early, "Your order is being written down");
    // 503 with Retry-After: the page comes back with the same key.
    let mut number = 0;
    until("nothing more is accepted", || {
        number += 1;
        engine.buy("phone", &format!("crowd-{number}")).status == 503
    });
    late.click("#acts button");
    late.wait_for("#note", |note| note.contains(NEXT_TRY));
    stranger.execute_batch("COMMIT").unwrap();
    for browser in [&early, &late] {
        head_says(browser, "Reserved for you");
    }
    let guests = engine
        .orders("phone", "")
        .iter()
        .filter(|order| !order["buyer"].as_str().unwrap().starts_with("crowd-"))
        .count();
    assert_eq!(guests, 2, "each of them has one");
}

#[test]
fn a_sale_that_is_too_fast_for_its_rate_is_asked_again_when_it_says() {
    let engine = Engine::start(&[("EDGE__PAGE", "true")]);
    engine.sale("phone", 1_000_000, r#","rate_per_s":1,"burst":1"#);
    let browser = Browser::open(400);
    browser.go(&page(&engine));
    script_says(&browser, "On sale now");
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // A crowd that is always faster.
        scope.spawn(|| {
            for number in 0.. {
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
                engine.try_buy("phone", &format!("crowd-{number}"));
            }
        });
        let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            until("it is too fast", || {
                if browser.text("#head") == "On sale now" {
                    browser.click("#acts button");
                }
                // Once in a while the browser is the fastest, and gives it back.
                until("it is answered", || {
                    browser.text("#note").contains(NEXT_TRY) || browser.text("#head") == "Reserved for you"
                });
                let is_refused = browser.text("#note").contains(NEXT_TRY);
                if !is_refused {
                    browser.click("#acts form:last-of-type button");
                    head_says(&browser, "Cancelled");
                    browser.click("#acts button");
                    head_says(&browser, "On sale now");
                }
                is_refused
            });
        }));
        is_over.store(true, Ordering::Relaxed);
        if let Err(failure) = told {
            std::panic::resume_unwind(failure);
        }
    });
    head_says(&browser, "Reserved for you");
}
