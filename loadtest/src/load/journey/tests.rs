//! What visitors do, answer by answer.

use super::*;

fn shopper(keys: &str) -> Shopper {
    toml::from_str(&format!("name = \"x\"\n{keys}")).unwrap()
}

struct Visit {
    shopper: Shopper,
    journey: Journey,
    dice: Dice,
}

impl Visit {
    fn new(keys: &str) -> Self {
        let (shopper, mut dice) = (shopper(keys), Dice::new(1));
        let journey = Journey::new(&shopper, 0, 0, 0, 7, &mut dice);
        Self { shopper, journey, dice }
    }

    fn hears(&mut self, action: Action, outcome: Outcome, order: &str, status: &str) -> Reaction {
        let held_when_asked = self.journey.holds_order();
        let retry_after_ms = outcome.is_error().then_some(0);
        let answer =
            Answer { action, due_ns: 5, held_when_asked, outcome, order, status, retry_after_ms, body: &[] };
        self.journey.react(answer, &self.shopper, 1, &mut self.dice)
    }
}

#[test]
fn a_winner_pays_and_a_loser_goes_home() {
    let mut visit = Visit::new("then = \"pay\"\nthink_ms = [40, 40]");
    let won = visit.hears(Action::Purchase, Outcome::Won, "o", "pre_pay");
    assert_eq!(won.next, Some((Action::Checkout, 40)));
    assert_eq!(won.told, Some(Told::Won));
    assert_eq!(won.concluded, Some((Path::Order, Outcome::Won, 5)));
    assert_eq!(visit.hears(Action::Checkout, Outcome::Paid, "o", "paid").told, Some(Told::Paid));

    let mut visit = Visit::new("then = \"pay\"\nretries = 3");
    let wanted = Reaction { demand_units: 1, ..Reaction::default() };
    assert_eq!(visit.hears(Action::Purchase, Outcome::SoldOut, "", ""), wanted);
    assert_eq!(visit.hears(Action::Purchase, Outcome::SoldOut, "", ""), Reaction::default(), "once a visit");
}

#[test]
fn only_refusals_that_may_pass_are_tried_again_and_only_so_often() {
    let mut visit = Visit::new("retries = 2");
    for _ in 0..2 {
        let next = visit.hears(Action::Purchase, Outcome::Overloaded, "", "").next;
        assert_eq!(next, Some((Action::Purchase, 0)));
    }
    assert_eq!(visit.hears(Action::Purchase, Outcome::Overloaded, "", "").next, None);
}

#[test]
fn a_pending_order_is_looked_up_until_it_is_known() {
    let mut visit = Visit::new("then = \"cancel\"");
    let pending = visit.hears(Action::Purchase, Outcome::Pending, "o", "pending");
    assert_eq!((pending.told, pending.next.unwrap().0), (Some(Told::Pending), Action::Lookup));
    assert_eq!(visit.journey.unresolved(), Some((Path::Order, Outcome::Pending, 5)));
    let still = visit.hears(Action::Lookup, Outcome::Found, "o", "pending");
    assert_eq!(still.next.unwrap().0, Action::Lookup);
    let durable = visit.hears(Action::Lookup, Outcome::Found, "o", "pre_pay");
    assert_eq!(durable.concluded, Some((Path::Order, Outcome::WonLater, 5)));
    assert_eq!(durable.next.unwrap().0, Action::Cancel);
    assert_eq!(&*visit.journey.order, "o");
}

#[test]
fn a_payment_under_way_counts_from_its_first_request() {
    let mut visit = Visit::new("then = \"pay\"\npayment_retries = 1");
    visit.hears(Action::Purchase, Outcome::Won, "o", "pre_pay");
    assert_eq!(visit.hears(Action::Checkout, Outcome::Paying, "o", "paying").concluded, None);
    let declined = visit.hears(Action::Lookup, Outcome::Found, "o", "pre_pay");
    assert_eq!(declined.concluded, Some((Path::Checkout, Outcome::PaymentDeclined, 5)));
    assert_eq!(declined.next.unwrap().0, Action::Checkout);
    visit.hears(Action::Checkout, Outcome::Paying, "o", "paying");
    let paid = visit.hears(Action::Lookup, Outcome::Found, "o", "paid");
    assert_eq!((paid.told, paid.next), (Some(Told::Paid), None));
}

#[test]
fn an_order_denied_to_its_holder_is_noticed() {
    let mut visit = Visit::new("clicks = 3");
    assert!(!visit.hears(Action::Purchase, Outcome::SoldOut, "", "").untruthful, "holds nothing yet");
    visit.hears(Action::Purchase, Outcome::Won, "o", "pre_pay");
    assert!(!visit.hears(Action::Purchase, Outcome::AlreadyPurchased, "o", "").untruthful);
    assert!(visit.hears(Action::Purchase, Outcome::AlreadyPurchased, "other", "").untruthful);
    assert!(visit.hears(Action::Purchase, Outcome::SoldOut, "", "").untruthful);
}

#[test]
fn an_unanswered_purchase_that_worked_is_taken_up() {
    let mut visit = Visit::new("retries = 1\nthen = \"pay\"");
    let lost = visit.hears(Action::Purchase, Outcome::ConnectionLost, "", "");
    assert_eq!((lost.told, lost.next), (Some(Told::NothingOnPurchase), Some((Action::Purchase, 0))));
    let again = visit.hears(Action::Purchase, Outcome::AlreadyPurchased, "o", "");
    assert_eq!(again.next.unwrap().0, Action::Checkout);
    assert_eq!(&*visit.journey.order, "o");
}

#[test]
fn pages_come_before_clicks() {
    let mut visit = Visit::new("pages = 2\nclicks = 2\npage_gap_ms = 30\nclick_gap_ms = 9");
    assert_eq!(visit.journey.opening(&visit.shopper), vec![(Action::Page, 0)]);
    assert_eq!(visit.hears(Action::Page, Outcome::Found, "", "").next, Some((Action::Page, 30)));
    assert_eq!(visit.hears(Action::Page, Outcome::Found, "", "").next, Some((Action::Purchase, 0)));
    let more: Vec<_> = Journey::clicks_after_pages(&visit.shopper).collect();
    assert_eq!(more, vec![(Action::Purchase, 9)]);
}
