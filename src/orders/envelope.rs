//! What an event is wrapped in when it leaves the engine.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::domain::StoreIdentity;

/// What an event is wrapped in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Envelope {
    /// Nothing: the event as the feed shows it.
    Plain,
    /// CloudEvents 1.0 in its JSON format, with the event as `data`.
    CloudEvents,
}

/// What an envelope says of its event.
#[derive(Clone, Copy, Debug)]
pub struct EnvelopeHead<'a> {
    /// Whose event it is.
    pub store: StoreIdentity,
    /// What tells it from every other.
    pub id: &'a str,
    /// What happened.
    pub kind: &'a str,
    /// To what: an order's number, or a sale's name.
    pub subject: &'a str,
    /// Events with the same key come in order.
    pub key: &'a str,
}

impl Envelope {
    /// The media type of the text.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Plain => "application/json",
            Self::CloudEvents => "application/cloudevents+json; charset=utf-8",
        }
    }

    /// The event as the text that leaves the engine. Its number and time are members of the event itself.
    pub fn wrap(self, head: &EnvelopeHead<'_>, event: Value) -> String {
        match self {
            Self::Plain => event.to_string(),
            Self::CloudEvents => json!({
                "specversion": "1.0",
                "id": head.id,
                "source": format!("/seckill/stores/{}", head.store),
                "type": head.kind,
                "subject": head.subject,
                "time": event["at"],
                "datacontenttype": "application/json",
                "partitionkey": head.key,
                // Of the extension "sequence": texts of one length are in the order of their numbers.
                "sequence": format!("{:020}", event["seq"].as_u64().unwrap_or_default()),
                "data": event,
            })
            .to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cloud_event_has_what_the_standard_asks_for_and_the_event_as_it_is() {
        let event = json!({ "seq": 7, "type": "order.paid", "at": "2030-01-31T12:00:00.000Z" });
        let head = EnvelopeHead {
            store: StoreIdentity::from_bytes(&[1; 16]).unwrap(),
            id: "evt_1",
            kind: "order.paid",
            subject: "42",
            key: "default:c/s",
        };
        let wrapped: Value = serde_json::from_str(&Envelope::CloudEvents.wrap(&head, event.clone())).unwrap();
        for (name, value) in [
            ("specversion", "1.0"),
            ("id", "evt_1"),
            ("source", "/seckill/stores/01010101010101010101010101010101"),
            ("type", "order.paid"),
            ("subject", "42"),
            ("time", "2030-01-31T12:00:00.000Z"),
            ("datacontenttype", "application/json"),
            ("partitionkey", "default:c/s"),
            ("sequence", "00000000000000000007"),
        ] {
            assert_eq!(wrapped[name], value, "{name}");
        }
        assert_eq!(wrapped["data"], event);
        // Names of attributes are of lower-case letters and digits.
        let is_name = |name: &String| name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        assert!(wrapped.as_object().unwrap().keys().all(is_name));
        assert_eq!(Envelope::Plain.wrap(&head, event.clone()), event.to_string());
    }
}
