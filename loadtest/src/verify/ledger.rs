//! Buyer by buyer: every promise has its order, every order its buyer.

use std::collections::HashMap;

use crate::load::answer_log::{Kind, Row, Told};

use super::{Check, EXAMPLES_MAX, Extent, SaleTerms};

/// The state of an exported order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum OrderState {
    /// Any state that the contract does not name.
    Unknown = 0,
    /// Accepted.
    Pending = 1,
    /// To be paid.
    PrePay = 2,
    /// Payment under way.
    Paying = 3,
    /// Paid.
    Paid = 4,
    /// Cancelled.
    Cancelled = 5,
    /// Not paid in time.
    Expired = 6,
    /// Not accepted after all.
    Rejected = 7,
    /// Paid, and being given back.
    Refunding = 8,
    /// Paid, and given back.
    Refunded = 9,
    /// Paid, and units of it put back on sale with a refund.
    Restocked = 10,
}

const STATES: [(OrderState, &str); 11] = [
    (OrderState::Unknown, "unknown"),
    (OrderState::Pending, "pending"),
    (OrderState::PrePay, "pre_pay"),
    (OrderState::Paying, "paying"),
    (OrderState::Paid, "paid"),
    (OrderState::Cancelled, "cancelled"),
    (OrderState::Expired, "expired"),
    (OrderState::Rejected, "rejected"),
    (OrderState::Refunding, "refunding"),
    (OrderState::Refunded, "refunded"),
    (OrderState::Restocked, "restocked"),
];

impl OrderState {
    /// The state with this name.
    pub fn from_name(name: &str) -> Self {
        STATES.iter().find(|(_, known)| *known == name).map_or(Self::Unknown, |(state, _)| *state)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        STATES[self as usize].1
    }

    /// Whether the order holds units.
    pub fn is_active(self) -> bool {
        !matches!(self, Self::Cancelled | Self::Expired | Self::Rejected | Self::Restocked)
    }

    /// Whether the order was paid, whatever became of it since.
    pub fn was_paid(self) -> bool {
        matches!(self, Self::Paid | Self::Refunding | Self::Refunded | Self::Restocked)
    }
}

impl Kind for OrderState {
    fn byte(self) -> u8 {
        self as u8
    }

    fn from_byte(byte: u8) -> Option<Self> {
        STATES.get(usize::from(byte)).map(|(state, _)| *state)
    }
}

/// Violations of one kind.
#[derive(Debug, Default)]
struct Found {
    count: u64,
    examples: Vec<String>,
}

impl Found {
    fn add(&mut self, example: impl FnOnce() -> String) {
        self.count += 1;
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(example());
        }
    }

    fn check(&self, name: &str, promise: &str) -> Check {
        let detail = if self.count == 0 { promise.to_owned() } else { self.examples.join("; ") };
        Check { name: name.into(), passed: self.count == 0, judged: true, violations: self.count, detail }
    }
}

/// Collects the violations of all partitions.
#[derive(Debug)]
pub struct Ledger<'a> {
    sales: &'a [SaleTerms],
    lost: Found,
    unpaid: Found,
    uncancelled: Found,
    unheard: Found,
    doubled: Found,
    over_limit: Found,
}

impl<'a> Ledger<'a> {
    /// For these sales.
    pub fn new(sales: &'a [SaleTerms]) -> Self {
        Self {
            sales,
            lost: Found::default(),
            unpaid: Found::default(),
            uncancelled: Found::default(),
            unheard: Found::default(),
            doubled: Found::default(),
            over_limit: Found::default(),
        }
    }

