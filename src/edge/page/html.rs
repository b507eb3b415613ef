//! The page as it is sent: whole without a script.

use std::fmt::{self, Write};

use serde_json::Value;

use super::assets::{SCRIPTS, STYLE};
use super::time::in_words;
use super::view::{Seen, View};
use super::words::Words;
use crate::domain::{Cents, Currency, OrderId};
use crate::orders::in_units;

/// A text in HTML.
struct Text<'a>(&'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '&' => f.write_str("&amp;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            c => f.write_char(c),
        })
    }
}

/// What a page is made of.
pub(super) struct Page<'a> {
    /// The tag of the language, and its words.
    pub language: (&'a str, &'a Words),
    /// The path of the sale.
    pub sale_path: &'a str,
    pub seen: &'a Seen,
    /// The code of what was refused, if anything was.
    pub refusal: Option<&'a str>,
    /// Whether it is one buyer's page.
    pub is_mine: bool,
    /// Whether it stays as it is.
    pub is_still: bool,
    /// The order that the page was asked for.
    pub order: Option<OrderId>,
    /// A new name for an attempt to buy.
    pub key: &'a str,
    /// How orders may be paid.
    pub methods: &'a [&'a str],
    /// Whether no money moves.
    pub is_simulated: bool,
}

impl Page<'_> {
    /// The page.
    pub fn text(&self) -> String {
        let (tag, words) = self.language;
        let view = View::of(self.seen);
        let said = words.view(view.name());
        let title = self.seen.sale["title"].as_str().filter(|title| !title.is_empty());
        let title = title.or(self.seen.sale["sku"].as_str()).unwrap_or("seckill");
        let path = Text(self.sale_path);
        let mut page = String::with_capacity(16 * 1024);
        let _ = write!(
            page,
            "<!doctype html>\n<html lang=\"{tag}\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
             <title>{} · {}</title><link rel=\"icon\" href=\"data:,\">\
             <link rel=\"stylesheet\" href=\"{path}/page/{}\">",
            Text(&said.head),
            Text(title),
            STYLE.name()
        );
        for script in &SCRIPTS {
            let _ = write!(page, "<script defer src=\"{path}/page/{}\"></script>", script.name());
        }
        let renewed = view.renewed_after_s().filter(|_| !self.is_still && self.refusal.is_none());
        if let Some(seconds) = renewed {
            let _ = write!(page, "<noscript><meta http-equiv=\"refresh\" content=\"{seconds}\"></noscript>");
        }
        let _ = write!(
            page,
            "</head>\n<body><a class=\"skip\" href=\"#main\">{}</a>\n<main id=\"main\" data-sale=\"{path}\" \
             data-methods=\"{}\" data-order=\"{}\" data-pending=\"{}\" data-pass=\"{}\" data-words='{}'>\n<h1>{}</h1>\n",
            Text(words.label("skip")),
            Text(&self.methods.join(" ")),
            Text(&self.order_id()),
            if self.is_pending() { "yes" } else { "" },
            Text(self.seen.place["pass"].as_str().unwrap_or_default()),
            words.json().replace('&', "&amp;").replace('\'', "&#39;").replace('<', "&lt;"),
            Text(title)
        );
        if self.is_simulated {
            let _ = writeln!(page, "<p class=\"note\">{}</p>", Text(words.label("demonstration")));
        }
        let _ = write!(
            page,
            "<div id=\"status\" role=\"status\"><h2 id=\"head\" tabindex=\"-1\">{}</h2><p id=\"text\">{}</p></div>\n\
             <p id=\"refusal\" role=\"alert\">{}</p>\n<p id=\"note\" role=\"status\"></p>\n<p id=\"countdown\"></p>\n<dl id=\"facts\">",
            Text(&said.head),
            self.filled(&said.text),
            Text(self.refusal.map_or("", |code| words.refusal(code)))
        );
        self.facts(&mut page, view);
        page.push_str("</dl>\n<div id=\"acts\">");
        self.acts(&mut page, view);
        page.push_str("</div>\n<noscript>");
        self.links(&mut page, renewed);
        page.push_str("</noscript>\n</main></body></html>\n");
        page
    }

    /// The order of the page, also when it could not be looked up just now.
    fn order_id(&self) -> String {
        match self.seen.order["order_id"].as_str() {
            Some(id) => id.to_owned(),
            None => self.order.map(|id| id.to_string()).unwrap_or_default(),
        }
    }

    /// Whether the order is accepted and not certain yet.
    fn is_pending(&self) -> bool {
        self.seen.order["status"] == "pending"
    }

    /// A text with what belongs into its braces.
    fn filled(&self, text: &str) -> String {
        let Seen { sale, order, .. } = self.seen;
        let mut filled = Text(text).to_string();
        for (place, time) in [
            ("{opens}", &sale["queue"]["opens_at"]),
            ("{starts}", &sale["starts_at"]),
            ("{pay_before}", &order["pay_before"]),
        ] {
            let time = time.as_str().or(sale["starts_at"].as_str()).unwrap_or_default();
            filled = filled.replace(
                place,
                &format!("<time datetime=\"{}\">{}</time>", Text(time), Text(&in_words(time))),
            );
        }
        filled
    }

    fn facts(&self, page: &mut String, view: View) {
        let (_, words) = self.language;
        let Seen { sale, room, place, order, .. } = self.seen;
        let mut fact = |name: &str, value: &str| {
            // A number that people read to each other stands on one line of its own. `page.js` does the same.
            let class = if name == "order" { " class=\"whole\"" } else { "" };
            let (label, value) = (Text(words.label(name)), Text(value));
            let _ = write!(page, "<div{class}><dt>{label}</dt><dd>{value}</dd></div>");
        };
        if let Some(id) = order["order_id"].as_str() {
            fact("order", id);
            // A node that does not know the order yet knows its number alone.
            if !order["amount_cents"].is_null() {
                fact("amount", &money(&order["amount_cents"], &order["currency"]));
            }
            return;
        }
        if matches!(view, View::Unknown | View::Away) {
            return;
        }
        fact("price", &money(&sale["price_cents"], &sale["currency"]));
        let left = if room.is_null() { &sale["remaining"] } else { &room["remaining"] };
        fact("left", &left.to_string());
        if matches!(view, View::Waiting | View::Behind) {
            let admitted = room["admitted"].as_u64().unwrap_or_default();
            if let Some(position) = place["position"].as_u64() {
                fact("ahead", &position.saturating_sub(1).saturating_sub(admitted).to_string());
            }
            let wait = match place["eta_s"].as_u64() {
                None => words.label("wait_unknown").to_owned(),
                Some(0..60) => words.label("wait_soon").to_owned(),
                Some(seconds) => {
                    words.label("wait_minutes").replace("{n}", &seconds.div_ceil(60).to_string())
                }
            };
            fact("wait", &wait);
        }
    }

    /// What can be done: a form each.
    fn acts(&self, page: &mut String, view: View) {
        let (_, words) = self.language;
        let mut form = |act: &str, fields: &str, button: &str, class: &str| {
            let _ = write!(
                page,
                "<form method=\"post\" action=\"{}/page\"><input type=\"hidden\" name=\"act\" value=\"{act}\">{fields}\
                 <button class=\"{class}\">{}</button></form>",
                Text(self.sale_path),
                Text(words.label(button))
            );
        };
        match view {
            View::Register => form("register", "", "register", "main"),
            View::Join => form("register", "", "join", "main"),
            View::Turn | View::OnSale => {
                let key = format!("<input type=\"hidden\" name=\"key\" value=\"{}\">", Text(self.key));
                form("buy", &key, "buy", "main");
            }
            View::OrderPrePay => {
                let id = self.seen.order["order_id"].as_str().unwrap_or_default();
                let id = format!("<input type=\"hidden\" name=\"order\" value=\"{}\">", Text(id));
                form("pay", &format!("{id}{}", self.choice()), "pay", "main");
                form("cancel", &id, "cancel", "");
            }
            _ => {}
        }
    }

    /// The ways to pay.
    fn choice(&self) -> String {
        let (_, words) = self.language;
        let mut choice = format!("<label>{} <select name=\"method\">", Text(words.label("pay_by")));
        for method in self.methods {
            let _ =
                write!(choice, "<option value=\"{}\">{}</option>", Text(method), Text(words.method(method)));
        }
        choice.push_str("</select></label>");
        choice
    }

    /// The ways on for who runs no script.
    fn links(&self, page: &mut String, renewed: Option<u32>) {
        let (_, words) = self.language;
        let mut link = |query: &str, label: &str| {
            let _ = write!(
                page,
                "<p><a href=\"{}/page{query}\">{}</a></p>",
                Text(self.sale_path),
                Text(words.label(label))
            );
        };
        if !self.is_mine {
            return link("/mine", "mine");
        }
        let pending = if self.is_pending() { "&amp;pending" } else { "" };
        let order = self.order.map_or(String::new(), |id| format!("order={id}{pending}"));
        link(&format!("/mine?{order}"), "again");
        if renewed.is_some() {
            link(&format!("/mine?{order}&amp;still"), "still");
        }
        link("", "back");
        if let Some(seconds) = renewed {
            let said = words.label("renews").replace("{n}", &seconds.to_string());
            let _ = write!(page, "<p>{}</p>", Text(&said));
        }
    }
}

