//! The waiting room of a sale: how far it has come, and how many are admitted.

use std::fmt::Write;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use serde_json::{Map, Value, json};

use super::super::control_plane::ControlPlane;
use super::form::Form;
use super::html::{Text, act_form};
use crate::admission::LiveSale;
use crate::domain::{RoomMode, RoomTerms};

/// One line about a room, as the live feed shows it.
pub(super) fn words(room: &Value) -> String {
    let number = |name: &str| room[name].as_u64().unwrap_or(0);
    let absent = (room["no_show_share"].as_f64().unwrap_or(0.0) * 100.0).round();
    format!(
        "waiting room {}: {} registered, {} admitted, {absent} % of them do not come, {} a second",
        room["state"].as_str().unwrap_or_default(),
        number("registered"),
        number("admitted"),
        number("rate_per_s")
    )
}

/// What the page of a sale says about its room, with the form that changes it for whoever may.
pub(super) fn section(plane: &ControlPlane, sale: &LiveSale, path: &str, may_act: bool) -> String {
    let mut body = String::from("<h2>Waiting room</h2>\n");
    match sale.terms.waiting_room() {
        None => body.push_str("<p>There is none: whoever comes may buy.</p>\n"),
        Some(terms) => facts(&mut body, plane, sale, terms),
    }
    if may_act {
        let modes = RoomMode::ALL.map(|mode| format!("<option>{}</option>", mode.as_str()));
        let fields = format!(
            "<label>Mode <select name=\"mode\"><option value=\"\">as it is</option>{}</select></label>\
             <label>People a second (empty: as it is; null: as many as can be served) \
             <input name=\"rate_per_s\" pattern=\"[0-9]+|null\"></label>",
            modes.concat()
        );
        body.push_str(&act_form(&format!("{path}/queue"), "Change the waiting room", "", "", &fields));
    }
    body
}

fn facts(body: &mut String, plane: &ControlPlane, sale: &LiveSale, terms: &RoomTerms) {
    let room = plane.room_json(sale, terms, &sale.state.room().marks());
    let text = |name: &str| match &room[name] {
        Value::Null => "–".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let given = match terms.rate_per_s {
        Some(rate) => format!("{rate} a second"),
        None => {
            let most = plane.admission.rooms().rules().most_per_s;
            format!("as many as can be served, {most} a second at most")
        }
    };
    let absent = room["no_show_share"].as_f64().unwrap_or(0.0) * 100.0;
    let rows: [(&str, String); 11] = [
        ("mode", terms.mode.as_str().into()),
        ("state", text("state")),
        ("registered", text("registered")),
        ("drawn", text("drawn")),
        ("admitted", text("admitted")),
        ("waiting", text("waiting")),
        ("admitted and did not come", format!("{absent:.0} %")),
        ("rate asked for", given),
        ("rate now, a second", text("rate_per_s")),
        ("all admitted in, seconds", text("all_admitted_in_s")),
        ("the seed's hash", text("seed_commit")),
    ];
    body.push_str("<table class=\"facts\"><tbody>\n");
    for (label, value) in &rows {
        // Writing to a text does not fail.
        let _ = writeln!(body, "<tr><th scope=\"row\">{label}</th><td>{}</td></tr>", Text(value));
    }
    body.push_str(
        "</tbody></table>\n<p>A pause of the sale holds the room as well: everybody keeps the place.</p>\n",
    );
}

/// The API's body of what the form changes.
pub(super) fn change(form: &Form) -> Result<Bytes, BytesRejection> {
    let mut body = Map::new();
    body.insert("queue".into(), Value::Object(form.object(&["mode"], &["rate_per_s"])));
    body.extend(form.field("reason").map(|reason| ("reason".to_owned(), json!(reason))));
    Ok(Value::Object(body).to_string().into())
}
