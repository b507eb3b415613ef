//! The lease agent of this node: keeps stock in memory ahead of the buyers, gives it back when others starve, and moves the
//! ledger towards the store. It runs on the control plane; no purchase ever waits for it.
//!
//! What is done is decided by the machines of [`lease`](super::lease), one a sale; the agent looks at the clock and at
//! memory for them, asks Redis and the store what they ask, and carries out what follows. One task, one ask at a time.

mod account;
mod handle;
mod membership;
mod shared;
mod watch;
mod work;

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

pub use self::handle::LeaseHandle;
pub use self::shared::SharedLedger;
pub use self::watch::LeaseWatch;

use self::account::Account;
use self::handle::Request;
use super::lease::{Backoff, FailureDetector, NodeLife, Rules, Terms};
use super::redis::{RedisBooks, RedisFault};
use super::settings::LedgerSettings;
use crate::admission::{Admission, LiveSale};
use crate::domain::{NodeId, SaleId};
use crate::orders::{LeaseStore, StockNotice, StoreError};

/// Why a round of work was cut short. It is tried again at the next look.
#[derive(Debug, thiserror::Error)]
enum AgentError {
    #[error(transparent)]
    Redis(#[from] RedisFault),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What a lease agent is made of.
pub struct LeaseAgentParts<W> {
    /// The books.
    pub books: Arc<RedisBooks>,
    /// The store, which is the fence.
    pub store: Arc<dyn LeaseStore>,
    /// This node's memory. Every sale on the board must have an empty stock: what this node holds is what it registers.
    pub admission: Arc<Admission>,
    /// This node.
    pub node: NodeId,
    /// Its life, which has just begun in the store.
    pub incarnation: u64,
    /// How stock is lent.
    pub settings: LedgerSettings,
    /// What the order writers have to say.
    pub notices: flume::Receiver<StockNotice>,
    /// Who hears of the agent's work.
    pub watch: W,
}

/// The lease agent.
pub struct LeaseAgent<W> {
    books: Arc<RedisBooks>,
    store: Arc<dyn LeaseStore>,
    admission: Arc<Admission>,
    settings: LedgerSettings,
    terms: Terms,
    notices: flume::Receiver<StockNotice>,
    handle: LeaseHandle,
    requests: flume::Receiver<Request>,
    watch: W,
    life: NodeLife,
    accounts: HashMap<SaleId, Account>,
    detector: FailureDetector,
    beat_at: Instant,
    /// Whether a beat of this life was answered. Before that it joins no book: who finds it in one must have heard it.
    has_beaten: bool,
    was_cut_off: bool,
    /// Lives of this node that follow each other.
    lives: Backoff,
    /// When the next one may begin.
    begins_at: Option<Instant>,
    /// Where the next look begins: after the sale at which the last one was cut short.
    turn: usize,
    look_began: Instant,
}

impl<W: LeaseWatch> LeaseAgent<W> {
    /// An agent that has done nothing yet.
    pub fn new(parts: LeaseAgentParts<W>) -> Self {
        let LeaseAgentParts { books, store, admission, node, incarnation, settings, notices, watch } = parts;
        let (handle, requests) = LeaseHandle::new();
        let now = Instant::now();
        let [silent_max, beat] = [settings.silent_ms_max, settings.beat_ms].map(Duration::from_millis);
        let rules = Rules::sound();
        let detector = FailureDetector::new(rules, node, silent_max, beat, now.into_std());
        Self {
            books,
            store,
            admission,
            terms: settings.lease_terms(),
            settings,
            notices,
            handle,
            requests,
            watch,
            life: NodeLife::new(rules, node, incarnation),
            accounts: HashMap::new(),
            detector,
            beat_at: now,
            has_beaten: false,
            was_cut_off: false,
            lives: Backoff::default(),
            begins_at: None,
            turn: 0,
            look_began: now,
        }
    }

    /// Where others ask this agent for units.
    pub fn handle(&self) -> LeaseHandle {
        self.handle.clone()
    }

    /// Works until `told`, which must come when no order is in flight any more; then hands back what is not sold and
    /// says that this node is gone. Dropped before, it is a crash as far as the ledger goes: others fence this node, or it
    /// starts again and has its units again.
    pub async fn run_until(mut self, told: impl Future<Output = ()>) {
        let mut told = pin!(told);
        loop {
            self.look().await;
            tokio::select! {
                () = &mut told => break,
                () = sleep(Duration::from_millis(self.settings.watch_ms.max(1))) => {}
            }
        }
        self.leave().await;
    }

    /// One look at everything.
    async fn look(&mut self) {
        self.look_began = Instant::now();
        self.hear();
        self.tell_whether_cut_off();
        if self.life.is_over() {
            if let Err(error) = self.begin_again().await {
                self.watch.round_failed(&error.to_string());
            }
            return;
        }
        if self.beat_at <= Instant::now() {
            self.beat_at = Instant::now() + Duration::from_millis(self.settings.beat_ms);
            if let Err(error) = self.give_a_sign().await {
                self.watch.round_failed(&error.to_string());
            }
        }
        if !self.has_beaten || self.life.is_over() {
            self.accounts.values_mut().for_each(|account| account.onlookers.clear());
            return;
        }
        let sales = self.sales();
        let first = self.turn;
        for place in 0..sales.len() {
            let sale = &sales[(first + place) % sales.len()];
            if self.rests(sale) {
                continue;
            }
            let mut account = self.accounts.remove(&sale.id).unwrap_or_else(|| self.new_account());
            account.hear_operator();
            account.lease.look();
            let attended = self.work(sale, &mut account).await;
            if attended.is_err() {
                account.onlookers.clear();
            }
            self.accounts.insert(sale.id, account);
            if let Err(error) = attended {
                self.watch.round_failed(&error.to_string());
                // Who does not answer for one sale may not answer for the others: they wait for the next look, which
                // begins with the one after this, and the beat goes on meanwhile.
                self.turn = (first + place + 1) % sales.len();
                return;
            }
            if self.life.is_over() {
                return;
            }
        }
    }

    /// Whether there is nothing to do about the sale.
    fn rests(&self, sale: &LiveSale) -> bool {
        self.accounts.get(&sale.id).is_some_and(|account| {
            let (on_sale, is_wanted) = (sale.remaining().into(), sale.state.has_unmet_demand());
            let hands_back = on_sale > 0 && self.life.hands_back(self.is_cut_off());
            !hands_back && account.lease.rests(Instant::now().into_std(), on_sale, is_wanted)
        })
    }

    /// What the order writers and the rest of the engine have to say.
    fn hear(&mut self) {
        while let Ok(notice) = self.notices.try_recv() {
            match notice {
                StockNotice::Fenced { life } => {
                    if self.life.end(life) {
                        tracing::error!(
                            life,
                            "the order store knows a later life of this node: another engine runs under its number, or \
                             this one was silent for so long that its stock was taken back; it drops its stock"
                        );
                    }
                }
                StockNotice::Refused(sale, units) => {
                    self.account(sale).lease.refused(units, Instant::now().into_std());
                }
                StockNotice::Returned(sale) => {
                    if let Some(live) = self.admission.board().sales().by_id(sale) {
                        live.state.set_more_may_come(true);
                    }
                    self.account(sale).lease.units_came_back(Instant::now().into_std());
                }
                StockNotice::Resized(sale) => self.account(sale).lease.wake(Instant::now().into_std()),
            }
        }
        while let Ok(request) = self.requests.try_recv() {
            match request {
                Request::Withdraw { sale, units, give_up_at, answer } => {
                    self.account(sale).withdraw(units, give_up_at.into_std(), answer);
                }
                Request::Compare(sale, answer) => {
                    let account = self.account(sale);
                    account.onlookers.push(answer);
                    account.lease.wake(Instant::now().into_std());
                }
            }
        }
    }

    fn sales(&self) -> Vec<Arc<LiveSale>> {
        self.admission.board().sales().iter().cloned().collect()
    }

    fn account(&mut self, sale: SaleId) -> &mut Account {
        let (terms, life) = (self.terms, self.life);
        self.accounts.entry(sale).or_insert_with(|| Account::new(terms, life, Instant::now().into_std()))
    }

    fn new_account(&self) -> Account {
        Account::new(self.terms, self.life, Instant::now().into_std())
    }
}
