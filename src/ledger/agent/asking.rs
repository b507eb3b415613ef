//! Asks Redis and the store what the machines ask, everything at once.

use std::sync::{Arc, OnceLock};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::super::lease::{Answer, Ask};
use super::super::redis::{RedisBooks, RedisFault};
use super::watch::LeaseWatch;
use super::work::Member;
use super::{AgentError, LeaseAgent};
use crate::admission::LiveSale;
use crate::domain::NodeId;
use crate::orders::{LeaseStore, StoreError, WantedShare};

/// Writes and single questions to the store that go out at the same time: what else is asked of it, here and elsewhere in this
/// engine, finds a connection before long.
const STORE_TURNS: usize = 2;

/// Members of a group, by their places, and the answer to what was asked for each; `None` when the store has no such sale.
pub(super) type Heard = (Vec<usize>, Result<Vec<Option<Answer>>, AgentError>);

/// Of some members of a group, by their places: what is one question for all of them.
struct Together<T> {
    places: Vec<usize>,
    things: Vec<T>,
}

impl<T> Together<T> {
    fn none() -> Self {
        Self { places: Vec::new(), things: Vec::new() }
    }

    fn add(&mut self, place: usize, thing: T) {
        self.places.push(place);
        self.things.push(thing);
    }
}

impl<W: LeaseWatch> LeaseAgent<W> {
    /// Asks for the members of a group. The units of all sales are one question, their shares one commit, and one beat tells of
    /// all nodes.
    pub(super) async fn ask(&mut self, group: &[Member], asks: Vec<(usize, Ask)>) -> Vec<Heard> {
        let (mut waiting, turns) = (JoinSet::new(), Arc::new(Semaphore::new(STORE_TURNS)));
        let (cut_off_from, has_answered) = (self.detector.cut_off_from(), Arc::new(OnceLock::new()));
        let (mut counted, mut shares, mut suspects) = (Together::none(), Together::none(), Together::none());
        for (place, ask) in asks {
            let sale = &group[place].0;
            match ask {
                Ask::Units => counted.add(place, sale.id),
                Ask::Beat(node, life) => suspects.add(place, (node, life)),
                Ask::Share { incarnation: life, turn, units } if !self.apart.contains(&sale.id) => {
                    shares.add(place, WantedShare { sale: sale.id, life, turn, units });
                }
                ask => {
                    let (books, store) = (Arc::clone(&self.books), Arc::clone(&self.store));
                    let (sale, turns) = (Arc::clone(sale), Arc::clone(&turns));
                    let has_answered = Arc::clone(&has_answered);
                    waiting.spawn(async move {
                        if matches!(ask, Ask::Book | Ask::Move(..) | Ask::Open(_)) {
                            let answer = ask_one(&books, store, &sale, ask).await;
                            return (vec![place], answer.map(|answer| vec![answer]));
                        }
                        let Ok(_turn) = turns.acquire().await else {
                            return (vec![place], Err(does_not_answer()));
                        };
                        let answer = ask_one(&books, store, &sale, ask).await;
                        if answer.is_ok() {
                            has_answered.get_or_init(|| ());
                        } else if has_answered.get().is_none() && Instant::now().into_std() >= cut_off_from {
                            // What is on sale shall not wait for the questions that have no turn yet.
                            turns.close();
                        }
                        (vec![place], answer.map(|answer| vec![answer]))
                    });
                }
            }
        }
        if !counted.places.is_empty() {
            let (store, Together { places, things: sales }) = (Arc::clone(&self.store), counted);
            waiting.spawn(async move {
                let units = ask_store(store, move |store| store.units_of(&sales)).await;
                (places, units.map(|units| units.into_iter().map(|units| units.map(Answer::Units)).collect()))
            });
        }
        let mut heard = waiting.join_all().await;
        heard.iter().for_each(|(_, answers)| self.hear_whether_the_store_answers(answers));
        for (places, answers) in &heard {
            if let (&[place], Ok([Some(Answer::Share(_))])) = (&places[..], answers.as_deref()) {
                self.apart.remove(&group[place].0.id);
            }
        }
        if !shares.places.is_empty() {
            let answers = match self.is_cut_off() {
                // Found out just now: what is on sale shall not wait for one more question.
                true => (shares.places, Err(does_not_answer())),
                false => self.share(group, shares).await,
            };
            heard.push(answers);
        }
        if !suspects.places.is_empty() {
            heard.push((suspects.places, self.are_silent(&suspects.things).await));
        }
        heard
    }

    /// Has the shares of several sales be what is wanted. Where that is not heard of, each is asked for alone from then on, until
    /// that one is: what holds up the share of one sale shall not hold up the others.
    async fn share(&mut self, group: &[Member], wanted: Together<WantedShare>) -> Heard {
        let Together { places, things } = wanted;
        let shares = Arc::new(things);
        let asked = Arc::clone(&shares);
        let set = self.ask_store(move |store| store.set_shares(&asked)).await;
        if set.is_err() {
            self.apart.extend(shares.iter().map(|share| share.sale));
        }
        let answers = set.map(|set| {
            let tell = |((place, wanted), share): ((&usize, &WantedShare), Option<u64>)| {
                warn_of_excess(&group[*place].0, wanted.units, share);
                Some(Answer::Share(share))
            };
            places.iter().zip(shares.iter()).zip(set).map(tell).collect()
        });
        (places, answers)
    }

    async fn are_silent(&mut self, lives: &[(NodeId, u64)]) -> Result<Vec<Option<Answer>>, AgentError> {
        self.beat().await?;
        let now = Instant::now().into_std();
        let is_silent = |(node, life): &(NodeId, u64)| self.detector.is_silent(*node, *life, now);
        Ok(lives.iter().map(is_silent).map(|is_silent| Some(Answer::Silent(is_silent))).collect())
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
}

async fn ask_store<T: Send + 'static>(
    store: Arc<dyn LeaseStore>,
    question: impl FnOnce(&dyn LeaseStore) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, AgentError> {
    let answer = tokio::task::spawn_blocking(move || question(&*store)).await;
    // A question that was cut off by the end of the runtime has nobody left to answer to.
    Ok(answer.map_err(|error| RedisFault::Away(error.to_string()))??)
}

/// What is found out of a question that was not asked, because others were in vain for so long.
fn does_not_answer() -> AgentError {
    StoreError::transient("the order store does not answer").into()
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
        Ask::Share { incarnation: life, turn, units } => {
            let wanted = WantedShare { sale: id, life, turn, units };
            let share = ask_store(store, move |store| store.set_share(wanted)).await?;
            warn_of_excess(sale, units, share);
            Some(Answer::Share(share))
        }
        Ask::Release { node, life } => {
            ask_store(store, move |store| store.release_share(id, node, life)).await?;
            Some(Answer::Released)
        }
        Ask::Book => Some(Answer::Book(books.read(&sale.key).await?)),
        Ask::Move(from, movement) => Some(Answer::Reply(books.run(&sale.key, from, &movement).await?)),
        Ask::Open(rebuild) => Some(Answer::Reply(books.rebuild(&sale.key, &rebuild).await?)),
        Ask::Units | Ask::Beat(..) => None, // asked for all sales together
    })
}

fn warn_of_excess(sale: &LiveSale, lent: u64, share: Option<u64>) {
    if let Some(share) = share.filter(|share| *share < lent) {
        tracing::warn!(
            code = "ledger-lent-too-much",
            sale = %sale.key,
            lent,
            share,
            "the ledger lent units that the order store has for nobody: they go back, and its book of the sale is counted \
             anew"
        );
    }
}
