//! An endpoint as the configuration describes it, made ready: where it is, what it wants, and how its deliveries are signed.

use std::fmt;
use std::net::IpAddr;

use reqwest::Url;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use super::endpoint_settings::WebhookEndpoint;
use super::kinds::{About, KINDS, fits};
use super::networks::address_of;
use super::signing::{SigningKey, signatures};
use super::transport::WebhookRequest;
use crate::domain::EpochMs;
use crate::orders::Envelope;

/// Somebody who is told.
pub struct Endpoint {
    name: String,
    url: Url,
    keys: Vec<SigningKey>,
    events: Vec<String>,
    tenant: Option<String>,
    campaign: Option<String>,
    sku: Option<String>,
    envelope: Envelope,
}

/// Without the path, which may be a secret.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("name", &self.name)
            .field("origin", &self.origin())
            .field("keys", &self.keys)
            .field("events", &self.events)
            .finish_non_exhaustive()
    }
}

impl Endpoint {
    /// The endpoint of these settings.
    ///
    /// # Errors
    /// What it has that could not work, without any secret in it.
    pub(super) fn new(settings: &WebhookEndpoint) -> Result<Self, String> {
        let url: Url = settings.url.expose().parse().map_err(|_| "a url that is no address".to_owned())?;
        match url.scheme() {
            "https" => {}
            "http" if settings.allow_http => {}
            "http" => return Err("a url of http://; set its allow_http where that is meant".into()),
            _ => return Err("a url that is none of https://".into()),
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err("a url that is no address".into());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("a url with a name or password in it; receivers verify the signature instead".into());
        }
        let keys = settings.secrets.iter().map(|secret| SigningKey::parse(secret.expose()));
        let keys = keys.collect::<Result<_, _>>()?;
        let is_known = |wanted: &String| KINDS.iter().any(|kind| fits(wanted, kind));
        match settings.events.iter().find(|wanted| !is_known(wanted)) {
            Some(unknown) => {
                return Err(format!("no event of the type {unknown:?}; there are {}", KINDS.join(", ")));
            }
            None if settings.events.is_empty() => {
                return Err("no event that it wants; leave events out for all".into());
            }
            None => {}
        }
        Ok(Self {
            name: settings.name.clone(),
            url,
            keys,
            events: settings.events.clone(),
            tenant: settings.tenant.clone(),
            campaign: settings.campaign.clone(),
            sku: settings.sku.clone(),
            envelope: settings.envelope,
        })
    }

    /// Under which operators act on it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is, without the path, which may be a secret.
    pub fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// The only tenant that it is told of, if it is one.
    pub fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }

    /// The only campaign, and the only SKU, that it is told of.
    pub fn sale(&self) -> (Option<&str>, Option<&str>) {
        (self.campaign.as_deref(), self.sku.as_deref())
    }

    /// The types of events that it wants.
    pub fn events(&self) -> &[String] {
        &self.events
    }

    /// What its events are wrapped in.
    pub fn envelope(&self) -> Envelope {
        self.envelope
    }

    /// Its address, where the configuration names that and no host.
    pub(super) fn address(&self) -> Option<IpAddr> {
        address_of(&self.url)
    }

    /// Whether it is told of this.
    pub(super) fn wants(&self, about: &About<'_>) -> bool {
        let is = |wanted: &Option<String>, part: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| part.is_none_or(|part| part == wanted))
        };
        self.events.iter().any(|wanted| fits(wanted, about.kind))
            && is(&self.tenant, about.tenant)
            && is(&self.campaign, about.sale.map(|(campaign, _)| campaign))
            && is(&self.sku, about.sale.map(|(_, sku)| sku))
    }

    /// A delivery that is attempted at this moment.
    pub(super) fn request(&self, id: &str, body: &str, at: EpochMs) -> WebhookRequest {
        let timestamp_s = at.0.div_euclid(1_000);
        let signature = signatures(&self.keys, id, timestamp_s, body);
        let fields = [
            ("webhook-id", id.to_owned()),
            ("webhook-timestamp", timestamp_s.to_string()),
            ("webhook-signature", signature),
        ];
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.envelope.content_type()));
        for (name, value) in fields {
            let value = HeaderValue::try_from(value).expect("ids, numbers and base64 are visible ASCII");
            headers.insert(HeaderName::from_static(name), value);
        }
        WebhookRequest { url: self.url.clone(), headers, body: body.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_told_what_it_wants_and_nothing_else() {
        let endpoint = |events: &[&str], tenant: Option<&str>, sku: Option<&str>| {
            Endpoint::new(&WebhookEndpoint {
                name: "erp".into(),
                url: "https://erp.example/a/secret/path".into(),
                secrets: vec!["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into()],
                events: events.iter().map(|event| (*event).to_owned()).collect(),
                tenant: tenant.map(str::to_owned),
                campaign: None,
                sku: sku.map(str::to_owned),
                envelope: Envelope::Plain,
                allow_http: false,
            })
            .unwrap()
        };
        let paid = About { kind: "order.paid", tenant: Some("a"), sale: Some(("c", "s")) };
        let stopped = About { kind: "sales.stopped", tenant: None, sale: None };
        for (wants, is_wanted) in [
            (endpoint(&["*"], None, None), [true, true]),
            (endpoint(&["order.*"], None, None), [true, false]),
            (endpoint(&["order.created", "order.paid"], None, None), [true, false]),
            (endpoint(&["sale.*"], None, None), [false, false]),
            (endpoint(&["*"], Some("b"), None), [false, true]),
            (endpoint(&["*"], Some("a"), Some("s")), [true, true]),
            (endpoint(&["*"], None, Some("t")), [false, true]),
        ] {
            assert_eq!([wants.wants(&paid), wants.wants(&stopped)], is_wanted, "{wants:?}");
            assert_eq!(wants.origin(), "https://erp.example");
        }
    }
}
