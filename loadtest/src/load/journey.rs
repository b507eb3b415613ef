//! What a visitor does next, as a pure function of what the engine answered.

mod waiting;

use crate::outcome::{Action, Outcome, Path};
use crate::scenario::{Shopper, Then};

use super::answer_log::Told;
use super::dice::Dice;
use super::room::RoomPass;

/// Look-ups of one order before a visitor gives up waiting for it.
const LOOKUPS_MAX: u16 = 200;
/// Pause before trying again when the engine names none.
const RETRY_DEFAULT_MS: u64 = 1_000;
/// Pause between two look-ups when the engine names none.
const LOOKUP_DEFAULT_MS: u64 = 250;

/// Where a visitor stands with an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OrderState {
    /// None yet.
    Without,
    /// 202: perhaps; the purchase was due at the time given.
    Pending { due_ns: u64 },
    /// Durable and theirs.
    Held,
    /// 202 to a checkout that was due at the time given.
    Paying { due_ns: u64 },
    /// Nothing more to do about it.
    Over,
}

/// One visit, from the first request to the last answer.
#[derive(Debug)]
pub struct Journey {
    /// The buyer's number.
    pub buyer: u64,
    /// Shopper by index.
    pub shopper: u16,
    /// Campaign by index.
    pub campaign: u16,
    /// Phase by index: where everything it does is counted.
    pub phase: u16,
    /// Units asked for.
    pub quantity: u64,
    /// Requests in flight or planned; at zero the visit is over.
    pub open_requests: u32,
    /// The order, once the engine named one.
    pub order: Box<str>,
    order_state: OrderState,
    pages_left: u32,
    retries_left: u32,
    payment_retries_left: u32,
    lookups_left: u16,
    /// A purchase went unanswered: an order may exist that this visitor has not heard of.
    unsure: bool,
    /// The visit's demand has been counted.
    demanded: bool,
    /// What it holds of the campaign's waiting room.
    room: Option<Box<RoomPass>>,
    /// When it registered there first.
    registered_ns: Option<u64>,
}

/// An answer as the journey sees it.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// What was asked.
    pub action: Action,
    /// When that was due.
    pub due_ns: u64,
    /// Whether the visitor held an order when asking.
    pub held_when_asked: bool,
    /// What came back.
    pub outcome: Outcome,
    /// The order named in the answer, or nothing.
    pub order: &'a str,
    /// The order's status in the answer, or nothing.
    pub status: &'a str,
    /// The engine's wish for the time of the next try.
    pub retry_after_ms: Option<u64>,
    /// The body, of what a waiting room answers.
    pub body: &'a [u8],
}

/// What follows from an answer.
#[derive(Debug, Default, PartialEq)]
pub struct Reaction {
    /// The next request and the pause before it.
    pub next: Option<(Action, u64)>,
    /// An end that took several requests: counted from when the first was due.
    pub concluded: Option<(Path, Outcome, u64)>,
    /// What the engine has now promised this buyer.
    pub told: Option<Told>,
    /// The engine denied an order that the buyer holds.
    pub untruthful: bool,
    /// Units of demand that this answer shows, once a visit.
    pub demand_units: u64,
    /// The waiting room says that nothing is left.
    pub hears_sold_out: bool,
}

impl Journey {
    /// A visit of a shopper's kind.
    pub fn new(
        shopper: &Shopper,
        index: u16,
        campaign: u16,
        phase: u16,
        buyer: u64,
        dice: &mut Dice,
    ) -> Self {
        let [least, most] = shopper.quantity;
        Self {
            buyer,
            shopper: index,
            campaign,
            phase,
            quantity: least + dice.below(most - least + 1),
            open_requests: 0,
            order: Box::default(),
            order_state: OrderState::Without,
            pages_left: shopper.pages,
            retries_left: shopper.retries,
            payment_retries_left: shopper.payment_retries,
            lookups_left: LOOKUPS_MAX,
            unsure: false,
            demanded: false,
            room: None,
            registered_ns: None,
        }
    }

    /// Its first requests, each with its pause from the arrival.
    pub fn opening(&self, shopper: &Shopper) -> Vec<(Action, u64)> {
        match (self.pages_left, shopper.waits) {
            (1.., _) => vec![(Action::Page, 0)],
            (0, true) => vec![(Action::Register, 0)],
            (0, false) => clicks(shopper).collect(),
        }
    }

    /// The pass of the campaign's waiting room, once there is one.
    pub fn pass(&self) -> Option<&str> {
        self.room.as_ref().map(|room| &*room.text)
    }

    /// Clicks that follow the last page view or the wait, beyond the one that [`Journey::react`] names.
    pub fn clicks_after_pages(shopper: &Shopper) -> impl Iterator<Item = (Action, u64)> {
        clicks(shopper).skip(1)
    }

    /// Whether the buyer holds an order now.
    pub fn holds_order(&self) -> bool {
        self.order_state == OrderState::Held
    }

