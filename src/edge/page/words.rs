//! What the page says, in the language that the browser asks for.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

/// The language of who asks for none that we have.
const USUAL: &str = "en";

/// All languages, by their tags.
static LANGUAGES: LazyLock<BTreeMap<String, Words>> =
    LazyLock::new(|| toml::from_str(include_str!("words.toml")).expect("a test reads it"));

/// All that the page says in one language.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Words {
    labels: BTreeMap<String, String>,
    views: BTreeMap<String, Said>,
    refusals: BTreeMap<String, String>,
}

/// What is said of a state.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Said {
    pub head: String,
    pub text: String,
}

impl Words {
    /// The word on a button, or before a figure.
    pub fn label<'a>(&'a self, name: &'a str) -> &'a str {
        self.labels.get(name).map_or(name, String::as_str)
    }

    /// What is said of a state.
    ///
    /// # Panics
    /// Nothing is; a test compares the states with what is said.
    pub fn view(&self, name: &str) -> &Said {
        &self.views[name]
    }

    /// A refusal in plain words, by its code.
    pub fn refusal(&self, code: &str) -> &str {
        self.refusals.get(code).unwrap_or(&self.refusals["other"])
    }

    /// How a method of payment is called: one that has no word here has its own name.
    pub fn method<'a>(&'a self, name: &'a str) -> &'a str {
        if name == "card" { self.label(name) } else { name }
    }

    /// All of it, for the script.
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("texts are JSON")
    }
}

/// The language that fits best, by its tag, as `Accept-Language` asks for it (RFC 9110, 12.5.4): of those with the highest
/// weight the first whose primary part is here.
pub(super) fn best(accept: Option<&[u8]>) -> (&'static str, &'static Words) {
    let accept = accept.and_then(|accept| std::str::from_utf8(accept).ok()).unwrap_or_default();
    let mut found: Option<(u32, &'static str)> = None;
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let tag = parts.next().unwrap_or_default();
        let primary = tag.split('-').next().unwrap_or_default();
        let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(Some(1_000), permille);
        let (Some(weight), Some(tag)) = (weight, known(primary)) else { continue };
        if weight > 0 && found.is_none_or(|(best, _)| weight > best) {
            found = Some((weight, tag));
        }
    }
    let tag = found.map_or(USUAL, |(_, tag)| tag);
    (tag, &LANGUAGES[tag])
}

fn known(primary: &str) -> Option<&'static str> {
    LANGUAGES.keys().find(|tag| tag.eq_ignore_ascii_case(primary)).map(String::as_str)
}

fn permille(weight: &str) -> Option<u32> {
    let weight: f64 = weight.parse().ok()?;
    (0.0..=1.0).contains(&weight).then_some((weight * 1_000.0) as u32)
}

#[cfg(test)]
mod tests {
    use super::super::super::problem;
    use super::super::view::View;
    use super::*;
    use crate::domain::RoomRefusal;

    #[test]
    fn every_language_says_everything() {
        let english = &LANGUAGES[USUAL];
        for (tag, words) in LANGUAGES.iter() {
            assert!(words.labels.keys().eq(english.labels.keys()), "labels of {tag}");
            assert!(words.views.keys().eq(english.views.keys()), "views of {tag}");
            assert!(words.refusals.keys().eq(english.refusals.keys()), "refusals of {tag}");
            let places = |text: &str| -> Vec<String> {
                let mut places: Vec<_> = text
                    .split('{')
                    .skip(1)
                    .filter_map(|rest| Some(rest.split_once('}')?.0.to_owned()))
                    .collect();
                places.sort();
                places
            };
            for (name, said) in &words.views {
                assert!(!said.head.is_empty() && !said.text.is_empty(), "{name} of {tag}");
                assert_eq!(places(&said.text), places(&english.views[name].text), "{name} of {tag}");
            }
            for (name, label) in &words.labels {
                assert_eq!(places(label), places(&english.labels[name]), "{name} of {tag}");
            }
        }
    }

    #[test]
    fn every_state_and_every_refusal_that_a_buyer_can_meet_has_words() {
        let english = &LANGUAGES[USUAL];
        let states: Vec<_> = View::ALL.iter().map(|view| view.name()).collect();
        let mut said: Vec<_> = english.views.keys().map(String::as_str).collect();
        said.sort_by_key(|name| states.iter().position(|state| state == name));
        assert_eq!(said, states);
        // Of these the page's own requests give no cause, or the visitor can do nothing about them.
        let seldom = [
            "bad-request",
            "body-timeout",
            "body-too-large",
            "expectation-failed",
            "not-found",
            "method-not-allowed",
            "forbidden",
            "tenant-missing",
            "tenant-not-allowed",
            "waiting-room",
        ];
        let missing: Vec<_> = problem::codes()
            .chain(RoomRefusal::ALL.map(RoomRefusal::as_str))
            .filter(|code| !seldom.contains(code) && !english.refusals.contains_key(*code))
            .collect();
        assert_eq!(missing, [""; 0]);
    }

    #[test]
    fn the_browsers_wish_decides() {
        for (accept, tag) in [
            (None, "en"),
            (Some(""), "en"),
            (Some("de"), "de"),
            (Some("de-CH, en;q=0.9"), "de"),
            (Some("en;q=0.5, FR-ca;q=0.8"), "fr"),
            (Some("nl, es;q=0.3"), "es"),
            (Some("zh-Hans-CN"), "zh"),
            (Some("de;q=0, es;q=0.1"), "es"),
            (Some("de;q=x, *"), "en"),
        ] {
            assert_eq!(best(accept.map(str::as_bytes)).0, tag, "{accept:?}");
        }
        assert_eq!(best(Some(b"\xff")).0, "en");
    }
}
