//! All sections together.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::error::Problem;
use super::sections::{AdmissionSettings, NodeSettings, check_sqlite, check_store};
use crate::admin::AdminSettings;
use crate::checkout::{CheckoutSettings, WrongKey};
use crate::clock::ClockSettings;
use crate::domain::FieldError;
use crate::edge::{AuthMode, DataPlane, EdgeSettings, GatekeeperSettings};
use crate::grpc::GrpcSettings;
use crate::ledger::LedgerSettings;
use crate::ledger::redis::{RedisSettings, RelaySettings};
use crate::orders::postgres::PostgresSettings;
use crate::orders::sqlite::SqliteSettings;
use crate::orders::{WaitingRoomSettings, WriterSettings};
use crate::search::SearchSettings;
use crate::telemetry::{LogSettings, TelemetrySettings};
use crate::traces::TraceSettings;
use crate::webhooks::WebhookSettings;

/// The configuration of an engine. Every key has a default.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The folder of the orders. One engine owns it. A relative one is found from where the engine is started.
    pub data_dir: PathBuf,
    /// The longest that a stop may take, in milliseconds: the lame-duck time, the drain, payments under way, the order
    /// store, all together. Orchestrators kill after 30 s: keep it below.
    pub stop_ms_max: u64,
    /// Opens the demo sale when the store has no sale at all, also where it is not opened by itself: an engine that
    /// only this machine reaches, with the embedded store and everything simulated.
    pub demo: bool,
    /// Who this engine is.
    pub node: NodeSettings,
    /// When a calendar is not believed.
    pub clock: ClockSettings,
    /// Where buyers' requests arrive.
    pub edge: EdgeSettings,
    /// Where callers inside the network ask by gRPC.
    pub grpc: GrpcSettings,
    /// The node's own limits.
    pub admission: AdmissionSettings,
    /// The sales, and how several engines share their stock.
    pub ledger: LedgerSettings,
    /// The ledger that several engines share.
    pub redis: RedisSettings,
    /// The stream of order events.
    pub relay: RelaySettings,
    /// The way from admission to the order store.
    pub store: WriterSettings,
    /// The embedded order store.
    pub sqlite: SqliteSettings,
    /// The order store of several nodes.
    pub postgres: PostgresSettings,
    /// Where buyers wait.
    pub waiting_room: WaitingRoomSettings,
    /// Who is asked about whoever joins a waiting room.
    pub gatekeeper: GatekeeperSettings,
    /// Who is told of what happens to orders and sales.
    pub webhooks: WebhookSettings,
    /// The search server that documents of sales are written to.
    pub search: SearchSettings,
    /// Paying and letting go.
    pub checkout: CheckoutSettings,
    /// The control plane.
    pub admin: AdminSettings,
    /// The figures that are kept.
    pub telemetry: TelemetrySettings,
    /// Spans for a collector of traces.
    pub traces: TraceSettings,
    /// The log.
    pub log: LogSettings,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            data_dir: "data".into(),
            stop_ms_max: 25_000,
            demo: false,
            node: NodeSettings::default(),
            clock: ClockSettings::default(),
            edge: EdgeSettings::default(),
            grpc: GrpcSettings::default(),
            admission: AdmissionSettings::default(),
            ledger: LedgerSettings::default(),
            redis: RedisSettings::default(),
            relay: RelaySettings::default(),
            store: WriterSettings::default(),
            sqlite: SqliteSettings::default(),
            postgres: PostgresSettings::default(),
            waiting_room: WaitingRoomSettings::default(),
            gatekeeper: GatekeeperSettings::default(),
            webhooks: WebhookSettings::default(),
            search: SearchSettings::default(),
            checkout: CheckoutSettings::default(),
            admin: AdminSettings::default(),
            telemetry: TelemetrySettings::default(),
            traces: TraceSettings::default(),
            log: LogSettings::default(),
        }
    }
}

/// Keys, and beginnings of keys, that a running engine takes over on reload. A change of any other needs a restart.
const LIVE_KEYS: &[&str] = &[
    "admin.former_token",
    "admin.tls.cert_file",
    "admin.tls.certificates",
    "admin.tls.client_ca_file",
    "admin.tls.key_file",
    "admin.tls.watch_s",
    "admin.token",
    "admin.tokens",
    "admission",
    "edge.ack_wait_ms",
    "edge.auth",
    "edge.cors",
    "edge.sale_state",
    "edge.tenant",
    "edge.tls.cert_file",
    "edge.tls.certificates",
    "edge.tls.client_ca_file",
    "edge.tls.key_file",
    "edge.tls.watch_s",
    "grpc.tls.cert_file",
    "grpc.tls.certificates",
    "grpc.tls.client_ca_file",
    "grpc.tls.key_file",
    "grpc.tls.watch_s",
    "log.level",
    "waiting_room",
    "webhooks",
];

