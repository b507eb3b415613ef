//! Runs the machines of sales: looks for them, asks for them, all that can be asked at once together, and carries out what
//! follows.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::super::lease::{Act, Answer, Ask, Effects, View};
use super::super::redis::{RedisBooks, RedisFault};
use super::account::Account;
use super::schedule::Urgency;
use super::watch::LeaseWatch;
use super::{AgentError, LeaseAgent};
use crate::admission::{LiveSale, TakenUnits};
use crate::domain::{NodeId, SaleId, Units};
use crate::orders::{LeaseStore, StoreError};

/// The books of a sale where nothing happens are compared once in this time all the same, or in half of it: each at another
/// moment.
const REST_MAX: Duration = Duration::from_secs(2 * 3_600);

/// A sale and its account, while something is done about it.
pub(super) type Member = (Arc<LiveSale>, Account);

/// Members of a group, by their places, and the answer to what was asked for each; `None` when the store has no such sale.
type Heard = (Vec<usize>, Result<Vec<Option<Answer>>, AgentError>);

impl<W: LeaseWatch> LeaseAgent<W> {
    /// Does what the machines of these sales want done, until they want nothing more. Who does not answer for one of them
    /// may have answered for the others.
    pub(super) async fn work(&mut self, sales: Vec<SaleId>) -> Result<(), AgentError> {
        let mut group = Vec::with_capacity(sales.len());
        for sale in sales {
            // It has yet to come to the board.
            let Some(live) = self.live(sale) else { continue };
            let (terms, life, now) = (self.terms, self.life, Instant::now().into_std());
            let mut account = self.accounts.remove(&sale).unwrap_or_else(|| Account::new(terms, life, now));
            live.state.take_up();
            if live.state.take_units_came_back() {
                live.state.set_more_may_come(true);
                account.lease.units_came_back(now);
            }
            account.hear_operator();
            account.lease.look();
            group.push((live, account));
        }
        let (group, outcome) = self.ask_for(group).await;
        group.into_iter().for_each(|member| self.let_rest(member));
        outcome
    }

    /// When the sale is looked at next, unless something happens to it before.
    fn let_rest(&mut self, (live, account): Member) {
        let now = Instant::now();
        let (on_sale, is_wanted) = (live.remaining().into(), live.state.has_unmet_demand());
        if self.life.hands_back(self.is_cut_off()) {
            // It cannot sell, nor compare; what comes on sale meanwhile is looked for with each beat.
            self.schedule.wait_until(live.id, self.beat_at);
        } else if account.lease.rests(now.into_std(), on_sale, is_wanted) {
            self.schedule.wait_until(live.id, account.lease.rests_until(now.into_std()).into());
        } else {
            let is_awaited = is_wanted || account.lease.is_withdrawing();
            self.schedule.name(live.id, if is_awaited { Urgency::Now } else { Urgency::InTurn });
        }
        self.accounts.insert(live.id, account);
    }

    /// Asks for the members of a group what their machines ask, until they ask nothing more.
    pub(super) async fn ask_for(&mut self, mut group: Vec<Member>) -> (Vec<Member>, Result<(), AgentError>) {
        let mut outcome = Ok(());
        let mut active: Vec<usize> = (0..group.len()).collect();
        while !self.life.is_over() {
            let mut asks = Vec::with_capacity(active.len());
            for place in active.drain(..) {
                asks.extend(self.advance(&mut group[place]).map(|ask| (place, ask)));
            }
            if asks.is_empty() {
                break;
            }
            for (places, heard) in self.ask(&group, asks).await {
                let answers = heard.unwrap_or_else(|error| {
                    outcome = Err(error);
                    vec![None; places.len()]
                });
                for (place, answer) in places.into_iter().zip(answers) {
                    if self.take_in(&mut group[place], answer) {
                        active.push(place);
                    }
                }
            }
        }
        (group, outcome)
    }

