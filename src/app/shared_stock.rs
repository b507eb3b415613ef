//! What an engine has beside the others' when it sells one stock with them: the lease agent and the relay of events.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::sync::{oneshot, watch};

use super::store_history::StoreWatch;
use crate::admin::RelayWatch;
use crate::admission::{Admission, LiveSale};
use crate::config::Settings;
use crate::domain::{NodeId, SaleId, StoreIdentity};
use crate::ledger::agent::{LeaseAgent, LeaseAgentParts, LeaseHandle, LeaseWatch};
use crate::ledger::lease::Drift;
use crate::ledger::redis::{
    EventRelay, Eviction, KeyNames, RedisBooks, RedisFault, RedisLink, RelayParts, RelayedEvent,
};
use crate::ledger::{Concerns, SharedLedger};
use crate::orders::postgres::PgLeaseStore;
use crate::orders::{
    Envelope, EnvelopeHead, Event, LeaseStore, OrderDesk, StockNotice, StoreHistory, event_id, event_json,
};
use crate::supervisor::{Part, Supervisor};
use crate::telemetry::Telemetry;

/// Notices of the order writers that may wait for the agent. Most are hints; those that are not wait for their place.
const NOTICES_MAX: usize = 4_096;

/// The way to the ledger, before anything is lent.
pub(super) struct SharedStock {
    books: Arc<RedisBooks>,
    store: StoreHistory,
    concerns: Arc<Concerns>,
    lease_store: Arc<PgLeaseStore>,
    notify: flume::Sender<StockNotice>,
    notices: flume::Receiver<StockNotice>,
}

impl SharedStock {
    /// The ledger of the settings, fenced by `lease_store`, which is the store that `watch` watches; compared with what the
    /// ledger remembers of it. A Redis that is away or cannot now may lend later; one that refuses this user needs an
    /// operator.
    ///
    /// # Errors
    /// What it refused, and what to do about it.
    pub async fn open(
        settings: &Settings,
        lease_store: PgLeaseStore,
        watch: &mut StoreWatch,
    ) -> Result<Self, RedisFault> {
        let books = RedisBooks::new(RedisLink::new(&settings.redis)?);
        let concerns = Arc::new(Concerns::default());
        match try_out(&books, &settings.relay.stream).await {
            Ok(eviction) => {
                eviction.tell(&concerns);
                if let Eviction::NotNow(said) = &eviction {
                    tracing::warn!(code = "ledger-policy", "{said}");
                }
                watch.compare(&books).await;
            }
            // It was logged: the node starts, shows orders and takes payments, and borrows when Redis lends.
            Err(RedisFault::Away(_) | RedisFault::Unable(_)) => {}
            Err(fault) => return Err(fault),
        }
        let store = watch.seen();
        let books = Arc::new(books.named(KeyNames::of(&store)));
        let (notify, notices) = flume::bounded(NOTICES_MAX);
        Ok(Self { books, store, concerns, lease_store: Arc::new(lease_store), notify, notices })
    }

    /// The books.
    pub fn books(&self) -> Arc<RedisBooks> {
        Arc::clone(&self.books)
    }

    /// Where the order writers tell the agent.
    pub fn notify(&self) -> flume::Sender<StockNotice> {
        self.notify.clone()
    }

    /// Starts to lend. Every sale on the board must have an empty stock.
    pub fn start(
        self,
        supervisor: &Supervisor,
        settings: &Settings,
        node: NodeId,
        admission: &Arc<Admission>,
        telemetry: &Arc<Telemetry>,
    ) -> Lending {
        let Self { books, store, concerns, lease_store, notices, .. } = self;
        telemetry.lease_agent.store_timeline.add(store.timeline);
        let agent = LeaseAgent::new(LeaseAgentParts {
            books: Arc::clone(&books),
            store: Arc::clone(&lease_store) as Arc<dyn LeaseStore>,
            admission: Arc::clone(admission),
            node,
            incarnation: lease_store.incarnation(),
            settings: settings.ledger.clone(),
            notices,
            watch: LeaseFigures(Arc::clone(telemetry)),
        });
        let handle = agent.handle();
        let (leave, told) = oneshot::channel();
        let working = supervisor.task("lease agent", async move {
            // A word that never comes is an engine that has died.
            agent.run_until(async { drop(told.await) }).await;
            Ok(())
        });
        Lending { books, store, concerns, lease_store, handle, leave, working }
    }
}