    /// When the purchase or checkout was due whose outcome is still open, for the final count.
    pub fn unresolved(&self) -> Option<(Path, Outcome, u64)> {
        match self.order_state {
            OrderState::Pending { due_ns } => Some((Path::Order, Outcome::Pending, due_ns)),
            OrderState::Paying { due_ns } => Some((Path::Checkout, Outcome::Paying, due_ns)),
            _ => None,
        }
    }

    /// Takes an answer in and says what follows.
    pub fn react(&mut self, answer: Answer<'_>, shopper: &Shopper, limit: u64, dice: &mut Dice) -> Reaction {
        match answer.action {
            Action::Page => self.after_page(shopper),
            Action::Purchase => self.after_purchase(answer, shopper, limit, dice),
            Action::Lookup => self.after_lookup(answer, shopper, dice),
            Action::Checkout => self.after_checkout(answer, dice),
            Action::Cancel => self.after_cancel(answer),
            Action::Register => self.after_registration(answer, shopper, dice),
            Action::Wait => self.after_look(answer, shopper, dice),
        }
    }

    fn after_page(&mut self, shopper: &Shopper) -> Reaction {
        self.pages_left = self.pages_left.saturating_sub(1);
        let next = match (self.pages_left, shopper.waits) {
            (1.., _) => Some((Action::Page, shopper.page_gap_ms)),
            (0, true) => Some((Action::Register, 0)),
            (0, false) => clicks(shopper).next(),
        };
        Reaction { next, ..Reaction::default() }
    }

    fn after_purchase(
        &mut self,
        answer: Answer<'_>,
        shopper: &Shopper,
        limit: u64,
        dice: &mut Dice,
    ) -> Reaction {
        let mut reaction =
            Reaction { demand_units: self.demand_shown_by(answer.outcome), ..Reaction::default() };
        match answer.outcome {
            Outcome::Won => {
                reaction.told = Some(Told::Won);
                reaction.concluded = Some((Path::Order, Outcome::Won, answer.due_ns));
                reaction.next = self.take_hold(answer.order, shopper, dice);
            }
            Outcome::Replay if answer.status == "pending" => {
                reaction.next = self.wait_for(answer);
            }
            Outcome::Replay => {
                reaction.told = Some(Told::Replayed);
                reaction.next = self.take_hold(answer.order, shopper, dice);
            }
            Outcome::Pending => {
                reaction.told = Some(Told::Pending);
                reaction.next = self.wait_for(answer);
            }
            // The mark that it has seen is not known there yet: it goes on waiting.
            Outcome::WaitingRoom if self.room.is_some() => {
                reaction.next = Some((Action::Wait, waiting::look_ms(dice)));
            }
            // The purchase that went unanswered has worked after all.
            Outcome::AlreadyPurchased if self.unsure && !answer.order.is_empty() => {
                reaction.next = self.take_hold(answer.order, shopper, dice);
            }
            outcome => {
                if outcome.is_unknown() {
                    self.unsure = true;
                    reaction.told = Some(Told::NothingOnPurchase);
                }
                let may_pass = outcome.is_unknown()
                    || matches!(
                        outcome,
                        Outcome::Overloaded
                            | Outcome::RateLimited
                            | Outcome::SaleNotStarted
                            | Outcome::ConnectFailed
                    );
                if may_pass && self.retries_left > 0 && self.order_state == OrderState::Without {
                    self.retries_left -= 1;
                    reaction.next = Some((Action::Purchase, pause_ms(answer, RETRY_DEFAULT_MS, dice)));
                }
                reaction.untruthful = self.denies_order(answer, limit);
            }
        }
        reaction
    }

    /// Units that this visit shows to be wanted by somebody who may have them. Who asks for several units and hears that
    /// they are sold out says nothing about a last single one.
    fn demand_shown_by(&mut self, outcome: Outcome) -> u64 {
        let units = match outcome {
            Outcome::Won | Outcome::Replay | Outcome::Pending => self.quantity,
            Outcome::SoldOut if self.quantity == 1 && self.order_state == OrderState::Without => 1,
            _ => 0,
        };
        if units == 0 || std::mem::replace(&mut self.demanded, true) { 0 } else { units }
    }

    /// Whether the answer denies the one order that its buyer held before asking.
    fn denies_order(&self, answer: Answer<'_>, limit: u64) -> bool {
        let denial = match answer.outcome {
            Outcome::SoldOut | Outcome::SaleNotStarted => true,
            Outcome::AlreadyPurchased => !answer.order.is_empty() && answer.order != &*self.order,
            _ => false,
        };
        limit == 1 && denial && answer.held_when_asked && self.order_state == OrderState::Held
    }

    fn wait_for(&mut self, answer: Answer<'_>) -> Option<(Action, u64)> {
        if self.order_state != OrderState::Without || answer.order.is_empty() {
            return None;
        }
        self.order_state = OrderState::Pending { due_ns: answer.due_ns };
        self.order = answer.order.into();
        Some((Action::Lookup, answer.retry_after_ms.unwrap_or(LOOKUP_DEFAULT_MS)))
    }

