//! Time that does not count against who has to pay: outages, and what operators give. Deadlines move by it.
//!
//! No order is rewritten: what was granted stands once, and the deadline of an order is what its row says, moved by the
//! graces that concern it. An outage moves what waits to pay by as much of it as the order has seen; outages that overlap
//! count once. A gift moves what waits to pay at that moment by what was given.

use crate::domain::{EpochMs, NewOrder, Order, OrderStatus, SaleId};

/// A shorter time in which nobody can pay is not noticed, in ms: a buyer tries again.
pub const NOTICED_MS_MIN: i64 = 1_000;

/// One outage, or one gift of an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grace {
    /// The sale whose orders it moves; `None` moves those of all sales.
    pub sale: Option<SaleId>,
    /// When paying became impossible, or when the gift was made.
    pub from: EpochMs,
    /// When paying was possible again. `None` for a gift.
    pub until: Option<EpochMs>,
    /// How much a gift gives, in ms; 0 for an outage.
    pub by_ms: i64,
    /// Why, for whoever looks into the store.
    pub reason: String,
}

impl Grace {
    /// Time in which nobody could pay.
    pub fn outage(from: EpochMs, until: EpochMs, reason: &str) -> Self {
        Self { sale: None, from, until: Some(until), by_ms: 0, reason: reason.into() }
    }

    /// Time that is given to the orders that wait to pay at `at`, of one sale or of all.
    pub fn gift(sale: Option<SaleId>, at: EpochMs, by_ms: i64, reason: String) -> Self {
        Self { sale, from: at, until: None, by_ms, reason }
    }

    /// Whether it is the same one as `other`, perhaps grown.
    pub fn is_same(&self, other: &Self) -> bool {
        let name = |grace: &Self| (grace.sale, grace.from, grace.until.is_some());
        name(self) == name(other)
    }

    /// Whether it may move the deadline of this order.
    pub fn concerns(&self, order: &NewOrder) -> bool {
        self.sale.is_none_or(|sale| sale == order.sale) && order.created_at <= self.end()
    }

    /// The last moment whose orders it may move.
    fn end(&self) -> EpochMs {
        self.until.unwrap_or(self.from)
    }
}

/// All graces in force, and the outage under way, if there is one.
#[derive(Clone, Debug, Default)]
pub struct Graces {
    /// By `from`.
    granted: Vec<Grace>,
    /// For each of them the latest end of those up to it: what is over before an order was made is found without a look at it. An
    /// engine that runs for months has seen thousands.
    over_by: Vec<EpochMs>,
    ongoing: Option<EpochMs>,
}

impl Graces {
    /// These graces.
    pub fn new(mut granted: Vec<Grace>) -> Self {
        granted.sort_by_key(|grace| grace.from);
        let latest = |latest: &mut EpochMs, grace: &Grace| {
            *latest = grace.end().max(*latest);
            Some(*latest)
        };
        let over_by = granted.iter().scan(EpochMs(i64::MIN), latest).collect();
        Self { granted, over_by, ongoing: None }
    }

    /// The same while paying is impossible since `ongoing`.
    #[must_use]
    pub fn with_ongoing(self, ongoing: Option<EpochMs>) -> Self {
        Self { ongoing, ..self }
    }

    /// Since when paying is impossible, if it is.
    pub fn ongoing(&self) -> Option<EpochMs> {
        self.ongoing
    }

    /// All that was granted, by time.
    pub fn granted(&self) -> &[Grace] {
        &self.granted
    }

    /// What is known of this grace, which may have grown since.
    pub fn same_as(&self, grace: &Grace) -> Option<&Grace> {
        let first = self.granted.partition_point(|known| known.from < grace.from);
        self.granted[first..]
            .iter()
            .take_while(|known| known.from == grace.from)
            .find(|known| known.is_same(grace))
    }

