//! How a payment ends, or stands while nobody knows: in words for the journal, the buyer and whoever looks after it.

use std::fmt;

use super::breaker::CallVerdict;
use super::gateway::AttemptId;
use super::remote_call::CallError;
use crate::domain::{Order, OrderStatus};

/// Why a payment did not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The bank said no.
    Declined { reason: String },
    /// The risk check said no.
    RiskRejected { reason: String },
    /// The risk service is away.
    RiskAway,
    /// The gateway could not be reached, or knows nothing of the payment.
    GatewayAway,
    /// The gateway answered that it does not do it, or let go of the money.
    GatewayRefused,
    /// The time in which held money is still captured is over.
    TooLate,
    /// An operator ended it by hand.
    Operator { reason: String },
}

/// As the journal keeps it.
impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Declined { reason } => write!(f, "declined: {reason}"),
            Self::RiskRejected { reason } => write!(f, "risk-rejected: {reason}"),
            Self::Operator { reason } => write!(f, "operator: {reason}"),
            Self::RiskAway => f.write_str("risk-away"),
            Self::GatewayAway => f.write_str("gateway-away"),
            Self::GatewayRefused => f.write_str("gateway-refused"),
            Self::TooLate => f.write_str("too-late"),
        }
    }
}

impl Why {
    /// Reads what the journal keeps. What a later engine may have written there counts as the gateway's doing.
    pub(super) fn read(kept: &str) -> Self {
        let (word, reason) = kept.split_once(": ").unwrap_or((kept, ""));
        let reason = reason.to_owned();
        match word {
            "declined" => Self::Declined { reason },
            "risk-rejected" => Self::RiskRejected { reason },
            "operator" => Self::Operator { reason },
            "risk-away" => Self::RiskAway,
            "too-late" => Self::TooLate,
            "gateway-refused" => Self::GatewayRefused,
            _ => Self::GatewayAway,
        }
    }
}

/// Who left a payment in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// The gateway does not answer.
    Gateway,
    /// The gateway works on it and will know later.
    Processing,
    /// The gateway tells what cannot be true.
    Contradiction,
    /// Its gateway is not configured here.
    NoGateway,
    /// The risk service, in a payment that is being recovered.
    Risk,
    /// The order store.
    Store,
}

impl Doubt {
    /// What an error of the gateway leaves.
    pub(super) const fn of(error: &CallError) -> Self {
        if error.is_alarming() { Self::Contradiction } else { Self::Gateway }
    }
}

/// How a payment stands after what could be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PaymentOutcome {
    /// Captured, and the order durably paid.
    Paid(Order),
    /// Nothing was taken and nothing will be, and the order durably waits for another payment.
    Back(Order, Why),
    /// Nobody knows: the order stays `paying`.
    Unknown(Doubt),
}

impl PaymentOutcome {
    /// What is in doubt.
    pub(super) const fn doubt(&self) -> Option<Doubt> {
        match self {
            Self::Unknown(doubt) => Some(*doubt),
            Self::Paid(_) | Self::Back(..) => None,
        }
    }

    /// How the gateway served: only silence, and what is as good as silence, is a failure. Whatever else it answers, it
    /// answers.
    pub(super) fn gateway_verdict(&self) -> CallVerdict {
        match self {
            Self::Back(_, Why::GatewayAway) | Self::Unknown(Doubt::Gateway) => CallVerdict::Bad,
            Self::Unknown(Doubt::Store | Doubt::Risk | Doubt::NoGateway) => CallVerdict::Unused,
            Self::Unknown(Doubt::Processing | Doubt::Contradiction) | Self::Paid(_) | Self::Back(..) => {
                CallVerdict::Good
            }
        }
    }
}

/// Whether the order, as it is `now`, does not wait for this payment any more.
pub(super) fn has_ended(payment: AttemptId, now: &Order) -> bool {
    now.status != OrderStatus::Paying || now.payment_attempt != payment.attempt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_a_payment_is_let_go_is_read_as_it_was_written() {
        let reason = || "a: b, c".to_owned();
        let all = [
            Why::Declined { reason: reason() },
            Why::RiskRejected { reason: reason() },
            Why::Operator { reason: reason() },
            Why::RiskAway,
            Why::GatewayAway,
            Why::GatewayRefused,
            Why::TooLate,
        ];
        for why in all {
            assert_eq!(Why::read(&why.to_string()), why);
        }
        assert_eq!(Why::read("a word of the future: x"), Why::GatewayAway);
    }
}
