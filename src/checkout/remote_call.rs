//! One call to a remote service: what its failure means, and how often it may be repeated.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use rand::Rng;
use tokio::time::{Instant, sleep, timeout};

use super::service_settings::RetrySettings;

/// The answer of a remote service, some time later.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, CallError>> + Send + 'a>>;

/// Why a call has no answer. The kind says what is known about its effect; the text is for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// Nothing was done: nobody could be reached. The same call may pass later.
    Unreachable(String),
    /// Nothing was done: the service answered that it will not for now. The same call may pass later.
    Busy(String),
    /// Nothing was done, and the same call will never pass: an error of configuration or of the service.
    Invalid(String),
    /// Nothing was done: the key is of another payment.
    KeyReused(String),
    /// It may or may not have been done: no answer in time, a lost connection, an answer that makes no sense.
    Unknown(String),
    /// What was told cannot be true of this payment (another amount, a payment that was held and never was). Nothing is
    /// concluded from it.
    Contradiction(String),
}

impl CallError {
    /// Whether the call had no effect for certain.
    pub const fn is_outcome_known(&self) -> bool {
        !matches!(self, Self::Unknown(_) | Self::Contradiction(_))
    }

    /// Whether the same call may pass later.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Busy(_) | Self::Unknown(_))
    }

    /// Whether service and engine speak of different payments: a person must look.
    pub const fn is_alarming(&self) -> bool {
        matches!(self, Self::KeyReused(_) | Self::Contradiction(_))
    }

    /// What happened, for the operator.
    pub fn message(&self) -> &str {
        match self {
            Self::Unreachable(text)
            | Self::Busy(text)
            | Self::Invalid(text)
            | Self::KeyReused(text)
            | Self::Unknown(text)
            | Self::Contradiction(text) => text,
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Unreachable(_) => "not reached, may pass later",
            Self::Busy(_) => "not done, may pass later",
            Self::Invalid(_) => "not done, and never will be",
            Self::KeyReused(_) => "the key is of another payment",
            Self::Unknown(_) => "outcome unknown",
            Self::Contradiction(_) => "cannot be true",
        };
        write!(f, "{kind}: {}", self.message())
    }
}

impl std::error::Error for CallError {}

/// Makes `call` until it is answered, `settings.tries_max` are used up or `deadline` is near.
///
/// The call must be idempotent. A try that takes longer than `settings.try_ms`, or than the deadline leaves, counts
/// as unknown. Once any try was unknown the whole is: a later "nothing was done" speaks only of its own try.
///
/// # Errors
/// The last try's error.
pub async fn retried<T, F>(
    settings: &RetrySettings,
    deadline: Instant,
    mut call: impl FnMut() -> F,
) -> Result<T, CallError>
where
    F: Future<Output = Result<T, CallError>>,
{
    let mut in_doubt = false;
    let mut tries = 0;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let allowed = left.min(Duration::from_millis(settings.try_ms));
        let error = match timeout(allowed, call()).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => error,
            Err(_) => CallError::Unknown(format!("no answer within {} ms", allowed.as_millis())),
        };
        in_doubt |= !error.is_outcome_known();
        tries += 1;
        let pause = backoff(settings.backoff_ms, settings.backoff_ms_max, tries);
        if tries >= settings.tries_max || !error.is_transient() || Instant::now() + pause >= deadline {
            let hides_doubt = in_doubt && !error.is_alarming();
            return Err(if hides_doubt { CallError::Unknown(error.message().to_owned()) } else { error });
        }
        sleep(pause).await;
    }
}

/// The pause after the `failures`th failure in a row: doubles from `first_ms` up to `ms_max`, and is drawn from the
/// upper half of that, so that callers who failed together do not come back together.
pub fn backoff(first_ms: u64, ms_max: u64, failures: u32) -> Duration {
    let doubled = first_ms.saturating_mul(1 << failures.saturating_sub(1).min(32));
    let ms = doubled.clamp(1, ms_max.max(1));
    Duration::from_millis(rand::rng().random_range(ms.div_ceil(2)..=ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::future::{pending, ready};

    const SETTINGS: RetrySettings =
        RetrySettings { tries_max: 3, try_ms: 100, backoff_ms: 10, backoff_ms_max: 40 };

    async fn run(script: Vec<Result<u8, CallError>>, budget_ms: u64) -> (Result<u8, CallError>, usize) {
        let script = RefCell::new(script.into_iter());
        let calls = RefCell::new(0);
        let deadline = Instant::now() + Duration::from_millis(budget_ms);
        let end = retried(&SETTINGS, deadline, || {
            *calls.borrow_mut() += 1;
            ready(script.borrow_mut().next().expect("no more tries than the script has"))
        })
        .await;
        (end, calls.into_inner())
    }

    fn busy() -> Result<u8, CallError> {
        Err(CallError::Busy("full".into()))
    }

    fn unknown() -> Result<u8, CallError> {
        Err(CallError::Unknown("reset".into()))
    }

    #[tokio::test(start_paused = true)]
    async fn tries_are_bounded_and_stop_at_an_answer_or_an_error_for_good() {
        assert_eq!(run(vec![busy(), unknown(), Ok(7)], 1_000).await, (Ok(7), 3));
        assert_eq!(run(vec![busy(), busy(), busy()], 1_000).await, (busy(), 3));
        let invalid = || Err(CallError::Invalid("no such route".into()));
        assert_eq!(run(vec![invalid()], 1_000).await, (invalid(), 1));
        assert_eq!(run(vec![busy()], 4).await, (busy(), 1), "no time for a pause");
    }

    #[tokio::test(start_paused = true)]
    async fn one_unknown_try_leaves_the_whole_in_doubt() {
        let (end, _) = run(vec![unknown(), busy(), busy()], 1_000).await;
        assert_eq!(end, Err(CallError::Unknown("full".into())));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_hangs_ends_with_the_budget() {
        let start = Instant::now();
        let end =
            retried(&SETTINGS, start + Duration::from_millis(250), pending::<Result<u8, CallError>>).await;
        assert!(!end.unwrap_err().is_outcome_known());
        // The clock is paused: virtual time is exact.
        assert!(start.elapsed() <= Duration::from_millis(251), "{:?}", start.elapsed());
    }

    #[test]
    fn the_pause_doubles_up_to_its_limit_and_never_overflows() {
        for (failures, ms) in [(1, 10), (2, 20), (3, 40), (4, 80), (5, 100), (u32::MAX, 100)] {
            for _ in 0..50 {
                let pause = backoff(10, 100, failures).as_millis();
                assert!((ms / 2..=ms).contains(&pause), "{failures}: {pause}");
            }
        }
    }
}