impl Settings {
    /// Whether a running engine can take over a change of `key`.
    pub fn is_live(key: &str) -> bool {
        LIVE_KEYS
            .iter()
            .any(|live| key.strip_prefix(live).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
    }

    /// Whether this engine shares the stock with others.
    pub fn is_shared(&self) -> bool {
        !self.redis.url.is_empty()
    }

    /// Whether an empty store gets the demo sale: where it was asked for, and where nobody else can be, and no money.
    pub fn opens_demo(&self) -> bool {
        self.demo || self.is_demonstration()
    }

    /// Whether nobody else can be here, and no money: only this machine reaches the engine, its store is embedded and everything
    /// is simulated.
    pub fn is_demonstration(&self) -> bool {
        let mut addresses = [self.edge.listen, self.admin.listen].into_iter().chain(self.grpc.listen);
        let is_local = addresses.all(|address| address.ip().is_loopback());
        let is_played = self.checkout.simulated() == ["gateway", "risk"];
        is_local && is_played && self.postgres.url.is_empty()
    }

    /// Whether a buyer whom nobody names may be a guest of the page.
    pub fn takes_guests(&self) -> bool {
        let names_are_free =
            self.edge.auth.mode == AuthMode::TrustedHeader && !self.edge.auth.has_origin_secret();
        self.edge.page_guests.unwrap_or(self.is_demonstration() && names_are_free)
    }

    /// Everything that is wrong with the values, at most one problem a section. Origins are left empty.
    pub fn check(&self) -> Vec<Problem> {
        let sections: [(&str, Result<(), FieldError>); 18] = [
            ("node", self.node.check()),
            ("clock", self.clock.check()),
            ("edge", self.edge.check().and_then(|()| DataPlane::check(&self.edge))),
            ("grpc", self.grpc.check()),
            ("admission", self.admission.check()),
            ("ledger", self.ledger.check()),
            ("redis", self.redis.check()),
            ("relay", self.relay.check()),
            ("store", check_store(&self.store)),
            ("sqlite", check_sqlite(&self.sqlite)),
            ("postgres", self.postgres.check()),
            ("waiting_room", self.waiting_room.check()),
            ("webhooks", self.webhooks.check()),
            ("search", self.search.check()),
            ("admin", self.admin.check()),
            ("telemetry", self.telemetry.check()),
            ("traces", self.traces.check()),
            ("log", self.log.check()),
        ];
        let mut problems = Vec::new();
        if self.data_dir.as_os_str().is_empty() {
            let text = "is empty; set it to the folder that shall hold the orders".into();
            problems.push(Problem { key: "data_dir".into(), origin: String::new(), text });
        }
        let half_ms = u64::try_from(self.edge.lame_duck().as_millis()).unwrap_or(u64::MAX).saturating_mul(2);
        if !(1_000..=3_600_000).contains(&self.stop_ms_max) || self.stop_ms_max < half_ms {
            let text = format!(
                "is {}; set it to a number from 1000 to 3600000, and to at least twice edge.lame_duck_ms: what follows the \
                 lame-duck time needs some, too",
                self.stop_ms_max
            );
            problems.push(Problem { key: "stop_ms_max".into(), origin: String::new(), text });
        }
        if self.is_shared() && self.postgres.url.is_empty() {
            let text = "is set, but the orders would be in the embedded store, which is one machine's; set postgres.url \
                        (--database-url) to the database that the engines share, or leave redis.url empty"
                .into();
            problems.push(Problem { key: "redis.url".into(), origin: String::new(), text });
        }
        problems.extend(sections.into_iter().filter_map(|(section, checked)| {
            let FieldError { field, problem } = checked.err()?;
            Some(Problem { key: format!("{section}.{field}"), origin: String::new(), text: problem })
        }));
        let simulated = self.checkout.simulated();
        let mut buyers_at = std::iter::once(self.edge.listen).chain(self.grpc.listen);
        let open = buyers_at.find(|address| !address.ip().is_loopback());
        if let Some(open) = open.filter(|_| !simulated.is_empty() && !self.checkout.allow_simulated) {
            let text = format!(
                "is false, and with a simulated {} whoever reaches {open} would get goods for nothing; set \
                 checkout.gateway.kind and checkout.risk.kind to \"http\", or this to true where that is meant",
                simulated.join(" and "),
            );
            problems.push(Problem { key: "checkout.allow_simulated".into(), origin: String::new(), text });
        }
        problems.extend(self.checkout.check().err().map(|WrongKey { key, problem }| Problem {
            key,
            origin: String::new(),
            text: problem,
        }));
        problems.extend(self.gatekeeper.check().err().map(|WrongKey { key, problem }| Problem {
            key,
            origin: String::new(),
            text: problem,
        }));
        problems.extend(self.contradictions());
        problems
    }
}
