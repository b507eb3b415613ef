//! What an order gives back: which refund it takes, and what it has then.

use super::money::Cents;
use super::order::{Order, OrderStatus};
use super::refund::{REFUNDS_MAX, RefundRefusal, RefundRequest, Refunds, Restock};
use super::sale::Units;

impl Order {
    /// Units that are neither on sale nor given back because this order has them.
    pub fn units_held(&self) -> Units {
        if self.status.holds_units() {
            self.placed.quantity.saturating_sub(self.refunds.restocked)
        } else {
            0
        }
    }

    /// What is left of what it paid. 0 of one that was never paid.
    pub fn refundable(&self) -> Cents {
        match self.status {
            OrderStatus::Paid | OrderStatus::Refunding => {
                Cents(self.placed.amount.0.saturating_sub(self.refunds.refunded.0))
            }
            _ => Cents(0),
        }
    }

    /// What a refund would give back, and how many units it would put back on sale.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn refund_terms(&self, request: &RefundRequest) -> Result<(Cents, Units), RefundRefusal> {
        match self.status {
            OrderStatus::Paid => {}
            OrderStatus::Refunding => return Err(RefundRefusal::UnderWay),
            OrderStatus::Refunded => return Err(RefundRefusal::NothingLeft),
            _ => return Err(RefundRefusal::NotPaid),
        }
        let next = self.refunds.begun + 1;
        if request.number.is_some_and(|number| number != next) {
            return Err(RefundRefusal::OtherNumber { next });
        }
        if next > REFUNDS_MAX {
            return Err(RefundRefusal::TooMany);
        }
        let left = self.refundable();
        let amount = request.amount.unwrap_or(left);
        // An order that cost nothing is taken back with nothing.
        let is_something = amount > Cents(0) || self.placed.amount == Cents(0);
        if amount > left || !is_something {
            return Err(RefundRefusal::Amount { left });
        }
        let held = self.units_held();
        let restock = match request.restock {
            Restock::All => held,
            Restock::Units(units) if units <= held => units,
            Restock::Units(_) => return Err(RefundRefusal::Units { held }),
        };
        Ok((amount, restock))
    }

    /// Whether the latest refund is the one that is asked for, and did not come to nothing.
    pub fn has_refund(&self, request: &RefundRequest) -> bool {
        let Refunds { begun, amount, restock, .. } = self.refunds;
        let is_same_amount = request.amount.is_none_or(|asked| asked == amount);
        let is_same_restock = match request.restock {
            Restock::Units(units) => units == restock,
            Restock::All => true,
        };
        let is_made = amount > Cents(0) || self.status == OrderStatus::Refunded;
        request.number == Some(begun) && begun > 0 && is_made && is_same_amount && is_same_restock
    }

    /// Notes that a refund begins. `false` when it is not taken; then nothing has changed.
    pub(crate) fn begin_refund(&mut self, request: &RefundRequest) -> bool {
        let Ok((amount, restock)) = self.refund_terms(request) else { return false };
        self.refunds = Refunds { begun: self.refunds.begun + 1, amount, restock, ..self.refunds };
        true
    }

    /// Notes that the latest refund is made.
    pub(crate) fn make_refund(&mut self) {
        self.refunds.refunded.0 += self.refunds.amount.0;
        self.refunds.restocked += self.refunds.restock;
        let is_whole = self.refunds.refunded >= self.placed.amount;
        self.status = if is_whole { OrderStatus::Refunded } else { OrderStatus::Paid };
    }

    /// Notes that the latest refund comes to nothing.
    pub(crate) fn drop_refund(&mut self) {
        self.refunds = Refunds { amount: Cents(0), restock: 0, ..self.refunds };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{BuyerId, EpochMs, NewOrder, OrderId, SaleId};

    fn paid(quantity: Units, amount: u64) -> Order {
        let placed = NewOrder {
            id: OrderId::from_number(1).unwrap(),
            sale: SaleId(1),
            buyer: BuyerId::new("ann").unwrap(),
            quantity,
            amount: Cents(amount),
            created_at: EpochMs(0),
            pay_before: EpochMs(1),
            idempotency_key: None,
        };
        Order { status: OrderStatus::Paid, ..Order::persisted(placed) }
    }

    fn ask(number: Option<u32>, amount: Option<u64>, restock: Restock) -> RefundRequest {
        RefundRequest { number, amount: amount.map(Cents), restock }
    }

    #[test]
    fn parts_add_up_to_the_whole_and_to_no_more() {
        let mut order = paid(3, 900);
        assert!(order.begin_refund(&ask(Some(1), Some(300), Restock::Units(1))));
        order.make_refund();
        assert_eq!(
            (order.status, order.refundable(), order.units_held()),
            (OrderStatus::Paid, Cents(600), 2)
        );
        let again = ask(Some(1), Some(300), Restock::Units(1));
        assert_eq!(order.refund_terms(&again), Err(RefundRefusal::OtherNumber { next: 2 }));
        assert!(order.has_refund(&again) && !order.has_refund(&ask(Some(1), Some(301), Restock::Units(1))));
        for amount in [0, 601] {
            let refusal = order.refund_terms(&ask(None, Some(amount), Restock::Units(0)));
            assert_eq!(refusal, Err(RefundRefusal::Amount { left: Cents(600) }), "{amount}");
        }
        let units = order.refund_terms(&ask(None, Some(1), Restock::Units(3)));
        assert_eq!(units, Err(RefundRefusal::Units { held: 2 }));
        assert!(order.begin_refund(&ask(None, None, Restock::All)));
        order.make_refund();
        assert_eq!((order.status, order.units_held()), (OrderStatus::Refunded, 0));
        assert_eq!(order.refund_terms(&ask(None, None, Restock::All)), Err(RefundRefusal::NothingLeft));
    }

    #[test]
    fn a_refund_that_comes_to_nothing_leaves_what_was_paid_and_its_number_is_used_up() {
        let mut order = paid(1, 900);
        let first = ask(Some(1), None, Restock::All);
        assert!(order.begin_refund(&first));
        order.drop_refund();
        assert_eq!((order.refundable(), order.units_held()), (Cents(900), 1));
        assert!(!order.has_refund(&first));
        assert_eq!(order.refund_terms(&first), Err(RefundRefusal::OtherNumber { next: 2 }));
        order.refunds.begun = REFUNDS_MAX;
        assert_eq!(order.refund_terms(&ask(None, None, Restock::All)), Err(RefundRefusal::TooMany));
    }

    #[test]
    fn what_cost_nothing_is_taken_back_once() {
        let mut order = paid(1, 0);
        let whole = ask(None, None, Restock::All);
        assert_eq!(
            order.refund_terms(&ask(None, Some(1), Restock::All)),
            Err(RefundRefusal::Amount { left: Cents(0) })
        );
        assert!(order.begin_refund(&whole));
        order.make_refund();
        assert_eq!((order.status, order.units_held()), (OrderStatus::Refunded, 0));
        assert_eq!(order.refund_terms(&whole), Err(RefundRefusal::NothingLeft));
    }

    #[test]
    fn only_what_was_paid_is_given_back() {
        for status in OrderStatus::ALL {
            let order = Order { status, ..paid(1, 5) };
            let refusal = match status {
                OrderStatus::Paid => continue,
                OrderStatus::Refunding => RefundRefusal::UnderWay,
                OrderStatus::Refunded => RefundRefusal::NothingLeft,
                _ => RefundRefusal::NotPaid,
            };
            assert_eq!(order.refund_terms(&ask(None, None, Restock::All)), Err(refusal), "{status}");
        }
    }
}
