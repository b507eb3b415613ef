//! Pictures of the console's pages and of the buyers' page, as a person sees them: whole, wide and narrow, light and dark.
//!
//! The long form, `cargo xtask console --pictures FOLDER`, takes all: `SECKILL_PICTURES` is the folder. The short form takes
//! those of a sale before, during and after, keeps none, and looks whether each shows the whole page.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use testbed::crowd::{BuyerClient, Over};
use testbed::engine::Engine;
use testbed::servers::browser::Browser;
use testbed::{asked, until};

use super::buyer_page::{change, crowd, engine as engine_with_page, in_each_state, later};

const WIDTHS: [u32; 2] = [1_400, 400];
const CARD: &str = "section[data-sale='/sales/default/test/watch']";
/// Who buys at once, and how long each line rests between two buyers.
const LINES: usize = 3;
const REST: Duration = Duration::from_millis(5);
/// How long a chart grows before something happens on it, in the long form.
const STRETCH: Duration = Duration::from_secs(15);

/// A browser, and where its pictures are kept.
struct Album {
    browser: Browser,
    /// `None` in the short form.
    folder: Option<PathBuf>,
}

impl Album {
    fn open() -> Self {
        let folder: Option<PathBuf> = asked("SECKILL_PICTURES");
        folder.iter().for_each(|folder| fs::create_dir_all(folder).expect("a folder for pictures"));
        Self { browser: Browser::open(WIDTHS[0]), folder }
    }

    /// Takes the page that is shown, in each width and scheme.
    fn take(&self, name: &str) {
        let Some(folder) = &self.folder else {
            let png = STANDARD.decode(self.browser.picture()).expect("base64");
            let size = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().expect("four bytes"));
            assert!(size(16) == WIDTHS[0] && size(20) >= 900, "{name}: {} by {}", size(16), size(20));
            return;
        };
        let painted = "return performance.getEntriesByName('first-contentful-paint')[0]?.startTime";
        println!("{name}: first painted after {} ms", self.browser.script(painted));
        for width in WIDTHS {
            self.browser.resize(width);
            for scheme in ["dark", "light"] {
                if scheme == "dark" {
                    self.browser.prefer_dark()
                } else {
                    self.browser.prefer_light()
                }
                let png = STANDARD.decode(self.browser.picture()).expect("base64");
                fs::write(folder.join(format!("{name}-{width}-{scheme}.png")), png).expect("it is kept");
            }
        }
        self.browser.resize(WIDTHS[0]);
    }

    /// Lets the chart grow.
    fn stretch(&self) {
        thread::sleep(if self.folder.is_some() { STRETCH } else { Duration::ZERO });
    }

    /// Goes to the first page, once its newest picture shows the sale like this: it stays then.
    fn go_to_now(&self, engine: &Engine, state: &str) {
        let shown = format!("<span class=\"state {state}\"");
        until("the sale is shown like this", || {
            let page = engine.admin("GET", "/", "").body;
            let card = page.split_once("data-sale=\"/sales/default/test/watch\"");
            card.is_some_and(|(_, card)| card.split("</h2>").next().is_some_and(|head| head.contains(&shown)))
        });
        self.browser.go(&format!("http://{}/", engine.admin_addr()));
        until("its chart is drawn", || self.browser.count(&format!("{CARD} svg.drawn")) == 1);
    }
}

/// Buys one unit after the other until it is over. Every other winner pays.
fn buy(edge: SocketAddr, line: usize, is_over: &AtomicBool) {
    let mut client = BuyerClient::at(edge);
    let mut buyers = 0;
    while !is_over.load(Ordering::Relaxed) {
        buyers += 1;
        let buyer = format!("buyer-{line}-{buyers}");
        let won = client.buy("watch", &buyer, 1, None).filter(|answer| answer.status == 201);
        if let Some(won) = won.filter(|_| buyers % 2 == 0) {
            client.pay(&buyer, &won.order_id);
        }
        thread::sleep(REST);
    }
}

fn act(engine: &Engine, path: &str, reason: &str) {
    let body = format!("{{\"reason\":\"{reason}\"}}");
    let done = engine.admin("POST", &format!("/api/v1/campaigns/test/{path}"), &body);
    assert_eq!(done.status, 200, "{}", done.body);
}

