//! What the console offers to whom: on each page exactly those forms and ways to acts that the role and the tenant of the token
//! may use; and that a form that is not offered does nothing when it is sent all the same.

use std::collections::BTreeSet;

use reqwest::{Method, StatusCode};
use seckill::admin::Role::{self, Admin, Operator, Viewer};
use seckill::domain::{OrderAction, OrderId};
use serde_json::json;
use testbed::PATIENCE;
use testbed::servers::browser::Browser as RealBrowser;

use super::engine::Engine;
use super::identities::{Browser, PEOPLE, asked, start, token};

/// Whose something is: a tenant's, or everybody's.
type Whose = Option<&'static str>;

const ALL: Whose = None;
const ONE: Whose = Some("one");
const TWO: Whose = Some("two");

/// A form or a way to an act: where it leads, who may use it, and whose it is.
struct Control(String, Role, Whose);

/// A page: where it is, who may see it, whose it is, and what it offers.
struct Page(String, Role, Whose, Vec<Control>);

impl Page {
    fn of(path: &str, whose: Whose, offers: impl IntoIterator<Item = Control>) -> Self {
        Self(path.to_owned(), Viewer, whose, offers.into_iter().collect())
    }
}

fn control(leads_to: impl Into<String>, role: Role, whose: Whose) -> Control {
    Control(leads_to.into(), role, whose)
}

/// What an operator may do to something with this path.
fn acts<const N: usize>(path: &str, whose: Whose, acts: [&str; N]) -> [Control; N] {
    acts.map(|act| control(format!("{path}/{act}"), Operator, whose))
}

/// Who it is that looks.
type Person = (&'static str, Role, Whose);

fn is_foreign((_, _, own): Person, whose: Whose) -> bool {
    own.is_some() && whose.is_some() && own != whose
}

fn may(person: Person, role: Role, whose: Whose) -> bool {
    person.1 >= role && !is_foreign(person, whose)
}

/// What there is to act on: of one tenant an open sale, a paused one, and two orders; and another tenant's, that is stopped.
struct World {
    engine: Engine,
    unpaid: OrderId,
    paid: OrderId,
    theirs: OrderId,
}

impl World {
    async fn begin() -> Self {
        let engine = start().await;
        let act = async |tenant: &'static str, path: &str, body: serde_json::Value| {
            let path = format!("/api/v1{path}");
            let request = asked(&engine, "root", Method::POST, &path, Some(tenant));
            let answer = request.body(body.to_string()).send().await.unwrap();
            assert!(answer.status().is_success(), "{path}: {}", answer.text().await.unwrap());
        };
        for (tenant, sku) in [("one", "open"), ("one", "paused"), ("two", "theirs")] {
            let sale = json!({"campaign": "c", "sku": sku, "price_cents": 500, "stock": 5});
            act(tenant, "/campaigns", sale).await;
        }
        let unpaid = engine.buy_of("one", "open", "ann").await;
        let paid = engine.buy_of("one", "open", "bob").await;
        let theirs = engine.buy_of("two", "theirs", "cid").await;
        engine.step(paid, OrderAction::BeginPayment).await;
        engine.step(paid, OrderAction::ConfirmPayment).await;
        act("one", "/campaigns/c/paused/pause", json!({"reason": "a test"})).await;
        act("two", "/stop", json!({"reason": "a test"})).await;
        Self { engine, unpaid, paid, theirs }
    }

    fn pages(&self) -> Vec<Page> {
        let (open, paused, theirs) = ("/sales/one/c/open", "/sales/one/c/paused", "/sales/two/c/theirs");
        let order = |id: OrderId| format!("/orders/{id}");
        let of_sale = ["queue", "change", "extend", "end"];
        let refund = || control(format!("{}/refund", order(self.paid)), Admin, ONE);
        let now = [control("/stop", Operator, ALL), control("/go", Operator, TWO)]
            .into_iter()
            .chain(acts(open, ONE, ["pause", "end"]))
            .chain(acts(paused, ONE, ["resume", "end"]))
            .chain(acts(theirs, TWO, ["end"]));
        let new = "/sales/new?campaign=c&sku=new&price_cents=5&stock=7";
        vec![
            Page::of("/", ALL, now),
            Page::of("/stop", ALL, [control("/stop", Operator, ALL)]),
            Page::of("/sales", ALL, [control("/sales/new", Operator, ALL)]),
            Page::of(new, ALL, [control("/sales/new", Operator, ALL)]),
            Page::of(open, ONE, acts(open, ONE, of_sale).into_iter().chain(acts(open, ONE, ["pause"]))),
            Page::of(&format!("{open}/end"), ONE, acts(open, ONE, ["end"])),
            Page::of(
                paused,
                ONE,
                acts(paused, ONE, of_sale).into_iter().chain(acts(paused, ONE, ["resume"])),
            ),
            // It stands still with all others of its tenant.
            Page::of(theirs, TWO, acts(theirs, TWO, of_sale)),
            Page::of("/orders", ALL, []),
            Page::of("/orders?q=ann", ALL, []),
            Page::of(&order(self.unpaid), ONE, acts(&order(self.unpaid), ONE, ["cancel", "extend"])),
            Page::of(&order(self.theirs), TWO, acts(&order(self.theirs), TWO, ["cancel", "extend"])),
            Page::of(&order(self.paid), ONE, [refund()]),
            Page(format!("{}/refund", order(self.paid)), Admin, ONE, vec![refund()]),
            Page::of("/trail", ALL, []),
        ]
    }

    /// What was done, by kind and object, refusals left out.
    async fn done(&self) -> Vec<(String, String)> {
        let mut done = Vec::new();
        for tenant in ["default", "one", "two"] {
            let told = self.engine.desk.trail_after(tenant, 0, 1_000).await.unwrap();
            let acts = told.into_iter().filter(|entry| entry.kind != "act.refused");
            done.extend(acts.map(|entry| (entry.kind, entry.object)));
        }
        done
    }
}

