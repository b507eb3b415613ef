//! What is kept, and for how long.

use std::collections::BTreeSet;
use std::time::Instant;

use testbed::until;

use super::shop::{Kind, NORTH, Shop, bearer};

/// Looks at the state of the phones.
const LOOKS: usize = 300;

pub fn the_state_is_kept_as_the_engine_says(kind: Kind) {
    let shop = Shop::open(kind);
    let began = Instant::now();
    // Each document says when the engine made it. Who adds a query or a token sees the same one.
    let made: BTreeSet<String> = (0..LOOKS)
        .map(|look| {
            let lines = if look.is_multiple_of(3) { bearer("ann") } else { String::new() };
            let path = format!("/seckill/test/phone{}", if look.is_multiple_of(2) { "" } else { "?x=1" });
            let state = shop.ask(NORTH, "GET", &path, &lines, "").expect("an answer");
            assert_eq!(
                (state.status, state.json()["remaining"].as_u64()),
                (200, Some(1_000)),
                "{}",
                state.body
            );
            assert!(
                state.field("cache-control").is_some_and(|said| said.contains("s-maxage=1")),
                "{state:?}"
            );
            state.member("server_time")
        })
        .collect();
    // A copy lives for a second, and a request of the last second may be under way beside the next.
    let seconds = began.elapsed().as_secs() as usize + 1;
    assert!(made.len() <= 2 * seconds + 2 && made.len() < LOOKS, "asked {} times in {seconds} s", made.len());
    // What is sold is seen.
    assert_eq!(shop.buy("ann").expect("an answer").status, 201);
    until("the state is asked for anew", || shop.state(NORTH, "").json()["remaining"] == 999);
    // No refusal is kept: a sale is there as soon as it is made.
    let coat = || shop.ask(NORTH, "GET", "/seckill/test/coat", "", "").expect("an answer").status;
    assert_eq!([coat(), coat()], [404; 2]);
    shop.make_sale("north", "coat", 1);
    assert_eq!(coat(), 200);
}

pub fn a_copy_a_platform_and_none_for_whatever_clients_write(kind: Kind) {
    let shop = Shop::open(kind);
    for _ in 0..3 {
        assert!(!shop.state(NORTH, "X-Platform: miniapp\r\n").body.contains("price_cents"));
        for whole in ["", "X-Platform: web\r\n", "X-Platform: ios\r\n", "X-Platform: x-1\r\n"] {
            assert!(shop.state(NORTH, whole).body.contains("price_cents"), "{whole}");
        }
    }
    // Words that nobody knows are one copy, whatever they are.
    let began = Instant::now();
    let made: BTreeSet<String> = (0..100)
        .map(|number| {
            let lines = format!("X-Platform: word-{number}\r\nOrigin: https://{number}.example\r\n");
            shop.state(NORTH, &lines).member("server_time")
        })
        .collect();
    let seconds = began.elapsed().as_secs() as usize + 1;
    assert!(made.len() <= 2 * seconds + 2 && made.len() < 100, "asked {} times in {seconds} s", made.len());
}
