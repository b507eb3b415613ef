//! The one budget of time that a whole stop has.

use std::future::Future;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

/// What is left of the budget once somebody is in a hurry.
const HURRY: Duration = Duration::from_secs(1);

/// When a stop has to be over, and how much of the time belongs to its last steps.
#[derive(Debug)]
pub(super) struct Budget {
    time: watch::Sender<Time>,
}

/// An amount of time that ends at a moment.
#[derive(Clone, Copy, Debug)]
struct Time {
    whole: Duration,
    ends_at: Instant,
}

impl Time {
    fn starting(whole: Duration) -> Self {
        Self { whole, ends_at: Instant::now() + whole }
    }
}

/// Whose time it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Share {
    /// Buyers, their connections and their payments: leaves a quarter of the whole to what follows.
    Buyers,
    /// The order store: leaves a tenth.
    Store,
    /// What is done with all orders safe: all that is left.
    Rest,
}

impl Budget {
    /// A budget that begins now.
    pub fn starting(whole: Duration) -> Self {
        Self { time: watch::Sender::new(Time::starting(whole)) }
    }

    /// Leaves a second for all that is still to do, shared as the whole was.
    pub fn hurry(&self) {
        let soon = Time::starting(HURRY);
        self.time.send_if_modified(|time| {
            let is_sooner = soon.ends_at < time.ends_at;
            if is_sooner {
                *time = soon;
            }
            is_sooner
        });
    }

    /// When this share of the time is over, as things stand.
    fn over_at(&self, share: Share) -> Instant {
        let Time { whole, ends_at } = *self.time.borrow();
        let kept = match share {
            Share::Buyers => whole / 4,
            Share::Store => whole / 10,
            Share::Rest => Duration::ZERO,
        };
        ends_at - kept
    }

    /// What is left of this share.
    pub fn left(&self, share: Share) -> Duration {
        self.over_at(share).saturating_duration_since(Instant::now())
    }

    /// Ends when this share of the time is over.
    pub async fn over(&self, share: Share) {
        let mut changed = self.time.subscribe();
        while !self.left(share).is_zero() {
            tokio::select! {
                () = sleep_until(self.over_at(share)) => {}
                _ = changed.changed() => {}
            }
        }
    }

    /// Does the work within this share of the time and `most`; `None` when that was not enough.
    pub async fn within<T>(&self, share: Share, most: Duration, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = timeout(most, work) => done.ok(),
            () = self.over(share) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    const FOREVER: Duration = Duration::from_secs(3_600);

    #[tokio::test(start_paused = true)]
    async fn every_step_ends_in_time_and_leaves_some_to_the_next() {
        let begun = Instant::now();
        let budget = Budget::starting(Duration::from_secs(20));
        assert_eq!(budget.within(Share::Buyers, FOREVER, pending::<()>()).await, None);
        assert_eq!(begun.elapsed(), Duration::from_secs(15));
        assert_eq!(budget.within(Share::Store, Duration::from_secs(1), pending::<()>()).await, None);
        assert_eq!(begun.elapsed(), Duration::from_secs(16));
        assert_eq!(budget.within(Share::Store, FOREVER, pending::<()>()).await, None);
        assert_eq!(begun.elapsed(), Duration::from_secs(18));
        assert_eq!(budget.within(Share::Rest, FOREVER, async { 1 }).await, Some(1));
        assert_eq!(budget.within(Share::Rest, FOREVER, pending::<()>()).await, None);
        assert_eq!(begun.elapsed(), Duration::from_secs(20));
    }

    #[tokio::test(start_paused = true)]
    async fn a_hurry_ends_what_is_waited_for() {
        let begun = Instant::now();
        let budget = Budget::starting(FOREVER);
        let hurried = async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            budget.hurry();
            pending::<()>().await
        };
        assert_eq!(budget.within(Share::Buyers, FOREVER, hurried).await, None);
        assert_eq!(begun.elapsed(), Duration::from_millis(2_750));
        assert_eq!(budget.within(Share::Rest, FOREVER, pending::<()>()).await, None);
        assert_eq!(begun.elapsed(), Duration::from_secs(3));
        // Another one gives no more time.
        budget.hurry();
        assert!(budget.left(Share::Rest).is_zero());
    }
}
