//! Waiting rooms: the `queue` of a campaign in bodies and answers, and how far a room has come.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::beacon;
use super::control_plane::ControlPlane;
use super::fields::{Fields, Given};
use super::problem::Problem;
use super::rfc3339::rfc3339;
use super::tenant::Tenant;
use crate::admission::{LiveSale, RoomState, seed_commitment};
use crate::domain::{EpochMs, RoomEdit, RoomFailure, RoomMarks, RoomMode, RoomSeed, RoomTerms};

/// The change of a room that a body asks for.
pub(super) fn read_edit(fields: &mut Fields) -> Result<Option<RoomEdit>, Problem> {
    const KNOWN: [&str; 6] = ["mode", "opens_at", "rate_per_s", "grace_s", "on_failure", "beacon"];
    let nothing = RoomEdit {
        mode: None,
        opens_at: None,
        rate_per_s: None,
        grace_s: None,
        on_failure: None,
        beacon: None,
        new_seed: RoomSeed(rand::random()),
    };
    let mut inner = match fields.object("queue")? {
        Given::Absent => return Ok(None),
        Given::Null => return Ok(Some(RoomEdit { mode: Some(RoomMode::Off), ..nothing })),
        Given::Value(inner) => inner,
    };
    let word = |field: &str, rule: &str, given: Given<String>| match given {
        Given::Absent => Ok(None),
        Given::Null => Err(Problem::field(field, rule)),
        Given::Value(word) => Ok(Some(word)),
    };
    const MODES: &str = "must be off, fifo or draw";
    const FAILURES: &str = "must be open or hold";
    let mode = word("queue.mode", MODES, inner.text("queue.mode")?)?;
    let mode = mode.map(|word| RoomMode::parse(&word).ok_or_else(|| Problem::field("queue.mode", MODES)));
    let on_failure = word("queue.on_failure", FAILURES, inner.text("queue.on_failure")?)?;
    let on_failure = on_failure
        .map(|word| RoomFailure::parse(&word).ok_or_else(|| Problem::field("queue.on_failure", FAILURES)));
    let grace_s = match inner.number("queue.grace_s")? {
        Given::Absent => None,
        Given::Null => Some(RoomTerms::GRACE_S),
        Given::Value(grace_s) => Some(grace_s),
    };
    let edit = RoomEdit {
        mode: mode.transpose()?,
        opens_at: inner.time("queue.opens_at")?.cleared(),
        rate_per_s: inner.number("queue.rate_per_s")?.cleared(),
        grace_s,
        on_failure: on_failure.transpose()?,
        beacon: beacon::read_terms(&mut inner)?,
        ..nothing
    };
    inner.finish(&KNOWN)?;
    Ok(Some(edit))
}

/// The terms as the API and the trail show them.
pub(super) fn terms_json(room: Option<&RoomTerms>) -> Value {
    let Some(room) = room.filter(|room| room.mode != RoomMode::Off) else { return json!({ "mode": "off" }) };
    json!({
        "mode": room.mode.as_str(),
        "opens_at": room.opens_at.map(rfc3339),
        "rate_per_s": room.rate_per_s,
        "grace_s": room.grace_s,
        "on_failure": room.on_failure.as_str(),
        "beacon": beacon::terms_json(room.beacon.as_ref()),
    })
}