    /// The order's deadline as it stands at `now`: its own `pay_before`, moved.
    pub fn pay_before(&self, order: &NewOrder, now: EpochMs) -> EpochMs {
        let ongoing = self.ongoing.map(|from| Grace::outage(from, now.max(from), ""));
        self.moved(order, now, ongoing.as_ref())
    }

    /// The order's deadline when all counts that was granted, whatever is under way.
    pub fn pay_before_at_last(&self, order: &NewOrder) -> EpochMs {
        self.moved(order, EpochMs(i64::MAX), None)
    }

    fn moved(&self, order: &NewOrder, now: EpochMs, ongoing: Option<&Grace>) -> EpochMs {
        let mut deadline = order.pay_before;
        let mut counted = order.created_at;
        let until_now = self.since(order.created_at).iter().take_while(|grace| grace.from <= now);
        for grace in until_now.chain(ongoing).filter(|grace| grace.concerns(order)) {
            match grace.until {
                None if deadline > grace.from => deadline = deadline.plus_ms(grace.by_ms),
                None => {}
                Some(until) => {
                    let from = grace.from.max(counted);
                    if from < until && from < deadline {
                        deadline = deadline.plus_ms(until.ms_since(from));
                        counted = until;
                    }
                }
            }
        }
        deadline
    }

    /// What was granted, from the first one on that was not over before `created_at`.
    fn since(&self, created_at: EpochMs) -> &[Grace] {
        &self.granted[self.over_by.partition_point(|over_by| *over_by < created_at)..]
    }

    /// The order as everybody shall see it at `now`: with its deadline as it stands, or stood when it was paid.
    #[must_use]
    pub fn shown(&self, mut order: Order, now: EpochMs) -> Order {
        let as_of = match order.status {
            OrderStatus::Pending | OrderStatus::PrePay | OrderStatus::Paying | OrderStatus::Expired => now,
            OrderStatus::Paid | OrderStatus::Refunding | OrderStatus::Refunded => {
                order.paid_at.unwrap_or(now)
            }
            OrderStatus::Cancelled | OrderStatus::Rejected => return order,
        };
        order.placed.pay_before = self.pay_before(&order.placed, as_of);
        order
    }

