//! The beacon of a draw: the round that is named with a sale's terms, and what is shown of it and of its value.

use serde_json::{Value, json};

use super::fields::{Fields, Given, required};
use super::problem::Problem;
use super::rfc3339::rfc3339;
use crate::admission::drawing_seed;
use crate::domain::{BeaconSource, BeaconState, BeaconTerms, DrawMix, EpochMs, RoomMarks, RoomTerms};

/// The round that a body names in `queue.beacon`.
pub(super) fn read_terms(fields: &mut Fields) -> Result<Option<Option<BeaconTerms>>, Problem> {
    let mut inner = match fields.object("queue.beacon")? {
        Given::Absent => return Ok(None),
        Given::Null => return Ok(Some(None)),
        Given::Value(inner) => inner,
    };
    let source = required("queue.beacon.source", inner.text("queue.beacon.source")?)?;
    let words = BeaconSource::ALL.map(BeaconSource::as_str).join(", ");
    let beacon = BeaconTerms {
        source: BeaconSource::parse(&source)
            .ok_or_else(|| Problem::field("queue.beacon.source", format!("must be one of {words}")))?,
        round: required("queue.beacon.round", inner.number("queue.beacon.round")?)?,
        wait_s: inner.number("queue.beacon.wait_s")?.unwrap_or(BeaconTerms::WAIT_S),
    };
    inner.finish(&["source", "round", "wait_s"])?;
    Ok(Some(Some(beacon)))
}

/// The round as terms and trail show it.
pub(super) fn terms_json(beacon: Option<&BeaconTerms>) -> Value {
    beacon.map_or(
        Value::Null,
        |beacon| json!({ "source": beacon.source.as_str(), "round": beacon.round, "wait_s": beacon.wait_s }),
    )
}

/// How far the draw has come with its beacon; nothing where none is named.
pub(super) fn state_json(terms: &RoomTerms, marks: &RoomMarks, starts_at: EpochMs) -> Value {
    let Some(beacon) = terms.beacon.filter(|_| terms.draws(marks)) else { return Value::Null };
    let state = BeaconState::of(marks.mix.as_ref(), marks.drawn_at.is_some());
    let until = (state == BeaconState::Awaited).then(|| rfc3339(beacon.waits_until(starts_at)));
    let value = match &marks.mix {
        Some(DrawMix::Beacon(value)) => Some(value.to_string()),
        Some(DrawMix::Plain) | None => None,
    };
    let seed = marks.drawn_at.map(|_| drawing_seed(terms, marks));
    json!({
        "source": beacon.source.as_str(),
        "round": beacon.round,
        "state": state.as_str(),
        "due_at": rfc3339(beacon.due_at(starts_at)),
        "until": until,
        "value": value,
        "seed": seed.map(|seed| seed.0.iter().map(|byte| format!("{byte:02x}")).collect::<String>()),
        "address": beacon.source.address(beacon.round),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_is_read_field_by_field() {
        let read = |body: &str| {
            let mut fields = Fields::parse(body.as_bytes()).unwrap();
            let Given::Value(mut queue) = fields.object("queue").unwrap() else { panic!("{body}") };
            read_terms(&mut queue)
        };
        assert_eq!(read(r#"{"queue":{}}"#).unwrap(), None);
        assert_eq!(read(r#"{"queue":{"beacon":null}}"#).unwrap(), Some(None));
        let named = read(r#"{"queue":{"beacon":{"source":"drand-quicknet","round":7}}}"#).unwrap();
        let expected = BeaconTerms { source: BeaconSource::DrandQuicknet, round: 7, wait_s: 600 };
        assert_eq!(named, Some(Some(expected)));
        for (body, field) in [
            (r#"{"round":7}"#, "queue.beacon.source"),
            (r#"{"source":"dice","round":7}"#, "queue.beacon.source"),
            (r#"{"source":"nist-chain-2"}"#, "queue.beacon.round"),
            (r#"{"source":"nist-chain-2","round":"7"}"#, "queue.beacon.round"),
            (r#"{"source":"nist-chain-2","round":7,"chain":2}"#, "queue.beacon.chain"),
        ] {
            let problem = read(&format!(r#"{{"queue":{{"beacon":{body}}}}}"#)).unwrap_err();
            assert!(problem.detail().starts_with(field), "{}", problem.detail());
        }
    }
}