/// `GET /api/v1/campaigns/{campaign}/{sku}/queue`
pub(super) async fn show(
    State(plane): State<Arc<ControlPlane>>,
    Tenant(tenant): Tenant,
    Path((campaign, sku)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let sale = plane.any_sale(&tenant, &campaign, &sku).await?;
    let (terms, marks) = with_marks(&plane, &sale).await?;
    Ok(Json(plane.room_json(&sale, &terms, &marks)))
}

/// The room of a sale, and its marks in the store.
pub(super) async fn with_marks(
    plane: &ControlPlane,
    sale: &LiveSale,
) -> Result<(RoomTerms, RoomMarks), Problem> {
    let terms = *sale.terms.room.as_ref().ok_or_else(Problem::no_queue)?;
    let stored = plane.limited(plane.desk.room_marks(vec![sale.id])).await?;
    Ok((terms, stored.first().map(|(_, marks)| *marks).unwrap_or_default()))
}

impl ControlPlane {
    /// How far a room has come. The seed stays secret until the draw has begun.
    pub(super) fn room_json(&self, sale: &LiveSale, terms: &RoomTerms, marks: &RoomMarks) -> Value {
        let now = self.now();
        let state = RoomState::of(terms, marks, self.admission.phase(sale, now), sale.is_sold_out(), now);
        let waiting = marks.registered.saturating_sub(marks.admitted);
        let rate = u64::from(marks.rate_per_s);
        json!({
            "tenant": sale.key.tenant(),
            "campaign": sale.key.campaign(),
            "sku": sale.key.sku(),
            "terms": terms_json(Some(terms)),
            "state": state.as_str(),
            "starts_at": rfc3339(sale.terms.starts_at),
            "registered": marks.registered,
            "admitted": marks.admitted,
            "waiting": waiting,
            "rate_per_s": marks.rate_per_s,
            "no_show_share": f64::from(marks.absent_permille) / 1_000.0,
            "all_admitted_in_s": (rate > 0).then(|| waiting.div_ceil(rate)),
            "drawn_at": marks.drawn_at.map(rfc3339),
            "drawn": marks.drawn,
            "draw_mark": marks.draw_mark,
            "fifo_mark": fifo_mark(marks),
            "seed_commit": terms.draws(marks).then(|| hex(&seed_commitment(&terms.seed))),
            "seed": marks.drawn_at.map(|_| hex(&terms.seed.0)),
            "beacon": beacon::state_json(terms, marks, sale.terms.starts_at),
            "registrations_refused": self.admission.rooms().refused(),
        })
    }
}

/// Who joined before is admitted; nobody is at first.
pub(super) fn fifo_mark(marks: &RoomMarks) -> Option<String> {
    (marks.fifo_mark > EpochMs(0)).then(|| rfc3339(marks.fifo_mark))
}

/// Bytes in hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(body: &str) -> Result<Option<RoomEdit>, Problem> {
        read_edit(&mut Fields::parse(body.as_bytes()).unwrap())
    }

    #[test]
    fn a_room_is_read_field_by_field() {
        assert_eq!(edit("{}").unwrap(), None);
        let off = edit(r#"{"queue":null}"#).unwrap().unwrap();
        assert_eq!(off.mode, Some(RoomMode::Off));
        let all =
            r#"{"queue":{"mode":"draw","opens_at":null,"rate_per_s":5,"grace_s":60,"on_failure":"hold"}}"#;
        let all = edit(all).unwrap().unwrap();
        assert_eq!(
            (all.mode, all.opens_at, all.rate_per_s),
            (Some(RoomMode::Draw), Some(None), Some(Some(5)))
        );
        assert_eq!((all.grace_s, all.on_failure), (Some(60), Some(RoomFailure::Hold)));
        for (body, field) in [
            (r#"{"queue":1}"#, "queue"),
            (r#"{"queue":{"mode":"random"}}"#, "queue.mode"),
            (r#"{"queue":{"mode":null}}"#, "queue.mode"),
            (r#"{"queue":{"rate_per_s":-1}}"#, "queue.rate_per_s"),
            (r#"{"queue":{"opens_at":"soon"}}"#, "queue.opens_at"),
            (r#"{"queue":{"on_failure":"maybe"}}"#, "queue.on_failure"),
            (r#"{"queue":{"rate":1}}"#, "queue.rate"),
        ] {
            let problem = edit(body).unwrap_err().body("");
            assert!(problem.contains(&format!("\"field\":\"{field}\"")), "{body}: {problem}");
        }
    }
}
