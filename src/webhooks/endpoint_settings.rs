//! What can be set about one endpoint.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::orders::Envelope;
use crate::settings::Secret;

/// One of `[[webhooks.endpoints]]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookEndpoint {
    /// Under which the store keeps how far it was told, and operators act on it.
    pub name: String,
    /// Where events are posted. An address may be a secret: the control plane shows its host only.
    pub url: Secret,
    /// What deliveries are signed with: `whsec_` and the base64 of 24 to 64 bytes (HMAC-SHA256), `whsk_` and that of an ed25519
    /// key. Two of a kind sign at once, so that a receiver can exchange one.
    pub secrets: Vec<Secret>,
    /// Types of events: names such as `order.paid`, beginnings such as `order.*`, or `*` for all.
    #[serde(default = "all_events")]
    pub events: Vec<String>,
    /// Of this tenant only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Of this campaign only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
    /// Of this SKU only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sku: Option<String>,
    /// What an event is wrapped in.
    #[serde(default = "cloud_events")]
    pub envelope: Envelope,
    /// Whether the address may be one of `http://`, where anybody on the way can read.
    #[serde(default)]
    pub allow_http: bool,
}

fn all_events() -> Vec<String> {
    vec!["*".into()]
}

const fn cloud_events() -> Envelope {
    Envelope::CloudEvents
}
