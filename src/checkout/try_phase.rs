//! The Try: hold and risk check at the same time, and what both answers together mean.

use super::gateway::PaymentState;
use super::payment_outcome::{Doubt, Why};
use super::remote_call::CallError;
use super::risk::RiskVerdict;

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
    use super::*;
    use std::time::Duration;
    use tokio::time::{Instant, sleep};

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
}
