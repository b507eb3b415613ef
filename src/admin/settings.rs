//! What can be set about the control plane, with its defaults.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::token_settings::{self, AdminToken};
use crate::domain::FieldError;
use crate::settings::{Secret, within};
use crate::tls::{self, ALPN_HTTP1, Certificates, Clients, TlsSettings};

/// `[admin]`
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AdminSettings {
    /// Where the admin API and the console are; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What a request must carry as `Authorization: Bearer`. Needed on an address that is not loopback.
    pub token: Secret,
    /// A token that is accepted as well, so that one can be exchanged for another without a gap: the new one in
    /// `token`, the old one here, until all clients know the new one.
    pub former_token: Secret,
    /// More tokens, each with the name under which the trail keeps what is done with it, a role (`viewer`, `operator` or
    /// `admin`) and, if wanted, the only `tenant` that it is for: `{ name, role, tenant, token }`, or `token_file` in place
    /// of `token`. `admin.token` is that of an admin with the name `admin`.
    pub tokens: Vec<AdminToken>,
    /// How long somebody who signed in at the console stays so, in seconds.
    pub session_s: u32,
    /// Bytes of a request's body. More are answered 413.
    pub body_bytes_max: usize,
    /// Open connections of callers that are known: they have sent a request that may be answered. One more hears 503.
    pub connections_max: usize,
    /// Open connections of callers that are not known yet, and of probes. One more takes the place of the oldest that
    /// says nothing.
    pub unknown_connections_max: usize,
    /// From a connection's start, or its last answer, to the end of a request's header, in milliseconds.
    pub header_read_timeout_ms: u64,
    /// From the end of the header to the beginning of the answer, in milliseconds; then 503.
    pub request_timeout_ms: u64,
    /// How long an act waits for the order store before it is answered 503, in milliseconds. It goes on: a store that takes no
    /// writes is asked until it does. Leave room for `ledger.withdraw_ms_max`, and below `admin.request_timeout_ms`.
    pub act_wait_ms: u64,
    /// Orders or events of one answer: what `limit` may ask for at most; more is 422.
    pub page_rows_max: usize,
    /// Requests that read the order store at once; others wait.
    pub store_reads_max: usize,
    /// Answers of orders or events that are held in memory at once, of at most 4 MiB each; others wait.
    pub feed_answers_max: usize,
    /// Viewers of the live feed at once. One more hears 503.
    pub live_viewers_max: usize,
    /// Sales that a picture of the live feed shows: those where buyers came last, then those that open next.
    pub live_sales_max: usize,
    /// Sales that have figures of their own on `/metrics`: those for buyers before load tests, those that go on before those
    /// that are over. The figures of all others are told as one sum, and those of archived sales not at all.
    pub metrics_sales_max: usize,
    /// Names, beside `localhost` and the loopback addresses, under which a browser may reach this engine while there is
    /// no token. Requests of HTTP/1.0 may name none.
    pub hosts: Vec<String>,
    /// The certificates that are shown, and those that are asked for.
    pub tls: TlsSettings,
    /// How long requests in flight may take to finish after the order to stop, in milliseconds.
    pub drain_ms: u64,
}

impl Default for AdminSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 9090)),
            token: Secret::default(),
            former_token: Secret::default(),
            tokens: Vec::new(),
            session_s: 12 * 3600,
            body_bytes_max: 64 << 10,
            connections_max: 256,
            unknown_connections_max: 64,
            header_read_timeout_ms: 5_000,
            request_timeout_ms: 30_000,
            act_wait_ms: 10_000,
            page_rows_max: 10_000,
            store_reads_max: 4,
            feed_answers_max: 16,
            live_viewers_max: 64,
            live_sales_max: 200,
            metrics_sales_max: 100,
            hosts: Vec::new(),
            tls: TlsSettings::default(),
            drain_ms: 5_000,
        }
    }
}

impl AdminSettings {
    /// What `[admin.tls]` names, read.
    ///
    /// # Errors
    /// Names the setting whose file cannot be used.
    pub fn certificates(&self) -> Result<Arc<Certificates>, FieldError> {
        Certificates::new("admin", &self.tls, &[ALPN_HTTP1], Clients::Lenient)
    }

    /// Whether only those are heard who have a token.
    pub(super) fn asks_for_token(&self) -> bool {
        !self.token.is_empty() || !self.tokens.is_empty()
    }