/// Where the forms of a page lead that do something, and its links to where such forms are.
fn offered(page: &str) -> BTreeSet<String> {
    // What stands above is for signing out.
    let (_, main) = page.split_once("<main").expect("a page");
    let after = |words: &'static str| {
        main.split(words).skip(1).map(|rest| rest.split('"').next().unwrap_or_default())
    };
    let leads_to_act = |path: &&str| {
        ["/stop", "/sales/new"].contains(path) || ["/end", "/refund"].iter().any(|end| path.ends_with(end))
    };
    let links = after("href=\"").filter(leads_to_act);
    after("method=\"post\" action=\"").chain(links).map(str::to_owned).collect()
}

async fn signed_in<'a>(engine: &'a Engine, name: &str) -> Browser<'a> {
    let mut browser = Browser::open(engine);
    let form = format!("token={}", token(name));
    assert_eq!(browser.post("/sign-in", &form).await, StatusCode::SEE_OTHER);
    browser
}

/// The first page shows the newest picture, which may be older than the sales, or not there yet on a busy machine.
async fn page_with_sales(browser: &Browser<'_>, sales: usize) -> (StatusCode, String) {
    let looks = async {
        loop {
            let (status, page) = browser.page("/").await;
            if page.matches("<section class=\"sale\"").count() == sales {
                return (status, page);
            }
        }
    };
    tokio::time::timeout(PATIENCE, looks).await.expect("all sales are shown")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_page_offers_what_its_viewer_may_do() {
    let world = World::begin().await;
    for person @ (name, role, own) in PEOPLE {
        let browser = signed_in(&world.engine, name).await;
        for Page(path, needed, whose, controls) in world.pages() {
            let (status, page) = match path.as_str() {
                "/" => page_with_sales(&browser, if own.is_some() { 2 } else { 3 }).await,
                path => browser.page(path).await,
            };
            let expected = match () {
                () if role < needed => StatusCode::FORBIDDEN,
                // Whether another tenant has such a thing is not told.
                () if is_foreign(person, whose) => StatusCode::NOT_FOUND,
                () => StatusCode::OK,
            };
            assert_eq!(status, expected, "{name} at {path}: {page}");
            if status == StatusCode::OK {
                let used = controls.into_iter().filter(|Control(_, role, whose)| may(person, *role, *whose));
                let used: BTreeSet<String> = used.map(|Control(leads_to, ..)| leads_to).collect();
                assert_eq!(offered(&page), used, "{name} at {path}");
            }
        }
    }
    world.engine.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_is_not_offered_does_nothing() {
    let world = World::begin().await;
    let paid = format!("/orders/{}", world.paid);
    let forms = world.pages().into_iter().flat_map(|Page(.., controls)| controls);
    let mut forms: Vec<Control> = forms.collect();
    // Those of an order or an engine in another state.
    forms.push(control(format!("{paid}/settle"), Operator, ONE));
    forms.push(control("/integrations/webhooks/none/disable", Operator, ALL));
    forms.push(control("/integrations/search/rebuild", Admin, ALL));
    let before = world.done().await;
    for person @ (name, role, own) in PEOPLE {
        let mut browser = signed_in(&world.engine, name).await;
        for Control(path, needed, whose) in &forms {
            let is_of_engine = path == "/integrations/search/rebuild" && own.is_some();
            let expected = match () {
                () if role < *needed => (StatusCode::FORBIDDEN, "role-too-low"),
                () if is_of_engine => (StatusCode::FORBIDDEN, "foreign-tenant"),
                () if path == "/go" && is_foreign(person, *whose) => {
                    (StatusCode::FORBIDDEN, "not for the tenant")
                }
                () if is_foreign(person, *whose) => (StatusCode::NOT_FOUND, ""),
                () => continue,
            };
            let confirm = path.rsplit('/').next().filter(|word| ["stop", "refund"].contains(word));
            // All that any of them asks for.
            let form = format!(
                "reason=a+test&confirm={}&tenant=two&campaign=c&sku=new&price_cents=5&stock=7&stock_delta=1&by_s=60&mode=fifo\
                 &pay_before=2099-01-01T00:00:00Z&outcome=voided&number=1&amount_cents=5&restock=0",
                confirm.or(path.split('/').nth(4)).unwrap_or_default()
            );
            let (status, said) = browser.answer(path, &form).await;
            assert_eq!(status, expected.0, "{name} {path}: {said}");
            assert!(said.contains(expected.1), "{name} {path}: {said}");
        }
    }
    assert_eq!(world.done().await, before);

    // Whoever may send one is heard: here that something is missing in it.
    for person @ (name, ..) in PEOPLE {
        let mut browser = signed_in(&world.engine, name).await;
        for Control(path, needed, whose) in &forms {
            if may(person, *needed, *whose) && !path.starts_with("/integrations") {
                let (status, said) = browser.answer(path, "").await;
                let refused = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::NOT_FOUND];
                assert!(!refused.contains(&status), "{name} {path}: {status} {said}");
            }
        }
    }
    world.engine.stop().await;
}

/// Somebody signs in at a real browser.
fn signs_in(browser: &RealBrowser, admin: &str, name: &str) {
    browser.go(&format!("{admin}/"));
    browser.fill("[name=token]", &token(name));
    browser.click("form[action='/sign-in'] button");
    browser.wait_for("header", |head| head.contains(name));
}

/// A viewer, and then an operator, at the same browser.
fn walk(admin: &str, paid: OrderId) {
    let browser = RealBrowser::open(1_400);
    // What a page of the engine is answered when it asks for this.
    let asks = |path: &str, method: &str| {
        browser.script(&format!(
            "return fetch('{path}', {{ method: '{method}' }}).then((answer) => answer.status)"
        ))
    };
    let (sale, order) = ("/sales/one/c/open", format!("/orders/{paid}"));
    signs_in(&browser, admin, "eye");
    for path in ["/", "/sales", "/stop", sale, "/orders", order.as_str()] {
        browser.go(&format!("{admin}{path}"));
        assert!(browser.text("header").contains("eye (viewer)"), "{path}");
        assert_eq!(browser.count("main form[method=post], main a.danger"), 0, "{path}");
    }
    assert_eq!(asks(&format!("{sale}/pause"), "POST"), 403);
    browser.go(&format!("{admin}{sale}"));
    assert!(browser.text("main").contains("an order, while there are units"));
    browser.click("form[action='/sign-out'] button");
    browser.wait_for("main", |page| page.contains("Your token"));

    signs_in(&browser, admin, "ops-one");
    browser.go(&format!("{admin}{order}"));
    assert_eq!(browser.count("main a[href$='/refund']"), 0, "an operator gives no money back");
    assert_eq!(asks(&format!("{order}/refund"), "GET"), 403);
    browser.go(&format!("{admin}/sales"));
    assert_eq!((browser.count("a[href^='/sales/one/']"), browser.count("a[href^='/sales/two/']")), (2, 0));
    browser.click("main a[href='/sales/one/c/open']");
    browser.fill("form[action$='/pause'] [name=reason]", "a test");
    browser.click("form[action$='/pause'] button");
    browser.wait_for("main", |page| page.contains("sale-paused, and to come back"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_viewer_and_an_operator_see_it_in_a_real_browser() {
    let world = World::begin().await;
    let (admin, paid) = (world.engine.admin.clone(), world.paid);
    tokio::task::spawn_blocking(move || walk(&admin, paid)).await.unwrap();
    let is_paused = world.engine.admission.board().sales().by_name("one", "c", "open").unwrap().terms.paused;
    assert!(is_paused, "buyers are refused");
    world.engine.stop().await;
}
