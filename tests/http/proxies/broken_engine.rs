//! An engine that breaks in the middle of a purchase: the buyer hears that, and nothing is bought twice.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use testbed::servers::proxy::Mode;
use testbed::until;

use super::shop::{Door, Kind, NORTH, Shop, ask, bearer};

/// A purchase on a connection that the proxy has used before, whose answer is lost on the way, with the connection.
fn bought_without_an_answer(shop: &Shop, body: &str) -> Option<u16> {
    let mut client = shop.door.visit(NORTH);
    let mut buy = |buyer: &str, body: &str| {
        let lines = format!("{}Content-Type: application/json\r\n", bearer(buyer));
        ask(&mut client, NORTH, "POST", "/seckill/test/phone", &lines, body)
    };
    assert_eq!(buy("before", "").expect("an answer").status, 201);
    let lost = shop.link.lost();
    shop.link.set(Mode::LoseOneAnswer);
    let answer = buy("ann", body);
    assert_eq!(shop.link.lost(), lost + 1);
    answer.map(|answer| answer.status)
}

fn orders_of(shop: &Shop, buyer: &str) -> usize {
    shop.orders("phone").iter().filter(|order| order["buyer"] == buyer).count()
}

pub fn a_purchase_whose_answer_is_lost_is_not_sent_again(kind: Kind) {
    let shop = Shop::open(kind);
    for (number, body) in ["", r#"{"quantity":1}"#].into_iter().enumerate() {
        let status = bought_without_an_answer(&shop, body);
        // Where what was lost was the connection before it carried the purchase, that was bought on the next.
        assert!(status.is_none_or(|status| [201, 502, 503, 504].contains(&status)), "{body:?}: {status:?}");
        assert!(orders_of(&shop, "ann") <= number + 1, "{body:?} was bought twice");
    }
    // Whose answer was lost finds out, and the shop goes on.
    let own = shop.ask(NORTH, "GET", "/orders", &bearer("ann"), "").expect("an answer");
    assert_eq!(own.json()["orders"].as_array().map(Vec::len), Some(orders_of(&shop, "ann")), "{}", own.body);
    assert_eq!(shop.buy("after").expect("an answer").status, 201);
}

/// The check above has to see a repetition: Varnish makes one as soon as it may keep a connection.
#[test]
fn varnish_with_kept_connections_would_buy_twice() {
    let close = "set bereq.http.Connection = \"close\";";
    let shop = Shop::open_with(Kind::Varnish, &[(close, "")]);
    assert_eq!(bought_without_an_answer(&shop, ""), Some(201));
    assert_eq!(orders_of(&shop, "ann"), 2);
}

/// Buyers at once; each clicks again and again, each time as somebody else.
const BUYERS: usize = 6;
/// Purchases before the engine is killed, and again after it is back.
const PURCHASES: usize = 60;

pub fn an_engine_that_is_killed_sells_nothing_twice(kind: Kind) {
    let mut shop = Shop::open(kind);
    shop.make_sale("north", "coat", 1_000_000);
    // Who was told of which order.
    let told: Mutex<BTreeMap<String, String>> = Mutex::default();
    let (refused, is_over) = (Mutex::default(), AtomicBool::new(false));
    let (door, engine) = (&shop.door, shop.engine);
    shop.engine = std::thread::scope(|scope| {
        for number in 0..BUYERS {
            let (told, refused, is_over) = (&told, &refused, &is_over);
            scope.spawn(move || click(door, number, told, refused, is_over));
        }
        // Also when something fails, so that the others end.
        let _over = Over { is_over: &is_over, refused: &refused };
        let served = || told.lock().unwrap().len();
        until("buyers are served", || served() >= PURCHASES);
        let engine = engine.kill().start();
        let enough = served() + PURCHASES;
        until("buyers are served again", || served() >= enough);
        engine
    });
    let orders = shop.orders("coat");
    let mut buyers = BTreeMap::new();
    for order in &orders {
        let (buyer, id) = (order["buyer"].as_str().unwrap(), order["order_id"].as_str().unwrap());
        assert_eq!(buyers.insert(buyer, id), None, "{buyer} clicked once and has two orders");
    }
    for (buyer, id) in told.into_inner().unwrap() {
        assert_eq!(buyers.get(buyer.as_str()), Some(&id.as_str()), "{buyer} was told of an order");
    }
}

/// How often buyers heard each status that is not 201; `None`: nothing.
type Refused = Mutex<BTreeMap<Option<u16>, usize>>;

struct Over<'a> {
    is_over: &'a AtomicBool,
    refused: &'a Refused,
}

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if std::thread::panicking() {
            eprintln!("buyers heard {:?}", self.refused.lock());
        }
    }
}

/// Clicks until it is over, each time in another name, on one connection as long as the proxy keeps it.
fn click(
    door: &Door,
    number: usize,
    told: &Mutex<BTreeMap<String, String>>,
    refused: &Refused,
    is_over: &AtomicBool,
) {
    let mut kept = None;
    for click in 0.. {
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        let buyer = format!("b-{number}-{click}");
        let mut client = kept.take().unwrap_or_else(|| door.visit(NORTH));
        let answer = ask(&mut client, NORTH, "POST", "/seckill/test/coat", &bearer(&buyer), "");
        match answer.as_ref().map(|answer| answer.status) {
            Some(201) => {
                let id = answer.as_ref().map(|answer| answer.member("order_id")).unwrap_or_default();
                told.lock().unwrap().insert(buyer, id);
            }
            // The engine is away; nobody gains by asking faster.
            status => {
                assert!(status.is_none_or(|status| [502, 503, 504].contains(&status)), "{status:?}");
                *refused.lock().unwrap().entry(status).or_default() += 1;
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        if answer.is_some_and(|answer| answer.field("connection") != Some("close")) {
            kept = Some(client);
        }
    }
}
