//! Webhooks, of whatever endpoints are configured.

use std::sync::Arc;

use tokio::sync::watch;

use crate::domain::StoreIdentity;
use crate::exit::{Exit, Failure};
use crate::orders::OrderDesk;
use crate::supervisor::Supervisor;
use crate::webhooks::{HttpTransport, WebhookSettings, Webhooks};

/// The webhooks of these settings. Where nobody is to be told, somebody may be later.
pub(super) fn open(
    settings: &WebhookSettings,
    desk: &OrderDesk,
    store: StoreIdentity,
) -> Result<Webhooks, Failure> {
    let transport = HttpTransport::new(settings).map_err(Failure::at_start("webhooks"))?;
    Webhooks::new(settings, desk.clone(), store, Arc::new(transport)).map_err(|wrong| {
        Failure::new(Exit::Config, format_args!("webhooks.{} {}", wrong.field, wrong.problem))
    })
}

/// Takes over settings that have changed; where that is not possible, those before stay.
pub(super) fn replace(webhooks: &Webhooks, settings: &WebhookSettings) {
    let replaced = HttpTransport::new(settings).and_then(|transport| {
        let replaced = webhooks.replace(settings, Arc::new(transport));
        replaced.map_err(|wrong| format!("webhooks.{} {}", wrong.field, wrong.problem))
    });
    if let Err(problem) = replaced {
        tracing::warn!(problem, "settings of webhooks were not taken over");
    }
}

/// Delivers, whenever this engine is the one that does.
pub(super) fn start(supervisor: &Supervisor, webhooks: &Webhooks, elected: Option<watch::Receiver<bool>>) {
    let delivering = webhooks.clone().run(elected);
    supervisor.task("webhooks", async move {
        delivering.await;
        Ok(())
    });
}
