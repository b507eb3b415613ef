//! The public document of a sale's waiting room: one for everybody, small enough that a million clients may read it from a
//! cache. With it and the own pass each of them knows where it stands.

use bytes::Bytes;

use super::json::JsonObject;
use crate::admission::{LiveSale, RoomState, drawing_seed, seed_commitment};
use crate::domain::{BeaconState, BeaconTerms, DrawMix, EpochMs, RoomMarks, RoomTerms, SalePhase};

/// The shortest time between two looks, in ms: an older document is the same one.
const POLL_FLOOR_MS: u32 = 1_000;
/// The longest, in ms: with what a cache adds, who is sold out hears it within three seconds.
const POLL_CEILING_MS: u32 = 2_000;

/// The document.
pub(super) fn room_object(
    sale: &LiveSale,
    terms: &RoomTerms,
    marks: &RoomMarks,
    phase: SalePhase,
    now: EpochMs,
) -> Bytes {
    let mut object = JsonObject::with_capacity(420);
    object.text("state", RoomState::of(terms, marks, phase, sale.is_sold_out(), now).as_str());
    object.number("draw_mark", marks.draw_mark);
    if marks.fifo_mark > EpochMs(0) {
        object.time("fifo_mark", marks.fifo_mark);
    } else {
        object.null("fifo_mark");
    }
    // Once the mark of arrival has passed it, all who were drawn are admitted by that: no more is told than fits.
    match marks.drawn_at.filter(|drawn_at| marks.fifo_mark < *drawn_at) {
        Some(drawn_at) => object.time("drawn_at", drawn_at),
        None => object.null("drawn_at"),
    };
    object.number("rate_per_s", marks.rate_per_s);
    object.number("registered", sale.state.room().registered().max(marks.registered));
    object.number("admitted", marks.admitted);
    if terms.draws(marks) {
        object.hex("seed_commit", &seed_commitment(&terms.seed));
    } else {
        object.null("seed_commit");
    }
    if marks.drawn_at.is_some() {
        object.hex("seed", &terms.seed.0);
    } else {
        object.null("seed");
    }
    if let Some(beacon) = terms.beacon.filter(|_| terms.draws(marks)) {
        object.json("beacon", &beacon_object(&beacon, terms, marks, sale.terms.starts_at));
    }
    object.number("remaining", sale.remaining_everywhere()).time("server_time", now);
    let mut poll = JsonObject::with_capacity(48);
    poll.number("floor_ms", POLL_FLOOR_MS).number("ceiling_ms", POLL_CEILING_MS);
    object.json("poll", &poll.finish());
    object.finish()
}

