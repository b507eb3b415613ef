//! What is dear, asked for by a timetable while purchases are offered: looks at orders, payments, operators' reads.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use testbed::client::try_request;
use testbed::crowd::{BuyerClient, crowd};

use super::SALE;
use crate::Failure;

/// Who buys what is looked at and paid for later, at once.
const BUYERS: usize = 64;

/// A kind of what gives way to purchases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dear {
    /// A buyer looks an order up.
    Look,
    /// A buyer pays for one.
    Pay,
    /// An operator reads events.
    Read,
}

impl Dear {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Look, Self::Pay, Self::Read];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Look => "look-ups",
            Self::Pay => "payments",
            Self::Read => "operators' reads",
        }
    }

    /// Requests that are due in a second.
    pub fn rate_per_s(self) -> u32 {
        match self {
            Self::Look => 200,
            Self::Pay => 100,
            Self::Read => 20,
        }
    }

    /// Clients, each with one request under way: none is late as long as an answer takes less than a third of a second.
    fn clients(self) -> u32 {
        match self {
            Self::Look | Self::Pay => 64,
            Self::Read => 8,
        }
    }
}

/// Orders of the sale, and whose they are.
#[derive(Debug)]
pub struct Orders {
    all: Vec<(String, String)>,
    paid: AtomicUsize,
}

impl Orders {
    /// Buys so many.
    ///
    /// # Errors
    /// Somebody did not win.
    pub fn buy(edge: SocketAddr, number: usize) -> Result<Self, Failure> {
        let buyers: Vec<_> = (0..number).map(|number| format!("dear-{number}")).collect();
        let bought = crowd(
            BUYERS,
            || BuyerClient::at(edge),
            &buyers,
            |client, buyer| {
                let answer = client.ask("POST", SALE, buyer, "", "")?;
                matches!(answer.status, 201 | 202).then(|| (buyer.clone(), answer.order_id))
            },
        );
        let all: Option<Vec<_>> = bought.into_iter().collect();
        Ok(Self {
            all: all.ok_or("an order that was to be looked up was not won")?,
            paid: AtomicUsize::new(0),
        })
    }

    /// One that nobody has paid for.
    fn next_to_pay(&self) -> Option<&(String, String)> {
        self.all.get(self.paid.fetch_add(1, Relaxed))
    }
}

/// What was heard of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Answered,
    /// 503 with `Retry-After`.
    Shed,
    /// Another failure, or no answer.
    Failed,
}

impl Outcome {
    fn of(status: u16, may_come_again: bool) -> Self {
        match status {
            200..500 => Self::Answered,
            503 if may_come_again => Self::Shed,
            _ => Self::Failed,
        }
    }
}

/// A request: what, when it was due, and what was heard of it.
#[derive(Clone, Copy, Debug)]
struct Asked(Dear, SystemTime, Outcome);

/// Clients that ask until they are told to end.
pub struct Asking {
    is_over: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Vec<Asked>>>,
}

impl Asking {
    /// Starts to ask for everything dear.
    pub fn start(edge: SocketAddr, admin: SocketAddr, orders: &Arc<Orders>) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let mut clients = Vec::new();
        for dear in Dear::ALL {
            for number in 0..dear.clients() {
                let (is_over, orders) = (Arc::clone(&is_over), Arc::clone(orders));
                clients.push(std::thread::spawn(move || {
                    let mut buyer = BuyerClient::at(edge);
                    let ask =
                        |round: u32| ask(dear, &mut buyer, admin, &orders, round * dear.clients() + number);
                    by_a_timetable(dear, number, &is_over, ask)
                }));
            }
        }
        Self { is_over, clients }
    }

    /// Ends it.
    ///
    /// # Panics
    /// A client did.
    pub fn end(self) -> Heard {
        self.is_over.store(true, Relaxed);
        let asked = self.clients.into_iter().flat_map(|client| client.join().expect("no client panics"));
        Heard(asked.collect())
    }
}

/// Asks when it is this client's turn, or as soon as the answer before has come. Ends early when there is nothing to ask for.
fn by_a_timetable(
    dear: Dear,
    number: u32,
    is_over: &AtomicBool,
    mut ask: impl FnMut(u32) -> Option<Outcome>,
) -> Vec<Asked> {
    let (begun, began_at) = (Instant::now(), SystemTime::now());
    let turn = Duration::from_secs(1) / dear.rate_per_s();
    let mut asked = Vec::new();
    for round in 0_u32.. {
        let due = turn * (round * dear.clients() + number);
        std::thread::sleep(due.saturating_sub(begun.elapsed()));
        if is_over.load(Relaxed) {
            break;
        }
        let Some(outcome) = ask(round) else { break };
        asked.push(Asked(dear, began_at + due, outcome));
    }
    asked
}

/// One request, the `number`th of its kind. `None` where no order is left to pay for.
fn ask(
    dear: Dear,
    buyer: &mut BuyerClient,
    admin: SocketAddr,
    orders: &Orders,
    number: u32,
) -> Option<Outcome> {
    let answer = match dear {
        Dear::Look => {
            let (name, order) = &orders.all[number as usize % orders.all.len()];
            buyer.look_up(name, order)
        }
        Dear::Pay => {
            let (name, order) = orders.next_to_pay()?;
            buyer.pay(name, order)
        }
        Dear::Read => {
            let answer = try_request(admin, "GET", "/api/v1/events?limit=1", "", "");
            let outcome =
                answer.map(|answer| Outcome::of(answer.status, answer.field("retry-after").is_some()));
            return Some(outcome.unwrap_or(Outcome::Failed));
        }
    };
    let outcome = answer.map(|answer| Outcome::of(answer.status, answer.retry_after_s.is_some()));
    Some(outcome.unwrap_or(Outcome::Failed))
}

/// All that was asked.
#[derive(Debug)]
pub struct Heard(Vec<Asked>);

impl Heard {
    /// Of what was due of a kind in this time: answered, shed, failed.
    pub fn counts(&self, dear: Dear, from: SystemTime, time: Duration) -> [usize; 3] {
        let due = |asked: &&Asked| asked.0 == dear && (from..from + time).contains(&asked.1);
        [Outcome::Answered, Outcome::Shed, Outcome::Failed]
            .map(|outcome| self.0.iter().filter(due).filter(|asked| asked.2 == outcome).count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_may_come_again_was_shed() {
        assert_eq!(Outcome::of(200, false), Outcome::Answered);
        assert_eq!(Outcome::of(402, false), Outcome::Answered);
        assert_eq!(Outcome::of(503, true), Outcome::Shed);
        assert_eq!(Outcome::of(503, false), Outcome::Failed);
        assert_eq!(Outcome::of(500, true), Outcome::Failed);
    }

    #[test]
    fn what_was_due_at_another_time_does_not_count() {
        let from = SystemTime::UNIX_EPOCH + Duration::from_secs(100);
        let asked = |dear, second, outcome| Asked(dear, from + Duration::from_secs(second), outcome);
        let heard = Heard(vec![
            asked(Dear::Look, 0, Outcome::Answered),
            asked(Dear::Look, 9, Outcome::Shed),
            asked(Dear::Look, 10, Outcome::Shed),
            asked(Dear::Pay, 1, Outcome::Failed),
        ]);
        let counts = |dear| heard.counts(dear, from, Duration::from_secs(10));
        assert_eq!((counts(Dear::Look), counts(Dear::Pay)), ([1, 1, 0], [0, 0, 1]));
    }
}
