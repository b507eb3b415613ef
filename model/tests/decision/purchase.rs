//! The whole column of refusals, as [`Admission::purchase`] runs it; and who hears of it.

use super::*;

const NOW: Moment = Moment { wall: EpochMs(1_800_000_000_000), mono: Nanos(1) };

struct House {
    admission: Admission,
    sale: LiveSale,
}

impl House {
    fn buy(&self, buyer: &str, home: usize, quantity: Units) -> Result<Accepted, Rejection> {
        let buyer = BuyerName::new(buyer).unwrap();
        let purchase = Purchase { buyer, quantity, idempotency_key: None, pass: None };
        self.admission.purchase(&self.sale, &purchase, home, NOW).map_err(Rejection::from)
    }
}

fn house(
    units: Units,
    queue_orders_max: usize,
) -> (Arc<House>, impl Iterator<Item = seckill::admission::Arrival>) {
    let (queue, exit) = Queue::bounded(queue_orders_max);
    let terms = SaleTerms {
        title: String::new(),
        price: Cents(1),
        currency: Currency::USD,
        per_buyer_limit: 2,
        starts_at: EpochMs(0),
        ends_at: EpochMs(i64::MAX),
        pay_within_s: 60,
        rate: None,
        paused: false,
        paused_until: None,
        room: None,
    };
    let key = SaleKey::new("default", "c", "s").unwrap();
    let sale = LiveSale::new(SaleId(1), key, terms, Arc::new(SaleState::new(2, units)));
    let ids = OrderIds::after(NodeId::new(0).unwrap(), None);
    let admission = Admission::new(queue, ids, None, None);
    (Arc::new(House { admission, sale }), std::iter::from_fn(move || exit.try_recv().ok()))
}

fn units(outcome: &Result<Accepted, Rejection>) -> Units {
    match outcome {
        Ok(Accepted::Placed(placed)) => placed.quantity,
        _ => 0,
    }
}

#[test]
fn n2_a_purchase_is_seen_by_the_look_at_the_sale_or_has_it_looked_at_once_more() {
    explore_preempting(3, || {
        let (house, _exit) = house(1, 2);
        // The sale was named, and is about to be taken up.
        house.admission.board().stir(&house.sale);
        assert_eq!(house.admission.board().stirred().drain().count(), 1);
        let buyer = on_thread(&house, |house| units(&house.buy("ann", 0, 1)));
        house.sale.state.take_up();
        let seen = house.sale.remaining() == 0;
        assert_eq!(buyer.join().unwrap(), 1);
        assert!(seen || house.admission.board().stirred().drain().count() == 1);
    });
}

#[test]
fn n2_a_buyer_in_vain_is_seen_by_the_look_at_the_sale_or_has_it_looked_at_once_more() {
    explore_preempting(3, || {
        let (house, _exit) = house(0, 2);
        house.admission.board().stir(&house.sale);
        assert_eq!(house.admission.board().stirred().drain().count(), 1);
        let buyer = on_thread(&house, |house| house.buy("ann", 0, 1).is_err());
        house.sale.state.take_up();
        let seen = house.sale.state.has_unmet_demand();
        assert!(buyer.join().unwrap());
        assert!(seen || house.admission.board().stirred().drain().count() == 1);
    });
}

#[test]
fn two_buyers_and_one_unit() {
    explore_preempting(2, || {
        let (house, exit) = house(1, 2);
        let other = on_thread(&house, |house| units(&house.buy("bob", 1, 1)));
        let own = house.buy("ann", 0, 1);
        let sold = units(&own) + other.join().unwrap();
        assert_eq!((sold, house.sale.remaining()), (1, 0));
        assert_eq!(house.admission.queue().depth(), 1);
        assert_eq!(exit.count(), 1);
    });
}

#[test]
fn a_full_queue_leaves_the_unit_on_sale() {
    explore_preempting(2, || {
        let (house, exit) = house(2, 1);
        let other = on_thread(&house, |house| units(&house.buy("bob", 1, 1)));
        let own = house.buy("ann", 0, 1);
        let sold = units(&own) + other.join().unwrap();
        assert_eq!((sold, house.sale.remaining()), (1, 1));
        assert_eq!(house.sale.state.claims().buyers(), 1, "the refused buyer holds nothing");
        assert_eq!((house.admission.queue().depth(), exit.count()), (1, 1));
    });
}

#[test]
fn a_buyer_who_clicks_twice_for_two_units_has_one_order() {
    explore_preempting(2, || {
        let (house, exit) = house(4, 4);
        let other = on_thread(&house, |house| units(&house.buy("ann", 1, 2)));
        let own = house.buy("ann", 0, 2);
        let sold = units(&own) + other.join().unwrap();
        assert_eq!((sold, house.sale.remaining(), exit.count()), (2, 2, 1));
    });
}
