//! What can be set about the edge, with its defaults. Every limit says why it exists.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::auth_settings::{AuthMode, AuthSettings, CorsSettings, TenantSettings};
use super::forwarded::ForwardedHeader;
use super::http2_settings::Http2Settings;
use super::shedding::OverloadSettings;
use crate::domain::FieldError;
use crate::settings::within;
use crate::tls::{self, ALPN_HTTP1, ALPN_HTTP2, Certificates, Clients, TlsSettings};

/// The `[edge]` section of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct EdgeSettings {
    /// Where buyers' requests arrive; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Which server reads the sockets.
    pub front_end: FrontEnd,
    /// Lets the `may` front end listen on an address that is not loopback: true states that a proxy in front of it
    /// frames every request by one `Content-Length` and keeps hostile clients away.
    pub may_behind_trusted_proxy: bool,
    /// Serving threads, each with its own listener; 0 takes one for each core.
    pub threads: usize,
    /// How long a winner's request waits for its order to be durable before it is answered 202, in milliseconds.
    /// Let it be far above a commit, and below the patience of browsers and load balancers.
    pub ack_wait_ms: u64,
    /// Header fields a request may have. More are answered 431. A browser behind a CDN sends 20 to 40.
    pub headers_max: usize,
    /// Bytes of a request's line and header fields together. More are answered 431.
    pub header_bytes_max: usize,
    /// Bytes of a request's body. More are answered 413.
    pub body_bytes_max: usize,
    /// Open connections. One more is answered 503 and closed, so that a flood cannot take the memory of those served.
    /// Where it is not set, it is lowered to what the limit of open files leaves; one that is set and does not fit refuses
    /// the start.
    pub connections_max: usize,
    /// Open connections of one address (of IPv6: of one /64 network); one more is answered 503 and closed. 0: as
    /// many as places are free, so that one address alone gets half of `connections_max`, and each of many less.
    /// Behind `trusted_proxies` that name their clients in a header: requests under way of one client, if this is set.
    pub connections_per_address_max: usize,
    /// Networks of proxies that carry many clients, such as `["10.0.0.0/8"]`: their connections are not limited by
    /// address, and what they say of their clients' addresses is believed.
    #[schemars(with = "Vec<String>")]
    pub trusted_proxies: Vec<IpNet>,
    /// The header in which trusted proxies name the client.
    pub forwarded_header: ForwardedHeader,
    /// Trusted proxies begin each connection with a PROXY header (version 1 or 2); the connection then counts as the
    /// client's.
    pub proxy_protocol: bool,
    /// From a request's first byte to the end of its header, in milliseconds; then the connection is closed.
    /// Enough for a phone on a bad network, too short to hold sockets for nothing.
    pub header_read_timeout_ms: u64,
    /// From the end of the header to the end of the body, in milliseconds; then 408.
    pub body_read_timeout_ms: u64,
    /// How long a connection may stay open with no request under way, in milliseconds. Also bounds how long a client
    /// may leave an answer unread.
    pub idle_timeout_ms: u64,
    /// Whether a connection may carry more than one request.
    pub keep_alive: bool,
    /// How long a stop goes on to serve, answering `Connection: close` and not ready, before it stops to accept, in
    /// milliseconds: time for load balancers to look at `/readyz` and for clients to go elsewhere. Not set:
    /// 5,000, and 0 on a loopback address, where nobody balances.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lame_duck_ms: Option<u64>,
    /// How long requests in flight may take to finish after the order to stop, in milliseconds; then their connections
    /// are cut.
    pub drain_ms: u64,
    /// The certificates that are shown, and those that are asked for.
    pub tls: TlsSettings,
    /// What one connection may cost that speaks HTTP/2. Time-outs, and limits of connections and bodies, are those of
    /// HTTP/1.1.
    pub http2: Http2Settings,
    /// What is refused so that purchases do not have to wait.
    pub overload: OverloadSettings,
    /// How buyers prove who they are.
    pub auth: AuthSettings,
    /// Whose sales a request is about.
    pub tenant: TenantSettings,
    /// Which other sites' pages may ask.
    pub cors: CorsSettings,
    /// The public state of a sale.
    pub sale_state: SaleStateSettings,
    /// Whether each sale has a page for buyers, `/seckill/{campaign}/{sku}/page`. Not set: the demo sale has one, on an engine
    /// that opens it by itself, and no other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<bool>,
    /// Whether whoever opens a page and is named by nobody may buy as a guest, known by a cookie: everybody may then have as
    /// many names as there are cookies. Not set: on an engine that only this machine reaches, where no money moves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_guests: Option<bool>,
}

