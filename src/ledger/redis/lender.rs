//! The lender's clerk at this node: keeps stock in memory ahead of the buyers, gives it back when others starve, and
//! moves the ledger towards the store. It runs on the control plane; no purchase ever waits for it.
//!
//! One task, one call at a time: while a call is unanswered nothing else of this node's line changes, which is what the
//! checked protocol asks for.

mod account;
mod membership;
mod reconcile;
mod stock;

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use self::account::Account;
use super::super::settings::LedgerSettings;
use super::door::{LenderDoor, Request};
use super::holding::Standing;
use super::link::RedisFault;
use super::movements::RedisBooks;
use super::pulse::Pulse;
use super::store::{LedgerStore, StoreView};
use super::watch::LenderWatch;
use super::withholding::{Withhold, Withholding};
use crate::admission::{Admission, LiveSale};
use crate::domain::{NodeId, SaleId};
use crate::orders::{StockNotice, StoreError};

/// Comparisons stop for this look after so long: sales that sell must not wait for those that do not.
const COMPARING_MAX: Duration = Duration::from_millis(50);

/// Why a round of work was cut short. It is tried again at the next look.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Redis(#[from] RedisFault),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The clerk.
pub struct Lender<S, W> {
    books: Arc<RedisBooks>,
    store: Arc<S>,
    admission: Arc<Admission>,
    node: NodeId,
    settings: LedgerSettings,
    notices: flume::Receiver<StockNotice>,
    door: LenderDoor,
    requests: flume::Receiver<Request>,
    watch: W,
    incarnation: u64,
    /// This node must drop everything and begin another life.
    rejoin: bool,
    accounts: HashMap<SaleId, Account>,
    pulse: Pulse,
    beat_at: Instant,
    /// Where the next look begins: after the sale at which the last one was cut short.
    turn: usize,
    look_began: Instant,
}

impl<S: LedgerStore, W: LenderWatch> Lender<S, W> {
    /// A clerk for `node`, in the life `incarnation` that has just begun in the store. Every sale on the board must have
    /// an empty stock: what this node holds is what it registers.
    pub fn new(
        books: Arc<RedisBooks>,
        store: Arc<S>,
        admission: Arc<Admission>,
        (node, incarnation): (NodeId, u64),
        settings: LedgerSettings,
        notices: flume::Receiver<StockNotice>,
        watch: W,
    ) -> Self {
        let (door, requests) = LenderDoor::new();
        let pulse = Pulse::new(
            Duration::from_millis(settings.silent_ms_max),
            Duration::from_millis(3 * settings.beat_ms),
        );
        Self {
            books,
            store,
            admission,
            node,
            settings,
            notices,
            door,
            requests,
            watch,
            incarnation,
            rejoin: false,
            accounts: HashMap::new(),
            pulse,
            beat_at: Instant::now(),
            turn: 0,
            look_began: Instant::now(),
        }
    }

    /// Where others ask this clerk for units.
    pub fn door(&self) -> LenderDoor {
        self.door.clone()
    }

    /// Works until the future is dropped, which is a crash as far as the ledger goes: others fence this node, or it
    /// starts again and has its units again.
    pub async fn run(self) {
        self.run_until(std::future::pending()).await;
    }

