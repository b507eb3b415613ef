//! The Try: hold and risk check at the same time, and what both answers together mean.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::gateway::PaymentState;
use super::payment_outcome::{Doubt, Why};
use super::remote_call::{CallError, backoff};
use super::risk::RiskVerdict;
use super::service_settings::ProcessingSettings;

/// How the Try ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Tried {
    /// The money is held and the risk check approves.
    Held,
    /// Nothing is held.
    Nothing(Why),
    /// The payment must not be made; what is held, or may still come to be, must be voided.
    Unwanted(Why),
    /// The gateway may or may not hold the money, or come to hold it.
    Unknown(Doubt),
}

/// As soon as one of them decides the payment the other is dropped: the whole takes as long as the slower of both, never
/// their sum.
pub(super) async fn try_both(
    hold: impl Future<Output = Result<PaymentState, CallError>>,
    judge: impl Future<Output = Result<RiskVerdict, CallError>>,
) -> Tried {
    tokio::pin!(hold, judge);
    tokio::select! {
        held = &mut hold => match judge_hold(held) {
            Tried::Held => judge_risk(judge.await),
            decided => decided,
        },
        verdict = &mut judge => match judge_risk(verdict) {
            Tried::Held => judge_hold(hold.await),
            decided => decided,
        },
    }
}

/// What becomes of a payment that the gateway works on while there is time: it is asked at its own pace. A question that the
/// deadline cuts short says nothing: as far as anybody knows, the gateway still works on it.
pub(super) async fn worked_on<F>(
    mut state: PaymentState,
    pace: &ProcessingSettings,
    try_max: Duration,
    deadline: Instant,
    mut ask: impl FnMut() -> F,
) -> Result<PaymentState, CallError>
where
    F: Future<Output = Result<PaymentState, CallError>>,
{
    let mut asked = 0;
    while state == PaymentState::Processing {
        asked += 1;
        let pause = backoff(pace.poll_ms, pace.poll_ms_max, asked);
        if Instant::now() + pause >= deadline {
            break;
        }
        sleep(pause).await;
        let is_cut_short = Instant::now() + try_max > deadline;
        state = match ask().await {
            Err(CallError::Unknown(_)) if is_cut_short && Instant::now() >= deadline => break,
            answer => answer?,
        };
    }
    Ok(state)
}

fn judge_hold(held: Result<PaymentState, CallError>) -> Tried {
    match held {
        // Captured: the answer to a repeat. Confirming it again changes nothing.
        Ok(PaymentState::Held | PaymentState::Captured) => Tried::Held,
        Ok(PaymentState::Processing) => Tried::Unknown(Doubt::Processing),
        Ok(PaymentState::NotFound) => Tried::Unknown(Doubt::Gateway),
        Ok(PaymentState::Declined { reason }) => Tried::Nothing(Why::Declined { reason }),
        Ok(PaymentState::Voided) => Tried::Nothing(Why::GatewayRefused),
        Err(CallError::Unreachable(_)) => Tried::Nothing(Why::GatewayAway),
        Err(error) if error.is_outcome_known() => Tried::Nothing(Why::GatewayRefused),
        Err(error) => Tried::Unknown(Doubt::of(&error)),
    }
}

fn judge_risk(verdict: Result<RiskVerdict, CallError>) -> Tried {
    match verdict {
        Ok(RiskVerdict::Approve) => Tried::Held,
        Ok(RiskVerdict::Reject { reason }) => Tried::Unwanted(Why::RiskRejected { reason }),
        Err(_) => Tried::Unwanted(Why::RiskAway),
    }
}

#[cfg(test)]
mod tests {
    use super::super::remote_call::retried;
    use super::super::service_settings::RetrySettings;
    use super::*;
    use std::future::pending;

    async fn after<T>(ms: u64, answer: T) -> T {
        sleep(Duration::from_millis(ms)).await;
        answer
    }

    /// Runs the Try with a hold and a verdict that take this long; answers the end and the time it took.
    async fn run(
        hold: (u64, Result<PaymentState, CallError>),
        verdict: (u64, Result<RiskVerdict, CallError>),
    ) -> (Tried, u128) {
        let started = Instant::now();
        let tried = try_both(after(hold.0, hold.1), after(verdict.0, verdict.1)).await;
        (tried, started.elapsed().as_millis())
    }

