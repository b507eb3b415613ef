//! The lender's clerk at this node: keeps stock in memory ahead of the buyers, gives it back when others starve, and
//! moves the ledger towards the store. It runs on the control plane; no purchase ever waits for it.
//!
//! One task, one call at a time: while a call is unanswered nothing else of this node's line changes, which is what the
//! checked protocol asks for.

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use super::super::books::{LedgerBook, ThreeBooks};
use super::super::settings::LedgerSettings;
use super::door::{LenderDoor, Request};
use super::holding::{Holding, Outcome, Standing};
use super::link::RedisFault;
use super::movements::{Caller, Chunk, Movement, Rebuild, RedisBooks, Reply, Snapshot, Verdict};
use super::pulse::Pulse;
use super::reconcile::{Drift, MemoryView, compare};
use super::store::{LedgerStore, StoreView};
use super::watch::LenderWatch;
use super::withholding::{Next, Withhold, Withholding};
use crate::admission::{Admission, Intake, LiveSale};
use crate::domain::{NodeId, SaleId, Units};
use crate::orders::{StockNotice, StoreError};

/// A sale where nothing happens is compared ever more rarely, down to one comparison in as many rounds.
const QUIET_ROUNDS_MAX: u32 = 10;
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

/// A sale as the clerk knows it.
struct Account {
    holding: Holding,
    /// The book as the last answer told.
    last: Option<Reply>,
    /// Units of the last lease.
    chunk: u64,
    ask_at: Instant,
    reconcile_at: Instant,
    tail_at: Instant,
    behind_since: Option<Instant>,
    /// The store refused to sell what this node held: all of it goes back at the next registration.
    surrender: bool,
    /// Buyers were refused for want of units, and the ledger had none to lend.
    asked_in_vain: bool,
    /// Comparisons in a row that found everything as it was.
    quiet: u32,
    /// Store and ledger at the last comparison.
    seen: Option<(StoreView, Snapshot)>,
    /// Units on sale here at the last look.
    on_sale: Units,
    /// Units that are kept off sale for an operator who lowers the stock.
    withholding: Option<Withholding>,
    /// Who wants to see the books when they are compared next.
    onlookers: Vec<oneshot::Sender<ThreeBooks>>,
}

impl Account {
    fn new(now: Instant) -> Self {
        Self {
            holding: Holding::new(),
            last: None,
            chunk: 0,
            ask_at: now,
            reconcile_at: now,
            tail_at: now,
            behind_since: None,
            surrender: false,
            asked_in_vain: false,
            quiet: 0,
            seen: None,
            on_sale: 0,
            withholding: None,
            onlookers: Vec::new(),
        }
    }

    /// Units that the ledger may lend, as far as the last answer told.
    fn available(&self) -> i64 {
        self.last.as_ref().map_or(0, |reply| reply.available)
    }

    /// Something happens: it is looked at as often as any other sale.
    fn wake(&mut self, reconcile_at: Instant) {
        self.quiet = 0;
        self.reconcile_at = self.reconcile_at.min(reconcile_at);
    }

    fn withheld(&self) -> u64 {
        self.withholding.as_ref().map_or(0, |withholding| withholding.units)
    }
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

    /// Hands everything back. What fails here is taken back by the others in their own time.
    async fn leave(mut self) {
        self.hear();
        let sales: Vec<Arc<LiveSale>> = self.admission.board().sales().iter().cloned().collect();
        for sale in sales {
            let Some(mut account) = self.accounts.remove(&sale.id) else { continue };
            if let Err(trouble) = self.close(&sale, &mut account).await {
                self.watch.troubled(&trouble.to_string());
            }
        }
        match self.books.leave(self.node).await {
            Ok(()) => tracing::info!("unsold units were handed back; this node has left the others"),
            Err(fault) => {
                tracing::warn!(%fault, "the other nodes take this one's units back when it stays silent")
            }
        }
    }