impl Default for EdgeSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            front_end: FrontEnd::Hyper,
            may_behind_trusted_proxy: false,
            threads: 0,
            ack_wait_ms: 2_000,
            headers_max: 100,
            header_bytes_max: 16 * 1024,
            body_bytes_max: 16 * 1024,
            connections_max: 50_000,
            connections_per_address_max: 0,
            trusted_proxies: Vec::new(),
            forwarded_header: ForwardedHeader::default(),
            proxy_protocol: false,
            header_read_timeout_ms: 10_000,
            body_read_timeout_ms: 10_000,
            idle_timeout_ms: 60_000,
            keep_alive: true,
            lame_duck_ms: None,
            drain_ms: 10_000,
            tls: TlsSettings::default(),
            http2: Http2Settings::default(),
            overload: OverloadSettings::default(),
            auth: AuthSettings::default(),
            tenant: TenantSettings::default(),
            cors: CorsSettings::default(),
            sale_state: SaleStateSettings::default(),
            page: None,
            page_guests: None,
        }
    }
}

/// The two servers that can read the sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FrontEnd {
    /// Conformant HTTP/1.1; for every network.
    Hyper,
    /// Coroutines of `may`, for closed networks behind a proxy that strips headers. Nothing smuggled is executed by it,
    /// but:
    ///
    /// - Bodies must have one plain `Content-Length`: chunked ones are refused with 400, `Expect` with 417.
    /// - HTTP/1.0 connections carry one request.
    /// - A body that does not come in time, and one connection above the limit, are closed without an answer.
    May,
}

/// The `[edge.sale_state]` section.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SaleStateSettings {
    /// The `Cache-Control` of `GET /seckill/{campaign}/{sku}`: `s-maxage` is how often a CDN asks, however many
    /// people look.
    pub cache_control: String,
    /// The fields each platform is shown, by the `X-Platform` that it sends; a platform that is not listed is shown all.
    /// `miniapp` is spared the title and the prices that its pages already hold.
    pub platforms: BTreeMap<String, Vec<String>>,
}

impl Default for SaleStateSettings {
    fn default() -> Self {
        let miniapp = ["campaign", "sku", "state", "starts_at", "ends_at", "server_time", "remaining"];
        Self {
            cache_control: "public, s-maxage=1, stale-while-revalidate=2".into(),
            platforms: BTreeMap::from([("miniapp".into(), miniapp.map(String::from).to_vec())]),
        }
    }
}

