//! The lease agent of this node: keeps stock in memory ahead of the buyers, gives it back when others starve, and moves the
//! ledger towards the store. It runs on the control plane; no purchase ever waits for it.
//!
//! What is done is decided by the machines of [`lease`](super::lease), one a sale; the agent looks at the clock and at
//! memory for them, asks Redis and the store what they ask, and carries out what follows. One task; the asks of many sales go
//! out together.
//!
//! A sale that rests is not looked at. It is named when its time comes, when something happens to it here
//! ([`Board::stir`](crate::admission::Board::stir)) or in the store (the follower of the orders stirs it), when another node
//! calls, and, with all other sales, when something happens that may concern every one: a node falls silent, Redis is not
//! the server that it was or has forgotten this node, or another life of this node begins.

mod account;
mod asking;
mod endings;
mod handle;
mod membership;
mod schedule;
mod shared;
mod watch;
mod work;

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

pub use self::handle::LeaseHandle;
pub use self::shared::SharedLedger;
pub use self::watch::LeaseWatch;

use self::account::Account;
use self::handle::Request;
use self::schedule::{Schedule, Urgency};
use super::lease::{Backoff, FailureDetector, NodeLife, Rules, ServerId, Terms};
use super::redis::{RedisBooks, RedisFault};
use super::settings::LedgerSettings;
use crate::admission::{Admission, LiveSale};
use crate::domain::{NodeId, SaleId};
use crate::orders::{LeaseStore, StockNotice, StoreError};

