//! Units that are taken off sale so that an operator can lower the stock: gathered here first, from this node, the ledger
//! and the other nodes, so that nobody is sold a unit that is about to go.

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::withdrawal::Withdrawal;
use crate::domain::SaleId;

/// A request for units.
#[derive(Debug)]
pub struct Withhold {
    /// The sale.
    pub sale: SaleId,
    /// How many units.
    pub units: u64,
    /// Until when it is tried.
    pub give_up_at: Instant,
    /// Answered when the units are off sale; dropped when there are not as many.
    pub answer: oneshot::Sender<Withdrawal>,
}

/// How far a request has come.
#[derive(Debug)]
enum Stage {
    /// Units are gathered until then.
    Collecting { give_up_at: Instant, answer: oneshot::Sender<Withdrawal> },
    /// All are here; the answer says whether they are given up.
    Waiting(oneshot::Receiver<bool>),
    /// The store has the lower total: they are no units any more.
    GivenUp,
    /// They go back on sale.
    Over,
}

/// What is to be done with withheld units now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// They stay off sale.
    Keep,
    /// They go back on sale.
    PutBack,
    /// They are none any more: they go back to the ledger, whose total is lower.
    GiveUp,
}

/// Units off sale at this node, and what becomes of them.
#[derive(Debug)]
pub struct Withholding {
    wanted: u64,
    /// Units off sale.
    pub units: u64,
    stage: Stage,
}

impl Withholding {
    /// Nothing is gathered yet.
    pub fn new(wanted: u64, give_up_at: Instant, answer: oneshot::Sender<Withdrawal>) -> Self {
        Self { wanted, units: 0, stage: Stage::Collecting { give_up_at, answer } }
    }

    /// Units that are still to be gathered.
    pub fn missing(&self) -> u64 {
        match self.stage {
            Stage::Collecting { .. } => self.wanted.saturating_sub(self.units),
            _ => 0,
        }
    }

    /// Goes on as far as it can at `now`.
    pub fn advance(&mut self, now: Instant) -> Next {
        let is_complete = self.units >= self.wanted;
        self.stage = match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Collecting { answer, .. } if is_complete => {
                let (decide, decided) = oneshot::channel();
                let withdrawal = Withdrawal::new(move |given_up| {
                    // A clerk that is gone has put them back, or the next life of the node will.
                    let _ = decide.send(given_up);
                });
                // When nobody listens any more the withdrawal is dropped here, and that decides.
                drop(answer.send(withdrawal));
                Stage::Waiting(decided)
            }
            Stage::Collecting { give_up_at, answer } if now < give_up_at && !answer.is_closed() => {
                Stage::Collecting { give_up_at, answer }
            }
            Stage::Collecting { .. } => Stage::Over,
            Stage::Waiting(mut decided) => match decided.try_recv() {
                Ok(true) => Stage::GivenUp,
                Err(oneshot::error::TryRecvError::Empty) => Stage::Waiting(decided),
                Ok(false) | Err(oneshot::error::TryRecvError::Closed) => Stage::Over,
            },
            last => last,
        };
        match self.stage {
            Stage::Collecting { .. } | Stage::Waiting(_) => Next::Keep,
            Stage::GivenUp => Next::GiveUp,
            Stage::Over => Next::PutBack,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn units_are_given_up_put_back_or_put_back_because_nobody_waits() {
        let now = Instant::now();
        let collected = || {
            let (answer, answered) = oneshot::channel();
            let mut withholding = Withholding::new(3, now + Duration::from_secs(1), answer);
            assert_eq!((withholding.missing(), withholding.advance(now)), (3, Next::Keep));
            withholding.units = 3;
            (withholding, answered)
        };
        let (mut withholding, answered) = collected();
        assert_eq!(withholding.advance(now), Next::Keep);
        answered.await.unwrap().give_up();
        assert_eq!([withholding.advance(now), withholding.advance(now)], [Next::GiveUp, Next::GiveUp]);

        let (mut withholding, answered) = collected();
        assert_eq!(withholding.advance(now), Next::Keep);
        drop(answered.await.unwrap());
        assert_eq!(withholding.advance(now), Next::PutBack);

        let (mut withholding, answered) = collected();
        drop(answered);
        assert_eq!((withholding.advance(now), withholding.advance(now)), (Next::Keep, Next::PutBack));
    }

    #[tokio::test]
    async fn too_few_units_are_put_back_in_time() {
        let now = Instant::now();
        let (answer, answered) = oneshot::channel();
        let mut withholding = Withholding::new(3, now + Duration::from_secs(1), answer);
        withholding.units = 2;
        assert_eq!(withholding.advance(now), Next::Keep);
        assert_eq!(withholding.advance(now + Duration::from_secs(1)), Next::PutBack);
        assert!(answered.await.is_err());
    }
}
