//! Which of a buyer's orders are asked for.

use crate::domain::OrderId;

/// Which orders are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedOrders {
    /// Whose sales they are of.
    pub tenant: String,
    /// Whose orders they are.
    pub buyer: String,
    /// Of this campaign only.
    pub campaign: Option<String>,
    /// Of this SKU only.
    pub sku: Option<String>,
    /// Older than this order only.
    pub before: Option<OrderId>,
    /// So many at most.
    pub limit: usize,
}
