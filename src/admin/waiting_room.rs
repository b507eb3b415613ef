//! Waiting rooms: the `queue` of a campaign in bodies and answers, how far a room has come, and what whoever checks the draw
//! needs: the registrations and the moves of the marks, as NDJSON.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::control_plane::ControlPlane;
use super::fields::{Fields, Given};
use super::problem::Problem;
use super::rfc3339::rfc3339;
use super::sale_series::{ToldSales, labels_of};
use super::tenant::Tenant;
use crate::admission::{LiveSale, RoomState, priority_of, seed_commitment};
use crate::domain::{
    EpochMs, Registration, RoomEdit, RoomFailure, RoomMarks, RoomMode, RoomMove, RoomSeed, RoomTerms, Who,
};
use crate::telemetry::{Exposition, Kind};

/// The change of a room that a body asks for.
pub(super) fn read_edit(fields: &mut Fields) -> Result<Option<RoomEdit>, Problem> {
    const KNOWN: [&str; 5] = ["mode", "opens_at", "rate_per_s", "grace_s", "on_failure"];
    let nothing = RoomEdit {
        mode: None,
        opens_at: None,
        rate_per_s: None,
        grace_s: None,
        on_failure: None,
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
async fn with_marks(plane: &ControlPlane, sale: &LiveSale) -> Result<(RoomTerms, RoomMarks), Problem> {
    let terms = *sale.terms.room.as_ref().ok_or_else(Problem::no_queue)?;
    let stored = plane.limited(plane.desk.room_marks(vec![sale.id])).await?;
    Ok((terms, stored.first().map(|(_, marks)| *marks).unwrap_or_default()))
}

impl ControlPlane {
    /// How far a room has come. The seed stays secret until the draw has begun.
    pub(super) fn room_json(&self, sale: &LiveSale, terms: &RoomTerms, marks: &RoomMarks) -> Value {
        let now = self.now();
        let state = RoomState::of(terms, marks, self.admission.phase(sale, now), sale.is_sold_out(), now);
        let is_draw = terms.mode == RoomMode::Draw;
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
            "seed_commit": is_draw.then(|| hex(&seed_commitment(&terms.seed))),
            "seed": marks.drawn_at.filter(|_| is_draw).map(|_| hex(&terms.seed.0)),
            "not_logged": self.admission.rooms().unlogged(),
        })
    }
}

/// A figure of each room: its name, what it is, and its value.
type Figure = (&'static str, &'static str, fn(&RoomMarks) -> f64);

impl ControlPlane {
    /// The figures for `GET /metrics`.
    pub(super) fn expose_rooms(&self, page: &mut Exposition, told: &ToldSales) {
        let rooms = self.admission.rooms();
        const NOT_LOGGED: &str = "seckill_registrations_not_logged_total";
        page.family(
            NOT_LOGGED,
            Kind::Counter,
            "Registrations that the order store did not keep up with; their passes are good.",
        );
        page.sample(NOT_LOGGED, &[], rooms.unlogged() as f64);
        const KEEPER: &str = "seckill_gatekeeper_answers_total";
        page.family(KEEPER, Kind::Counter, "What the gatekeeper said of who joined a waiting room.");
        for (word, count) in self.telemetry.gatekeeper.by_word() {
            page.sample(KEEPER, &[("answer", word)], count as f64);
        }
        const UNSEEN: &str = "seckill_waiting_rooms_unseen";
        page.family(
            UNSEEN,
            Kind::Gauge,
            "1 while nobody can tell here who is admitted: sales are open or hold.",
        );
        let sees = rooms.can_tell(self.desk.clock().stopwatch());
        page.sample(UNSEEN, &[], f64::from(u8::from(!sees)));
        let of: [Figure; 4] = [
            ("seckill_room_registered", "Registrations at the sale's waiting room.", |marks| {
                marks.registered as f64
            }),
            ("seckill_room_admitted", "Buyers who were admitted.", |marks| marks.admitted as f64),
            ("seckill_room_rate_per_second", "Buyers admitted a second, as things are.", |marks| {
                marks.rate_per_s.into()
            }),
            (
                "seckill_room_no_show_share",
                "Of those who were admitted, the share that does not come.",
                |marks| f64::from(marks.absent_permille) / 1_000.0,
            ),
        ];
        for (name, help, value) in of {
            page.family(name, Kind::Gauge, help);
            // What all others together would have means nothing.
            for sale in told.own.iter().filter(|sale| sale.terms.waiting_room().is_some()) {
                page.sample(name, &labels_of(&sale.key), value(&sale.state.room().marks()));
            }
        }
    }

    /// What those who watch are told while nobody can tell who is admitted, if a sale has a waiting room.
    pub(super) fn room_trouble(&self) -> Option<(&'static str, &'static str)> {
        let has_rooms = self.admission.board().sales().with_room().next().is_some();
        let sees = self.admission.rooms().can_tell(self.desk.clock().stopwatch());
        let said = "nobody can tell who is admitted: the marks of the waiting rooms are not compared with the store; sales \
                    with a waiting room are open or hold, as their queue.on_failure says";
        (has_rooms && !sees).then_some(("waiting-rooms-unseen", said))
    }
}

/// Where a page begins and how long it is, as text: errors shall name the field.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PageQuery {
    after: Option<String>,
    limit: Option<String>,
}

/// Lines of a page that does not name its limit.
const LIMIT_DEFAULT: usize = 1_000;

