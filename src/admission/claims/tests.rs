use proptest::prelude::*;

use super::*;
use crate::domain::{BuyerId, Cents, EpochMs, NewOrder, OrderStatus, SaleId};

fn order(number: u64, key: Option<&str>, status: OrderStatus) -> Order {
    let placed = NewOrder {
        id: OrderId::from_number(number).unwrap(),
        sale: SaleId(1),
        buyer: BuyerId::new("buyer-000001").unwrap(),
        quantity: 1,
        amount: Cents(5),
        created_at: EpochMs(0),
        pay_before: EpochMs(9),
        idempotency_key: key.map(|key| IdempotencyKey::new(key).unwrap()),
    };
    Order { status, ..Order::persisted(placed) }
}

#[test]
fn o4_a_durable_order_takes_little_beside_its_buyers_name() {
    assert_eq!(size_of::<Option<(Box<str>, Kept)>>(), 32);
    let is_one =
        |claims: &Claims| claims.buyers.look("buyer-000001", |kept| matches!(kept, Some(Kept::One { .. })));
    let claims = Claims::default();
    claims.restore(&order(1, None, OrderStatus::Paid));
    assert!(is_one(&claims));
    // What more there is to remember stands in a box.
    claims.restore(&order(2, Some("tap"), OrderStatus::PrePay));
    assert!(!is_one(&claims));
    assert_eq!(claims.orders_of("buyer-000001").len(), 2);
    let claims = Claims::default();
    claims.restore(&order(1, Some("tap"), OrderStatus::Paid));
    assert!(!is_one(&claims), "its key has to be known");
    let claims = Claims::default();
    claims.restore(&order(1, None, OrderStatus::Cancelled));
    claims.restore(&order(2, None, OrderStatus::Paid));
    assert!(!is_one(&claims), "what was released has to be known");
    assert_eq!(claims.held("buyer-000001"), OrderId::from_number(2));
}

proptest! {
    #[test]
    fn orders_of_a_buyer_may_be_restored_whichever_comes_first(
        orders in proptest::collection::vec((0usize..3, any::<bool>()), 1..120),
        turns in proptest::collection::vec(any::<u16>(), 120),
    ) {
        let statuses = [OrderStatus::PrePay, OrderStatus::Paid, OrderStatus::Cancelled];
        let mut orders: Vec<_> = (1..)
            .zip(orders)
            .map(|(number, (status, has_key))| {
                let key = has_key.then(|| format!("tap-{number}"));
                order(number, key.as_deref(), statuses[status])
            })
            .collect();
        let kept = |orders: &[Order]| {
            let claims = Claims::default();
            orders.iter().for_each(|order| claims.restore(order));
            claims.buyers.look("buyer-000001", |kept| format!("{kept:?}"))
        };
        let in_turn = kept(&orders);
        orders.sort_by_key(|order| turns[order.placed.id.number() as usize - 1]);
        prop_assert_eq!(kept(&orders), in_turn);
    }
}
