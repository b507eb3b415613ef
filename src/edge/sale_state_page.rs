//! The document that shows a sale's public state, and which of its fields each platform sees.

use std::collections::HashMap;

use bytes::Bytes;
use http::HeaderValue;

use super::json::JsonObject;
use super::reply::Keep;
use super::settings::SaleStateSettings;
use crate::admission::LiveSale;
use crate::domain::{EpochMs, FieldError, SalePhase, SaleTerms};

/// The fields that a sale's state may have, in the order in which they are written. `queue` is one of sales with a waiting room
/// only.
const FIELDS: [&str; 11] = [
    "campaign",
    "sku",
    "title",
    "state",
    "price_cents",
    "currency",
    "starts_at",
    "ends_at",
    "server_time",
    "remaining",
    "queue",
];

/// Which of [`FIELDS`] are shown.
type Shown = [bool; FIELDS.len()];

/// How the state is shown, and to whom.
#[derive(Debug)]
pub struct SaleStatePage {
    kept: Keep,
    kept_for_all: Keep,
    platforms: HashMap<Box<[u8]>, Shown>,
}

impl SaleStatePage {
    /// Reads the table. `depends_on` are the request fields that choose the document, beside the platform.
    ///
    /// # Errors
    /// Names the setting that is wrong.
    pub fn new(settings: &SaleStateSettings, mut depends_on: Vec<&'static str>) -> Result<Self, FieldError> {
        let cache_control = HeaderValue::from_str(&settings.cache_control).map_err(|_| FieldError {
            field: "sale_state.cache_control",
            problem: "holds characters that a header field cannot have".into(),
        })?;
        let mut platforms = HashMap::new();
        for (platform, fields) in &settings.platforms {
            let mut shown = [false; FIELDS.len()];
            for field in fields {
                let place = FIELDS.iter().position(|known| known == field).ok_or_else(|| FieldError {
                    field: "sale_state.platforms",
                    problem: format!("{field} is not one of {}", FIELDS.join(", ")),
                })?;
                shown[place] = true;
            }
            platforms.insert(platform.as_bytes().into(), shown);
        }
        let keep = |depends_on: &[&str]| {
            let vary = HeaderValue::from_str(&depends_on.join(", ")).ok().filter(|names| !names.is_empty());
            Keep::Public { cache_control: cache_control.clone(), vary }
        };
        let kept_for_all = keep(&depends_on);
        if !platforms.is_empty() {
            depends_on.push("x-platform");
        }
        Ok(Self { kept: keep(&depends_on), kept_for_all, platforms })
    }

    fn shown_on(&self, platform: Option<&[u8]>) -> Shown {
        platform.and_then(|platform| self.platforms.get(platform)).copied().unwrap_or([true; FIELDS.len()])
    }

    /// The document for this platform.
    pub fn object(&self, sale: &LiveSale, phase: SalePhase, now: EpochMs, platform: Option<&[u8]>) -> Bytes {
        state_object(sale, phase, now, self.shown_on(platform))
    }

    /// For how long, and by whom, the document may be kept.
    pub fn kept(&self) -> Keep {
        self.kept.clone()
    }

    /// The same of a document that no platform sees another way.
    pub fn kept_for_all(&self) -> Keep {
        self.kept_for_all.clone()
    }
}

fn state_object(sale: &LiveSale, phase: SalePhase, now: EpochMs, shown: Shown) -> Bytes {
    let terms = &sale.terms;
    let remaining = sale.remaining_everywhere();
    let state = match phase {
        SalePhase::Upcoming => "upcoming",
        SalePhase::Open if sale.is_sold_out() => "sold_out",
        SalePhase::Open => "open",
        SalePhase::Paused => "paused",
        SalePhase::Ended => "ended",
    };
    let mut object = JsonObject::with_capacity(320);
    for (name, _) in FIELDS.into_iter().zip(shown).filter(|(_, shown)| *shown) {
        match name {
            "campaign" => object.text(name, sale.key.campaign()),
            "sku" => object.text(name, sale.key.sku()),
            "title" => object.text(name, &terms.title),
            "state" => object.text(name, state),
            "price_cents" => object.number(name, terms.price.0),
            "currency" => object.text(name, terms.currency.as_str()),
            "starts_at" => object.time(name, terms.starts_at),
            "ends_at" if terms.ends_at >= SaleTerms::NO_END => object.null(name),
            "ends_at" => object.time(name, terms.ends_at),
            "server_time" => object.time(name, now),
            "remaining" => object.number(name, remaining),
            _ => queue(&mut object, name, sale),
        };
    }
    object.finish()
}