    /// What the sale's machine asks next; `None` when it wants nothing more.
    fn advance(&mut self, (sale, account): &mut Member) -> Option<Ask> {
        loop {
            let mut effects = Effects::default();
            let act = account.lease.next(Instant::now().into_std(), &self.view(sale), &mut effects);
            self.carry_out(sale, account, effects);
            match act? {
                Act::Ask(ask) => return Some(ask),
                Act::TakeOffSale(units) => {
                    let units = Units::try_from(units).unwrap_or(Units::MAX);
                    let taken = sale.state.stock().take(0, units).map_or(0, TakenUnits::keep);
                    let mut effects = Effects::default();
                    account.lease.took_off_sale(taken.into(), &mut effects);
                    self.carry_out(sale, account, effects);
                }
            }
        }
    }

    /// Takes in the answer, if there is one. Says whether the machine may go on.
    fn take_in(&mut self, (sale, account): &mut Member, answer: Option<Answer>) -> bool {
        let (now, mut effects) = (Instant::now().into_std(), Effects::default());
        let is_heard = answer.is_some();
        if let Some(answer) = answer {
            let view = self.view(sale);
            account.lease.heard(answer, now, &view, &mut self.detector, &mut effects);
        } else {
            account.lease.unheard(now, &mut effects);
            account.onlookers.clear();
        }
        self.carry_out(sale, account, effects);
        is_heard
    }

    fn view(&self, sale: &LiveSale) -> View {
        let state = &sale.state;
        View {
            on_sale: sale.remaining().into(),
            in_flight: state.units_in_flight(),
            is_wanted: state.has_unmet_demand(),
            more_may_come: state.more_may_come(),
            per_buyer_limit: sale.terms.per_buyer_limit.into(),
            others_alive: self.detector.others_alive(Instant::now().into_std()),
            followed_until: self.store.followed_until(),
            is_cut_off: self.is_cut_off(),
            rest: REST_MAX.mul_f64(rand::random_range(0.5..1.0)),
            lot: rand::random(),
        }
    }

    /// Asks Redis and the store, everything at once. The units of all sales are one question, and one beat tells of all nodes.
    async fn ask(&mut self, group: &[Member], asks: Vec<(usize, Ask)>) -> Vec<Heard> {
        let mut waiting = JoinSet::new();
        let (mut counted, mut suspects) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
        for (place, ask) in asks {
            let sale = &group[place].0;
            match ask {
                Ask::Units => {
                    counted.0.push(place);
                    counted.1.push(sale.id);
                }
                Ask::Beat(node) => {
                    suspects.0.push(place);
                    suspects.1.push(node);
                }
                ask => {
                    let (books, store) = (Arc::clone(&self.books), Arc::clone(&self.store));
                    let sale = Arc::clone(sale);
                    waiting.spawn(async move {
                        let answer = ask_one(&books, store, &sale, ask).await;
                        (vec![place], answer.map(|answer| vec![answer]))
                    });
                }
            }
        }
        if !counted.0.is_empty() {
            let (store, (places, sales)) = (Arc::clone(&self.store), counted);
            waiting.spawn(async move {
                let units = ask_store(store, move |store| store.units_of(&sales)).await;
                (places, units.map(|units| units.into_iter().map(|units| units.map(Answer::Units)).collect()))
            });
        }
        let mut heard = waiting.join_all().await;
        heard.iter().for_each(|(_, answers)| self.hear_whether_the_store_answers(answers));
        if !suspects.0.is_empty() {
            let (places, nodes) = suspects;
            heard.push((places, self.are_silent(&nodes).await));
        }
        heard
    }

    async fn are_silent(&mut self, nodes: &[NodeId]) -> Result<Vec<Option<Answer>>, AgentError> {
        self.beat().await?;
        let now = Instant::now().into_std();
        Ok(nodes.iter().map(|node| Some(Answer::Silent(self.detector.is_silent(*node, now)))).collect())
    }

    fn hear_whether_the_store_answers(&mut self, answered: &Result<Vec<Option<Answer>>, AgentError>) {
        let is_the_stores =
            |answer: &Option<Answer>| !matches!(answer, Some(Answer::Book(_) | Answer::Reply(_)));
        match answered {
            Ok(answers) if answers.iter().any(is_the_stores) => {
                self.detector.store_answered(Instant::now().into_std());
            }
            Err(AgentError::Store(_)) => self.detector.store_failed(),
            _ => {}
        }
    }

