//! What whoever checks a draw needs: the registrations and the moves of the marks, as NDJSON.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;

use super::control_plane::ControlPlane;
use super::paging::{self, ndjson};
use super::problem::Problem;
use super::rfc3339::rfc3339;
use super::tenant::Tenant;
use super::waiting_room::{fifo_mark, hex, with_marks};
use crate::admission::{DrawKey, drawing_seed};
use crate::domain::{EpochMs, Registration, RoomMove, Who};

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
        Ok((after, paging::limit(query.limit.as_deref(), LIMIT_DEFAULT, rows_max, paging::BY_SETTING)?))
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
    let found = plane.in_bulk(plane.desk.registrations(sale.id, after, limit)).await?;
    let key = DrawKey::new(&drawing_seed(&terms, &marks));
    let mut lines = String::with_capacity(found.len() * 150);
    for Registration { joined_at, who, .. } in &found {
        let is_drawn = marks.drawn_at.is_some_and(|drawn_at| *joined_at < drawn_at);
        let line = json!({
            "mark": mark(*joined_at, who),
            "who": hex(who),
            "joined_at": rfc3339(*joined_at),
            "priority": is_drawn.then(|| key.priority(who)),
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

/// A page of `path`, and where it goes on if it does.
fn page(lines: String, path: &str, next: Option<String>, limit: usize) -> Response {
    let next = next.map(|after| [("after", after), ("limit", limit.to_string())]);
    ndjson(lines, next.as_ref().map(|said| (path, &said[..])))
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

#[cfg(test)]
mod tests {
    use super::*;

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