    /// Works until `told`, which must come when no order is in flight any more; then hands back what is not sold and
    /// says that this node is gone.
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
        if self.rejoin {
            if let Err(trouble) = self.begin_again().await {
                self.watch.troubled(&trouble.to_string());
            }
            return;
        }
        if self.beat_at <= Instant::now() {
            self.beat_at = Instant::now() + Duration::from_millis(self.settings.beat_ms);
            if let Err(trouble) = self.beat().await {
                self.watch.troubled(&trouble.to_string());
            }
        }
        let sales: Vec<Arc<LiveSale>> = self.admission.board().sales().iter().cloned().collect();
        let first = self.turn;
        for place in 0..sales.len() {
            let sale = &sales[(first + place) % sales.len()];
            let mut account = self.accounts.remove(&sale.id).unwrap_or_else(|| Account::new(Instant::now()));
            let attended = self.attend(sale, &mut account).await;
            if attended.is_err() {
                account.ask_at = self.later(self.settings.tail_pause_ms);
                account.onlookers.clear();
            }
            self.accounts.insert(sale.id, account);
            if let Err(trouble) = attended {
                self.watch.troubled(&trouble.to_string());
                // Who does not answer for one sale may not answer for the others: they wait for the next look, which
                // begins with the one after this, and the beat goes on meanwhile.
                self.turn = (first + place + 1) % sales.len();
                return;
            }
            if self.rejoin {
                return;
            }
        }
    }

    fn later(&self, ms: u64) -> Instant {
        Instant::now() + Duration::from_millis(ms)
    }

    /// What the order writers have to say.
    fn hear(&mut self) {
        while let Ok(notice) = self.notices.try_recv() {
            match notice {
                StockNotice::Fenced => self.rejoin = true,
                StockNotice::Refused(sale) => {
                    self.rejoin = true;
                    self.account(sale).surrender = true;
                }
                StockNotice::Returned(sale) => {
                    if let Some(live) = self.admission.board().sales().by_id(sale) {
                        live.state.set_more_may_come(true);
                    }
                    self.account(sale).over_since = None;
                    self.reconcile_soon(sale);
                }
                StockNotice::Resized(sale) => self.reconcile_soon(sale),
            }
        }
        while let Ok(request) = self.requests.try_recv() {
            match request {
                Request::Withhold(Withhold { sale, units, give_up_at, answer }) => {
                    let account = self.account(sale);
                    // One change of a sale at a time: whoever asked before has gone.
                    if account.withholding.is_none() {
                        account.withholding = Some(Withholding::new(units, give_up_at, answer));
                    }
                }
                Request::Compare(sale, answer) => {
                    self.account(sale).onlookers.push(answer);
                    self.reconcile_soon(sale);
                }
            }
        }
    }

    fn account(&mut self, sale: SaleId) -> &mut Account {
        self.accounts.entry(sale).or_insert_with(|| Account::new(Instant::now()))
    }

    fn reconcile_soon(&mut self, sale: SaleId) {
        if let Some(account) = self.accounts.get_mut(&sale) {
            account.wake(Instant::now());
        }
    }

    /// Looks after one sale: joins its book, keeps stock ahead of the buyers, tells what happened.
    async fn attend(&mut self, sale: &LiveSale, account: &mut Account) -> Result<(), Trouble> {
        let now = Instant::now();
        match account.holding.standing {
            Standing::Unregistered if account.ask_at <= now => return self.register(sale, account).await,
            Standing::Unregistered => return Ok(()),
            Standing::Announcing => {
                let epoch = account.last.as_ref().map_or(account.holding.epoch, |reply| reply.epoch);
                return self.announce(sale, account, epoch).await;
            }
            Standing::Current => {}
        }
        if account.holding.handed_back > account.holding.confirmed_back {
            self.confirm_hand_back(sale, account).await?;
        }
        self.conclude(sale, account);
        self.withhold(sale, account).await?;
        let (on_sale, is_wanted) = (sale.remaining(), sale.state.has_unmet_demand());
        if std::mem::replace(&mut account.on_sale, on_sale) != on_sale || is_wanted {
            account.wake(self.later(self.settings.reconcile_ms));
        }
        let is_wanted = is_wanted && sale.state.more_may_come();
        let low_water = account.chunk * self.settings.low_water_percent / 100;
        let is_low = u64::from(on_sale) <= low_water && account.available() > 0;
        if (is_low || is_wanted) && account.ask_at <= now {
            self.lease(sale, account).await?;
        }
        if account.reconcile_at <= now && self.look_began.elapsed() < COMPARING_MAX {
            account.reconcile_at = self.later(self.settings.reconcile_ms * u64::from(account.quiet + 1));
            account.tail_at = self.later(self.settings.tail_pause_ms);
            return self.reconcile(sale, account).await;
        }
        // Nothing is available, and not everything is sold: who has nothing may need what this node has.
        let others_starve = account.last.as_ref().is_some_and(|reply| reply.starving > 0);
        let tail = account.available() <= 0 && sale.state.more_may_come() && (is_wanted || others_starve);
        if tail && account.tail_at <= now {
            account.tail_at = self.later(self.settings.tail_pause_ms);
            if let Some(view) = self.view(sale.id).await? {
                let durable = view.settled_by(self.node);
                return self.settle(sale, account, durable).await;
            }
        }
        Ok(())
    }

    async fn view(&self, sale: SaleId) -> Result<Option<StoreView>, Trouble> {
        self.ask(move |store| store.view(sale)).await
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&S) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Trouble> {
        let store = Arc::clone(&self.store);
        let answer = tokio::task::spawn_blocking(move || question(&store)).await;
        // A question that was cut off by the end of the runtime has nobody left to answer to.
        Ok(answer.map_err(|error| RedisFault::Away(error.to_string()))??)
    }
}