impl PageQuery {
    fn read<A>(
        query: Result<Query<Self>, QueryRejection>,
        rows_max: usize,
        rule: &str,
        read: impl FnOnce(&str) -> Option<A>,
    ) -> Result<(Option<A>, usize), Problem> {
        let Query(query) = query.map_err(|rejection| Problem::field("query", rejection.body_text()))?;
        let after = query.after.as_deref().filter(|text| !text.is_empty());
        let after = after.map(|text| read(text).ok_or_else(|| Problem::field("after", rule))).transpose()?;
        match query.limit.as_deref().filter(|text| !text.is_empty()).map(str::parse) {
            None => Ok((after, LIMIT_DEFAULT.min(rows_max))),
            Some(Ok(limit)) if (1..=rows_max).contains(&limit) => Ok((after, limit)),
            Some(_) => {
                let rule = format!("must be a whole number from 1 to {rows_max} (admin.page_rows_max)");
                Err(Problem::field("limit", rule).with("max", rows_max))
            }
        }
    }
}

/// `GET /api/v1/campaigns/{campaign}/{sku}/registrations`: who registered when, in that order. `after` is the `mark` of the
/// last line seen.
pub(super) async fn registrations(
    State(plane): State<Arc<ControlPlane>>,
    Tenant(tenant): Tenant,
    Path((campaign, sku)): Path<(String, String)>,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let rule = "must be the mark of a registration";
    let (after, limit) = PageQuery::read(query, plane.settings.page_rows_max, rule, read_mark)?;
    let sale = plane.any_sale(&tenant, &campaign, &sku).await?;
    let (terms, marks) = with_marks(&plane, &sale).await?;
    let found = plane.limited(plane.desk.registrations(sale.id, after, limit)).await?;
    let drawn_at = marks.drawn_at.filter(|_| terms.mode == RoomMode::Draw);
    let mut lines = String::with_capacity(found.len() * 150);
    for Registration { joined_at, who, .. } in &found {
        let is_drawn = drawn_at.is_some_and(|drawn_at| *joined_at < drawn_at);
        let line = json!({
            "mark": mark(*joined_at, who),
            "who": hex(who),
            "joined_at": rfc3339(*joined_at),
            "priority": is_drawn.then(|| priority_of(&terms.seed, who)),
        });
        lines.push_str(&line.to_string());
        lines.push('\n');
    }
    let next = found.last().filter(|_| found.len() == limit).map(|last| mark(last.joined_at, &last.who));
    Ok(page(lines, &format!("/api/v1/campaigns/{campaign}/{sku}/registrations"), next, limit))
}

/// `GET /api/v1/campaigns/{campaign}/{sku}/marks`: how the marks moved, oldest first. `after` is the `at` of the last line
/// seen.
pub(super) async fn marks(
    State(plane): State<Arc<ControlPlane>>,
    Tenant(tenant): Tenant,
    Path((campaign, sku)): Path<(String, String)>,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let read = |text: &str| text.parse::<jiff::Timestamp>().ok().map(|at| EpochMs(at.as_millisecond()));
    let rule = "must be the time of a move";
    let (after, limit) = PageQuery::read(query, plane.settings.page_rows_max, rule, read)?;
    let sale = plane.any_sale(&tenant, &campaign, &sku).await?;
    with_marks(&plane, &sale).await?;
    let after = after.unwrap_or(EpochMs(i64::MIN));
    let found = plane.limited(plane.desk.room_moves(sale.id, after, limit)).await?;
    let line = |RoomMove { at, marks, .. }: &RoomMove| {
        let line = json!({
            "at": rfc3339(*at),
            "draw_mark": marks.draw_mark,
            "fifo_mark": fifo_mark(marks),
            "drawn_at": marks.drawn_at.map(rfc3339),
            "drawn": marks.drawn,
            "admitted": marks.admitted,
            "registered": marks.registered,
            "rate_per_s": marks.rate_per_s,
            "no_show_share": f64::from(marks.absent_permille) / 1_000.0,
        });
        line.to_string() + "\n"
    };
    let lines: String = found.iter().map(line).collect();
    let next = found.last().filter(|_| found.len() == limit).map(|last| rfc3339(last.at));
    Ok(page(lines, &format!("/api/v1/campaigns/{campaign}/{sku}/marks"), next, limit))
}

fn page(lines: String, path: &str, next: Option<String>, limit: usize) -> Response {
    let mut response = ([(header::CONTENT_TYPE, "application/x-ndjson")], lines).into_response();
    if let Some(after) = next {
        let after: String = form_urlencoded::byte_serialize(after.as_bytes()).collect();
        if let Ok(link) = HeaderValue::try_from(format!("<{path}?after={after}&limit={limit}>; rel=\"next\""))
        {
            response.headers_mut().insert(header::LINK, link);
        }
    }
    response
}

fn fifo_mark(marks: &RoomMarks) -> Option<String> {
    (marks.fifo_mark > EpochMs(0)).then(|| rfc3339(marks.fifo_mark))
}

fn mark(joined_at: EpochMs, who: &Who) -> String {
    format!("{}-{}", joined_at.0, hex(who))
}

fn read_mark(text: &str) -> Option<(EpochMs, Who)> {
    let (joined_at, who) = text.split_once('-')?;
    let digits: &[u8; 32] = who.as_bytes().try_into().ok()?;
    let mut bytes: Who = [0; 16];
    for (byte, pair) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some((EpochMs(joined_at.parse().ok()?), bytes))
}

fn hex(bytes: &[u8]) -> String {
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

    #[test]
    fn a_mark_leads_back_to_its_line() {
        let who = *b"\x00\x01\xff\xfe0123456789ab";
        assert_eq!(read_mark(&mark(EpochMs(7), &who)), Some((EpochMs(7), who)));
        for wrong in
            ["", "7", "7-00", "x-000102030405060708090a0b0c0d0e0f", "7-zz0102030405060708090a0b0c0d0e0f"]
        {
            assert_eq!(read_mark(wrong), None, "{wrong}");
        }
    }
}