/// Whether Redis lets this engine lend, and send events to the stream.
pub(super) async fn try_out(books: &RedisBooks, stream: &str) -> Result<Eviction, RedisFault> {
    let eviction = books.link().trial().await?;
    books.link().try_stream(stream).await?;
    Ok(eviction)
}

/// The agent at work.
pub(super) struct Lending {
    books: Arc<RedisBooks>,
    store: StoreHistory,
    concerns: Arc<Concerns>,
    lease_store: Arc<PgLeaseStore>,
    handle: LeaseHandle,
    leave: oneshot::Sender<()>,
    working: Part,
}

impl Lending {
    /// The ledger for the rest of the engine, whose sales keep their units in `shards` counters.
    pub fn ledger(&self, settings: &Settings, shards: usize) -> SharedLedger {
        SharedLedger::new(
            Arc::clone(&self.books),
            Arc::clone(&self.lease_store) as Arc<dyn LeaseStore>,
            self.handle.clone(),
            Arc::clone(&self.concerns),
            shards,
            Duration::from_millis(settings.ledger.withdraw_ms_max),
        )
    }

    /// Sends the events of the store to their stream, whenever this engine is the one that does; answers with what operators
    /// are shown of it.
    pub fn relay(
        &self,
        supervisor: &Supervisor,
        settings: &Settings,
        desk: &OrderDesk,
        elected: watch::Receiver<bool>,
    ) -> RelayWatch {
        let (desk, store, envelope) = (desk.clone(), self.store.identity, settings.relay.envelope);
        let read = move |after, limit| {
            let desk = desk.clone();
            async move {
                let events = desk.events_with_sales(after, limit).await?;
                // What is known of no sale waits for it.
                let relayed = events.iter().map(|(event, sale)| {
                    let json = sale.as_deref().map(|sale| wrapped(envelope, store, sale, event));
                    RelayedEvent { seq: event.seq, json }
                });
                Ok(relayed.collect())
            }
        };
        let (sent, told) = watch::channel(None);
        let parts = RelayParts {
            books: Arc::clone(&self.books),
            settings: settings.relay.clone(),
            store: self.store,
            concerns: Arc::clone(&self.concerns),
            sent,
        };
        let (relay, newest) = (EventRelay::new(parts, read), self.lease_store.last_event());
        let shown = RelayWatch { elected: elected.clone(), newest: newest.clone(), sent: told };
        supervisor.task("relay of events", async move {
            relay.run(elected, newest).await;
            Ok(())
        });
        shown
    }

    /// Hands back what is not sold. Call it when no order is in flight any more.
    pub async fn leave(mut self) {
        // An agent that has ended has nothing to hand back.
        if self.leave.send(()).is_ok() {
            self.working.ended().await;
        }
    }
}

/// An event as it goes into the stream.
fn wrapped(envelope: Envelope, store: StoreIdentity, sale: &LiveSale, event: &Event) -> String {
    let (id, order, key) = (event_id(store, event), event.order.placed.id.to_string(), sale.key.to_string());
    let head = EnvelopeHead { store, id: &id, kind: event.kind.as_str(), subject: &order, key: &key };
    envelope.wrap(&head, event_json(sale, event))
}

/// What the agent tells goes into the telemetry.
struct LeaseFigures(Arc<Telemetry>);

impl LeaseWatch for LeaseFigures {
    fn leased(&self, units: u64) {
        self.0.lease_agent.leased_units.add(units);
    }

    fn handed_back(&self, units: u64) {
        self.0.lease_agent.handed_back_units.add(units);
    }

    fn compared(&self, sale: SaleId, drift: &Drift) {
        self.0.lease_agent.compared(sale, drift.kinds());
    }

    fn ended(&self, sale: SaleId) {
        self.0.lease_agent.ended(sale);
    }

    fn repaired(&self, movements: u64) {
        self.0.lease_agent.repairs.add(movements);
    }

    fn rebuilt(&self, _: SaleId) {
        self.0.lease_agent.rebuilds.increment();
    }

    fn reclaimed(&self, _: NodeId) {
        self.0.lease_agent.reclaims.increment();
    }

    fn rejoined(&self) {
        self.0.lease_agent.rejoins.increment();
    }

    fn cut_off(&self, is_cut_off: bool) {
        self.0.lease_agent.cut_off.store(is_cut_off, Relaxed);
    }

    fn round_failed(&self, why: &str) {
        self.0.lease_agent.troubles.increment();
        tracing::debug!(why, "the lease agent was cut short");
    }
}
