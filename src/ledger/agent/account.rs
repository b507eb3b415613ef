//! A sale as the agent keeps it: its machine, and those who wait for something about it.

use std::time::Instant;

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::super::books::{LedgerBook, ThreeBooks};
use super::super::lease::{Compared, NodeLife, SaleLease, Terms};
use super::super::withdrawal::Withdrawal;

/// An operator who wants units off sale.
#[derive(Debug)]
enum Operator {
    /// He waits for them.
    Waits(oneshot::Sender<Withdrawal>),
    /// He has them and decides.
    Decides(oneshot::Receiver<bool>),
}

/// A sale as the agent keeps it.
#[derive(Debug)]
pub struct Account {
    /// What is said about it, and when.
    pub lease: SaleLease,
    operator: Option<Operator>,
    /// Who wants to see the books when they are compared next.
    pub onlookers: Vec<oneshot::Sender<ThreeBooks>>,
}

impl Account {
    pub fn new(terms: Terms, life: NodeLife, now: Instant) -> Self {
        Self { lease: SaleLease::new(terms, life, now), operator: None, onlookers: Vec::new() }
    }

    /// Another life of the node has begun: whoever waited for the last one waits in vain.
    pub fn begin_life(&mut self, life: NodeLife, now: Instant) {
        self.lease.begin_life(life, now);
        self.operator = None;
        self.onlookers.clear();
    }

    /// Gathers units for an operator, unless another one was first.
    pub fn withdraw(&mut self, units: u64, give_up_at: Instant, answer: oneshot::Sender<Withdrawal>) {
        if self.lease.withdraw(units, give_up_at) {
            self.operator = Some(Operator::Waits(answer));
        }
    }

    /// Listens to the operator. Who does not listen to the answer any more has decided, too.
    pub fn hear_operator(&mut self) {
        if !self.lease.is_withdrawing() {
            self.operator = None;
        }
        match &mut self.operator {
            Some(Operator::Waits(answer)) if answer.is_closed() => self.lease.decide(false),
            Some(Operator::Decides(decided)) => match decided.try_recv() {
                Ok(is_given_up) => self.lease.decide(is_given_up),
                Err(TryRecvError::Closed) => self.lease.decide(false),
                Err(TryRecvError::Empty) => {}
            },
            _ => {}
        }
    }

    /// All units are off sale: the operator decides what becomes of them.
    pub fn deliver(&mut self) {
        let (decide, decided) = oneshot::channel();
        let withdrawal = Withdrawal::new(move |is_given_up| {
            // An agent that is gone has put them back, or the next life of the node will.
            let _ = decide.send(is_given_up);
        });
        if let Some(Operator::Waits(answer)) = self.operator.replace(Operator::Decides(decided)) {
            // When nobody listens any more the withdrawal is dropped here, and that decides.
            drop(answer.send(withdrawal));
        }
    }

    /// Shows the books to whoever wanted to see them.
    pub fn show(&mut self, Compared { memory, drift }: Compared) {
        let Some((store, ledger)) = self.lease.seen() else { return };
        for onlooker in self.onlookers.drain(..) {
            // Who does not wait any more sees it next time.
            let _ = onlooker.send(ThreeBooks {
                memory: Some(memory),
                ledger: LedgerBook::Read(ledger.clone()),
                store: store.clone(),
                drift: Some(drift),
            });
        }
    }
}
