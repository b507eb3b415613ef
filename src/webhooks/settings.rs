//! What can be set about webhooks.

use std::collections::HashSet;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endpoint::Endpoint;
use super::endpoint_settings::WebhookEndpoint;
use super::networks::Networks;
use crate::domain::{FieldError, InvalidId, SaleKey};
use crate::settings::within;

/// Endpoints that may be listed: each reads the logs by itself.
const ENDPOINTS_MAX: usize = 64;
/// Bytes of an endpoint's name.
const NAME_BYTES_MAX: usize = 64;
/// Keys that sign at once: an old and a new one of each kind.
const SECRETS_MAX: usize = 4;

/// `[webhooks]`: who is told of what happens to orders and sales.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct WebhookSettings {
    /// Whom to tell, each a table `[[webhooks.endpoints]]` (src/webhooks/WEBHOOKS.md). None: nobody. Several engines on one
    /// store need the same.
    pub endpoints: Vec<WebhookEndpoint>,
    /// Private networks, such as `10.0.0.0/8`, in which endpoints may be. An address that is private and in none of them is
    /// not connected to, whatever name leads there.
    #[schemars(with = "Vec<String>")]
    pub allowed_networks: Vec<IpNet>,
    /// Deliveries to one endpoint at once. Of one sale there is never more than one.
    pub parallel_max: usize,
    /// How long a delivery may take until its answer, in ms.
    pub timeout_ms: u64,
    /// The pause after a delivery that failed, in ms. It doubles with each further one, and is drawn from its upper half.
    pub retry_ms: u64,
    /// The longest pause, in ms.
    pub retry_ms_max: u64,
    /// An endpoint to which nothing could be delivered for so long, in seconds, is told nothing any more until an operator
    /// enables it.
    pub disable_after_s: u64,
    /// How often is looked for something new to tell, in ms.
    pub idle_ms: u64,
    /// How often is written down how far deliveries have come, in ms: what was delivered since is delivered again after a
    /// crash.
    pub save_ms: u64,
}

impl Default for WebhookSettings {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            allowed_networks: Vec::new(),
            parallel_max: 8,
            timeout_ms: 15_000,
            retry_ms: 5_000,
            retry_ms_max: 3_600_000,
            disable_after_s: 3 * 24 * 3600,
            idle_ms: 200,
            save_ms: 1_000,
        }
    }
}

impl WebhookSettings {
    /// Checks each value.
    ///
    /// # Errors
    /// The first field that breaks its rule.
    pub fn check(&self) -> Result<(), FieldError> {
        let wrong = |problem: String| Err(FieldError { field: "endpoints", problem });
        if self.endpoints.len() > ENDPOINTS_MAX {
            return wrong(format!("lists {}; at most {ENDPOINTS_MAX} can be", self.endpoints.len()));
        }
        let mut names = HashSet::new();
        for endpoint in &self.endpoints {
            let name = &endpoint.name;
            let is_usable = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_usable) {
                return wrong(format!(
                    "has the name {name:?}; a name is 1 to {NAME_BYTES_MAX} letters, digits and any of - _ ."
                ));
            }
            if !names.insert(name) {
                return wrong(format!("has the name {name:?} twice"));
            }
            if let Err(problem) = check(endpoint, &self.networks()) {
                return wrong(format!("has at {name:?} {problem}"));
            }
        }
        within("parallel_max", self.parallel_max, 1..=64)?;
        within("timeout_ms", self.timeout_ms, 100..=120_000)?;
        within("retry_ms", self.retry_ms, 1..=3_600_000)?;
        within("retry_ms_max", self.retry_ms_max, self.retry_ms..=24 * 3_600_000)?;
        within("disable_after_s", self.disable_after_s, 1..=365 * 24 * 3600)?;
        within("idle_ms", self.idle_ms, 10..=60_000)?;
        within("save_ms", self.save_ms, 10..=60_000)
    }

    /// What may be connected to.
    pub(super) fn networks(&self) -> Networks {
        Networks::with_allowed(self.allowed_networks.clone())
    }
}