    // The clock is paused: virtual time is exact.
    #[tokio::test(start_paused = true)]
    async fn the_try_takes_as_long_as_the_slower_of_hold_and_risk_check() {
        for (hold_ms, risk_ms) in [(210, 300), (300, 210), (5, 5), (0, 100)] {
            let (tried, ms) =
                run((hold_ms, Ok(PaymentState::Held)), (risk_ms, Ok(RiskVerdict::Approve))).await;
            assert_eq!(tried, Tried::Held);
            assert_eq!(ms, u128::from(hold_ms.max(risk_ms)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_as_soon_as_one_of_them_decides_it() {
        let declined = || Ok(PaymentState::Declined { reason: "no".into() });
        let rejected = || Ok(RiskVerdict::Reject { reason: "odd".into() });
        let nothing = |why| Tried::Nothing(why);
        let (tried, ms) = run((10, declined()), (500, Ok(RiskVerdict::Approve))).await;
        assert_eq!((tried, ms), (nothing(Why::Declined { reason: "no".into() }), 10));
        let (tried, ms) = run((500, Ok(PaymentState::Held)), (10, rejected())).await;
        assert_eq!((tried, ms), (Tried::Unwanted(Why::RiskRejected { reason: "odd".into() }), 10));
        let (tried, ms) = run((10, Err(CallError::Busy("full".into()))), (500, rejected())).await;
        assert_eq!((tried, ms), (nothing(Why::GatewayRefused), 10));
        let unreachable = Err(CallError::Unreachable("away".into()));
        let (tried, ms) = run((10, unreachable), (500, rejected())).await;
        assert_eq!((tried, ms), (nothing(Why::GatewayAway), 10));
        let (tried, ms) = run((500, Ok(PaymentState::Held)), (10, Err(CallError::Busy("away".into())))).await;
        assert_eq!((tried, ms), (Tried::Unwanted(Why::RiskAway), 10));
        let (tried, ms) = run((10, Err(CallError::Unknown("lost".into()))), (500, rejected())).await;
        assert_eq!((tried, ms), (Tried::Unknown(Doubt::Gateway), 10));
        let (tried, ms) = run((10, Ok(PaymentState::Processing)), (500, rejected())).await;
        assert_eq!((tried, ms), (Tried::Unknown(Doubt::Processing), 10));
    }
    /// A payment that is worked on at first, and about which these questions are asked; each try of one may take `try_ms`.
    async fn asked<F: Future<Output = Result<PaymentState, CallError>>>(
        try_ms: u64,
        mut question: impl FnMut(u32) -> F,
    ) -> (Result<PaymentState, CallError>, u32) {
        let deadline = Instant::now() + Duration::from_millis(1_000);
        let pace = ProcessingSettings { poll_ms: 100, poll_ms_max: 100 };
        let retry = RetrySettings { tries_max: 1, try_ms, ..RetrySettings::default() };
        let mut questions = 0;
        let ask = || {
            questions += 1;
            let answer = question(questions);
            let retry = retry.clone();
            async move {
                let mut answer = Some(answer);
                retried(&retry, deadline, || answer.take().expect("one try")).await
            }
        };
        let try_max = Duration::from_millis(try_ms);
        (worked_on(PaymentState::Processing, &pace, try_max, deadline, ask).await, questions)
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_that_the_deadline_cuts_short_says_nothing() {
        let (end, questions) = asked(2_000, |number| async move {
            if number < 3 { Ok(PaymentState::Processing) } else { pending().await }
        })
        .await;
        assert_eq!((end, questions), (Ok(PaymentState::Processing), 3));
        // Silence for as long as a try may last is silence.
        let (end, _) = asked(200, |_| pending()).await;
        assert!(matches!(end, Err(CallError::Unknown(_))), "{end:?}");
        let (end, questions) = asked(2_000, |_| async { Ok(PaymentState::Held) }).await;
        assert_eq!((end, questions), (Ok(PaymentState::Held), 1));
        let lost = || CallError::Unknown("reset".into());
        let (end, _) = asked(2_000, |_| async move { Err(lost()) }).await;
        assert_eq!(end, Err(lost()), "what fails before the deadline failed");
    }
}