    /// Takes a partition in: everything that was told to some buyers, and all orders of the same buyers.
    pub fn take(&mut self, told: Vec<Row<Told>>, orders: Vec<Row<OrderState>>) {
        let mut by_id: HashMap<(u16, &str), &Row<OrderState>> = HashMap::with_capacity(orders.len());
        let mut active: HashMap<(u16, u64), u64> = HashMap::new();
        for order in &orders {
            if by_id.insert((order.campaign, &order.order), order).is_some() {
                self.doubled.add(|| format!("order {} was exported twice", order.order));
            } else if order.kind.is_active() {
                *active.entry((order.campaign, order.buyer)).or_default() += u64::from(order.quantity);
            }
        }
        for ((campaign, buyer), units) in active {
            let limit = self.sales[usize::from(campaign)].per_buyer_limit;
            if units > limit {
                self.over_limit.add(|| format!("buyer b{buyer} holds {units} units, the limit is {limit}"));
            }
        }

        let mut heard: HashMap<(u16, &str), ()> = HashMap::with_capacity(told.len());
        let mut unanswered: HashMap<(u16, u64), u64> = HashMap::new();
        for row in &told {
            let order = by_id.get(&(row.campaign, &*row.order)).filter(|order| order.buyer == row.buyer);
            match row.kind {
                Told::Won | Told::Replayed => {
                    heard.insert((row.campaign, &row.order), ());
                    self.expect_durable(row, order.copied());
                }
                Told::Pending => drop(heard.insert((row.campaign, &row.order), ())),
                Told::Paid => expect_state(&mut self.unpaid, row, order.copied(), OrderState::Paid),
                Told::Cancelled => {
                    expect_state(&mut self.uncancelled, row, order.copied(), OrderState::Cancelled)
                }
                Told::NothingOnPurchase => *unanswered.entry((row.campaign, row.buyer)).or_default() += 1,
                Told::NothingOnOrder => {}
            }
        }
        for order in orders.iter().filter(|order| order.kind != OrderState::Rejected) {
            if heard.contains_key(&(order.campaign, &order.order)) {
                continue;
            }
            // A purchase that got no answer may have made an order, one each.
            match unanswered.get_mut(&(order.campaign, order.buyer)) {
                Some(left) if *left > 0 => *left -= 1,
                _ => self.unheard.add(|| {
                    format!("order {} ({}) exists, but no answer named it", order.order, order.kind.name())
                }),
            }
        }
    }

    fn expect_durable(&mut self, row: &Row<Told>, order: Option<&Row<OrderState>>) {
        match order {
            None => self.lost.add(|| {
                format!(
                    "order {} was acknowledged to buyer b{} and is not in the store",
                    row.order, row.buyer
                )
            }),
            Some(order) if order.kind == OrderState::Rejected => {
                self.lost.add(|| format!("order {} was acknowledged and then rejected", row.order));
            }
            Some(order) if row.kind == Told::Won && order.quantity != row.quantity => self.lost.add(|| {
                format!(
                    "order {}: {} units acknowledged, {} in the store",
                    row.order, row.quantity, order.quantity
                )
            }),
            Some(_) => {}
        }
    }

    /// The checks over all buyers, of whose answers the log held so much.
    pub fn checks(&self, extent: Extent) -> Vec<Check> {
        vec![
            self.lost.check("acknowledged-orders-durable", "every order answered with 201 is in the store"),
            self.unpaid.check("paid-orders-paid", "every payment answered with 200 is in the store"),
            self.uncancelled
                .check("cancelled-orders-cancelled", "every cancellation answered with 200 is in the store"),
            self.unheard(extent),
            self.doubled.check("no-order-twice", "every order was exported once"),
            self.over_limit.check("buyers-within-limit", "no buyer holds more than the limit"),
        ]
    }

    fn unheard(&self, extent: Extent) -> Check {
        let promise = "every order in the store was answered, or its answer was lost";
        let check = self.unheard.check("no-unheard-orders", promise);
        match extent {
            Extent::Whole => check,
            Extent::Part => Check {
                passed: true,
                judged: false,
                violations: 0,
                detail: format!(
                    "not judged, a part of the log: it does not name {} orders",
                    self.unheard.count
                ),
                ..check
            },
        }
    }
}

