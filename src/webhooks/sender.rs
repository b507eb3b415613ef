//! The way to an endpoint over HTTP.
//!
//! Every address that a name resolves to is looked at before a connection is made, and the connection is made to an address
//! that was looked at: a name that answers with another address the next time leads nowhere. Redirects are not followed, and
//! proxies of the environment are not used.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::RETRY_AFTER;

use super::networks::{Networks, address_of};
use super::settings::WebhookSettings;
use super::transport::{Attempt, Transport, WebhookAnswer, WebhookRequest};
use crate::error_chain::error_chain;

/// Of an answer so much is read, so that its connection can be used again; nobody looks at it.
const ANSWER_BYTES_MAX: usize = 16 << 10;
/// Who calls.
const USER_AGENT: &str = concat!("seckill-webhooks/", env!("CARGO_PKG_VERSION"));

/// Real connections.
#[derive(Debug)]
pub struct HttpTransport {
    client: reqwest::Client,
    networks: Arc<Networks>,
}

impl HttpTransport {
    /// By these settings.
    ///
    /// # Errors
    /// What the library says; the certificates of the system cannot be read, for one.
    pub fn new(settings: &WebhookSettings) -> Result<Self, String> {
        let networks = Arc::new(settings.networks());
        let timeout = Duration::from_millis(settings.timeout_ms);
        let client = reqwest::Client::builder()
            .timeout(timeout)
            .connect_timeout(timeout)
            .pool_max_idle_per_host(settings.parallel_max)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent(USER_AGENT)
            .dns_resolver(Arc::new(CheckedNames(Arc::clone(&networks))))
            .build()
            .map_err(|error| error_chain(&error))?;
        Ok(Self { client, networks })
    }
}

impl Transport for HttpTransport {
    fn post(&self, request: WebhookRequest) -> Attempt<'_> {
        Box::pin(async move {
            let WebhookRequest { url, headers, body } = request;
            // An address is no name: nobody resolves it.
            if let Some(address) = address_of(&url).filter(|address| !self.networks.allow(*address)) {
                return Err(refused(&address.to_string()));
            }
            let sent = self.client.post(url).headers(headers).body(body).send().await;
            let mut answer = sent.map_err(|error| error_chain(&error.without_url()))?;
            let retry_after = answer.headers().get(RETRY_AFTER).and_then(|field| field.to_str().ok());
            let retry_after =
                retry_after.and_then(|field| field.trim().parse().ok()).map(Duration::from_secs);
            let status = answer.status().as_u16();
            let mut left = ANSWER_BYTES_MAX;
            while let Ok(Some(piece)) = answer.chunk().await {
                match left.checked_sub(piece.len()) {
                    Some(rest) => left = rest,
                    None => break,
                }
            }
            Ok(WebhookAnswer { status, retry_after })
        })
    }
}

/// Resolves names, and refuses those that lead to an address which may not be connected to.
#[derive(Debug)]
struct CheckedNames(Arc<Networks>);

impl Resolve for CheckedNames {
    fn resolve(&self, name: Name) -> Resolving {
        let networks = Arc::clone(&self.0);
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let addresses = checked(&networks, found.collect())?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// All of them, or none where one is refused: a name that leads inside and outside is not to be trusted with either.
fn checked(
    networks: &Networks,
    addresses: Vec<SocketAddr>,
) -> Result<Vec<SocketAddr>, Box<dyn Error + Send + Sync>> {
    match addresses.iter().find(|address| !networks.allow(address.ip())) {
        Some(private) => Err(refused(&private.ip().to_string()).into()),
        None => Ok(addresses),
    }
}

fn refused(address: &str) -> String {
    format!("{address} is a private address in none of webhooks.allowed_networks")
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderMap;

    use super::*;

    #[test]
    fn one_private_address_among_many_refuses_the_name() {
        let networks = Networks::with_allowed(Vec::new());
        let of = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        assert_eq!(checked(&networks, of(&["1.1.1.1:0", "1.0.0.1:0"])).unwrap().len(), 2);
        let refused = checked(&networks, of(&["1.1.1.1:0", "[::1]:0"])).unwrap_err().to_string();
        assert!(refused.starts_with("::1 is a private address"), "{refused}");
    }

    #[tokio::test]
    async fn neither_an_address_nor_a_name_leads_to_this_machine() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let transport = HttpTransport::new(&WebhookSettings::default()).unwrap();
        for host in ["127.0.0.1", "localhost"] {
            let url = format!("http://{host}:{port}/").parse().unwrap();
            let request = WebhookRequest { url, headers: HeaderMap::new(), body: String::new() };
            let said = transport.post(request).await.unwrap_err();
            assert!(said.contains("private address"), "{host}: {said}");
        }
        let waiting = tokio::time::timeout(Duration::from_millis(50), listener.accept());
        assert!(waiting.await.is_err(), "nobody connected");
    }
}
