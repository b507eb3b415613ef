//! Changing the configuration of the running engine: by the admin plane or SIGHUP.

use std::sync::Arc;

use super::webhooks;
use crate::admin::{AdminTokens, Reload, ReloadRefused};
use crate::admission::{Admission, BuyerRates, NodeLimits, TokenBucket};
use crate::config::{AdmissionSettings, Config, ConfigSource, ReloadError, Reloader, Settings};
use crate::domain::FieldError;
use crate::edge::DataPlane;
use crate::telemetry::LogControl;
use crate::tls::Certificates;
use crate::webhooks::Webhooks;

/// What may change while the engine runs.
pub(super) struct Live {
    pub log: LogControl,
    pub admission: Arc<Admission>,
    /// What passes are signed with where no key is configured.
    pub pass_secret: Vec<u8>,
    pub data_plane: Arc<DataPlane>,
    pub tokens: Arc<AdminTokens>,
    pub edge_tls: Arc<Certificates>,
    pub admin_tls: Arc<Certificates>,
    pub webhooks: Webhooks,
    pub grpc_tls: Arc<Certificates>,
}

impl Live {
    /// Takes over what has changed. All of it was checked with the rest of the settings.
    fn take(&self, settings: &Settings, changed: &[String]) {
        let has_changed = |section: &str| changed.iter().any(|key| key.starts_with(section));
        if has_changed("log.") {
            let _ = self.log.set_level(&settings.log.level);
        }
        if has_changed("edge.") {
            let _ = self.data_plane.retune(&settings.edge);
        }
        if has_changed("admin.") {
            self.tokens.replace(&settings.admin);
        }
        for (section, certificates, tls) in [
            ("edge.tls.", &self.edge_tls, &settings.edge.tls),
            ("admin.tls.", &self.admin_tls, &settings.admin.tls),
            ("grpc.tls.", &self.grpc_tls, &settings.grpc.tls),
        ] {
            if has_changed(section)
                && let Err(FieldError { field, problem }) = certificates.replace(tls)
            {
                // The files have changed since they were checked a moment ago; the next look finds them.
                tracing::warn!(section, field, problem, "certificates were not taken over");
            }
        }
        if has_changed("webhooks.") {
            webhooks::replace(&self.webhooks, &settings.webhooks);
        }
        if has_changed("waiting_room.") {
            self.admission.rooms().set_rules(settings.waiting_room.rules(&self.pass_secret));
        }
        // Only then: new limits forget who clicked how often.
        if has_changed("admission.") {
            self.admission.set_limits(node_limits(&settings.admission));
        }
    }

    /// Reads the files of certificates again, whose names have not changed. Names the planes where they say something else.
    fn read_certificates(&self) -> impl Iterator<Item = String> {
        let planes = [&self.edge_tls, &self.admin_tls, &self.grpc_tls].into_iter();
        planes.filter(|plane| plane.look()).map(|plane| format!("{}.tls.cert_file", plane.plane()))
    }
}

/// Reads the configuration again, hands what may change live to those who use it, and logs what changed or why not.
pub(super) fn reload(source: ConfigSource, config: Config, live: Live) -> Arc<Reload> {
    let live = Arc::new(live);
    let taking = Arc::clone(&live);
    let reloader = Reloader::new(source, config, move |settings: &Settings, changed: &[String]| {
        taking.take(settings, changed);
    });
    Arc::new(move || {
        let outcome = reloader.reload().map(|mut changed| {
            changed.extend(live.read_certificates());
            changed
        });
        match &outcome {
            Ok(changed) if changed.is_empty() => {
                tracing::info!("the configuration was read again: no change")
            }
            Ok(changed) => tracing::info!(?changed, "the configuration was reloaded"),
            Err(error) => tracing::warn!(%error, "the configuration was not reloaded; the old one stays"),
        }
        outcome.map_err(|error| {
            let (needs_restart, keys) = match &error {
                ReloadError::Invalid(invalid) => {
                    (false, invalid.problems.iter().map(|problem| problem.key.clone()).collect())
                }
                ReloadError::NeedsRestart(keys) => (true, keys.clone()),
            };
            ReloadRefused { needs_restart, detail: error.to_string(), keys }
        })
    })
}

/// The limits of each buyer and of this node.
pub(super) fn node_limits(settings: &AdmissionSettings) -> NodeLimits {
    let rates = |rate| BuyerRates::new(rate, settings.buyers_max);
    NodeLimits {
        buyer_rates: settings.buyer_rate().map(rates),
        lookup_rates: settings.lookup_rate().map(rates),
        node_bucket: settings.node_rate().map(TokenBucket::new),
        releases_max: settings.releases_max,
    }
}
