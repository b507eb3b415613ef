//! The waiting room of a sale: how far it has come, and how many are admitted.

use std::fmt::Write;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use serde_json::{Map, Value, json};

use super::super::control_plane::ControlPlane;
use super::form::Form;
use super::html::{Text, act_form, moment, word};
use crate::admission::LiveSale;
use crate::domain::{BeaconSource, BeaconTerms, RoomMode, RoomTerms};

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
        let sources = BeaconSource::ALL.map(|source| format!("<option>{}</option>", source.as_str()));
        let fields = format!(
            "<label>Mode <select name=\"mode\"><option value=\"\">as it is</option>{}</select></label>\
             <label>People a second (empty: as it is; null: as many as can be served) \
             <input name=\"rate_per_s\" pattern=\"[0-9]+|null\"></label>\
             <label>Mix the draw with a public beacon <select name=\"beacon_source\"><option value=\"\">as it is</option>\
             <option>none</option>{}</select></label>\
             <label>Its round, drawn after the start <input name=\"beacon_round\" inputmode=\"numeric\" pattern=\"[0-9]+\"></label>\
             <label>Wait for its value, seconds <input name=\"beacon_wait_s\" inputmode=\"numeric\" pattern=\"[0-9]+\" \
             placeholder=\"{}\"></label>",
            modes.concat(),
            sources.concat(),
            BeaconTerms::WAIT_S
        );
        body.push_str(&act_form(&format!("{path}/queue"), "Change the waiting room", "", "", &fields));
        body.push_str(&beacon_forms(plane, sale, path));
    }
    body
}

/// What ends the wait of a draw for its beacon, from when on that is possible.
fn beacon_forms(plane: &ControlPlane, sale: &LiveSale, path: &str) -> String {
    let Some(terms) = sale.terms.waiting_room() else { return String::new() };
    let marks = sale.state.room().marks();
    let is_decided = marks.mix.is_some() || marks.drawn_at.is_some() || terms.mode != RoomMode::Draw;
    let Some(beacon) = terms.beacon.filter(|_| !is_decided) else { return String::new() };
    if plane.now() < beacon.due_at(sale.terms.starts_at) {
        return String::new();
    }
    let digits = 2 * beacon.source.value_bytes();
    let address = beacon.source.address(beacon.round);
    let address = Text(&address);
    let field = format!(
        "<p>The draw waits for round {} of {}: <a href=\"{address}\" rel=\"noreferrer\">{address}</a></p>\
         <label>Its value, {digits} digits <input name=\"value\" required pattern=\"[0-9a-fA-F]{{{digits}}}\" \
         autocomplete=\"off\" spellcheck=\"false\"></label>",
        beacon.round,
        beacon.source.as_str()
    );
    act_form(&format!("{path}/beacon"), "Give the value", "go", "the round is drawn", &field)
        + &act_form(&format!("{path}/plain-draw"), "Draw without it", "danger", "", "")
}

fn facts(body: &mut String, plane: &ControlPlane, sale: &LiveSale, terms: &RoomTerms) {
    let room = plane.room_json(sale, terms, &sale.state.room().marks());
    // All values are HTML.
    let text = |name: &str| figure(&room[name]);
    let given = match terms.rate_per_s {
        Some(rate) => format!("{rate} a second"),
        None => {
            let most = plane.admission.rooms().rules().most_per_s;
            format!("as many as can be served, {most} a second at most")
        }
    };
    let absent = room["no_show_share"].as_f64().unwrap_or(0.0) * 100.0;
    let beacon = match &room["beacon"] {
        Value::Null => "none".to_owned(),
        beacon => {
            let text = |name: &str| beacon[name].as_str().unwrap_or_default();
            let ending = match text("state") {
                "mixed" => format!("mixed with {}", Text(text("value"))),
                "plain" => "drawn without".to_owned(),
                _ => format!("awaited until {}", moment(text("until"))),
            };
            format!("{} round {}: {ending}", Text(text("source")), word(&beacon["round"]))
        }
    };
    let rows: [(&str, String); 12] = [
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
        ("public beacon", beacon),
    ];
    body.push_str("<table class=\"facts\"><tbody>\n");
    for (label, value) in &rows {
        // Writing to a text does not fail.
        let _ = writeln!(body, "<tr><th scope=\"row\">{label}</th><td>{value}</td></tr>");
    }
    body.push_str(
        "</tbody></table>\n<p>A pause of the sale holds the room as well: everybody keeps the place.</p>\n",
    );
}

/// What a room says of itself, with a dash where it says nothing: HTML.
fn figure(value: &Value) -> String {
    if value.is_null() { "–".to_owned() } else { word(value) }
}

/// The API's body of what the form changes.
pub(super) fn change(form: &Form) -> Result<Bytes, BytesRejection> {
    let mut body = Map::new();
    let mut queue = form.object(&["mode"], &["rate_per_s"]);
    let named = [("beacon_source", "source"), ("beacon_round", "round"), ("beacon_wait_s", "wait_s")];
    let mut beacon: Map<String, Value> = Map::new();
    for (field, name) in named {
        let number = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| json!(text));
        let value = form.field(field).map(|text| if name == "source" { json!(text) } else { number(text) });
        beacon.extend(value.map(|value| (name.to_owned(), value)));
    }
    if form.field("beacon_source") == Some("none") {
        queue.insert("beacon".into(), Value::Null);
    } else if !beacon.is_empty() {
        queue.insert("beacon".into(), Value::Object(beacon));
    }
    body.insert("queue".into(), Value::Object(queue));
    body.extend(form.field("reason").map(|reason| ("reason".to_owned(), json!(reason))));
    Ok(Value::Object(body).to_string().into())
}

/// The API's body of the value of a beacon's round, or that there is to be none.
pub(super) fn beacon_value(form: &Form, value: Option<&str>) -> Result<Bytes, BytesRejection> {
    let mut body = form.object(&["reason"], &[]);
    body.insert("value".into(), json!(value));
    Ok(Value::Object(body).to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_room_says_can_leave_its_place() {
        for (value, html) in [
            (Value::Null, "–"),
            (json!(7), "7"),
            (json!("<b>"), "&lt;b&gt;"),
            (json!(["<b>"]), "[&quot;&lt;b&gt;&quot;]"),
        ] {
            assert_eq!(figure(&value), html);
        }
    }

    #[test]
    fn a_form_names_a_beacon_takes_it_away_or_leaves_it() {
        let body = |fields: &[(&str, &str)]| {
            let pairs = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            let body = change(&Form::of_pairs(pairs.collect())).unwrap();
            serde_json::from_slice::<Value>(&body).unwrap()["queue"].clone()
        };
        assert_eq!(body(&[("mode", "draw"), ("beacon_round", "")]), json!({"mode": "draw"}));
        let named = [("beacon_source", "drand-quicknet"), ("beacon_round", "7")];
        assert_eq!(body(&named), json!({"beacon": {"source": "drand-quicknet", "round": 7}}));
        assert_eq!(body(&[("beacon_source", "none"), ("beacon_round", "7")]), json!({"beacon": null}));
    }
}
