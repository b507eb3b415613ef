//! What is durable about the latest attempt to pay an order, before anything of it is asked of a gateway.

/// How an attempt is named at its gateway. An attempt keeps the form it was begun with: under another name the gateway
/// would not know it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PaymentKeyForm {
    /// By order and attempt alone, as engines did before stores had an identity.
    #[default]
    Plain,
    /// By the store's identity, order and attempt.
    OfStore,
}

impl PaymentKeyForm {
    /// The number that the stores keep. Never change one that has been released.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The form with this number.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::Plain),
            1 => Some(Self::OfStore),
            _ => None,
        }
    }
}

/// Where an attempt is going. Decided once, durable before the gateway hears of it, and then only repeated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PaymentDirection {
    /// Hold and risk check are not both answered.
    #[default]
    Undecided,
    /// The money is to be taken.
    GoingOn,
    /// The money is not to be taken, whatever is still on its way.
    LettingGo {
        /// Why, as checkout writes and reads it.
        why: String,
    },
}

impl PaymentDirection {
    /// The number that the stores keep. Never change one that has been released.
    pub const fn code(&self) -> u8 {
        match self {
            Self::Undecided => 0,
            Self::GoingOn => 1,
            Self::LettingGo { .. } => 2,
        }
    }

    /// The direction with this number, and why.
    pub fn from_code(code: u8, why: Option<&str>) -> Option<Self> {
        match code {
            0 => Some(Self::Undecided),
            1 => Some(Self::GoingOn),
            2 => Some(Self::LettingGo { why: why.unwrap_or_default().to_owned() }),
            _ => None,
        }
    }

    /// Why the money is let go; `None` in any other direction.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::LettingGo { why } => Some(why),
            Self::Undecided | Self::GoingOn => None,
        }
    }
}

/// The journal of the latest attempt to pay an order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PaymentJournal {
    /// The configured name of the gateway that was, or will be, asked. `None` before the first attempt, for an order
    /// that costs nothing, and for an attempt of an engine that did not note it.
    pub gateway: Option<String>,
    /// How the gateway knows the attempt.
    pub key_form: PaymentKeyForm,
    /// Where it is going.
    pub direction: PaymentDirection,
}

/// An entry in the journal of an attempt under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PaymentNote {
    /// This gateway is asked. For attempts that name none.
    Gateway(String),
    /// The direction, of an attempt that has none.
    Direction(PaymentDirection),
    /// The money is let go, of an attempt that has no direction or was going on.
    TurnBack {
        /// Why.
        why: String,
    },
}

impl PaymentJournal {
    /// The journal of an attempt that begins at this gateway.
    pub const fn begun(gateway: Option<String>) -> Self {
        Self { gateway, key_form: PaymentKeyForm::OfStore, direction: PaymentDirection::Undecided }
    }

    /// Makes the entry. `false` when it does not follow what the journal says; then nothing has changed.
    pub fn note(&mut self, note: &PaymentNote) -> bool {
        match note {
            PaymentNote::Gateway(name) if self.gateway.is_none() => self.gateway = Some(name.clone()),
            PaymentNote::Direction(direction) if self.direction == PaymentDirection::Undecided => {
                self.direction = direction.clone();
            }
            PaymentNote::TurnBack { why } if self.direction.why().is_none() => {
                self.direction = PaymentDirection::LettingGo { why: why.clone() };
            }
            _ => return false,
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_direction_is_taken_once_and_letting_go_is_for_good() {
        let let_go = PaymentDirection::LettingGo { why: "risk".into() };
        let turn_back = PaymentNote::TurnBack { why: "operator".into() };
        let mut journal = PaymentJournal::begun(Some("main".into()));
        assert!(!journal.note(&PaymentNote::Gateway("other".into())));
        assert!(journal.note(&PaymentNote::Direction(PaymentDirection::GoingOn)));
        assert!(!journal.note(&PaymentNote::Direction(let_go.clone())));
        assert!(journal.note(&turn_back));
        assert!(!journal.note(&turn_back), "the first reason stays");
        assert!(!journal.note(&PaymentNote::Direction(PaymentDirection::GoingOn)));
        assert_eq!(journal.direction.why(), Some("operator"));
    }

    #[test]
    fn codes_round_trip() {
        for form in [PaymentKeyForm::Plain, PaymentKeyForm::OfStore] {
            assert_eq!(PaymentKeyForm::from_code(form.code()), Some(form));
        }
        let directions = [
            PaymentDirection::Undecided,
            PaymentDirection::GoingOn,
            PaymentDirection::LettingGo { why: "late".into() },
        ];
        for direction in directions {
            assert_eq!(
                PaymentDirection::from_code(direction.code(), direction.why()),
                Some(direction.clone())
            );
        }
        assert_eq!(PaymentKeyForm::from_code(2), None);
        assert_eq!(PaymentDirection::from_code(3, None), None);
    }
}
