//! Who delivers, and what is known of it: the one engine that claims the endpoints, its couriers, and what they have come to.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::courier::{Courier, Slot, Trade};
use super::deliveries::Deliveries;
use super::endpoint::Endpoint;
use super::settings::WebhookSettings;
use super::transport::Transport;
use crate::domain::{FieldError, StoreIdentity};
use crate::orders::{LogEnds, OrderDesk, StoreError, WebhookAct, WebhookRow, WebhookSave, WebhookStep};

/// How often an engine that does not deliver, or cannot, looks what there is.
const REST_EVERY: Duration = Duration::from_secs(1);
/// How long a stop waits for deliveries that are in flight.
const FLIGHTS_MAX: Duration = Duration::from_millis(500);

/// What the store had of webhooks when it was looked at last.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Endpoints, also those that are not in the configuration any more.
    pub rows: Vec<WebhookRow>,
    /// The ends of the logs.
    pub ends: LogEnds,
}

impl Seen {
    /// The endpoint with this name.
    pub fn row(&self, name: &str) -> Option<&WebhookRow> {
        self.rows.iter().find(|row| row.name == name)
    }
}

/// The webhooks of an engine; cheap to clone.
#[derive(Clone)]
pub struct Webhooks(Arc<Shared>);

/// An endpoint, with what this engine has delivered to it.
type Known = (Arc<Endpoint>, Arc<Deliveries>);

/// What is configured, as long as that is so.
struct Setup {
    settings: Arc<WebhookSettings>,
    transport: Arc<dyn Transport>,
    endpoints: Vec<Known>,
}

impl Setup {
    /// Endpoints that are among `known` go on counting.
    fn new(
        settings: &WebhookSettings,
        transport: Arc<dyn Transport>,
        known: &[Known],
    ) -> Result<Self, FieldError> {
        settings.check()?;
        let ready = settings.endpoints.iter().map(|endpoint| {
            let ready =
                Endpoint::new(endpoint).map_err(|problem| FieldError { field: "endpoints", problem })?;
            let before = known.iter().find(|(known, _)| known.name() == ready.name());
            let deliveries = before.map(|(_, deliveries)| Arc::clone(deliveries)).unwrap_or_default();
            Ok((Arc::new(ready), deliveries))
        });
        let endpoints = ready.collect::<Result<_, FieldError>>()?;
        Ok(Self { settings: Arc::new(settings.clone()), transport, endpoints })
    }

    fn names(&self) -> Vec<String> {
        self.endpoints.iter().map(|(endpoint, _)| endpoint.name().to_owned()).collect()
    }
}

struct Shared {
    desk: OrderDesk,
    store: StoreIdentity,
    setup: watch::Sender<Arc<Setup>>,
    seen: watch::Sender<Arc<Seen>>,
    stop: watch::Sender<bool>,
    has_ended: watch::Sender<bool>,
}

impl fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhooks").field("endpoints", &self.endpoints()).finish_non_exhaustive()
    }
}

impl Webhooks {
    /// The endpoints of the settings, told of what the desk knows, by way of `transport`.
    ///
    /// # Errors
    /// A setting that cannot work.
    pub fn new(
        settings: &WebhookSettings,
        desk: OrderDesk,
        store: StoreIdentity,
        transport: Arc<dyn Transport>,
    ) -> Result<Self, FieldError> {
        let setup = Setup::new(settings, transport, &[])?;
        Ok(Self(Arc::new(Shared {
            desk,
            store,
            setup: watch::Sender::new(Arc::new(setup)),
            seen: watch::Sender::default(),
            stop: watch::Sender::new(false),
            has_ended: watch::Sender::new(false),
        })))
    }

    /// Has these settings instead, and this transport. Whatever is in flight to an endpoint may be delivered again.
    ///
    /// # Errors
    /// A setting that cannot work: those before stay.
    pub fn replace(
        &self,
        settings: &WebhookSettings,
        transport: Arc<dyn Transport>,
    ) -> Result<(), FieldError> {
        let setup = Setup::new(settings, transport, &self.endpoints())?;
        self.0.setup.send_replace(Arc::new(setup));
        Ok(())
    }