/// The round that the draw is mixed with, and what came of it.
fn beacon_object(beacon: &BeaconTerms, terms: &RoomTerms, marks: &RoomMarks, starts_at: EpochMs) -> Bytes {
    let mut object = JsonObject::with_capacity(280);
    let state = BeaconState::of(marks.mix.as_ref(), marks.drawn_at.is_some());
    object.text("source", beacon.source.as_str()).number("round", beacon.round).text("state", state.as_str());
    if state == BeaconState::Awaited {
        object.time("until", beacon.waits_until(starts_at));
    } else {
        object.null("until");
    }
    match &marks.mix {
        Some(DrawMix::Beacon(value)) => object.hex("value", value.bytes()),
        Some(DrawMix::Plain) | None => object.null("value"),
    };
    if marks.drawn_at.is_some() {
        object.hex("seed", &drawing_seed(terms, marks).0);
    } else {
        object.null("seed");
    }
    object.finish()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::admission::SaleState;
    use crate::domain::{
        BeaconSource, BeaconValue, Cents, Currency, RoomFailure, RoomMode, RoomSeed, SaleId, SaleKey,
        SaleTerms,
    };

    const SEED: RoomSeed = RoomSeed([0xab; 16]);

    fn sale(mode: RoomMode, units: u32) -> LiveSale {
        let room = RoomTerms {
            mode,
            opens_at: Some(EpochMs(500)),
            rate_per_s: Some(10_000_000),
            grace_s: 180,
            on_failure: RoomFailure::Open,
            seed: SEED,
            beacon: None,
        };
        let terms = SaleTerms {
            title: String::new(),
            price: Cents(5),
            currency: Currency::USD,
            per_buyer_limit: 1,
            starts_at: EpochMs(1_000),
            ends_at: EpochMs(2_000),
            pay_within_s: 900,
            rate: None,
            paused: false,
            paused_until: None,
            room: Some(room),
        };
        let key = SaleKey::new("default", "c", "s").unwrap();
        LiveSale::new(SaleId(1), key, terms, Arc::new(SaleState::new(2, units)))
    }

    fn document(sale: &LiveSale, marks: &RoomMarks, now: i64) -> Bytes {
        let terms = sale.terms.waiting_room().unwrap();
        room_object(sale, terms, marks, sale.terms.phase(EpochMs(now)), EpochMs(now))
    }

    fn member(sale: &LiveSale, marks: &RoomMarks, now: i64, name: &str) -> serde_json::Value {
        serde_json::from_slice::<serde_json::Value>(&document(sale, marks, now)).unwrap()[name].clone()
    }

    #[test]
    fn the_document_stays_below_400_bytes() {
        let marks = RoomMarks {
            draw_mark: RoomMarks::PRIORITY_END,
            fifo_mark: EpochMs(1_900_000_000_000),
            drawn_at: Some(EpochMs(1_800_000_000_000)),
            drawn: 99_999_999,
            admitted: 99_999_999,
            registered: 99_999_999,
            rate_per_s: 10_000_000,
            absent_permille: 900,
            mix: None,
        };
        let length = |sale: &LiveSale, marks: &RoomMarks| {
            sale.state.room().show(marks, sale.terms.waiting_room().unwrap());
            document(sale, marks, 999).len()
        };
        let mut sale = sale(RoomMode::Draw, 99_999_999);
        let by_lot = RoomMarks { fifo_mark: EpochMs(0), ..marks };
        for marks in [marks, by_lot] {
            assert!(length(&sale, &marks) < 400, "{}", length(&sale, &marks));
        }
        // A draw that anybody can check with others' randomness has more to tell, and still fits one packet.
        for (source, bytes) in [(BeaconSource::DrandQuicknet, 32), (BeaconSource::Nist, 64)] {
            let beacon = BeaconTerms { source, round: 99_999_999, wait_s: 600 };
            sale.terms.room.as_mut().unwrap().beacon = Some(beacon);
            let mix = Some(DrawMix::Beacon(BeaconValue::new(&[0xcd; 64][..bytes]).unwrap()));
            let length = length(&sale, &RoomMarks { mix, ..marks });
            assert!(length < 680, "{length}");
        }
    }

    #[test]
    fn each_state_has_its_word() {
        let (draw, none) = (sale(RoomMode::Draw, 5), RoomMarks::default());
        let states = [499, 500, 1_000, 2_000].map(|now| member(&draw, &none, now, "state"));
        assert_eq!(states, ["closed", "registering", "drawing", "ended"]);
        let drawn = RoomMarks { drawn_at: Some(EpochMs(1_000)), ..none };
        assert_eq!(member(&draw, &drawn, 1_000, "state"), "open");
        assert_eq!(member(&sale(RoomMode::Fifo, 5), &none, 1_000, "state"), "open");
        assert_eq!(member(&sale(RoomMode::Fifo, 0), &none, 1_000, "state"), "sold_out");
        let mut paused = sale(RoomMode::Fifo, 5);
        paused.terms.paused = true;
        assert_eq!(member(&paused, &none, 1_000, "state"), "paused");
    }

    #[test]
    fn who_takes_part_in_a_draw_is_told_while_that_counts() {
        let (draw, none) = (sale(RoomMode::Draw, 5), RoomMarks::default());
        assert!(member(&draw, &none, 1_500, "drawn_at").is_null());
        let drawn = RoomMarks { drawn_at: Some(EpochMs(1_000)), ..none };
        assert_eq!(member(&draw, &drawn, 1_500, "drawn_at"), "1970-01-01T00:00:01.000Z");
        let early = RoomMarks { fifo_mark: EpochMs(999), ..drawn };
        assert_eq!(member(&draw, &early, 1_500, "drawn_at"), "1970-01-01T00:00:01.000Z");
        let over = RoomMarks { fifo_mark: EpochMs(1_000), ..drawn };
        assert!(member(&draw, &over, 1_500, "drawn_at").is_null(), "all who took part came before fifo_mark");
    }

    #[test]
    fn the_beacon_is_named_from_the_first_moment_on_and_its_value_is_shown() {
        let mut draw = sale(RoomMode::Draw, 5);
        assert!(member(&draw, &RoomMarks::default(), 700, "beacon").is_null());
        let beacon = BeaconTerms { source: BeaconSource::Nist, round: 7, wait_s: 60 };
        draw.terms.room.as_mut().unwrap().beacon = Some(beacon);
        let terms = *draw.terms.waiting_room().unwrap();
        let shown = |marks: RoomMarks| member(&draw, &marks, 1_500, "beacon");
        let awaited = shown(RoomMarks::default());
        assert_eq!(
            awaited,
            serde_json::json!({
                "source": "nist-chain-2", "round": 7, "state": "awaited", "until": "1970-01-01T00:01:01.000Z",
                "value": null, "seed": null,
            })
        );
        let value = BeaconValue::new(&[0xcd; 64]).unwrap();
        let drawn = RoomMarks { drawn_at: Some(EpochMs(1_000)), ..RoomMarks::default() };
        let mixed = RoomMarks { mix: Some(DrawMix::Beacon(value)), ..drawn };
        let seed: String = drawing_seed(&terms, &mixed).0.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_ne!(seed, "ab".repeat(16));
        let told = shown(mixed);
        assert_eq!(
            (&told["state"], &told["value"], &told["seed"]),
            (&"mixed".into(), &"cd".repeat(64).into(), &seed.into())
        );
        let plain = shown(RoomMarks { mix: Some(DrawMix::Plain), ..drawn });
        assert_eq!((&plain["state"], &plain["seed"]), (&"plain".into(), &"ab".repeat(16).into()));
    }

    #[test]
    fn the_seed_is_committed_to_at_once_and_shown_with_the_draw() {
        let (draw, none) = (sale(RoomMode::Draw, 5), RoomMarks::default());
        let drawn = RoomMarks { drawn_at: Some(EpochMs(1_000)), ..none };
        for now in [0, 700, 1_500] {
            assert!(member(&draw, &none, now, "seed").is_null(), "at {now}");
            assert_eq!(member(&draw, &none, now, "seed_commit").as_str().map(str::len), Some(64), "at {now}");
        }
        assert_eq!(member(&draw, &drawn, 1_500, "seed"), "ab".repeat(16));
        let fifo = sale(RoomMode::Fifo, 5);
        assert!(member(&fifo, &none, 700, "seed_commit").is_null());
        assert_eq!(
            member(&fifo, &drawn, 1_500, "seed"),
            "ab".repeat(16),
            "the mode was changed after the draw"
        );
    }
}