    /// What the order's row must say so that its deadline is `wanted`, or the next later time that is possible.
    pub fn row_for(&self, order: &NewOrder, wanted: EpochMs, now: EpochMs) -> EpochMs {
        let stands_with =
            |row: i64| self.pay_before(&NewOrder { pay_before: EpochMs(row), ..order.clone() }, now);
        // The deadline never falls when the row grows.
        let (mut low, mut high) = (order.pay_before.0, wanted.0.max(order.pay_before.0));
        while low < high {
            let middle = low + (high - low) / 2;
            if stands_with(middle) >= wanted { high = middle } else { low = middle + 1 }
        }
        EpochMs(low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{BuyerId, Cents, OrderId};

    fn order(created: i64, pay_before: i64) -> NewOrder {
        NewOrder {
            id: OrderId::from_number(1).unwrap(),
            sale: SaleId(1),
            buyer: BuyerId::new("ann").unwrap(),
            quantity: 1,
            amount: Cents(1),
            created_at: EpochMs(created),
            pay_before: EpochMs(pay_before),
            idempotency_key: None,
        }
    }

    fn outage(from: i64, until: i64) -> Grace {
        Grace::outage(EpochMs(from), EpochMs(until), "test")
    }

    fn gift(sale: u32, at: i64, by_ms: i64) -> Grace {
        Grace::gift(Some(SaleId(sale)), EpochMs(at), by_ms, "test".into())
    }

    const LATER: EpochMs = EpochMs(i64::MAX);

    #[test]
    fn m4_a_deadline_moves_by_the_outage_that_the_order_has_seen() {
        let graces = Graces::new(vec![outage(100, 150)]);
        let moved = |created, pay_before| graces.pay_before(&order(created, pay_before), LATER).0;
        assert_eq!(moved(0, 200), 250);
        assert_eq!(moved(0, 120), 170, "its time was not over when the outage began");
        assert_eq!(moved(120, 220), 250, "made on the way: the rest of it");
        assert_eq!(moved(150, 250), 250, "made afterwards");
        assert_eq!(moved(0, 100), 100, "its time was over before");
    }

    #[test]
    fn m4_outages_that_overlap_count_once_and_one_may_bring_the_next() {
        let graces = Graces::new(vec![outage(140, 180), outage(100, 150)]);
        assert_eq!(graces.pay_before(&order(0, 200), LATER).0, 280);
        assert_eq!(graces.pay_before(&order(0, 110), LATER).0, 190, "110 becomes 160, then 190");
    }

    #[test]
    fn m4_a_gift_is_for_those_of_its_sale_who_wait_at_that_moment() {
        let graces = Graces::new(vec![gift(1, 100, 50), gift(2, 100, 70)]);
        let moved = |created, pay_before| graces.pay_before(&order(created, pay_before), LATER).0;
        assert_eq!((moved(0, 200), moved(100, 200)), (250, 250));
        assert_eq!((moved(101, 200), moved(0, 100)), (200, 100), "not there yet; too late");
    }

    #[test]
    fn m4_while_an_outage_lasts_nothing_runs_out_that_had_time_when_it_began() {
        let graces = Graces::default().with_ongoing(Some(EpochMs(100)));
        for now in [100, 150, 10_000] {
            assert_eq!(graces.pay_before(&order(0, 101), EpochMs(now)).0, now + 1);
        }
        assert_eq!(graces.pay_before(&order(0, 100), EpochMs(10_000)).0, 100);
    }

    #[test]
    fn m4_what_was_over_before_an_order_was_made_is_not_looked_at() {
        let short = (0..1_000).map(|n| outage(100 * n, 100 * n + 10));
        // One node could let nobody pay while others could, and in between.
        let graces = Graces::new(short.chain([outage(50_000, 70_000), gift(1, 50_005, 7)]).collect());
        let looked_at = |created| graces.since(EpochMs(created)).len();
        assert_eq!(
            [0, 11, 49_911, 49_999, 70_000, 70_001].map(looked_at),
            [1_002, 1_001, 502, 502, 501, 300]
        );
        assert_eq!([99_910, 99_911].map(looked_at), [1, 0]);
        let moved = |created, pay_before| graces.pay_before(&order(created, pay_before), LATER).0;
        assert_eq!(moved(60_000, 60_001), 70_011, "the rest of the long one, which brings the next");
        assert_eq!(moved(70_005, 70_101), 70_116, "the rest of one, and the next one");
        assert_eq!(moved(99_911, 99_912), 99_912);
    }

    #[test]
    fn a_row_is_found_for_every_deadline() {
        let graces = Graces::new(vec![outage(100, 150), gift(1, 170, 30)]);
        for (pay_before, wanted) in [(90, 95), (90, 120), (120, 170), (120, 500), (300, 400)] {
            let order = order(0, pay_before);
            let row = graces.row_for(&order, EpochMs(wanted), LATER);
            let stands = graces.pay_before(&NewOrder { pay_before: row, ..order.clone() }, LATER).0;
            assert!(stands >= wanted, "{stands} for {wanted}");
            let before = NewOrder { pay_before: row.plus_ms(-1), ..order };
            assert!(row.0 == pay_before || graces.pay_before(&before, LATER).0 < wanted);
        }
    }

    #[test]
    fn what_comes_after_an_order_was_paid_does_not_move_what_it_shows() {
        let graces = Graces::new(vec![outage(100, 150)]);
        let paid = |at| Order {
            status: OrderStatus::Paid,
            paid_at: Some(EpochMs(at)),
            ..Order::persisted(order(0, 200))
        };
        assert_eq!(graces.shown(paid(90), LATER).placed.pay_before.0, 200);
        assert_eq!(graces.shown(paid(160), LATER).placed.pay_before.0, 250);
    }
}
