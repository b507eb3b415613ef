//! The value of a beacon's round, as an operator gives it.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::acting::Acting;
use super::beacon::terms_json;
use super::control_plane::ControlPlane;
use super::fields::{Fields, Given, required};
use super::problem::{Code, Problem};
use super::rfc3339::rfc3339;
use super::sales::sale_name;
use crate::domain::{BeaconSource, BeaconState, BeaconValue, DrawMix};
use crate::orders::ActKind;

/// `POST /api/v1/campaigns/{campaign}/{sku}/queue/beacon` with `{"value","reason"}`: the value of the round that was named, once
/// registration has closed; `null` makes the draw without it.
pub(super) async fn give(
    State(plane): State<Arc<ControlPlane>>,
    acting: Acting,
    Path((campaign, sku)): Path<(String, String)>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Value>, Problem> {
    let mut fields = Fields::of_body(body)?;
    let given = fields.text("value")?;
    let reason = required("reason", fields.reason()?)?;
    fields.finish(&["value", "reason"])?;
    let sale = plane.live_sale(&acting.tenant, &campaign, &sku).await?;
    let terms = sale.terms.room.as_ref().ok_or_else(Problem::no_queue)?;
    let no_beacon = || Problem::new(Code::NoBeacon, "No beacon was named for this sale's draw.");
    let beacon = terms.named_round().ok_or_else(no_beacon)?;
    let mix = match given {
        Given::Absent => return Err(Problem::field("value", "is missing; null makes the draw without it")),
        Given::Null => DrawMix::Plain,
        Given::Value(digits) => DrawMix::Beacon(read_value(&digits, beacon.source)?),
    };
    let due_at = beacon.due_at(sale.terms.starts_at);
    if plane.now() < due_at {
        let due_at = rfc3339(due_at);
        let detail =
            format!("Registration has not closed, or the round is not drawn yet: it is due at {due_at}.");
        return Err(Problem::new(Code::BeaconNotDue, detail).with("due_at", due_at));
    }
    let mut act = acting.act(&plane, ActKind::CampaignBeacon, sale_name(&sale.key), Some(reason));
    act.from = terms_json(Some(&beacon));
    act.to = match &mix {
        DrawMix::Plain => json!({ "value": null }),
        DrawMix::Beacon(value) => json!({ "value": value.to_string() }),
    };
    let (desk, id) = (plane.desk.clone(), sale.id);
    let decided = plane.acted(async move { desk.decide_mix(id, mix, Some(act)).await }).await??;
    if decided != Some(mix) {
        let detail = "It is decided already what the draw is made with, and that never changes.";
        let state = BeaconState::of(decided.as_ref(), true);
        return Err(Problem::new(Code::DrawDecided, detail).with("state", state.as_str()));
    }
    let stored = plane.limited(plane.desk.room_marks(vec![sale.id])).await?;
    let marks = stored.first().map(|(_, marks)| *marks).unwrap_or_default();
    sale.state.room().show(&marks, terms);
    Ok(Json(plane.room_json(&sale, terms, &marks)))
}

fn read_value(digits: &str, source: BeaconSource) -> Result<BeaconValue, Problem> {
    let bytes = source.value_bytes();
    BeaconValue::parse(digits).filter(|value| value.bytes().len() == bytes).ok_or_else(|| {
        Problem::field(
            "value",
            format!("must be {} hexadecimal digits: a value of {}", 2 * bytes, source.as_str()),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_as_many_digits_as_its_source_gives() {
        assert!(read_value(&"ab".repeat(32), BeaconSource::DrandDefault).is_ok());
        assert!(read_value(&"ab".repeat(64), BeaconSource::Nist).is_ok());
        for digits in [64, 16].map(|bytes| "ab".repeat(bytes)) {
            assert!(read_value(&digits, BeaconSource::DrandQuicknet).is_err());
        }
    }
}
