//! The end of a sale: it is archived, or deleted.
//!
//! An archived sale takes no purchase any more and never will; its orders are final and are kept apart from those of running
//! sales. What an operator asks for is decided in the store's transaction, on the sale as it stands there, and told in the
//! trail by the same transaction. The orders are moved afterwards, a few at a time: nobody who buys elsewhere waits for it.

use serde_json::json;

use super::trail::Act;
use crate::domain::{EpochMs, Sale, SaleId, Units};

/// What is done to a sale that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It leaves memory and the tables of running sales; its orders stay.
    Archive {
        /// Units of its paid orders, when no other of its orders held units: while it still has sold as many, that is so.
        paid: Units,
    },
    /// It leaves as if it had never been. Only a sale without durable orders can.
    Delete,
}

/// The end of a sale on its way to the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retirement {
    /// The sale.
    pub sale: SaleId,
    /// What is done.
    pub ending: Ending,
    /// The versions of the sale that it was decided from; `None` when it fits any.
    pub if_version: Option<Vec<u64>>,
    /// The act that asks for it, for the trail. Its time is when the sale ends.
    pub act: Act,
}

/// What became of it. Nothing has changed unless it is [`RetirementReceipt::Done`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RetirementReceipt {
    /// It is durable; the sale as it is now, or as it was last.
    Done(Sale),
    /// The sale has another version than those that were named.
    NotCurrent(Sale),
    /// It sells until this moment.
    NotOver(EpochMs),
    /// An order was made, given up or paid meanwhile: it is to be looked at again.
    Moved,
    /// What orders of so many units have paid is being given back.
    RefundsOpen(u64),
    /// It has durable orders.
    HasOrders,
    /// It is archived already.
    Archived,
    /// There is no such sale.
    Unknown,
    /// An engine of a version before lives, which would go on with the sale.
    OlderEngines,
}

impl Retirement {
    /// Whether the sale may end so, of whose orders' units the payments for `refunding` are being given back.
    ///
    /// # Errors
    /// Why it may not.
    pub fn decide(
        &self,
        sale: &Sale,
        has_orders: bool,
        refunding: u64,
    ) -> Result<(), Box<RetirementReceipt>> {
        if self.if_version.as_ref().is_some_and(|versions| !versions.contains(&sale.version)) {
            return Err(Box::new(RetirementReceipt::NotCurrent(sale.clone())));
        }
        let refusal = match self.ending {
            _ if sale.archived_at.is_some() => RetirementReceipt::Archived,
            Ending::Archive { .. } if sale.terms.ends_at > self.act.at => {
                RetirementReceipt::NotOver(sale.terms.ends_at)
            }
            // Once a sale is over its paid orders only become more, and whatever else holds units is counted on top.
            Ending::Archive { paid } if sale.sold != paid => RetirementReceipt::Moved,
            Ending::Archive { .. } if refunding > 0 => RetirementReceipt::RefundsOpen(refunding),
            Ending::Delete if has_orders => RetirementReceipt::HasOrders,
            Ending::Archive { .. } | Ending::Delete => return Ok(()),
        };
        Err(Box::new(refusal))
    }

    /// The act, as the trail tells it.
    pub fn told(&self, sale: &Sale) -> Act {
        let state = |state: &str| json!({ "state": state });
        let to = match self.ending {
            Ending::Archive { .. } => state("archived"),
            Ending::Delete => state("deleted"),
        };
        let from = json!({ "stock": sale.total, "sold": sale.sold });
        Act { from, to, ..self.act.clone() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::trail::{ActKind, Actor};
    use super::*;
    use crate::domain::{Cents, Currency, SaleKey, SaleTerms};

    #[test]
    fn o5_a_sale_ends_only_when_it_is_over_and_nothing_is_open() {
        let terms = SaleTerms {
            title: String::new(),
            price: Cents(5),
            currency: Currency::USD,
            per_buyer_limit: 1,
            starts_at: EpochMs(0),
            ends_at: EpochMs(100),
            pay_within_s: 1,
            rate: None,
            paused: false,
            paused_until: None,
            room: None,
        };
        let key = SaleKey::new("default", "c", "s").unwrap();
        let sale = Sale { id: SaleId(1), key, terms, total: 9, sold: 4, version: 7, archived_at: None };
        let text = str::to_owned;
        let actor = Actor { who: text("ann"), role: text("admin"), address: text(""), request_id: text("") };
        let act = |at| Act {
            id: 1,
            at: EpochMs(at),
            actor: actor.clone(),
            tenant: None,
            kind: ActKind::CampaignArchived,
            object: text("c/s"),
            from: Value::Null,
            to: Value::Null,
            reason: None,
        };
        let ends = |ending, at, if_version| {
            let retirement = Retirement { sale: sale.id, ending, if_version, act: act(at) };
            retirement.decide(&sale, true, 0)
        };
        let refused = |receipt| Err(Box::new(receipt));
        assert_eq!(ends(Ending::Archive { paid: 4 }, 100, None), Ok(()));
        assert_eq!(ends(Ending::Archive { paid: 4 }, 100, Some(vec![7])), Ok(()));
        let not_over = refused(RetirementReceipt::NotOver(EpochMs(100)));
        assert_eq!(ends(Ending::Archive { paid: 4 }, 99, None), not_over);
        assert_eq!(ends(Ending::Archive { paid: 3 }, 100, None), refused(RetirementReceipt::Moved));
        let not_current = refused(RetirementReceipt::NotCurrent(sale.clone()));
        assert_eq!(ends(Ending::Archive { paid: 4 }, 100, Some(vec![6])), not_current);
        assert_eq!(ends(Ending::Delete, 100, None), refused(RetirementReceipt::HasOrders));
    }
}
