//! Which orders are looked for, and what was found: the orders are looked through in pieces, each of them short whatever is
//! looked for. One long reading would keep the embedded store's log from being folded, and run out of time in the other one.

use crate::domain::{Order, OrderId, OrderStatus, SaleId};

/// Pieces of one search: who wants more asks again, from where it has come to.
pub(super) const PIECES_MAX: usize = 16;
/// Orders looked at in a piece where most of them may be in vain: some milliseconds.
const ORDERS_A_PIECE: usize = 8_192;
/// Orders looked at behind one of the wanted sales, before the next of them is sought. Between two of a quiet tenant may lie as
/// many of others as there are.
const ORDERS_BESIDE: usize = 512;

/// Which orders are shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OrderFilter {
    /// Of this sale only.
    pub sale: Option<SaleId>,
    /// Of these sales only.
    pub sales: Option<TenantSales>,
    /// Of this buyer only, in whatever sale.
    pub buyer: Option<String>,
    /// Of this status only.
    pub status: Option<OrderStatus>,
}

impl OrderFilter {
    /// Orders that a piece looks at. `None` where each of them is wanted, so that the limit keeps it short.
    pub(super) fn piece(&self) -> Option<usize> {
        if self.buyer.is_some() || self.status.is_some() {
            return Some(ORDERS_A_PIECE);
        }
        self.sales.is_some().then_some(ORDERS_BESIDE)
    }
}

/// Sales of one tenant, archived ones among them, and none that was deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantSales {
    /// Whose sales.
    pub tenant: String,
    /// Of this campaign only.
    pub campaign: Option<String>,
    /// Of this SKU only.
    pub sku: Option<String>,
}

/// Orders that nothing can be put between any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompleteOrders {
    /// The orders, oldest first.
    pub orders: Vec<Order>,
    /// Up to this number all were looked at. Below `through` where a search has yet to go on.
    pub looked_through: OrderId,
    /// Up to this number nothing is missing.
    pub through: OrderId,
    /// The highest number that is durable, also where numbers below it are on their way.
    pub newest: Option<OrderId>,
}
