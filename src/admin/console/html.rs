//! What all pages have in common.

use std::fmt::{self, Write};

use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use serde_json::Value;

use super::super::caller::Caller;
use super::super::control_plane::ControlPlane;
use super::super::role::Role;
use super::assets::STYLE;

/// Nothing from any other address, no script and no style in a page, and forms that lead here.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// A text in HTML.
pub(super) struct Text<'a>(pub &'a str);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '&' => f.write_str("&amp;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            c => f.write_char(c),
        })
    }
}

/// A value of a JSON document as a person reads it: HTML. What is no text is escaped as well: today it may be a number, tomorrow
/// an object with texts in it.
pub(super) fn word(value: &Value) -> String {
    match value {
        Value::String(text) => Text(text).to_string(),
        other => Text(&other.to_string()).to_string(),
    }
}

/// The beginning of every page.
pub(super) fn head(title: &str, more: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>{} · seckill</title>\
         <link rel=\"icon\" href=\"data:,\"><link rel=\"stylesheet\" href=\"{}\">{more}</head><body>\n",
        Text(title),
        STYLE.address()
    )
}

/// A page for somebody who is known.
pub(super) struct Page<'a> {
    caller: &'a Caller,
    is_signed_in: bool,
    title: &'a str,
    place: &'a str,
    body: String,
    head: &'a str,
}

impl<'a> Page<'a> {
    /// A page with this title and body (HTML), for whoever looks.
    pub fn new(plane: &ControlPlane, caller: &'a Caller, title: &'a str, body: String) -> Self {
        Self { caller, is_signed_in: plane.asks_for_token(), title, place: "", body, head: "" }
    }

    /// At this place in the navigation.
    #[must_use]
    pub fn at(self, place: &'a str) -> Self {
        Self { place, ..self }
    }

    /// With this in its head: HTML.
    #[must_use]
    pub fn with_head(self, head: &'a str) -> Self {
        Self { head, ..self }
    }

    /// The answer.
    pub fn answer(self) -> Response {
        let mut text = head(self.title, self.head);
        text.push_str(
            "<a class=\"skip\" href=\"#main\">Skip to the content</a><header><nav aria-label=\"Pages\">",
        );
        for (path, name) in [
            ("/", "Now"),
            ("/sales", "Sales"),
            ("/orders", "Orders"),
            ("/integrations", "Integrations"),
            ("/trail", "Trail"),
        ] {
            let current = if path == self.place { " aria-current=\"page\"" } else { "" };
            let _ = write!(text, "<a href=\"{path}\"{current}>{name}</a>");
        }
        text.push_str("</nav>");
        if self.is_signed_in {
            let _ = write!(
                text,
                "<form method=\"post\" action=\"/sign-out\"><span>{} ({})</span> <button>Sign out</button></form>",
                Text(&self.caller.name),
                self.caller.role.as_str()
            );
        }
        let _ = write!(
            text,
            "</header><main id=\"main\"><h1>{}</h1>\n{}</main></body></html>\n",
            Text(self.title),
            self.body
        );
        send(text)
    }
}

/// A page as it is sent.
pub(super) fn send(text: String) -> Response {
    ([(header::CONTENT_SECURITY_POLICY, POLICY)], Html(text)).into_response()
}

/// Whether the caller's forms are shown at all.
pub(super) fn may_act(caller: &Caller) -> bool {
    caller.role >= Role::Operator
}

/// A form with one button, and a field for the reason that says `reason` until somebody writes another one.
pub(super) fn act_form(action: &str, button: &str, class: &str, reason: &str, fields: &str) -> String {
    format!(
        "<form class=\"act\" method=\"post\" action=\"{}\">{fields}<label>Reason <input name=\"reason\" value=\"{}\" \
         required maxlength=\"500\"></label><button class=\"{class}\">{}</button></form>\n",
        Text(action),
        Text(reason),
        Text(button)
    )
}

/// A moment as people read it, to the second, of one that is written as the API does; a dash for anything shorter. On the first
/// page the script adds what a clock shows here.
pub(super) fn moment(rfc3339: &str) -> String {
    let (Some(date), Some(time)) = (rfc3339.get(..10), rfc3339.get(11..19)) else { return "–".into() };
    format!("<time data-time datetime=\"{}\">{} {} UTC</time>", Text(rfc3339), Text(date), Text(time))
}

/// A text that may be a moment as the API writes it: as people read it then, and as it is otherwise. HTML.
pub(super) fn moment_or_text(text: &str) -> String {
    // As the engine writes it: what a person has typed with another offset is shown as it was typed.
    match text.parse::<jiff::Timestamp>() {
        Ok(_) if text.ends_with('Z') && !text.contains(' ') => moment(text),
        _ => Text(text).to_string(),
    }
}

/// A span of time in words, in one unit or two. None is negative.
pub(super) fn span(ms: i64) -> String {
    let s = ms.max(0) / 1_000;
    match s {
        0..120 => format!("{s} seconds"),
        120..7_200 => format!("{} minutes", s / 60),
        7_200..172_800 => format!("{} hours and {} minutes", s / 3_600, s % 3_600 / 60),
        _ => format!("{} days", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_and_spans_are_written_for_people() {
        let at = "2030-01-31T12:00:05.502Z";
        assert_eq!(moment(at), format!("<time data-time datetime=\"{at}\">2030-01-31 12:00:05 UTC</time>"));
        assert_eq!(moment(""), "–", "there is no picture yet");
        assert_eq!(moment_or_text(at), moment(at));
        assert_eq!(moment_or_text("<never>"), "&lt;never&gt;");
        assert_eq!(moment_or_text("2030-01-31T12:00:00+02:00"), "2030-01-31T12:00:00+02:00", "not in UTC");
        for (s, text) in [
            (-5, "0 seconds"),
            (119, "119 seconds"),
            (968, "16 minutes"),
            (7_800, "2 hours and 10 minutes"),
            (172_800, "2 days"),
        ] {
            assert_eq!(span(s * 1_000), text);
        }
    }

    #[test]
    fn text_from_outside_cannot_leave_its_place() {
        assert_eq!(Text("<b a=\"x\" b='y'>&").to_string(), "&lt;b a=&quot;x&quot; b=&#39;y&#39;&gt;&amp;");
    }

    #[test]
    fn no_value_of_a_document_can_leave_its_place() {
        for (value, html) in [
            (json!("<b>"), "&lt;b&gt;"),
            (json!({"<b>": "&"}), "{&quot;&lt;b&gt;&quot;:&quot;&amp;&quot;}"),
            (json!(["<b>", 1]), "[&quot;&lt;b&gt;&quot;,1]"),
            (json!(-5), "-5"),
            (json!(0.25), "0.25"),
            (json!(true), "true"),
            (Value::Null, "null"),
        ] {
            assert_eq!(word(&value), html, "{value}");
        }
    }
}
