//! The types of events, and who wants which.

/// All types of events.
pub(super) const KINDS: [&str; 16] = [
    "order.created",
    "order.paid",
    "order.cancelled",
    "order.expired",
    "order.extended",
    "order.refunded",
    "sale.created",
    "sale.changed",
    "sale.paused",
    "sale.resumed",
    "sale.ended",
    "sale.extended",
    "sale.archived",
    "sale.deleted",
    "sales.stopped",
    "sales.resumed",
];

/// The acts of the trail that are told, and as what.
pub(super) const ACTS: [(&str, &str); 10] = [
    ("campaign.created", "sale.created"),
    ("campaign.changed", "sale.changed"),
    ("campaign.paused", "sale.paused"),
    ("campaign.resumed", "sale.resumed"),
    ("campaign.ended", "sale.ended"),
    ("campaign.extended", "sale.extended"),
    ("campaign.archived", "sale.archived"),
    ("campaign.deleted", "sale.deleted"),
    ("sales.stopped", "sales.stopped"),
    ("sales.resumed", "sales.resumed"),
];

/// What an endpoint may want or not.
#[derive(Clone, Copy, Debug)]
pub(super) struct About<'a> {
    /// The type of the event.
    pub kind: &'a str,
    /// Whose it is; `None` where it is about all tenants'.
    pub tenant: Option<&'a str>,
    /// Campaign and SKU; `None` where it is about all sales.
    pub sale: Option<(&'a str, &'a str)>,
}

/// Whether what is wanted, a name, a beginning with `*` behind it, or `*` alone, fits a type of events.
pub(super) fn fits(wanted: &str, kind: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some("") => true,
        Some(beginning) => beginning.ends_with('.') && kind.starts_with(beginning),
        None => wanted == kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders::EventKind;

    #[test]
    fn every_event_of_orders_and_every_act_that_is_told_has_its_type() {
        for kind in EventKind::ALL {
            assert!(KINDS.contains(&kind.as_str()), "{}", kind.as_str());
        }
        assert_eq!(KINDS.len(), EventKind::ALL.len() + ACTS.len());
        assert!(ACTS.iter().all(|(_, kind)| KINDS.contains(kind)));
    }
}
