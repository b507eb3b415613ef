//! The buyer's page: one for everybody is kept, and what is one buyer's reaches nobody else.

use std::collections::BTreeSet;
use std::time::Instant;

use testbed::client::{Answer, request};

use super::shop::{Kind, NORTH, SOUTH, Shop, ask, bearer};

const PAGE: &str = "/seckill/test/phone/page";
/// Looks at the page.
const LOOKS: usize = 90;
/// How a browser says that the page itself sends a form.
const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\nSec-Fetch-Site: same-origin\r\n";

pub fn the_page_of_everybody_is_kept_and_a_buyers_own_never(kind: Kind) {
    let shop = Shop::open(kind);
    is_kept_for_everybody(&shop);
    is_each_buyers_own(&shop);
    passes_stay_with_their_buyers(&shop);
}

fn is_kept_for_everybody(shop: &Shop) {
    let look = |host: &str, lines: &str| {
        let page = shop.ask(host, "GET", PAGE, lines, "").expect("an answer");
        assert_eq!((page.status, page.field("set-cookie")), (200, None), "{}", page.body);
        page
    };
    let is_in = |page: &Answer, language: &str| page.body.contains(&format!("<html lang=\"{language}\""));
    // While nothing is kept yet: this copy is the one that all get who have no language of the page's.
    assert!(
        is_in(&look(NORTH, "Accept-Language: it, de;q=0.9\r\n"), "en"),
        "one copy for each first language"
    );
    // Each page that is made has a name of its own for the next attempt. Tokens, passes and unknown languages make no further copies.
    let began = Instant::now();
    let made: BTreeSet<String> = (0..LOOKS)
        .map(|number| match number % 3 {
            0 => look(NORTH, &bearer("ann")).body,
            1 => {
                look(NORTH, &format!("Accept-Language: x{number}\r\nCookie: sale_pass=p{number}; a=b\r\n"))
                    .body
            }
            _ => look(NORTH, "").body,
        })
        .collect();
    let seconds = began.elapsed().as_secs() as usize + 1;
    assert!(made.len() <= 2 * seconds + 2 && made.len() < LOOKS, "made {} times in {seconds} s", made.len());
    for _ in 0..2 {
        for (lines, language) in [
            ("Accept-Language: de-CH, en;q=0.5\r\n", "de"),
            ("Accept-Language: FR\r\n", "fr"),
            ("Accept-Language: it, de;q=0.9\r\n", "en"),
            ("", "en"),
        ] {
            let page = look(NORTH, lines);
            assert!(is_in(&page, language), "{lines}: {}", page.body);
            assert!(page.body.contains("of north") && look(SOUTH, lines).body.contains("of south"));
        }
    }
    let page = look(NORTH, "").body;
    for ending in [".css\"", ".js\""] {
        let at = page.find(ending).expect("it is named");
        let start = page[..at].rfind('"').unwrap() + 1;
        let part = shop.ask(NORTH, "GET", &page[start..at + ending.len() - 1], "", "").expect("an answer");
        assert_eq!(
            (part.status, part.field("cache-control")),
            (200, Some("public, max-age=31536000, immutable"))
        );
    }
}

fn is_each_buyers_own(shop: &Shop) {
    let form = |lines: &str, body: &str| {
        shop.ask(NORTH, "POST", PAGE, &format!("{FORM}{lines}"), body).expect("an answer")
    };
    let bought = form(&bearer("ann"), "act=buy&key=tap-1");
    assert_eq!(bought.status, 303, "{}", bought.body);
    let place = bought.field("location").expect("where it is shown").to_owned();
    assert!(place.starts_with("/seckill/test/phone/page/mine?order="), "{place}");
    let again = form(&bearer("ann"), "act=buy&key=tap-1");
    assert_eq!(
        (again.status, again.field("location")),
        (303, Some(place.as_str())),
        "no form is answered from a copy"
    );
    // On one connection, so that the proxy may reuse whatever it likes.
    let mut client = shop.door.visit(NORTH);
    let mut mine = |lines: &str| {
        let page = ask(&mut client, NORTH, "GET", &place, lines, "").expect("an answer");
        assert_eq!(page.field("cache-control"), Some("no-store"), "{}", page.body);
        // All words stand in the page, for its script; what it says now is in its heading.
        let says = page.body.contains("id=\"head\" tabindex=\"-1\">Reserved for you</h2>");
        assert_eq!(says, page.status == 200, "{}: {}", page.status, page.body);
        says
    };
    for _ in 0..2 {
        assert!(mine(&bearer("ann")));
        assert!(!mine(&bearer("bob")) && !mine("") && !mine("X-User-ID: ann\r\n"));
    }
    let foreign = FORM.replace("same-origin", "cross-site") + &bearer("ann");
    let foreign = shop.ask(NORTH, "POST", PAGE, &foreign, "act=buy&key=tap-2").expect("an answer");
    assert_eq!(foreign.status, 403, "another site's page sends no form: {}", foreign.body);
}

fn passes_stay_with_their_buyers(shop: &Shop) {
    let body = r#"{"campaign":"test","sku":"room","price_cents":100,"stock":9,"queue":{"mode":"fifo","rate_per_s":1000}}"#;
    let made = request(shop.engine.admin_addr(), "POST", "/api/v1/campaigns", "X-Tenant-ID: north\r\n", body);
    assert_eq!(made.status, 201, "{}", made.body);
    let page = "/seckill/test/room/page";
    let joined = shop
        .ask(NORTH, "POST", page, &format!("{FORM}{}", bearer("ann")), "act=register")
        .expect("an answer");
    assert_eq!(joined.status, 303, "{}", joined.body);
    let pass_of = |answer: &Answer| {
        let cookie = answer.field("set-cookie").and_then(|cookie| cookie.split(';').next());
        cookie.filter(|cookie| cookie.starts_with("sale_pass=")).map(str::to_owned)
    };
    let pass = pass_of(&joined).expect("a pass");
    let mine = |lines: &str| shop.ask(NORTH, "GET", &format!("{page}/mine"), lines, "").expect("an answer");
    let with_pass = format!("Cookie: theme=dark; {pass}\r\n");
    for _ in 0..2 {
        assert_eq!(
            pass_of(&mine(&format!("{}{with_pass}", bearer("ann")))),
            Some(pass.clone()),
            "it is known by its cookie"
        );
        for other in
            [bearer("bob"), format!("{}{with_pass}", bearer("bob")), with_pass.clone(), String::new()]
        {
            assert_eq!(pass_of(&mine(&other)), None, "{other}");
        }
    }
}
