//! A new sale: a form, what it will do, and the button that makes it.

use std::fmt::Write;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Query, Request, State};
use axum::response::Response;
use serde_json::{Map, Value};

use super::super::acting::Acting;
use super::super::caller::Caller;
use super::super::control_plane::ControlPlane;
use super::super::fields::Fields;
use super::super::problem::Problem;
use super::super::rfc3339::rfc3339;
use super::super::sales;
use super::assets::ZONE_SCRIPT;
use super::form::{Form, answer, sent};
use super::html::{Page, Text, act_form, may_act, span};
use super::sale::link;
use super::zone::Zone;
use crate::domain::{EpochMs, Rate, RoomMode, SaleTerms};
use crate::ledger::NewSale;
use crate::orders::in_units;

/// A text field: its name, its label, and what it looks like.
type TextField = (&'static str, &'static str, &'static str);

/// The fields of the form that go into the API's body as texts.
const TEXTS: [TextField; 4] = [
    ("campaign", "Campaign", "autumn"),
    ("sku", "SKU", "watch"),
    ("title", "Title (empty: the SKU)", "Watch"),
    ("currency", "Currency", "USD"),
];
/// Those that go there as numbers.
const NUMBERS: [TextField; 6] = [
    ("price_cents", "Price, in minor units", "19900"),
    ("stock", "Units", "1000"),
    ("per_buyer_limit", "Units a buyer (empty: 1)", "1"),
    ("rate_per_s", "Purchases a second on each node (empty: no limit)", "500"),
    ("burst", "Of these at once (empty: a second's)", "500"),
    ("pay_within_s", "Seconds to pay (empty: 900)", "900"),
];
/// Those of the waiting room: members of `queue`.
const ROOM: [TextField; 2] = [
    ("queue_mode", "Waiting room: off, fifo or draw (empty: off)", "draw"),
    ("queue_rate_per_s", "People admitted a second (empty: as many as can be served)", "200"),
];
/// Times on the clock of the zone.
const TIMES: [(&str, &str); 2] =
    [("starts_at", "Opens (empty: at once)"), ("ends_at", "Ends (empty: never)")];

/// `GET /sales/new`: the form with what is filled in, and a preview once that is enough for a sale.
pub(super) async fn page(
    State(plane): State<Arc<ControlPlane>>,
    Extension(caller): Extension<Caller>,
    Query(filled): Query<Vec<(String, String)>>,
) -> Response {
    let form = Form::of_pairs(filled);
    let mut body = String::from("<p>Nothing is made before you have seen what it does.</p>\n");
    body.push_str(&inputs(&caller, &form));
    if form.field("campaign").is_some() {
        match read(&plane, &caller, &form) {
            Ok((new, zone)) => {
                body.push_str(&preview(&new, &zone, plane.now()));
                if may_act(&caller) {
                    body.push_str(&act_form(
                        "/sales/new",
                        "Make the sale",
                        "go",
                        "a new sale",
                        &hidden(&form),
                    ));
                }
            }
            Err(problem) => {
                let _ = writeln!(body, "<p role=\"status\" class=\"wrong\">{}</p>", Text(problem.detail()));
            }
        }
    }
    // It fills in the browser's own time zone. Without it the field is empty, which is UTC.
    let head = ZONE_SCRIPT.script();
    Page::new(&plane, &caller, "New sale", body).at("/sales").with_head(&head).answer()
}

/// `POST /sales/new`
pub(super) async fn make(State(plane): State<Arc<ControlPlane>>, request: Request) -> Response {
    let (caller, extensions, body) = sent(request, &plane).await;
    let mut made = "/sales/new".to_owned();
    let done = async {
        let form = Form::of_body(body)?;
        let (new, zone) = read(&plane, &caller, &form)?;
        let tenant = new.key.tenant();
        made = link(tenant, new.key.campaign(), new.key.sku());
        let acting = Acting::of(&extensions, Some(tenant));
        let mut body = api_body(&form, &zone)?;
        body.extend(form.field("reason").map(|reason| ("reason".to_owned(), reason.into())));
        let body = Value::Object(body).to_string();
        sales::create(State(Arc::clone(&plane)), acting, Ok(body.into())).await.map(drop)
    };
    let done = done.await;
    let back = if done.is_ok() { made } else { "/sales/new".into() };
    answer(done, &plane, &caller, &back)
}

/// The sale that the form describes, as the API would make it, and the zone of its times.
fn read(plane: &ControlPlane, caller: &Caller, form: &Form) -> Result<(NewSale, Zone), Problem> {
    let zone = Zone::named(form.field("zone").unwrap_or_default())?;
    let tenant = match (&caller.tenant, form.field("tenant")) {
        (Some(own), _) => own.to_string(),
        (None, named) => named.unwrap_or("default").to_owned(),
    };
    let body = Value::Object(api_body(form, &zone)?).to_string();
    let new = sales::read_new(&tenant, plane.now(), Fields::parse(body.as_bytes())?)?;
    plane.sales.check_new(&new)?;
    Ok((new, zone))
}

/// The API's body of what is filled in, with its times as moments.
fn api_body(form: &Form, zone: &Zone) -> Result<Map<String, Value>, Problem> {
    let names = |fields: &[TextField]| fields.iter().map(|(name, ..)| *name).collect::<Vec<_>>();
    let mut body = form.object(&names(&TEXTS), &names(&NUMBERS));
    let queue = [("mode", "queue_mode"), ("rate_per_s", "queue_rate_per_s")];
    let queue: Map<_, _> = queue
        .into_iter()
        .filter_map(|(member, name)| {
            let text = form.field(name)?;
            let is_number = name == "queue_rate_per_s";
            let value = is_number.then(|| serde_json::from_str(text).ok()).flatten();
            Some((member.to_owned(), value.unwrap_or_else(|| text.into())))
        })
        .collect();
    if !queue.is_empty() {
        body.insert("queue".into(), queue.into());
    }
    for (name, _) in TIMES {
        if let Some(text) = form.field(name) {
            body.insert(name.into(), rfc3339(zone.moment(name, text)?).into());
        }
    }
    Ok(body)
}

fn inputs(caller: &Caller, form: &Form) -> String {
    let mut text = String::from("<form class=\"act\" method=\"get\" action=\"/sales/new\">");
    let mut input = |name: &str, label: &str, more: &str| {
        let value = Text(form.field(name).unwrap_or_default()).to_string();
        let _ = write!(text, "<label>{label} <input name=\"{name}\" value=\"{value}\"{more}></label>");
    };
    if caller.tenant.is_none() {
        input("tenant", "Tenant (empty: default)", "");
    }
    for (name, label, example) in TEXTS {
        let required = if ["campaign", "sku"].contains(&name) { " required" } else { "" };
        input(name, label, &format!(" placeholder=\"{example}\"{required}"));
    }
    for (name, label, example) in NUMBERS {
        let required = if ["price_cents", "stock"].contains(&name) { " required" } else { "" };
        input(
            name,
            label,
            &format!(" inputmode=\"numeric\" pattern=\"[0-9]*\" placeholder=\"{example}\"{required}"),
        );
    }
    for (name, label, example) in ROOM {
        input(name, label, &format!(" placeholder=\"{example}\""));
    }
    for (name, label) in TIMES {
        input(name, label, " type=\"datetime-local\" step=\"1\"");
    }
    input("zone", "On the clock of (empty: UTC)", " placeholder=\"Europe/Berlin\" data-zone");
    text.push_str("<button>Look what it does</button></form>\n");
    text
}

/// What was filled in, for the form that makes the sale.
fn hidden(form: &Form) -> String {
    let names = TEXTS.iter().chain(&NUMBERS).chain(&ROOM).map(|(name, ..)| *name);
    let names = names.chain(TIMES.iter().map(|(name, _)| *name)).chain(["zone", "tenant"]);
    let filled = names.filter_map(|name| Some((name, form.field(name)?)));
    filled
        .map(|(name, value)| format!("<input type=\"hidden\" name=\"{name}\" value=\"{}\">", Text(value)))
        .collect()
}

/// What the sale will do, and what buyers hear.
fn preview(new: &NewSale, zone: &Zone, now: EpochMs) -> String {
    let mut text = String::from("<h2>What it will do</h2>\n<ul>\n");
    for line in lines(new, zone, now) {
        let _ = writeln!(text, "<li>{}</li>", Text(&line));
    }
    text.push_str("</ul>\n");
    text
}

fn lines(new: &NewSale, zone: &Zone, now: EpochMs) -> Vec<String> {
    let NewSale { key, terms, stock } = new;
    let SaleTerms { price, currency, per_buyer_limit, starts_at, ends_at, pay_within_s, rate, .. } = terms;
    let units = u64::from(*stock);
    let has_end = *ends_at < SaleTerms::NO_END;
    let opens = (*starts_at).max(now);
    let mut lines = vec![format!(
        "{units} units of {} ({}/{} of {}) are sold for {} each, {} in all.",
        terms.title,
        key.campaign(),
        key.sku(),
        key.tenant(),
        in_units(*price, currency),
        in_units(price.times(*stock), currency)
    )];
    lines.push(if *starts_at <= now {
        "It opens at once: buyers can buy from the moment on.".into()
    } else {
        format!(
            "It opens at {}, in {}. Until then buyers are told sale-not-started, with that time.",
            zone.shown(*starts_at),
            span(starts_at.0 - now.0)
        )
    });
    if let Some(room) = terms.waiting_room() {
        let order = match room.mode {
            RoomMode::Draw => {
                "who registers before it opens is drawn at random, who comes later queues behind"
            }
            RoomMode::Fifo | RoomMode::Off => "they are admitted by arrival",
        };
        let pace =
            room.rate_per_s.map_or("as many as can be served".into(), |rate| format!("{rate} a second"));
        lines.push(format!("Buyers wait in a room: {order}; {pace} are admitted."));
    }
    if let Some(rate) = rate {
        let soonest = opens.plus_ms(ms_to_sell(units, *rate));
        let fewest = units.min(sold_within(ends_at.0 - opens.0, *rate));
        lines.push(if has_end && soonest >= *ends_at {
            format!(
                "At {}/s, {} at once, a node sells at most {fewest} of the {units} units until the end: raise the rate, or give \
                 it more time.",
                rate.per_s, rate.burst
            )
        } else {
            format!(
                "At {}/s, {} at once, a node has sold everything at {} at the earliest; who comes faster is told \
                 rate-limited.",
                rate.per_s,
                rate.burst,
                zone.shown(soonest)
            )
        });
    } else {
        lines.push(
            "Nothing limits how fast it sells: with enough buyers it is sold out within seconds.".into(),
        );
    }
    let buyers = units.div_ceil(u64::from((*per_buyer_limit).max(1)));
    lines.push(format!(
        "A buyer may have {per_buyer_limit}: at least {buyers} buyers are needed to sell it out."
    ));
    lines.push(format!(
        "Who has bought has {} to pay; what nobody pays is on sale again from {} on.",
        span(i64::from(*pay_within_s) * 1_000),
        zone.shown(opens.plus_ms(i64::from(*pay_within_s) * 1_000))
    ));
    lines.push(if has_end {
        format!("It ends at {}: from then on buyers are told sale-ended.", zone.shown(*ends_at))
    } else {
        "It never ends by itself.".into()
    });
    lines
}

/// How long a node needs at least to sell so many units.
fn ms_to_sell(units: u64, Rate { per_s, burst }: Rate) -> i64 {
    let later = units.saturating_sub(burst.into());
    i64::try_from((later * 1_000).div_ceil(u64::from(per_s.max(1)))).unwrap_or(i64::MAX / 2)
}

/// How many a node sells within that time at most.
fn sold_within(ms: i64, Rate { per_s, burst }: Rate) -> u64 {
    let ms = u64::try_from(ms).unwrap_or(0);
    u64::from(burst) + u64::from(per_s).saturating_mul(ms) / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Cents, Currency, SaleKey};

    fn new(rate: Option<Rate>, ends_at: EpochMs) -> NewSale {
        let terms = SaleTerms {
            title: "Watch".into(),
            price: Cents(19_900),
            currency: Currency::USD,
            per_buyer_limit: 3,
            starts_at: EpochMs(1_896_084_000_000),
            ends_at,
            pay_within_s: 600,
            rate,
            paused: false,
            paused_until: None,
            room: None,
        };
        NewSale { key: SaleKey::new("default", "autumn", "watch").unwrap(), terms, stock: 10_000 }
    }

    #[test]
    fn the_preview_says_when_it_opens_how_fast_it_sells_and_what_buyers_hear() {
        let zone = Zone::named("+02:00").unwrap();
        let now = EpochMs(1_896_080_400_000);
        let rate = Some(Rate { per_s: 500, burst: 1_000 });
        let said = lines(&new(rate, SaleTerms::NO_END), &zone, now).join("\n");
        for part in [
            "1990000.00 USD in all",
            "It opens at 2030-01-31 12:00:00 in +02:00 (2030-01-31 10:00:00 UTC), in 60 minutes",
            "a node has sold everything at 2030-01-31 12:00:18 in",
            "at least 3334 buyers",
            "has 10 minutes to pay; what nobody pays is on sale again from 2030-01-31 12:10:00",
            "It never ends by itself.",
        ] {
            assert!(said.contains(part), "{part:?} in {said}");
        }
        let short = new(rate, EpochMs(1_896_084_000_000 + 4_000));
        let said = lines(&short, &zone, now).join("\n");
        assert!(said.contains("at most 3000 of the 10000 units until the end"), "{said}");
        let past = lines(&new(None, SaleTerms::NO_END), &zone, EpochMs(1_896_084_000_001)).join("\n");
        assert!(past.contains("It opens at once") && past.contains("within seconds"), "{past}");
    }
}