    /// Refuses what would be unsafe or cannot work.
    ///
    /// # Errors
    /// The first field that breaks its rule.
    pub fn check(&self) -> Result<(), FieldError> {
        if !self.listen.ip().is_loopback() && !self.asks_for_token() {
            let problem = format!(
                "is missing, and anyone who reaches {} could change the sales; set a token, or admin.listen to a \
                 loopback address",
                self.listen
            );
            return Err(FieldError { field: "token", problem });
        }
        self.token.check_travelling("token")?;
        self.former_token.check_travelling("former_token")?;
        if self.token.is_empty() && !self.former_token.is_empty() {
            let problem = "is set without admin.token; set the token that follows it".into();
            return Err(FieldError { field: "former_token", problem });
        }
        token_settings::check(&self.tokens, [&self.token, &self.former_token])?;
        within("session_s", self.session_s, 60..=12 * 3600)?;
        within("body_bytes_max", self.body_bytes_max, 1_024..=16 << 20)?;
        within("connections_max", self.connections_max, 1..=65_536)?;
        within("unknown_connections_max", self.unknown_connections_max, 4..=65_536)?;
        within("header_read_timeout_ms", self.header_read_timeout_ms, 100..=600_000)?;
        within("request_timeout_ms", self.request_timeout_ms, 100..=600_000)?;
        within("act_wait_ms", self.act_wait_ms, 100..=600_000)?;
        within("page_rows_max", self.page_rows_max, 1..=1_000_000)?;
        within("store_reads_max", self.store_reads_max, 1..=64)?;
        within("feed_answers_max", self.feed_answers_max, 1..=4_096)?;
        within("live_viewers_max", self.live_viewers_max, 1..=4_096)?;
        within("live_sales_max", self.live_sales_max, 1..=10_000)?;
        within("metrics_sales_max", self.metrics_sales_max, 0..=10_000)?;
        if let Some(host) =
            self.hosts.iter().find(|host| host.is_empty() || host.contains(['/', ' ', '@', '*']))
        {
            let problem = format!("must be names such as admin.internal, without scheme or path: {host:?}");
            return Err(FieldError { field: "hosts", problem });
        }
        within("drain_ms", self.drain_ms, 0..=600_000)?;
        tls::check(&self.tls)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong_field(change: impl FnOnce(&mut AdminSettings)) -> Option<&'static str> {
        let mut settings = AdminSettings::default();
        change(&mut settings);
        settings.check().err().map(|error| error.field)
    }

    #[test]
    fn an_open_address_needs_a_token() {
        let open = SocketAddr::from(([0, 0, 0, 0], 9090));
        assert_eq!(wrong_field(|_| {}), None);
        assert_eq!(wrong_field(|s| s.listen = open), Some("token"));
        assert_eq!(wrong_field(|s| (s.listen, s.token) = (open, "t0ken-t0ken-t0ken".into())), None);
        assert_eq!(wrong_field(|s| s.token = "two words, and long".into()), Some("token"));
        assert_eq!(wrong_field(|s| s.token = "t0ken".into()), Some("token"));
        assert_eq!(wrong_field(|s| s.former_token = "t0ken-t0ken-t0ken".into()), Some("former_token"));
        assert_eq!(wrong_field(|s| s.listen = SocketAddr::from(([0; 16], 9090))), Some("token"));
    }

    #[test]
    fn each_number_has_a_range() {
        type Break = fn(&mut AdminSettings);
        let breaks: [(&str, Break); 15] = [
            ("live_viewers_max", |s| s.live_viewers_max = 0),
            ("live_sales_max", |s| s.live_sales_max = 0),
            ("metrics_sales_max", |s| s.metrics_sales_max = 10_001),
            ("session_s", |s| s.session_s = 12 * 3600 + 1),
            ("body_bytes_max", |s| s.body_bytes_max = 1),
            ("connections_max", |s| s.connections_max = 0),
            ("unknown_connections_max", |s| s.unknown_connections_max = 0),
            ("feed_answers_max", |s| s.feed_answers_max = 0),
            ("hosts", |s| s.hosts = vec!["http://x".into()]),
            ("header_read_timeout_ms", |s| s.header_read_timeout_ms = 0),
            ("request_timeout_ms", |s| s.request_timeout_ms = 0),
            ("act_wait_ms", |s| s.act_wait_ms = 99),
            ("page_rows_max", |s| s.page_rows_max = 0),
            ("store_reads_max", |s| s.store_reads_max = 0),
            ("drain_ms", |s| s.drain_ms = u64::MAX),
        ];
        for (field, break_it) in breaks {
            assert_eq!(wrong_field(break_it), Some(field));
        }
    }
}