/// What is wrong with an endpoint, without any secret in it.
fn check(endpoint: &WebhookEndpoint, networks: &Networks) -> Result<(), String> {
    let parts = [("tenant", &endpoint.tenant), ("campaign", &endpoint.campaign), ("sku", &endpoint.sku)];
    for (field, part) in parts {
        if let Some(Err(InvalidId(rule))) = part.as_deref().map(SaleKey::check_part) {
            return Err(format!("a {field} that {rule}"));
        }
    }
    if endpoint.secrets.is_empty() || endpoint.secrets.len() > SECRETS_MAX {
        return Err(format!(
            "{} secrets; set 1 to {SECRETS_MAX} in secrets, or in a file of one a line that secrets_file names",
            endpoint.secrets.len()
        ));
    }
    match Endpoint::new(endpoint)?.address() {
        Some(address) if !networks.allow(address) => Err(format!(
            "the private address {address}; put its network into webhooks.allowed_networks if that is meant"
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders::Envelope;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn endpoint() -> WebhookEndpoint {
        WebhookEndpoint {
            name: "erp".into(),
            url: "https://erp.example/hooks".into(),
            secrets: vec![SECRET.into()],
            events: vec!["*".into()],
            tenant: None,
            campaign: None,
            sku: None,
            envelope: Envelope::CloudEvents,
            allow_http: false,
        }
    }

    fn checked(endpoints: Vec<WebhookEndpoint>) -> Result<(), String> {
        let settings = WebhookSettings { endpoints, ..WebhookSettings::default() };
        settings.check().map_err(|error| {
            assert_eq!(error.field, "endpoints");
            error.problem
        })
    }

    #[test]
    fn what_could_not_work_or_should_not_does_not_start() {
        let with = |change: &dyn Fn(&mut WebhookEndpoint)| {
            let mut endpoint = endpoint();
            change(&mut endpoint);
            checked(vec![endpoint])
        };
        assert_eq!(with(&|_| {}), Ok(()));
        assert_eq!(with(&|it| (it.url, it.allow_http) = ("http://erp.example".into(), true)), Ok(()));
        assert_eq!(with(&|it| it.events = vec!["order.*".into(), "sale.paused".into()]), Ok(()));
        for (said, refused) in [
            ("name", with(&|it| it.name = "a/b".into())),
            ("name", with(&|it| it.name = String::new())),
            ("twice", checked(vec![endpoint(), endpoint()])),
            ("no address", with(&|it| it.url = "erp.example".into())),
            ("https", with(&|it| it.url = "ftp://erp.example".into())),
            ("allow_http", with(&|it| it.url = "http://erp.example".into())),
            ("password", with(&|it| it.url = "https://me:secret@erp.example".into())),
            ("private", with(&|it| it.url = "https://127.0.0.1/hooks".into())),
            ("private", with(&|it| it.url = "https://0x7f000001/hooks".into())),
            ("private", with(&|it| it.url = "https://[::ffff:10.0.0.1]/hooks".into())),
            ("0 secrets", with(&|it| it.secrets.clear())),
            ("whsec_", with(&|it| it.secrets = vec!["hunter2".into()])),
            ("24 to 64", with(&|it| it.secrets = vec!["whsec_c2hvcnQ=".into()])),
            ("32", with(&|it| it.secrets = vec!["whsk_c2hvcnQ=".into()])),
            ("no event", with(&|it| it.events = vec!["order.pay".into()])),
            ("no event", with(&|it| it.events = Vec::new())),
            ("tenant", with(&|it| it.tenant = Some("a/b".into()))),
        ] {
            let problem = refused.unwrap_err();
            assert!(problem.contains(said), "{said}: {problem}");
            assert!(!problem.contains("hunter2") && !problem.contains("secret@"), "{problem}");
        }
    }

    #[test]
    fn an_address_in_an_allowed_network_may_be_private() {
        let url = "http://10.1.2.3:8080/hooks".into();
        let endpoints = vec![WebhookEndpoint { url, allow_http: true, ..endpoint() }];
        let settings = |network: &str| WebhookSettings {
            endpoints: endpoints.clone(),
            allowed_networks: vec![network.parse().unwrap()],
            ..WebhookSettings::default()
        };
        assert_eq!(settings("10.1.0.0/16").check(), Ok(()));
        assert!(settings("10.2.0.0/16").check().unwrap_err().problem.contains("10.1.2.3"));
    }
}