impl EdgeSettings {
    /// The number of serving threads: as set, or one a core.
    pub fn serving_threads(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        }
    }

    /// What `[edge.tls]` names, read.
    ///
    /// # Errors
    /// Names the setting whose file cannot be used.
    pub fn certificates(&self) -> Result<Arc<Certificates>, FieldError> {
        let protocols: &[&str] = if self.http2.enabled { &[ALPN_HTTP2, ALPN_HTTP1] } else { &[ALPN_HTTP1] };
        Certificates::new("edge", &self.tls, protocols, Clients::Strict)
    }

    /// How long a stop goes on to serve: as set, or what suits the address.
    pub fn lame_duck(&self) -> Duration {
        let suits = if self.listen.ip().is_loopback() { 0 } else { 5_000 };
        Duration::from_millis(self.lame_duck_ms.unwrap_or(suits))
    }

    /// Refuses what would be unsafe or cannot work. Keys, lists and tables are checked by reading them: see
    /// [`DataPlane::check`](super::DataPlane::check).
    ///
    /// # Errors
    /// The first field that breaks its rule.
    pub fn check(&self) -> Result<(), FieldError> {
        within("threads", self.threads, 0..=1_024)?;
        within("ack_wait_ms", self.ack_wait_ms, 0..=60_000)?;
        within("headers_max", self.headers_max, 16..=1_000)?;
        within("header_bytes_max", self.header_bytes_max, 8_192..=1 << 20)?;
        within("body_bytes_max", self.body_bytes_max, 256..=1 << 20)?;
        within("connections_max", self.connections_max, 1..=10_000_000)?;
        within("connections_per_address_max", self.connections_per_address_max, 0..=10_000_000)?;
        self.check_proxies()?;
        within("header_read_timeout_ms", self.header_read_timeout_ms, 100..=600_000)?;
        within("body_read_timeout_ms", self.body_read_timeout_ms, 100..=600_000)?;
        within("idle_timeout_ms", self.idle_timeout_ms, 100..=3_600_000)?;
        within("lame_duck_ms", self.lame_duck_ms.unwrap_or_default(), 0..=600_000)?;
        within("drain_ms", self.drain_ms, 0..=600_000)?;
        self.check_tls()?;
        self.http2.check()?;
        self.overload.check()?;
        self.check_guests()?;
        self.check_exposure()
    }

    /// A guest has whatever name the cookie says: only where anybody may say any name anyway.
    fn check_guests(&self) -> Result<(), FieldError> {
        let may_have = self.auth.mode == AuthMode::TrustedHeader
            && !self.auth.has_origin_secret()
            && (self.listen.ip().is_loopback() || self.auth.insecure);
        if self.page_guests != Some(true) || may_have {
            return Ok(());
        }
        let problem = "is true, but buyers have to prove who they are here; leave it out, and let the gateway name them, or set \
                       auth.insecure = true where anybody may be anybody"
            .into();
        Err(FieldError { field: "page_guests", problem })
    }

    fn check_tls(&self) -> Result<(), FieldError> {
        if self.tls.is_on() && self.front_end == FrontEnd::May {
            let problem = "is set, but the may front end speaks no TLS; use front_end = \"hyper\"".into();
            return Err(FieldError { field: "tls.cert_file", problem });
        }
        tls::check(&self.tls)
    }

    fn check_proxies(&self) -> Result<(), FieldError> {
        if !self.proxy_protocol {
            return Ok(());
        }
        let problem = if self.trusted_proxies.is_empty() {
            "is true, but nobody is trusted to say who the client is; set edge.trusted_proxies to the proxies' networks"
        } else if self.front_end == FrontEnd::May {
            "is true, but the may front end cannot read it; use front_end = \"hyper\""
        } else {
            return Ok(());
        };
        Err(FieldError { field: "proxy_protocol", problem: problem.into() })
    }

    /// On an address that others reach, somebody has to vouch for the buyers.
    fn check_exposure(&self) -> Result<(), FieldError> {
        if self.listen.ip().is_loopback() {
            return Ok(());
        }
        let auth = &self.auth;
        if auth.mode == AuthMode::TrustedHeader && !auth.has_origin_secret() && !auth.insecure {
            let problem = format!(
                "is empty, and anyone who reaches {} could buy in any buyer's name; set a secret that the gateway \
                 sends in X-Origin-Secret, or auth.mode = \"jwt\", or auth.insecure = true",
                self.listen
            );
            return Err(FieldError { field: "auth.origin_secret", problem });
        }
        if self.front_end == FrontEnd::May && !self.may_behind_trusted_proxy {
            let problem = format!(
                "is false, and the may front end has no answer to hostile clients that reach {}; use \
                 front_end = \"hyper\", or set this to true when a proxy is in front",
                self.listen
            );
            return Err(FieldError { field: "may_behind_trusted_proxy", problem });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Secret;

    fn key_of(settings: &EdgeSettings) -> Option<&'static str> {
        settings.check().err().map(|error| error.field)
    }

    #[test]
    fn an_open_address_needs_a_proof_of_the_gateway() {
        let mut settings = EdgeSettings::default();
        assert_eq!(key_of(&settings), None);
        settings.listen = "0.0.0.0:8080".parse().unwrap();
        assert_eq!(key_of(&settings), Some("auth.origin_secret"));
        settings.auth.origin_secret = "sixteen-bytes-ok".into();
        assert_eq!(key_of(&settings), None);
        settings.auth.origin_secret = Secret::default();
        settings.auth.insecure = true;
        assert_eq!(key_of(&settings), None);
        settings.front_end = FrontEnd::May;
        assert_eq!(key_of(&settings), Some("may_behind_trusted_proxy"));
        settings.may_behind_trusted_proxy = true;
        assert_eq!(key_of(&settings), None);
    }

    #[test]
    fn guests_are_for_where_anybody_may_say_any_name() {
        let mut settings = EdgeSettings { page_guests: Some(true), ..EdgeSettings::default() };
        assert_eq!(key_of(&settings), None);
        settings.auth.origin_secret = "sixteen-bytes-ok".into();
        assert_eq!(key_of(&settings), Some("page_guests"));
        settings.auth.origin_secret = Secret::default();
        settings.listen = "0.0.0.0:8080".parse().unwrap();
        assert_eq!(key_of(&settings), Some("page_guests"));
        settings.auth.insecure = true;
        assert_eq!(key_of(&settings), None);
        settings.auth.mode = AuthMode::Jwt;
        assert_eq!(key_of(&settings), Some("page_guests"));
        settings.page_guests = Some(false);
        assert_eq!(key_of(&settings), None);
    }

    #[test]
    fn unknown_keys_are_named_and_secrets_never_printed() {
        let error = toml::from_str::<EdgeSettings>("lissten = \"127.0.0.1:1\"").unwrap_err();
        assert!(error.to_string().contains("lissten"), "{error}");
        let settings: EdgeSettings = toml::from_str("[auth]\norigin_secret = \"hunter2-hunter2-\"").unwrap();
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