    /// The endpoints, with what this engine has delivered to each.
    pub fn endpoints(&self) -> Vec<Known> {
        self.0.setup.borrow().endpoints.clone()
    }

    /// What the store had at the last look, a second ago at most.
    pub fn seen(&self) -> Arc<Seen> {
        Arc::clone(&self.0.seen.borrow())
    }

    /// What the store has.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn look(&self) -> Result<Arc<Seen>, StoreError> {
        let (rows, ends) = self.0.desk.webhooks().await?;
        let seen = Arc::new(Seen { rows, ends });
        self.0.seen.send_replace(Arc::clone(&seen));
        Ok(seen)
    }

    /// Has the store know all endpoints: each is told of whatever happens from then on.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn enter(&self) -> Result<(), StoreError> {
        let names = self.0.setup.borrow().names();
        if names.is_empty() {
            return Ok(());
        }
        self.0.desk.step_webhooks(WebhookStep::Enter(names)).await.map(drop)
    }

    /// Carries an operator's act out. `false` when the store does not know the endpoint.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn act(&self, act: WebhookAct) -> Result<bool, StoreError> {
        self.0.desk.step_webhooks(WebhookStep::Act(Box::new(act))).await
    }

    /// Delivers while `elected` says so, without it always. Ends when it is told to [`leave`](Self::leave).
    pub async fn run(self, elected: Option<watch::Receiver<bool>>) {
        let mut stopped = self.0.stop.subscribe();
        let mut relay = Relay::new(&self);
        while !*stopped.borrow() {
            let is_elected = elected.as_ref().is_none_or(|elected| *elected.borrow());
            let pause = relay.turn(is_elected).await;
            tokio::select! {
                () = sleep(pause) => {}
                _ = stopped.changed() => {}
            }
        }
        relay.finish().await;
        self.0.has_ended.send_replace(true);
    }

    /// Has the deliveries that are in flight end, and writes down how far they have come. Whatever is not waited for is
    /// delivered again by whoever goes on.
    pub async fn leave(&self) {
        self.0.stop.send_replace(true);
        let mut has_ended = self.0.has_ended.subscribe();
        // It lives as long as this handle.
        let _ = has_ended.wait_for(|has_ended| *has_ended).await;
    }
}

/// A courier that was sent.
struct Sent {
    generation: u64,
    slot: Slot,
    /// Aborts the courier when dropped.
    task: JoinSet<()>,
}

/// The engine's half of the work: claims, sends couriers, writes down what they leave.
struct Relay<'a> {
    shared: &'a Shared,
    setup: Arc<Setup>,
    names: Vec<String>,
    ends: watch::Sender<LogEnds>,
    /// The claim under which is delivered.
    owner: Option<i64>,
    couriers: HashMap<String, Sent>,
    save_at: Instant,
    webhooks: &'a Webhooks,
}

impl<'a> Relay<'a> {
    fn new(webhooks: &'a Webhooks) -> Self {
        let setup = Arc::clone(&webhooks.0.setup.borrow());
        Self {
            shared: &webhooks.0,
            names: setup.names(),
            setup,
            ends: watch::Sender::default(),
            owner: None,
            couriers: HashMap::new(),
            save_at: Instant::now(),
            webhooks,
        }
    }

    /// One look. Answers with how long to wait until the next.
    async fn turn(&mut self, is_elected: bool) -> Duration {
        if !is_elected {
            self.let_go();
        }
        self.take_setup().await;
        if self.names.is_empty() {
            return REST_EVERY;
        }
        match self.work(is_elected).await {
            Ok(()) if is_elected => Duration::from_millis(self.setup.settings.idle_ms),
            Ok(()) => REST_EVERY,
            Err(error) => {
                tracing::debug!(%error, "webhooks wait for the order store");
                REST_EVERY
            }
        }
    }

    /// Takes over settings that have changed: all couriers begin anew from what is written down.
    async fn take_setup(&mut self) {
        let setup = Arc::clone(&self.shared.setup.borrow());
        if Arc::ptr_eq(&setup, &self.setup) {
            return;
        }
        let saved = self.save().await;
        tracing::debug!(?saved, "settings of webhooks have changed");
        self.let_go();
        self.names = setup.names();
        self.setup = setup;
    }

