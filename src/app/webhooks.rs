//! Webhooks, where any are configured.

use std::sync::Arc;

use tokio::sync::watch;

use crate::domain::StoreIdentity;
use crate::exit::{Exit, Failure};
use crate::orders::OrderDesk;
use crate::supervisor::Supervisor;
use crate::webhooks::{HttpTransport, WebhookSettings, Webhooks};

/// The webhooks of these settings; `None` where nobody is to be told.
pub(super) fn open(
    settings: &WebhookSettings,
    desk: &OrderDesk,
    store: StoreIdentity,
) -> Result<Option<Webhooks>, Failure> {
    if settings.endpoints.is_empty() {
        return Ok(None);
    }
    let transport = HttpTransport::new(settings).map_err(Failure::at_start("webhooks"))?;
    let webhooks = Webhooks::new(settings, desk.clone(), store, Arc::new(transport));
    webhooks.map(Some).map_err(|wrong| {
        Failure::new(Exit::Config, format_args!("webhooks.{} {}", wrong.field, wrong.problem))
    })
}

/// Delivers, whenever this engine is the one that does.
pub(super) fn start(supervisor: &Supervisor, webhooks: &Webhooks, elected: Option<watch::Receiver<bool>>) {
    let delivering = webhooks.clone().run(elected);
    supervisor.task("webhooks", async move {
        delivering.await;
        Ok(())
    });
}
