//! Which of the page's states a visitor is in, told from what the API answers.

use serde_json::Value;

/// What is known of a sale and of a visitor: the API's own documents. What does not apply is null.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The public state of the sale.
    pub sale: Value,
    /// The public document of its waiting room.
    pub room: Value,
    /// The visitor's place in it.
    pub place: Value,
    /// The visitor's order.
    pub order: Value,
    /// Whether the sale could not be looked up: there may be one all the same.
    pub is_away: bool,
}

/// The states of the page. Each has words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    /// There is no such sale.
    Unknown,
    /// The sale cannot be looked up.
    Away,
    /// The waiting room opens later.
    Closed,
    /// The sale starts later.
    Upcoming,
    /// One can take part in the draw.
    Register,
    /// One can join the queue.
    Join,
    /// The visitor takes part in the draw, which has yet to come.
    Registered,
    /// Places are being drawn.
    Drawing,
    /// The visitor waits.
    Waiting,
    /// The visitor waits behind more people than there are units.
    Behind,
    /// The visitor may buy.
    Turn,
    /// Whoever comes may buy.
    OnSale,
    /// Nobody may buy for now.
    Paused,
    /// Nothing is left.
    SoldOut,
    /// It is over.
    Ended,
    /// The order is not durable yet.
    OrderPending,
    /// The order waits to be paid.
    OrderPrePay,
    /// A payment is under way.
    OrderPaying,
    /// The order is paid.
    OrderPaid,
    /// The order was given up.
    OrderCancelled,
    /// Nobody paid in time.
    OrderExpired,
    /// The store did not take the order.
    OrderRejected,
    /// Money is being given back.
    OrderRefunding,
    /// Money was given back.
    OrderRefunded,
}

impl View {
    /// All states, in this order.
    pub const ALL: [Self; 24] = [
        Self::Unknown,
        Self::Away,
        Self::Closed,
        Self::Upcoming,
        Self::Register,
        Self::Join,
        Self::Registered,
        Self::Drawing,
        Self::Waiting,
        Self::Behind,
        Self::Turn,
        Self::OnSale,
        Self::Paused,
        Self::SoldOut,
        Self::Ended,
        Self::OrderPending,
        Self::OrderPrePay,
        Self::OrderPaying,
        Self::OrderPaid,
        Self::OrderCancelled,
        Self::OrderExpired,
        Self::OrderRejected,
        Self::OrderRefunding,
        Self::OrderRefunded,
    ];