/// Sales whose asks go out together.
const GROUP: usize = 32;
/// Sales that nobody waits for have so much of a look, since those that sell must not wait for them; and the others have so
/// much even if the next beat is due.
const LOOK_MIN: Duration = Duration::from_millis(50);

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
    schedule: Schedule,
    /// Sales whose shares were not heard of: they are asked for alone.
    apart: BTreeSet<SaleId>,
    /// Sales to which the next beat calls the others, and those to which the last one did.
    calling: BTreeSet<SaleId>,
    called: BTreeSet<SaleId>,
    /// What the last beat heard.
    server: Option<ServerId>,
    calls: Vec<(SaleId, u64)>,
    /// Sales to which others have called, and whether all are to be looked at: heard amid other work.
    heard: Vec<SaleId>,
    looks_at_all: bool,
    /// Sales that have ended and whose books are to be forgotten.
    ended: BTreeSet<SaleId>,
    /// Whether there may be such books, those of other nodes included.
    has_left_books: bool,
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
            schedule: Schedule::default(),
            apart: BTreeSet::new(),
            calling: BTreeSet::new(),
            called: BTreeSet::new(),
            server: None,
            calls: Vec::new(),
            heard: Vec::new(),
            looks_at_all: false,
            ended: BTreeSet::new(),
            has_left_books: true,
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
        let (admission, notices, requests) =
            (Arc::clone(&self.admission), self.notices.clone(), self.requests.clone());
        loop {
            let began = Instant::now();
            let next = self.look().await;
            tokio::select! {
                () = &mut told => break,
                () = sleep_until(next) => {}
                Ok(sale) = admission.board().stirred().recv_async() => self.hear_of(sale),
                Ok(notice) = notices.recv_async() => self.hear_notice(notice),
                Ok(request) = requests.recv_async() => self.hear_request(request),
            }
            // However much happens, looks are no more frequent than this.
            tokio::select! {
                () = &mut told => break,
                () = sleep_until(began + Duration::from_millis(self.settings.watch_ms.max(1))) => {}
            }
        }
        self.leave().await;
    }

    /// One look at everything that is to be looked at. Says when the next one is due, if nothing happens before.
    async fn look(&mut self) -> Instant {
        self.hear();
        let is_cut_off = self.is_cut_off();
        if self.life.is_over() {
            self.turn_onlookers_away();
            self.tell_whether_cut_off(is_cut_off);
            if let Err(error) = self.begin_again().await {
                self.watch.round_failed(&error.to_string());
            }
            return Instant::now();
        }
        if !self.has_beaten {
            self.turn_onlookers_away();
        } else if let Err(error) = self.look_at_sales().await {
            self.watch.round_failed(&error.to_string());
        }
        // By now such a node has nothing on sale.
        self.tell_whether_cut_off(is_cut_off);
        if self.has_beaten
            && !self.life.is_over()
            && !self.is_cut_off()
            && let Err(error) = self.forget_books().await
        {
            self.watch.round_failed(&error.to_string());
        }
        if self.is_cut_off() != is_cut_off {
            // What was asked until now may have waited for long, and so may the sign: what is on sale shall not wait with it.
            return Instant::now();
        }
        let now = Instant::now();
        if self.beat_at <= now && !self.life.is_over() {
            self.beat_at = now + Duration::from_millis(self.settings.beat_ms);
            if let Err(error) = self.give_a_sign().await {
                self.watch.round_failed(&error.to_string());
            }
            self.name_what_was_heard();
        }
        match self.schedule.next(now) {
            _ if self.life.is_over() => now,
            Some(due) if self.has_beaten => due.min(self.beat_at),
            _ => self.beat_at,
        }
    }

    /// Looks at the sales that somebody waits for, and at as many of the others as there is time for. Who does not answer for
    /// one sale may not answer for the others: those wait for the next look. The beat goes on meanwhile.
    async fn look_at_sales(&mut self) -> Result<(), AgentError> {
        self.name_what_was_heard();
        let began = Instant::now();
        self.schedule.pass(began);
        for urgency in [Urgency::Now, Urgency::InTurn] {
            let at_least = Instant::now() + LOOK_MIN;
            let until = match urgency {
                // The next beat is due already when the last one waited for an answer for long.
                Urgency::Now => self.beat_at.max(at_least),
                Urgency::InTurn => at_least,
            };
            let now = Instant::now();
            let was_long = urgency == Urgency::InTurn && began + LOOK_MIN <= now && self.beat_at <= now;
            if was_long && !self.life.is_over() && self.life.beats(self.is_cut_off()) {
                // With a slow store those that somebody waits for have had the time of a beat, and these may have as much: the
                // others must not take this node for dead. Calls are told with the sign, which also finds out whether this was
                // heard.
                let (calling, called) = (std::mem::take(&mut self.calling), self.called.clone());
                drop(self.beat().await);
                (self.calling, self.called) = (calling, called);
            }
            // Those that are named again meanwhile have their turn at the next look.
            let mut waiting = self.schedule.waiting(urgency);
            while waiting > 0 && !self.life.is_over() {
                let places = waiting.min(GROUP);
                waiting -= places;
                let sales = self.schedule.take(urgency, places);
                self.work(sales).await?;
                if Instant::now() >= until {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Whoever wants to compare books hears that it cannot be done now.
    fn turn_onlookers_away(&mut self) {
        self.accounts.values_mut().for_each(|account| account.onlookers.clear());
    }

    /// Names what others called to, everything if it may concern every sale, and what a node that is cut off has on sale.
    fn name_what_was_heard(&mut self) {
        let now = Instant::now().into_std();
        if std::mem::take(&mut self.looks_at_all) {
            for sale in self.sales() {
                self.account(sale.id).lease.wake(now);
                self.schedule.name(sale.id, Urgency::InTurn);
            }
        }
        for sale in std::mem::take(&mut self.heard) {
            if self.live(sale).is_some() {
                self.account(sale).lease.wake(now);
                self.schedule.name(sale, Urgency::Now);
            }
        }
        if self.is_cut_off() {
            let on_sale = self.sales().into_iter().filter(|sale| sale.remaining() > 0);
            on_sale.for_each(|sale| self.schedule.name(sale.id, Urgency::Now));
        }
    }

    /// What the order writers and the rest of the engine have to say.
    fn hear(&mut self) {
        while let Ok(sale) = self.admission.board().stirred().try_recv() {
            self.hear_of(sale);
        }
        while let Ok(notice) = self.notices.try_recv() {
            self.hear_notice(notice);
        }
        while let Ok(request) = self.requests.try_recv() {
            self.hear_request(request);
        }
    }

    /// Something happened to the sale, it is new, or it has ended.
    fn hear_of(&mut self, sale: SaleId) {
        let Some(live) = self.live(sale) else { return self.let_go(sale) };
        let is_known = self.accounts.contains_key(&sale);
        self.account(sale).lease.stir(Instant::now().into_std());
        let is_wanted = live.state.has_unmet_demand();
        // New ones are many, at a start.
        self.schedule.name(sale, if is_known || is_wanted { Urgency::Now } else { Urgency::InTurn });
    }

    fn hear_notice(&mut self, notice: StockNotice) {
        let now = Instant::now().into_std();
        let sale = match notice {
            StockNotice::Fenced { life } => {
                if self.life.end(life) {
                    tracing::error!(
                        life,
                        "the order store knows a later life of this node: another engine runs under its number, or \
                         this one was silent for so long that its stock was taken back; it drops its stock"
                    );
                }
                return;
            }
            StockNotice::Refused(sale, _) | StockNotice::Returned(sale) | StockNotice::Resized(sale) => sale,
        };
        // One that has ended lends nothing any more.
        let Some(live) = self.live(sale) else { return };
        match notice {
            StockNotice::Refused(_, units) => self.account(sale).lease.refused(units, now),
            StockNotice::Resized(_) => self.account(sale).lease.wake(now),
            _ => live.state.note_units_came_back(),
        }
        self.schedule.name(sale, Urgency::Now);
    }

    fn hear_request(&mut self, request: Request) {
        let (Request::Withdraw { sale, .. } | Request::Compare(sale, _)) = request;
        // Of one that has ended there is nothing to withdraw or to compare.
        if self.live(sale).is_none() {
            return;
        }
        let account = self.account(sale);
        match request {
            Request::Withdraw { units, give_up_at, answer, .. } => {
                account.withdraw(units, give_up_at.into_std(), answer);
            }
            Request::Compare(_, answer) => {
                account.onlookers.push(answer);
                account.lease.wake(Instant::now().into_std());
            }
        }
        self.schedule.name(sale, Urgency::Now);
    }

    /// The sale, if it is on the board and has not ended.
    fn live(&self, sale: SaleId) -> Option<Arc<LiveSale>> {
        self.admission.board().sales().by_id(sale).filter(|live| !live.is_archived).cloned()
    }

    /// All of these.
    fn sales(&self) -> Vec<Arc<LiveSale>> {
        self.admission.board().sales().iter().filter(|live| !live.is_archived).cloned().collect()
    }

    fn account(&mut self, sale: SaleId) -> &mut Account {
        let (terms, life) = (self.terms, self.life);
        self.accounts.entry(sale).or_insert_with(|| Account::new(terms, life, Instant::now().into_std()))
    }
}