/// Where buyers wait, if they have to.
fn queue<'a>(object: &'a mut JsonObject, name: &str, sale: &LiveSale) -> &'a mut JsonObject {
    let Some(room) = sale.terms.waiting_room() else { return object };
    let mut queue = JsonObject::with_capacity(192);
    queue.text("mode", room.mode.as_str());
    match room.opens_at {
        Some(opens_at) => queue.time("opens_at", opens_at),
        None => queue.null("opens_at"),
    };
    queue.text_of("url", &["/seckill/", sale.key.campaign(), "/", sale.key.sku(), "/queue"]);
    object.json(name, &queue.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::SaleState;
    use crate::domain::{
        Cents, Currency, RoomFailure, RoomMode, RoomSeed, RoomTerms, SaleId, SaleKey, SaleTerms,
    };
    use std::sync::Arc;

    fn sale(units: u32) -> LiveSale {
        let terms = SaleTerms {
            title: "A \"phone\"".into(),
            price: Cents(199_900),
            currency: Currency::USD,
            per_buyer_limit: 1,
            starts_at: EpochMs(1_000),
            ends_at: EpochMs(2_000),
            pay_within_s: 900,
            rate: None,
            paused: false,
            paused_until: None,
            room: None,
        };
        let key = SaleKey::new("default", "11.11", "phone").unwrap();
        LiveSale::new(SaleId(1), key, terms, Arc::new(SaleState::new(2, units)))
    }

    fn state_at(sale: &LiveSale, now: i64) -> serde_json::Value {
        serde_json::from_slice(&state_object(
            sale,
            sale.terms.phase(EpochMs(now)),
            EpochMs(now),
            [true; FIELDS.len()],
        ))
        .unwrap()
    }

    #[test]
    fn each_phase_has_its_word() {
        let mut sale = sale(5);
        assert_eq!(
            [999, 1_000, 2_000].map(|now| state_at(&sale, now)["state"].clone()),
            ["upcoming", "open", "ended"]
        );
        sale.terms.paused = true;
        assert_eq!(state_at(&sale, 1_500)["state"], "paused");
        assert_eq!(state_at(&super::tests::sale(0), 1_500)["state"], "sold_out");
        assert_eq!(state_at(&super::tests::sale(0), 999)["state"], "upcoming");
    }

    #[test]
    fn units_elsewhere_count_and_an_empty_node_is_not_the_end_of_the_sale() {
        let sale = sale(2);
        sale.state.set_units_elsewhere(40);
        assert_eq!(state_at(&sale, 1_500)["remaining"], 42);
        let sale = super::tests::sale(0);
        sale.state.set_more_may_come(true);
        assert_eq!(state_at(&sale, 1_500)["state"], "open");
        sale.state.set_more_may_come(false);
        assert_eq!(state_at(&sale, 1_500)["state"], "sold_out");
    }

    #[test]
    fn the_state_has_the_fields_of_the_contract() {
        let state = state_at(&sale(5), 1_500);
        assert_eq!(state.as_object().unwrap().len(), FIELDS.len() - 1, "it has no waiting room");
        assert_eq!(state["title"], "A \"phone\"");
        assert_eq!(state["price_cents"], 199_900);
        assert_eq!(state["starts_at"], "1970-01-01T00:00:01.000Z");
        assert_eq!(state["remaining"], 5);
        let mut sale = sale(5);
        sale.terms.room = Some(RoomTerms {
            mode: RoomMode::Draw,
            opens_at: Some(EpochMs(500)),
            rate_per_s: None,
            grace_s: 180,
            on_failure: RoomFailure::Open,
            seed: RoomSeed([1; 16]),
            beacon: None,
        });
        let queue = &state_at(&sale, 1_500)["queue"];
        assert_eq!((&queue["mode"], &queue["url"]), (&"draw".into(), &"/seckill/11.11/phone/queue".into()));
        assert_eq!(queue["opens_at"], "1970-01-01T00:00:00.500Z");
    }

    #[test]
    fn a_listed_platform_sees_its_fields_and_another_sees_all() {
        let page = SaleStatePage::new(&SaleStateSettings::default(), Vec::new()).unwrap();
        let fields = |platform: Option<&[u8]>| {
            let body = page.object(&sale(1), SalePhase::Open, EpochMs(1_500), platform);
            serde_json::from_slice::<serde_json::Value>(&body).unwrap().as_object().unwrap().len()
        };
        assert_eq!(fields(None), FIELDS.len() - 1);
        assert_eq!(fields(Some(b"ios")), FIELDS.len() - 1);
        assert_eq!(fields(Some(b"miniapp")), 7);
    }

    #[test]
    fn a_table_with_a_field_that_does_not_exist_is_refused() {
        let mut settings = SaleStateSettings::default();
        settings.platforms.insert("web".into(), vec!["prise".into()]);
        let error = SaleStatePage::new(&settings, Vec::new()).unwrap_err();
        assert!(error.problem.contains("prise"), "{error:?}");
    }
}