/// An amount as people read it.
fn money(cents: &Value, currency: &Value) -> String {
    let cents = Cents(cents.as_u64().unwrap_or_default());
    let currency = currency.as_str().and_then(Currency::parse);
    currency.map_or_else(|| cents.0.to_string(), |currency| in_units(cents, &currency))
}

#[cfg(test)]
mod tests {
    use super::super::words::best;
    use super::*;
    use serde_json::json;

    fn page(seen: &Seen, refusal: Option<&str>, is_mine: bool) -> String {
        let page = Page {
            language: best(Some(b"en")),
            sale_path: "/seckill/test/phone",
            seen,
            refusal,
            is_mine,
            is_still: false,
            order: None,
            key: "key-1",
            methods: &["card", "wire"],
            is_simulated: true,
        };
        page.text()
    }

    #[test]
    fn what_comes_from_outside_cannot_leave_its_place() {
        let title = "<script>alert(1)</script>'\"&";
        let sale =
            json!({"state": "open", "title": title, "currency": "USD", "price_cents": 1, "remaining": 3});
        let text = page(&Seen { sale, ..Seen::default() }, None, false);
        assert!(!text.contains("<script>") && text.contains("&lt;script&gt;"), "{text}");
        // The only quote that could end the words is written in another way.
        let words = text.split_once("data-words='").unwrap().1.split_once('\'').unwrap().0;
        let read: Value =
            serde_json::from_str(&words.replace("&#39;", "'").replace("&lt;", "<").replace("&amp;", "&"))
                .unwrap();
        assert!(read["labels"]["buy"].is_string());
    }

