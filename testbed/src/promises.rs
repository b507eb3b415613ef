//! What clients were promised, held against the orders that are there.

use std::collections::HashMap;

use serde_json::Value;

/// The last word that a client heard of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// The order is durable.
    Bought,
    /// It is paid.
    Paid,
    /// It was given up.
    Cancelled,
}

/// What clients were told.
#[derive(Debug, Default)]
pub struct Log {
    /// Orders that were acknowledged, their buyers, and the last word.
    pub acknowledged: HashMap<String, (String, Word)>,
    /// Buyers whose purchase was not answered, or answered with "perhaps".
    pub unanswered: Vec<String>,
}

impl Log {
    /// Adds what another client was told.
    pub fn merge(&mut self, other: Self) {
        self.acknowledged.extend(other.acknowledged);
        self.unanswered.extend(other.unanswered);
    }

    /// Compares with what the engine exports.
    ///
    /// # Panics
    /// An order is missing, or is not what a client was told.
    pub fn check(&self, orders: &[Value]) {
        let orders: HashMap<&str, &Value> =
            orders.iter().map(|order| (order["order_id"].as_str().unwrap(), order)).collect();
        for (order_id, (buyer, word)) in &self.acknowledged {
            let order = orders.get(order_id.as_str()).unwrap_or_else(|| panic!("order {order_id} is lost"));
            assert_eq!(order["buyer"], *buyer);
            let status = order["status"].as_str().unwrap();
            let allowed: &[&str] = match word {
                // The answer to a payment or a cancel may have been lost with the engine.
                Word::Bought => &["pre_pay", "paying", "paid", "cancelled"],
                Word::Paid => &["paid"],
                Word::Cancelled => &["cancelled"],
            };
            assert!(
                allowed.contains(&status),
                "{buyer} was told {word:?} of order {order_id}, which is {status}"
            );
        }
    }

    /// How many orders have this last word.
    pub fn count(&self, word: Word) -> usize {
        self.acknowledged.values().filter(|(_, last)| *last == word).count()
    }
}