    async fn close(&mut self, sale: &LiveSale, account: &mut Account) -> Result<(), Trouble> {
        let unsold = u64::from(sale.state.stock().drain()) + account.withheld();
        account.withholding = None;
        if self.rejoin || account.holding.standing != Standing::Current {
            return Ok(());
        }
        account.holding.handed_back += unsold;
        self.watch.handed_back(unsold);
        self.confirm_hand_back(sale, account).await?;
        let Some(view) = self.view(sale.id).await? else { return Ok(()) };
        let from = account.holding.caller(self.node, self.incarnation);
        self.books.run(&sale.key, from, &Movement::Settle { durable: view.settled_by(self.node) }).await?;
        Ok(())
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

    /// Joins the sale's book in this life: what a former life was lent and did not sell is this one's stock.
    async fn register(&mut self, sale: &LiveSale, account: &mut Account) -> Result<(), Trouble> {
        account.ask_at = self.later(self.settings.tail_pause_ms);
        sale.state.set_more_may_come(true);
        let Some(view) = self.view(sale.id).await? else { return Ok(()) };
        let durable = view.settled_by(self.node);
        let from = Caller { node: self.node, incarnation: self.incarnation, epoch: view.epoch };
        let mut reply = self.books.run(&sale.key, from, &Movement::Register).await?;
        if reply.verdict == Verdict::Awaited {
            let movement = Movement::Announce { held: durable, durable };
            reply = self.books.run(&sale.key, from, &movement).await?;
        }
        match reply.verdict {
            Verdict::Ok => {
                let stock = account.holding.registered(view.epoch, durable, &reply);
                if std::mem::take(&mut account.surrender) {
                    account.holding.handed_back += stock;
                } else {
                    put_on_sale(sale, stock);
                }
                account.behind_since = None;
                account.ask_at = Instant::now();
                account.reconcile_at = Instant::now();
                account.last = Some(reply);
            }
            Verdict::OldIncarnation => self.rejoin = true,
            Verdict::Lost => self.rebuild(sale, view.epoch, &reply).await?,
            Verdict::Behind => self.be_patient(sale, account, &reply).await?,
            _ => {}
        }
        Ok(())
    }

    /// Does what an answer asks for beyond the movement itself. `true` when the movement was carried out.
    async fn follow(
        &mut self,
        sale: &LiveSale,
        account: &mut Account,
        reply: Reply,
    ) -> Result<bool, Trouble> {
        let outcome = account.holding.outcome(&reply);
        account.last = Some(reply.clone());
        match outcome {
            Outcome::Done => account.behind_since = None,
            Outcome::Wait if reply.verdict == Verdict::Behind => {
                self.be_patient(sale, account, &reply).await?;
            }
            Outcome::Wait => {}
            Outcome::Announce { epoch } => self.announce(sale, account, epoch).await?,
            Outcome::Rejoin => self.rejoin = true,
            Outcome::Rebuild => self.rebuild(sale, account.holding.epoch, &reply).await?,
        }
        Ok(outcome == Outcome::Done)
    }

    /// Tells a newer book what this node holds. Until the answer is heard, nothing else is said or taken back.
    async fn announce(&mut self, sale: &LiveSale, account: &mut Account, epoch: u64) -> Result<(), Trouble> {
        account.holding.standing = Standing::Announcing;
        let durable = self.view(sale.id).await?.map_or(0, |view| view.settled_by(self.node));
        let from = Caller { node: self.node, incarnation: self.incarnation, epoch };
        let movement = Movement::Announce { held: account.holding.held(), durable };
        let reply = self.books.run(&sale.key, from, &movement).await?;
        match reply.verdict {
            Verdict::Ok => account.holding.announced(epoch),
            Verdict::OldIncarnation | Verdict::Unregistered => self.rejoin = true,
            // Another book has begun since, or this one is lost: the next call in the old epoch says what to do.
            _ => account.holding.standing = Standing::Current,
        }
        account.last = Some(reply);
        Ok(())
    }

    async fn lease(&mut self, sale: &LiveSale, account: &mut Account) -> Result<(), Trouble> {
        let chunk = Chunk {
            divisor: self.settings.lease_divisor.max(1) * (self.pulse.others_alive() + 1),
            min: u64::from(sale.terms.per_buyer_limit).clamp(1, self.settings.lease_units_max),
            max: self.settings.lease_units_max,
        };
        // A node without buyers needs nothing: others keep what they have.
        let starves = sale.state.take_unmet_demand();
        let new = self.borrow(sale, account, chunk, starves).await?;
        account.asked_in_vain = starves && new == 0;
        put_on_sale(sale, new);
        if new > 0 {
            account.chunk = new;
        }
        Ok(())
    }

    /// Asks for units. Those that it returns are this node's, and off sale.
    async fn borrow(
        &mut self,
        sale: &LiveSale,
        account: &mut Account,
        chunk: Chunk,
        starves: bool,
    ) -> Result<u64, Trouble> {
        let movement = Movement::Lease { seen: account.holding.granted, chunk, starves };
        let from = account.holding.caller(self.node, self.incarnation);
        account.ask_at = self.later(self.settings.tail_pause_ms);
        let reply = self.books.run(&sale.key, from, &movement).await?;
        if !self.follow(sale, account, reply.clone()).await? {
            return Ok(0);
        }
        let new = account.holding.leased(&reply);
        if new > 0 {
            account.ask_at = Instant::now();
            self.watch.leased(new);
        }
        self.tell(sale, &reply);
        Ok(new)
    }

    /// Gathers the units that an operator wants to take off sale, and does with them what he decides.
    async fn withhold(&mut self, sale: &LiveSale, account: &mut Account) -> Result<(), Trouble> {
        let Some(mut withholding) = account.withholding.take() else { return Ok(()) };
        let missing = withholding.missing();
        if missing > 0 {
            let found = sale.remaining().min(Units::try_from(missing).unwrap_or(Units::MAX));
            withholding.units += sale.state.stock().take(0, found).map_or(0, |units| u64::from(units.keep()));
        }
        match withholding.advance(Instant::now()) {
            Next::Keep => account.withholding = Some(withholding),
            Next::PutBack => put_on_sale(sale, withholding.units),
            Next::GiveUp => {
                // The total first: units that are handed back before it is lower could be lent out again.
                let resized = self.resize(sale, account).await;
                if matches!(resized, Ok(true)) {
                    account.holding.handed_back += withholding.units;
                    return self.confirm_hand_back(sale, account).await;
                }
                account.withholding = Some(withholding);
                return resized.map(drop);
            }
        }
        let missing = account.withholding.as_ref().map_or(0, Withholding::missing);
        if missing > 0 && account.ask_at <= Instant::now() {
            let chunk = Chunk { divisor: 1, min: missing, max: missing };
            let borrowed = self.borrow(sale, account, chunk, true).await?;
            if let Some(withholding) = &mut account.withholding {
                withholding.units += borrowed;
            }
        }
        Ok(())
    }

    /// Tells the ledger the total that the store has now. `true` when it knows.
    async fn resize(&mut self, sale: &LiveSale, account: &mut Account) -> Result<bool, Trouble> {
        let Some(view) = self.view(sale.id).await? else { return Ok(false) };
        let movement = Movement::Resize { total: view.total, revision: view.revision };
        let from = account.holding.caller(self.node, self.incarnation);
        let reply = self.books.run(&sale.key, from, &movement).await?;
        self.follow(sale, account, reply).await
    }

    async fn confirm_hand_back(&mut self, sale: &LiveSale, account: &mut Account) -> Result<(), Trouble> {
        let handed_back = account.holding.handed_back;
        let from = account.holding.caller(self.node, self.incarnation);
        let reply = self.books.run(&sale.key, from, &Movement::HandBack { handed_back }).await?;
        if self.follow(sale, account, reply).await? {
            account.holding.confirmed_back = handed_back;
        }
        Ok(())
    }

    /// Moves the ledger towards the store, shares what is left with those who have nothing, and shows the drift.
    async fn reconcile(&mut self, sale: &LiveSale, account: &mut Account) -> Result<(), Trouble> {
        // Read first: what becomes durable meanwhile shows as a unit in two places, never as one that is missing.
        let on_sale = u64::from(sale.remaining()) + account.withheld();
        let memory = MemoryView::new(&account.holding, on_sale, sale.state.units_in_flight());
        let Some(view) = self.view(sale.id).await? else { return Ok(()) };
        let book = self.books.snapshot(&sale.key).await?;
        let drift = compare(self.node, memory, &book, &view);
        self.watch.compared(sale.id, &drift);
        for onlooker in account.onlookers.drain(..) {
            // Who does not wait any more sees it next time.
            let _ = onlooker.send(ThreeBooks {
                memory: Some(memory),
                ledger: LedgerBook::Read(book.clone()),
                store: view.clone(),
                drift: Some(drift),
            });
        }
        // A node that has units must hear soon when others want them.
        let is_quiet = on_sale == 0
            && account.seen.as_ref().is_some_and(|(store, ledger)| *store == view && *ledger == book);
        account.quiet = if is_quiet { (account.quiet + 1).min(QUIET_ROUNDS_MAX - 1) } else { 0 };
        account.seen = Some((view.clone(), book.clone()));
        for movement in self.repairs(&view, &book, &drift) {
            let from = account.holding.caller(self.node, self.incarnation);
            let reply = self.books.run(&sale.key, from, &movement).await?;
            if !self.follow(sale, account, reply).await? {
                return Ok(());
            }
        }
        self.settle(sale, account, view.settled_by(self.node)).await?;
        self.take_back_from_the_silent(sale, &book, &view).await
    }

    /// Tells what this node sold, hears how the sale stands, and acts on it.
    async fn settle(&mut self, sale: &LiveSale, account: &mut Account, durable: u64) -> Result<(), Trouble> {
        let from = account.holding.caller(self.node, self.incarnation);
        let reply = self.books.run(&sale.key, from, &Movement::Settle { durable }).await?;
        if !self.follow(sale, account, reply.clone()).await? {
            return Ok(());
        }
        self.share(sale, account, &reply).await?;
        self.tell(sale, &reply);
        if reply.available > 0 {
            account.ask_at = Instant::now();
        }
        Ok(())
    }

    /// What the ledger does not know yet of what the store has.
    fn repairs(&self, view: &StoreView, book: &Snapshot, drift: &Drift) -> Vec<Movement> {
        let mut movements = Vec::new();
        if drift.unreturned > 0 {
            tracing::debug!(
                units = drift.unreturned,
                "units of cancelled and expired orders go back on sale"
            );
            movements.push(Movement::Return { returned: view.returned });
        }
        if book.revision < view.revision {
            movements.push(Movement::Resize { total: view.total, revision: view.revision });
        }
        self.watch.repaired(movements.len() as u64);
        movements
    }

    /// Nothing is available and somebody starves: half of what is on sale here goes back, at least one unit.
    async fn share(&mut self, sale: &LiveSale, account: &mut Account, reply: &Reply) -> Result<(), Trouble> {
        let on_sale = sale.remaining();
        // Nodes that want more units than each of them has draw lots, until one of them has enough.
        let others_starve = reply.starving > u64::from(account.asked_in_vain);
        let gives = others_starve && (!account.asked_in_vain || rand::random());
        let short = reply.available < 0 || (reply.available == 0 && gives);
        if reply.verdict != Verdict::Ok || !short || on_sale == 0 {
            return Ok(());
        }
        // Off sale first, then said.
        if let Some(units) = sale.state.stock().take(0, on_sale.div_ceil(2)) {
            let units = u64::from(units.keep());
            account.holding.handed_back += units;
            self.watch.handed_back(units);
            self.confirm_hand_back(sale, account).await?;
        }
        Ok(())
    }

    /// Ends the epoch `seen` and opens the sale's book anew. Several nodes may do this together: one book comes of it.
    async fn rebuild(&mut self, sale: &LiveSale, seen: u64, reply: &Reply) -> Result<(), Trouble> {
        tracing::warn!(sale = %sale.key, epoch = seen, "the ledger has no valid book of the sale; opening a new one");
        let id = sale.id;
        let Some(epoch) = self.ask(move |store| store.end_epoch(id, seen)).await? else { return Ok(()) };
        // After the epoch was raised: whoever could hold units of the old book is listed.
        let Some(view) = self.view(sale.id).await? else { return Ok(()) };
        let nodes = self.ask(|store| store.incarnations()).await?;
        let rebuild = Rebuild {
            epoch,
            life: reply.life.clone(),
            total: view.total,
            revision: view.revision,
            returned: view.returned,
            nodes,
        };
        self.books.rebuild(&sale.key, &rebuild).await?;
        self.watch.rebuilt(sale.id);
        Ok(())
    }

    /// The store's epoch is ahead of the book: who raised it is about to open the book, unless he died.
    async fn be_patient(
        &mut self,
        sale: &LiveSale,
        account: &mut Account,
        reply: &Reply,
    ) -> Result<(), Trouble> {
        let since = *account.behind_since.get_or_insert_with(Instant::now);
        if since.elapsed() >= Duration::from_millis(self.settings.rebuild_patience_ms) {
            account.behind_since = None;
            self.rebuild(sale, reply.epoch, reply).await?;
        }
        Ok(())
    }

    async fn beat(&mut self) -> Result<(), Trouble> {
        let beats = self.books.beat(self.node).await?;
        self.pulse.hear(beats.into_iter().filter(|(node, _)| *node != self.node));
        Ok(())
    }

    /// Fences nodes that are silent, and takes back what they did not sell. Silence is only the reason to ask: the
    /// store's word is the evidence.
    async fn take_back_from_the_silent(
        &mut self,
        sale: &LiveSale,
        book: &Snapshot,
        view: &StoreView,
    ) -> Result<(), Trouble> {
        if book.lost || book.epoch != view.epoch {
            return Ok(());
        }
        let patience_ms = self.settings.silent_ms_max * (4 + self.pulse.alive_before(self.node)) / 4;
        for (&node, line) in &book.lines {
            let sold = view.settled_by(node) as i64;
            let holds = line.awaited || line.granted as i64 - line.handed_back as i64 > sold;
            if node == self.node || !holds {
                continue;
            }
            if self.pulse.silence(node) < Duration::from_millis(patience_ms) {
                continue;
            }
            tracing::warn!(node = node.number(), sale = %sale.key, "a silent node is fenced and its unsold units are taken back");
            let incarnation = self.ask(move |store| store.raise_incarnation(node)).await?;
            let Some(fenced) = self.view(sale.id).await? else { return Ok(()) };
            let from = Caller { node, incarnation, epoch: view.epoch };
            let movement = Movement::Reclaim { durable: fenced.settled_by(node) };
            let reply = self.books.run(&sale.key, from, &movement).await?;
            if reply.verdict == Verdict::Ok {
                self.watch.reclaimed(node);
            }
        }
        Ok(())
    }

    /// This life is over. Nothing of it may reach the store under the next one: the intake is stalled, the stock is
    /// dropped, and the next life begins only when no order is in flight any more.
    async fn begin_again(&mut self) -> Result<(), Trouble> {
        let queue = self.admission.queue();
        queue.set_intake(Intake::Stalled);
        let sales: Vec<Arc<LiveSale>> = self.admission.board().sales().iter().cloned().collect();
        let drain = || {
            for sale in &sales {
                sale.state.set_more_may_come(true);
                sale.state.stock().drain();
            }
        };
        drain();
        if queue.depth() > 0 || sales.iter().any(|sale| sale.state.units_in_flight() > 0) {
            return Ok(());
        }
        // What was refused on its way out came back to the stock.
        drain();
        // Every notice of the old life has been written by now.
        self.hear();
        self.incarnation = self.ask(|store| store.begin_life()).await?;
        tracing::warn!(incarnation = self.incarnation, "this node registers anew");
        for account in self.accounts.values_mut() {
            *account = Account { surrender: account.surrender, ..Account::new(Instant::now()) };
        }
        self.rejoin = false;
        self.watch.rejoined();
        self.admission.queue().set_intake(Intake::Open);
        Ok(())
    }

    /// Tells the buyers how the sale stands. "Sold out" is final when nothing is available and nobody holds a unit that
    /// is not sold.
    fn tell(&self, sale: &LiveSale, reply: &Reply) {
        if reply.verdict != Verdict::Ok {
            return;
        }
        let over = reply.available <= 0 && reply.leased <= 0 && reply.awaited == 0;
        sale.state.set_more_may_come(!over);
        if over {
            // Whoever comes from now on is refused for good, and wakes the clerk again.
            sale.state.take_unmet_demand();
        }
        let unsold_here = reply.granted as i64 - reply.handed_back as i64 - reply.settled as i64;
        let elsewhere = reply.available + reply.leased - unsold_here;
        sale.state.set_units_elsewhere(u64::try_from(elsewhere).unwrap_or(0));
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

fn put_on_sale(sale: &LiveSale, units: u64) {
    sale.state.stock().add_spread(Units::try_from(units).unwrap_or(Units::MAX));
}