    async fn work(&mut self, is_elected: bool) -> Result<(), StoreError> {
        if is_elected && self.owner.is_none() {
            let owner = rand::random();
            self.webhooks.enter().await?;
            let claim = WebhookStep::Claim { owner, names: self.names.clone() };
            self.shared.desk.step_webhooks(claim).await?;
            self.owner = Some(owner);
        }
        if self.save_at <= Instant::now() {
            self.save_at = Instant::now() + Duration::from_millis(self.setup.settings.save_ms);
            self.save().await?;
        }
        let seen = self.webhooks.look().await?;
        self.ends.send_if_modified(|ends| std::mem::replace(ends, seen.ends) != seen.ends);
        if let Some(owner) = self.owner {
            self.send_couriers(owner, &seen);
        }
        Ok(())
    }

    /// Whoever has the endpoints from now on begins with what was written down.
    fn let_go(&mut self) {
        self.couriers.clear();
        self.owner = None;
    }

    /// A courier for each endpoint that is not disabled, begun anew where an act has changed it.
    fn send_couriers(&mut self, owner: i64, seen: &Seen) {
        if self.names.iter().filter_map(|name| seen.row(name)).any(|row| row.owner != owner) {
            tracing::debug!("another engine delivers webhooks");
            self.let_go();
            return;
        }
        for sent in self.couriers.values_mut() {
            // An error of the engine's own ends the engine, here as elsewhere.
            if let Some(Err(error)) = sent.task.try_join_next()
                && let Ok(panic) = error.try_into_panic()
            {
                std::panic::resume_unwind(panic);
            }
        }
        for (endpoint, deliveries) in &self.setup.endpoints {
            let Some(row) = seen.row(endpoint.name()) else { continue };
            let sent = self.couriers.get(endpoint.name());
            if sent.is_some_and(|sent| sent.generation == row.generation) {
                continue;
            }
            // The one before is gone before the next one begins.
            self.couriers.remove(endpoint.name());
            let (slot, mut task) = (Slot::default(), JoinSet::new());
            if row.state.disabled.is_none() {
                let courier = Courier::new(
                    Arc::clone(endpoint),
                    self.trade(),
                    Arc::clone(deliveries),
                    Arc::clone(&slot),
                    row,
                );
                task.spawn(courier.run());
            }
            let sent = Sent { generation: row.generation, slot, task };
            self.couriers.insert(endpoint.name().to_owned(), sent);
        }
    }

    fn trade(&self) -> Trade {
        Trade {
            desk: self.shared.desk.clone(),
            store: self.shared.store,
            settings: Arc::clone(&self.setup.settings),
            transport: Arc::clone(&self.setup.transport),
            ends: self.ends.subscribe(),
            stopped: self.shared.stop.subscribe(),
        }
    }

    /// Writes down what the couriers have left, in one transaction.
    async fn save(&mut self) -> Result<(), StoreError> {
        let left: Vec<WebhookSave> =
            self.couriers.values().filter_map(|sent| sent.slot.lock().take()).collect();
        if left.is_empty() {
            return Ok(());
        }
        let saved = self.shared.desk.step_webhooks(WebhookStep::Save(left.clone())).await;
        if saved.is_err() {
            // Unless there is newer word by now.
            for save in left {
                if let Some(sent) = self.couriers.get(&save.name) {
                    sent.slot.lock().get_or_insert(save);
                }
            }
        }
        saved.map(drop)
    }

    /// Waits a moment for what is in flight, and writes down how far it has come.
    async fn finish(&mut self) {
        let couriers = self.couriers.values_mut();
        let all = futures_util::future::join_all(
            couriers.map(|sent| async move { while sent.task.join_next().await.is_some() {} }),
        );
        let is_whole = timeout(FLIGHTS_MAX, all).await.is_ok();
        let saved = self.save().await;
        tracing::debug!(is_whole, ?saved, "webhooks stop");
    }
}