    /// The name under which its words stand.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Away => "away",
            Self::Closed => "closed",
            Self::Upcoming => "upcoming",
            Self::Register => "register",
            Self::Join => "join",
            Self::Registered => "registered",
            Self::Drawing => "drawing",
            Self::Waiting => "waiting",
            Self::Behind => "behind",
            Self::Turn => "turn",
            Self::OnSale => "on_sale",
            Self::Paused => "paused",
            Self::SoldOut => "sold_out",
            Self::Ended => "ended",
            Self::OrderPending => "order_pending",
            Self::OrderPrePay => "order_pre_pay",
            Self::OrderPaying => "order_paying",
            Self::OrderPaid => "order_paid",
            Self::OrderCancelled => "order_cancelled",
            Self::OrderExpired => "order_expired",
            Self::OrderRejected => "order_rejected",
            Self::OrderRefunding => "order_refunding",
            Self::OrderRefunded => "order_refunded",
        }
    }

    /// The state that what is seen means. `client.js` decides in the same way.
    pub fn of(seen: &Seen) -> Self {
        let word = |document: &Value, name: &str| document[name].as_str().unwrap_or_default().to_owned();
        if !seen.order.is_null() {
            let name = format!("order_{}", word(&seen.order, "status"));
            return Self::ALL.into_iter().find(|view| view.name() == name).unwrap_or(Self::OrderPending);
        }
        if seen.room.is_null() {
            return match &*word(&seen.sale, "state") {
                "upcoming" => Self::Upcoming,
                "open" => Self::OnSale,
                "paused" => Self::Paused,
                "sold_out" => Self::SoldOut,
                "ended" => Self::Ended,
                _ if seen.is_away => Self::Away,
                _ => Self::Unknown,
            };
        }
        // Once the draw is made nobody gets a place by lot, also where the start was moved behind it.
        let draws = seen.sale["queue"]["mode"] == "draw" && seen.room["seed"].is_null();
        let has_place = !seen.place.is_null();
        match &*word(&seen.room, "state") {
            "ended" => Self::Ended,
            "sold_out" => Self::SoldOut,
            "paused" => Self::Paused,
            // Whoever was admitted before the start was moved has to wait with all others.
            "open" if seen.place["admitted"] == true => Self::Turn,
            "closed" => Self::Closed,
            "registering" if !has_place && draws => Self::Register,
            _ if !has_place => Self::Join,
            "registering" if draws => Self::Registered,
            "drawing" if seen.place["position"].is_null() => Self::Drawing,
            _ if seen.place["has_chance"] == false => Self::Behind,
            _ => Self::Waiting,
        }
    }

    /// How often the page looks again where no script does, in seconds; never, where the visitor is about to do something.
    pub const fn renewed_after_s(self) -> Option<u32> {
        match self {
            Self::OrderPending | Self::OrderPaying | Self::Drawing => Some(3),
            Self::Registered | Self::Waiting | Self::Behind | Self::Paused | Self::SoldOut => Some(10),
            Self::Closed | Self::Upcoming | Self::OrderRefunding => Some(30),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::OrderStatus;
    use serde_json::json;

    fn view(room: Value, place: Value) -> View {
        View::of(&Seen {
            sale: json!({"state": "open", "queue": {"mode": "draw"}}),
            room,
            place,
            ..Seen::default()
        })
    }

    #[test]
    fn every_status_of_an_order_has_a_state() {
        for status in OrderStatus::ALL {
            let order = json!({ "status": status.as_str() });
            let view = View::of(&Seen { order, ..Seen::default() });
            assert_eq!(view.name(), format!("order_{status}"));
        }
    }

    #[test]
    fn a_sale_without_a_room_is_shown_as_it_is() {
        let states = ["upcoming", "open", "paused", "sold_out", "ended"];
        let views =
            states.map(|state| View::of(&Seen { sale: json!({ "state": state }), ..Seen::default() }));
        assert_eq!(views, [View::Upcoming, View::OnSale, View::Paused, View::SoldOut, View::Ended]);
        assert_eq!(View::of(&Seen::default()), View::Unknown);
        assert_eq!(View::of(&Seen { is_away: true, ..Seen::default() }), View::Away);
    }

    #[test]
    fn a_room_is_shown_as_its_visitor_stands() {
        let room = |state: &str| json!({ "state": state });
        let waits = json!({"position": 7, "admitted": false, "has_chance": true});
        let is_drawn = json!({"position": null, "admitted": false, "has_chance": true});
        for (state, place, expected) in [
            ("closed", Value::Null, View::Closed),
            ("registering", Value::Null, View::Register),
            ("registering", is_drawn.clone(), View::Registered),
            ("drawing", Value::Null, View::Join),
            ("drawing", is_drawn, View::Drawing),
            ("drawing", waits.clone(), View::Waiting),
            ("open", Value::Null, View::Join),
            ("open", waits.clone(), View::Waiting),
            ("open", json!({"position": 7, "admitted": false, "has_chance": false}), View::Behind),
            ("open", json!({"position": 7, "admitted": true}), View::Turn),
            ("closed", json!({"position": null, "admitted": true}), View::Closed),
            ("registering", json!({"position": null, "admitted": true}), View::Registered),
            ("paused", waits.clone(), View::Paused),
            ("sold_out", waits.clone(), View::SoldOut),
            ("ended", waits, View::Ended),
        ] {
            assert_eq!(view(room(state), place.clone()), expected, "{state} {place}");
        }
    }

    #[test]
    fn nobody_is_hurried_while_there_is_something_to_do() {
        for view in [View::Register, View::Join, View::Turn, View::OnSale, View::OrderPrePay] {
            assert_eq!(view.renewed_after_s(), None, "{view:?}");
        }
    }
}