/// Of a sale for which more come than may buy, which is paused for a while.
fn during(album: &Album, engine: &Engine) {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let _over = Over(&is_over);
        for line in 0..LINES {
            let is_over = &is_over;
            scope.spawn(move || buy(engine.edge(), line, is_over));
        }
        album.go_to_now(engine, "open");
        // While somebody writes a reason the page is not asked for anew, and the chart goes on.
        album.browser.fill(&format!("{CARD} [name=reason]"), "the price was wrong");
        let refused = format!("{CARD} [data-f=refusals_per_s]");
        album.browser.wait_for(&refused, |refused| refused.contains("rate-limited"));
        album.stretch();
        act(engine, "watch/pause", "the price was wrong");
        album.browser.wait_for(&refused, |refused| refused.contains("sale-paused"));
        album.stretch();
        act(engine, "watch/resume", "the price is right");
        album.browser.wait_for(&refused, |refused| refused.contains("rate-limited"));
        album.stretch();
        album.browser.wait_for("#acts", |acts| acts.contains("campaign.resumed"));
        until("the pause and its end are marked", || {
            album.browser.count(&format!("{CARD} svg line.mark")) >= 2
        });
        album.take("console-now-during");
    });
}

/// The pages of the console that show no feed.
fn other_pages(album: &Album, engine: &Engine) {
    let later = later();
    engine.sale("lamp", 500, &format!(r#","starts_at":"{later}","queue":{{"mode":"draw"}}"#));
    engine.sale("coat", 5_000, r#","queue":{"mode":"fifo","rate_per_s":1}"#);
    engine.sale("load-test", 100, "");
    engine.sale("phone", 10, r#","per_buyer_limit":3"#);
    crowd(engine, "coat");
    for _ in 0..2 {
        assert_eq!(engine.buy("phone", "ada").status, 201);
    }
    let order = engine.buy("phone", "ada").member("order_id");
    let card = r#"{"payment_method":"card"}"#;
    let paid = engine.ask("POST", &format!("/orders/{order}/checkout"), "ada", "", card);
    assert_eq!((paid.status, paid.member("status").as_str()), (200, "paid"), "{}", paid.body);
    let part = r#"{"amount_cents":500,"reason":"a scratch"}"#;
    let refunded = engine.admin("POST", &format!("/api/v1/orders/{order}/refund"), part);
    assert!([200, 202].contains(&refunded.status), "{}", refunded.body);
    let preview = "/sales/new?campaign=autumn&sku=watch&title=Watch&price_cents=19900&stock=1000&rate_per_s=500&burst=500\
                   &pay_within_s=900&queue_mode=draw&queue_rate_per_s=200&starts_at=2099-01-31T12:00&zone=%2B02:00";
    let of_order = format!("/orders/{order}");
    let of_refund = format!("{of_order}/refund?restock=1");
    for (name, path) in [
        ("sales", "/sales"),
        ("new-sale", preview),
        ("sale", "/sales/default/test/watch"),
        ("waiting-room", "/sales/default/test/coat"),
        ("end-sale", "/sales/default/test/watch/end"),
        ("stop", "/stop"),
        ("orders", "/orders?q=ada"),
        ("order", of_order.as_str()),
        ("refund", of_refund.as_str()),
        ("trail", "/trail"),
        ("integrations", "/integrations"),
    ] {
        album.browser.go(&format!("http://{}{path}", engine.admin_addr()));
        album.take(&format!("console-{name}"));
    }
}

#[test]
fn the_console_and_the_buyers_page_are_taken_whole() {
    let album = Album::open();
    let engine = Engine::start(&[("ADMISSION__BUYER_RATE_PER_S", "0")]);
    let later = later();
    // So few that more come, however busy the machine is.
    let rate = if album.folder.is_some() { 50 } else { 1 };
    let terms = format!(r#","starts_at":"{later}","rate_per_s":{rate},"burst":{rate}"#);
    engine.sale("watch", 50_000, &terms);
    album.go_to_now(&engine, "upcoming");
    album.take("console-now-before");
    change(&engine, "watch", &format!(r#"{{"starts_at":"{}"}}"#, jiff::Timestamp::now()));
    during(&album, &engine);
    if album.folder.is_some() {
        other_pages(&album, &engine);
        let sold = engine.audit("watch");
        change(&engine, "watch", &format!(r#"{{"stock":{}}}"#, sold.held + sold.paid));
        album.go_to_now(&engine, "sold_out");
        album.take("console-now-sold-out");
    }
    act(&engine, "watch/end", "that was all");
    album.go_to_now(&engine, "ended");
    album.take("console-now-after");
    if album.folder.is_some() {
        in_each_state(&album.browser, &engine_with_page(&[]), |state| {
            let name = state.to_lowercase().replace(' ', "-");
            album.take(&format!("buyer-{name}"));
        });
    }
}
