//! Changing the configuration of the running engine: by the admin plane or SIGHUP.

use std::sync::Arc;

use crate::admin::{AdminTokens, Reload, ReloadRefused};
use crate::admission::{Admission, BuyerRates, NodeLimits, TokenBucket};
use crate::config::{AdmissionSettings, Config, ConfigSource, ReloadError, Reloader, Settings};
use crate::edge::DataPlane;
use crate::telemetry::LogControl;

/// Reads the configuration again, hands what may change live to those who use it, and logs what changed or why not.
pub(super) fn reload(
    source: ConfigSource,
    config: Config,
    log: LogControl,
    admission: Arc<Admission>,
    data_plane: Arc<DataPlane>,
    tokens: Arc<AdminTokens>,
) -> Arc<Reload> {
    let reloader = Reloader::new(source, config, move |settings: &Settings, changed: &[String]| {
        let has_changed = |section: &str| changed.iter().any(|key| key.starts_with(section));
        // All of it was checked with the rest of the settings.
        if has_changed("log.") {
            let _ = log.set_level(&settings.log.level);
        }
        if has_changed("edge.") {
            let _ = data_plane.retune(&settings.edge);
        }
        if has_changed("admin.") {
            tokens.replace(&settings.admin);
        }
        // Only then: new limits forget who clicked how often.
        if has_changed("admission.") {
            admission.set_limits(node_limits(&settings.admission));
        }
    });
    Arc::new(move || {
        let outcome = reloader.reload();
        match &outcome {
            Ok(changed) if changed.is_empty() => {
                tracing::info!("the configuration was read again: no change")
            }
            Ok(changed) => tracing::info!(?changed, "the configuration was reloaded"),
            Err(error) => tracing::warn!(%error, "the configuration was not reloaded; the old one stays"),
        }
        outcome.map_err(|error| {
            let (code, keys) = match &error {
                ReloadError::Invalid(invalid) => {
                    ("invalid-config", invalid.problems.iter().map(|problem| problem.key.clone()).collect())
                }
                ReloadError::NeedsRestart(keys) => ("restart-required", keys.clone()),
            };
            ReloadRefused { code, detail: error.to_string(), keys }
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