    pub(super) async fn ask_store<T: Send + 'static>(
        &mut self,
        question: impl FnOnce(&dyn LeaseStore) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, AgentError> {
        let answer = ask_store(Arc::clone(&self.store), question).await;
        match &answer {
            Ok(_) => self.detector.store_answered(Instant::now().into_std()),
            Err(_) => self.detector.store_failed(),
        }
        answer
    }

    /// Does to memory what follows, and tells of it.
    pub(super) fn carry_out(&mut self, sale: &LiveSale, account: &mut Account, effects: Effects) {
        if effects.put_on_sale > 0 {
            let units = Units::try_from(effects.put_on_sale).unwrap_or(Units::MAX);
            sale.state.stock().add_spread(units);
        }
        if let Some(more_may_come) = effects.more_may_come {
            sale.state.set_more_may_come(more_may_come);
        }
        if let Some(units) = effects.elsewhere {
            sale.state.set_units_elsewhere(units);
        }
        if effects.demand_heard {
            sale.state.take_unmet_demand();
        }
        if effects.withdrawal_is_complete {
            account.deliver();
        }
        if let Some(known) = effects.life_is_over {
            self.life.end_below(known);
        }
        if effects.leased > 0 {
            self.watch.leased(effects.leased);
        }
        if effects.handed_back > 0 {
            self.watch.handed_back(effects.handed_back);
        }
        if let Some(compared) = effects.compared {
            self.watch.compared(sale.id, &compared.drift);
            account.show(compared);
        }
        if effects.repairs > 0 {
            tracing::debug!(sale = %sale.key, movements = effects.repairs, "the ledger is told what the store has");
            self.watch.repaired(effects.repairs);
        }
        if effects.is_rebuilt {
            self.watch.rebuilt(sale.id);
        }
        if let Some(node) = effects.reclaimed {
            self.watch.reclaimed(node);
        }
        if effects.calls_others {
            self.call_others_to(sale.id);
        }
    }
}

async fn ask_store<T: Send + 'static>(
    store: Arc<dyn LeaseStore>,
    question: impl FnOnce(&dyn LeaseStore) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, AgentError> {
    let answer = tokio::task::spawn_blocking(move || question(&*store)).await;
    // A question that was cut off by the end of the runtime has nobody left to answer to.
    Ok(answer.map_err(|error| RedisFault::Away(error.to_string()))??)
}

/// Asks Redis or the store for one sale. `None` when the store has no such sale.
async fn ask_one(
    books: &RedisBooks,
    store: Arc<dyn LeaseStore>,
    sale: &LiveSale,
    ask: Ask,
) -> Result<Option<Answer>, AgentError> {
    let id = sale.id;
    Ok(match ask {
        Ask::Incarnations => {
            Some(Answer::Incarnations(ask_store(store, |store| store.incarnations()).await?))
        }
        Ask::Fence(node, life) => {
            let next = ask_store(store, move |store| store.end_life(node, life)).await?;
            if next.is_some() {
                tracing::warn!(
                    node = node.number(),
                    life,
                    "a silent node is fenced and its unsold units are taken back"
                );
            }
            Some(Answer::Fenced(next))
        }
        Ask::EndEpoch(seen) => {
            if seen == 1 {
                tracing::info!(sale = %sale.key, "opening the sale's book in the ledger");
            } else {
                tracing::warn!(sale = %sale.key, epoch = seen, "the ledger has no valid book of the sale; opening a new one");
            }
            ask_store(store, move |store| store.end_epoch(id, seen)).await?.map(Answer::Epoch)
        }
        Ask::Book => Some(Answer::Book(books.read(&sale.key).await?)),
        Ask::Move(from, movement) => Some(Answer::Reply(books.run(&sale.key, from, &movement).await?)),
        Ask::Open(rebuild) => Some(Answer::Reply(books.rebuild(&sale.key, &rebuild).await?)),
        Ask::Units | Ask::Beat(_) => None, // asked for all sales together
    })
}