fn expect_state(found: &mut Found, row: &Row<Told>, order: Option<&Row<OrderState>>, wanted: OrderState) {
    let state = order.map(|order| order.kind);
    let is_kept = |state: OrderState| state == wanted || (wanted == OrderState::Paid && state.was_paid());
    if !state.is_some_and(is_kept) {
        let seen = state.map_or("missing", OrderState::name);
        found.add(|| format!("order {} was answered {}, the store says {seen}", row.order, wanted.name()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(kind: Told, buyer: u64, order: &str) -> Row<Told> {
        Row { kind, campaign: 0, quantity: 1, buyer, order: order.into() }
    }

    fn stored(kind: OrderState, buyer: u64, order: &str) -> Row<OrderState> {
        Row { kind, campaign: 0, quantity: 1, buyer, order: order.into() }
    }

    fn failed(told: Vec<Row<Told>>, orders: Vec<Row<OrderState>>) -> Vec<String> {
        failed_by(Extent::Whole, told, orders)
    }

    fn failed_by(extent: Extent, told: Vec<Row<Told>>, orders: Vec<Row<OrderState>>) -> Vec<String> {
        let sales = [SaleTerms {
            campaign: "c".into(),
            stock: 9,
            per_buyer_limit: 1,
            sold_out: false,
            demand_units: 0,
            has_queue: false,
        }];
        let mut ledger = Ledger::new(&sales);
        ledger.take(told, orders);
        let checks = ledger.checks(extent);
        checks.into_iter().filter(|check| !check.passed).map(|check| check.name).collect()
    }

    #[test]
    fn an_honest_store_passes() {
        let answers = vec![
            told(Told::Won, 1, "a"),
            told(Told::Paid, 1, "a"),
            told(Told::Won, 2, "b"),
            told(Told::Cancelled, 2, "b"),
            told(Told::Pending, 3, "c"),
            told(Told::NothingOnPurchase, 4, ""),
            told(Told::Pending, 5, "never"),
            told(Told::NothingOnPurchase, 6, ""),
            told(Told::Replayed, 1, "a"),
        ];
        let orders = vec![
            stored(OrderState::Paid, 1, "a"),
            stored(OrderState::Cancelled, 2, "b"),
            stored(OrderState::Expired, 3, "c"),
            stored(OrderState::PrePay, 4, "d"),
        ];
        assert!(failed(answers, orders).is_empty());
    }

    #[test]
    fn each_broken_promise_is_found_by_its_check() {
        let win = || told(Told::Won, 1, "a");
        let order = |state| stored(state, 1, "a");
        let lost = "acknowledged-orders-durable";
        assert_eq!(failed(vec![win()], vec![]), [lost]);
        assert_eq!(failed(vec![win()], vec![order(OrderState::Rejected)]), [lost]);
        let fewer = Row { quantity: 2, ..win() };
        assert_eq!(failed(vec![fewer], vec![order(OrderState::PrePay)]), [lost]);
        // The same order told to a second buyer is that buyer's lost order.
        let second = told(Told::Won, 2, "a");
        assert_eq!(failed(vec![win(), second], vec![order(OrderState::PrePay)]), [lost]);
        let paid = told(Told::Paid, 1, "a");
        assert_eq!(failed(vec![win(), paid], vec![order(OrderState::PrePay)]), ["paid-orders-paid"]);
        let cancelled = told(Told::Cancelled, 1, "a");
        assert_eq!(
            failed(vec![win(), cancelled], vec![order(OrderState::PrePay)]),
            ["cancelled-orders-cancelled"]
        );
        assert_eq!(failed(vec![], vec![order(OrderState::PrePay)]), ["no-unheard-orders"]);
        assert_eq!(
            failed(vec![win()], vec![order(OrderState::PrePay), order(OrderState::PrePay)]),
            ["no-order-twice"]
        );
        assert_eq!(
            failed(
                vec![win(), told(Told::Won, 1, "b")],
                vec![order(OrderState::PrePay), stored(OrderState::Paid, 1, "b")]
            ),
            ["buyers-within-limit"]
        );
    }

    #[test]
    fn a_part_of_the_log_judges_what_it_names_alone() {
        let failed = |told, orders| failed_by(Extent::Part, told, orders);
        let orders = || vec![stored(OrderState::PrePay, 1, "a"), stored(OrderState::PrePay, 2, "b")];
        assert!(failed(vec![told(Told::Won, 1, "a")], orders()).is_empty(), "bob was told later");
        let lost = vec![told(Told::Won, 1, "a"), told(Told::Won, 3, "c")];
        assert_eq!(failed(lost, orders()), ["acknowledged-orders-durable"]);
    }
}