    fn take_hold(&mut self, order: &str, shopper: &Shopper, dice: &mut Dice) -> Option<(Action, u64)> {
        if !matches!(self.order_state, OrderState::Without | OrderState::Pending { .. }) || order.is_empty() {
            return None;
        }
        self.order_state = OrderState::Held;
        self.order = order.into();
        let [least, most] = shopper.think_ms;
        let think_ms = least + dice.below(most - least + 1);
        match shopper.then {
            Then::Leave => None,
            Then::Pay => Some((Action::Checkout, think_ms)),
            Then::Cancel => Some((Action::Cancel, think_ms)),
        }
    }

    fn after_lookup(&mut self, answer: Answer<'_>, shopper: &Shopper, dice: &mut Dice) -> Reaction {
        let mut reaction = Reaction::default();
        let known = answer.outcome == Outcome::Found;
        match (self.order_state, answer.status) {
            (OrderState::Pending { due_ns }, "rejected") if known => {
                self.order_state = OrderState::Over;
                reaction.concluded = Some((Path::Order, Outcome::LostLater, due_ns));
            }
            (OrderState::Pending { due_ns }, status) if known && status != "pending" => {
                reaction.told = Some(Told::Won);
                reaction.concluded = Some((Path::Order, Outcome::WonLater, due_ns));
                let order = std::mem::take(&mut self.order);
                reaction.next = self.take_hold(&order, shopper, dice);
            }
            (OrderState::Paying { due_ns }, status) if known && status != "paying" => {
                let outcome = match status {
                    "paid" => Outcome::Paid,
                    "expired" => Outcome::OrderExpired,
                    "cancelled" => Outcome::OrderCancelled,
                    _ => Outcome::PaymentDeclined,
                };
                self.order_state =
                    if outcome == Outcome::PaymentDeclined { OrderState::Held } else { OrderState::Over };
                reaction.told = (outcome == Outcome::Paid).then_some(Told::Paid);
                reaction.concluded = Some((Path::Checkout, outcome, due_ns));
                if outcome == Outcome::PaymentDeclined {
                    reaction.next = self.pay_again(answer, dice);
                }
            }
            (OrderState::Pending { .. } | OrderState::Paying { .. }, _) if self.lookups_left > 0 => {
                self.lookups_left -= 1;
                reaction.next = Some((Action::Lookup, pause_ms(answer, LOOKUP_DEFAULT_MS, dice)));
            }
            _ => {}
        }
        reaction
    }

    fn after_checkout(&mut self, answer: Answer<'_>, dice: &mut Dice) -> Reaction {
        let mut reaction = Reaction::default();
        match answer.outcome {
            Outcome::Paid => {
                self.order_state = OrderState::Over;
                reaction.told = Some(Told::Paid);
            }
            Outcome::Paying => {
                self.order_state = OrderState::Paying { due_ns: answer.due_ns };
                reaction.next = Some((Action::Lookup, answer.retry_after_ms.unwrap_or(LOOKUP_DEFAULT_MS)));
            }
            Outcome::PaymentDeclined | Outcome::PaymentUnavailable | Outcome::Overloaded => {
                reaction.next = self.pay_again(answer, dice);
            }
            outcome => {
                if outcome.is_unknown() {
                    reaction.told = Some(Told::NothingOnOrder);
                    reaction.next = self.pay_again(answer, dice);
                }
            }
        }
        reaction
    }

    fn pay_again(&mut self, answer: Answer<'_>, dice: &mut Dice) -> Option<(Action, u64)> {
        self.payment_retries_left = self.payment_retries_left.checked_sub(1)?;
        Some((Action::Checkout, pause_ms(answer, RETRY_DEFAULT_MS, dice)))
    }

    fn after_cancel(&mut self, answer: Answer<'_>) -> Reaction {
        let mut reaction = Reaction::default();
        if answer.outcome == Outcome::Cancelled {
            self.order_state = OrderState::Over;
            reaction.told = Some(Told::Cancelled);
        } else if answer.outcome.is_unknown() {
            reaction.told = Some(Told::NothingOnOrder);
        }
        reaction
    }
}

fn clicks(shopper: &Shopper) -> impl Iterator<Item = (Action, u64)> {
    let gap_ms = shopper.click_gap_ms;
    (0..u64::from(shopper.clicks)).map(move |click| (Action::Purchase, click * gap_ms))
}

/// The engine's wish or the default, plus up to a fifth, so that a crowd that was refused together does not return together.
fn pause_ms(answer: Answer<'_>, default_ms: u64, dice: &mut Dice) -> u64 {
    let wish_ms = answer.retry_after_ms.unwrap_or(default_ms);
    wish_ms + dice.below(wish_ms / 5 + 1)
}

#[cfg(test)]
mod tests;