    #[test]
    fn every_state_can_be_drawn_and_offers_what_can_be_done() {
        let order = |status: &str| Seen {
            sale: json!({"state": "open", "starts_at": "2030-01-31T12:00:00.000Z"}),
            order: json!({"order_id": "0123456789abc", "status": status, "amount_cents": 5, "currency": "USD",
                          "pay_before": "2030-01-31T12:15:00.000Z"}),
            ..Seen::default()
        };
        let text = page(&order("pre_pay"), Some("payment-declined"), true);
        assert!(text.contains("value=\"pay\"") && text.contains("value=\"cancel\""), "{text}");
        assert!(text.contains("2030-01-31 12:15:00 UTC") && text.contains("was declined"), "{text}");
        assert!(text.contains("<option value=\"card\">Card</option><option value=\"wire\">wire</option>"));
        assert!(!text.contains("http-equiv"), "nobody is hurried");
        assert!(text.contains("<div class=\"whole\"><dt>Order number</dt><dd>0123456789abc</dd>"), "{text}");
        let text = page(&order("paying"), None, true);
        assert!(!text.contains("<form") && text.contains("content=\"3\""), "{text}");
        assert!(text.contains("data-pending=\"\""), "{text}");
        let order = json!({"order_id": "0123456789abc", "status": "pending"});
        let text = page(&Seen { order, ..Seen::default() }, None, true);
        assert!(!text.contains("<form") && text.contains("content=\"3\""), "{text}");
        assert!(text.contains("data-pending=\"yes\"") && text.contains("<dd>0123456789abc</dd>"), "{text}");
        assert!(!text.contains("<dt>To pay</dt>"), "nobody knows it here: {text}");
        let sale = json!({"state": "open", "price_cents": 5, "currency": "USD", "remaining": 3});
        let text = page(&Seen { sale, ..Seen::default() }, None, false);
        assert!(text.contains("name=\"key\" value=\"key-1\"") && text.contains("/page/mine"), "{text}");
    }

    #[test]
    fn who_waits_reads_how_many_are_ahead_and_how_long_it_takes() {
        let seen = Seen {
            sale: json!({"state": "open", "price_cents": 5, "currency": "USD", "queue": {"mode": "fifo"}}),
            room: json!({"state": "open", "remaining": 90, "admitted": 10}),
            place: json!({"position": 41, "admitted": false, "has_chance": true, "eta_s": 61}),
            ..Seen::default()
        };
        let text = page(&seen, None, true);
        assert!(text.contains("<dd>30</dd>") && text.contains("<dd>about 2 min</dd>"), "{text}");
        assert!(text.contains("still"), "who reads slowly can stop it");
    }
}
