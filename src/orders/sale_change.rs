//! A change of a sale on its way to the store, and what became of it.
//!
//! The store decides it inside its transaction, on the sale as it stands there, so that changes made at the same moment by
//! several engines are all kept, and a change that names the version it was made from meets no other.

use std::borrow::Cow;

use serde_json::json;

use super::trail::{Act, SaleAct};
use crate::domain::{
    EpochMs, FieldError, RoomMarks, RoomMode, RoomTerms, Sale, SaleEdit, SaleId, SaleLimits, SaleTerms,
    Stops, Units,
};

/// A change of a sale, which may be running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaleChange {
    /// The sale.
    pub sale: SaleId,
    /// What is to be different.
    pub edit: SaleEdit,
    /// What its fields may be.
    pub limits: SaleLimits,
    /// The versions of the sale that the change was made from; `None` when it fits any.
    pub if_version: Option<Vec<u64>>,
    /// Units that are off sale so that the total can fall by exactly so many.
    pub withdrawn: Units,
    /// The operator's act that asks for it, for the trail.
    pub act: Option<SaleAct>,
}

/// All sales of a tenant, or of all tenants, are stopped or go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopChange {
    /// Whose sales; `None` for those of all tenants.
    pub tenant: Option<String>,
    /// Whether they are stopped from then on.
    pub is_stopped: bool,
    /// The operator's act that asks for it, for the trail.
    pub act: Act,
}

impl StopChange {
    /// The act, when `before` was in force.
    pub(super) fn told(&self, before: &Stops) -> Act {
        let was_stopped = self.tenant.as_ref().map_or(before.all, |tenant| before.tenants.contains(tenant));
        let stopped = |is_stopped: bool| json!({ "stopped": is_stopped });
        Act { from: stopped(was_stopped), to: stopped(self.is_stopped), ..self.act.clone() }
    }
}

/// What became of a change. Nothing has changed unless it is [`ChangeReceipt::Changed`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeReceipt {
    /// The change is durable.
    Changed {
        /// The sale from now on.
        sale: Sale,
        /// Its total before.
        total_before: Units,
    },
    /// The sale has another version than those that the change names.
    NotCurrent(Sale),
    /// The total would fall by `units`, and other than so many are off sale for it.
    Withdraw {
        /// Units to take off sale first.
        units: Units,
        /// The total now.
        total: Units,
    },
    /// The total would fall below the units that are sold.
    BelowSold(Units),
    /// A field would break its rule.
    Invalid(FieldError),
    /// It is archived: nothing of it changes any more.
    Archived,
    /// There is no such sale.
    Unknown,
}

impl SaleChange {
    /// The terms and the total that `sale` gets, whose waiting room has come as far as `marks` say.
    ///
    /// # Errors
    /// Why it does not.
    pub fn decide(&self, sale: &Sale, marks: &RoomMarks) -> Result<(SaleTerms, Units), Box<ChangeReceipt>> {
        if sale.archived_at.is_some() {
            return Err(Box::new(ChangeReceipt::Archived));
        }
        if self.if_version.as_ref().is_some_and(|versions| !versions.contains(&sale.version)) {
            return Err(Box::new(ChangeReceipt::NotCurrent(sale.clone())));
        }
        let invalid = |error| Box::new(ChangeReceipt::Invalid(error));
        let (terms, total) = self.edit_from_now_on(sale).apply(sale, &self.limits).map_err(invalid)?;
        if total < sale.sold {
            return Err(Box::new(ChangeReceipt::BelowSold(sale.sold)));
        }
        if let Some(told) = &self.act {
            check_room(&sale.terms, &terms, marks, told.act.at).map_err(invalid)?;
        }
        let units = sale.total.saturating_sub(total);
        if units != self.withdrawn {
            return Err(Box::new(ChangeReceipt::Withdraw { units, total: sale.total }));
        }
        Ok((terms, total))
    }

    /// The change; a draw that was to begin before the act begins with the act, if somebody may have registered: who has was told of a
    /// draw to come. Each command to begin now says a moment that is over when it arrives.
    fn edit_from_now_on(&self, sale: &Sale) -> Cow<'_, SaleEdit> {
        let Some(now) = self.act.as_ref().map(|told| told.act.at) else { return Cow::Borrowed(&self.edit) };
        let is_open = |room: &RoomTerms| room.opens_at.is_none_or(|opens_at| opens_at <= now);
        let has_opened = sale.terms.waiting_room().is_some_and(is_open);
        let mode = self.edit.room.and_then(|room| room.mode).or(sale.terms.room.map(|room| room.mode));
        match self.edit.starts_at {
            Some(starts_at) if has_opened && mode == Some(RoomMode::Draw) => {
                let starts_at = Some(starts_at.max(now.min(sale.terms.starts_at)));
                Cow::Owned(SaleEdit { starts_at, ..self.edit.clone() })
            }
            _ => Cow::Borrowed(&self.edit),
        }
    }
}

/// Refuses what would undo at `now` that registration has closed.
fn check_room(
    before: &SaleTerms,
    after: &SaleTerms,
    marks: &RoomMarks,
    now: EpochMs,
) -> Result<(), FieldError> {
    let wrong = |field, problem: &str| Err(FieldError { field, problem: problem.into() });
    let mode = |terms: &SaleTerms| terms.room.map_or(RoomMode::Off, |room| room.mode);
    let beacon = |terms: &SaleTerms| terms.room.and_then(|room| room.beacon);
    // Once the value of a round may be known, nobody chooses whether it counts.
    let has_closed = now >= before.starts_at || marks.drawn_at.is_some();
    if has_closed && beacon(after) != beacon(before) {
        let problem = "cannot change any more: registration has closed, and the round may be known";
        return wrong("queue.beacon", problem);
    }
    if has_closed && mode(before) == RoomMode::Draw && beacon(before).is_some() {
        if mode(after) != RoomMode::Draw {
            let problem =
                "cannot change any more: registration has closed, and a beacon was named for the draw";
            return wrong("queue.mode", problem);
        }
        if after.starts_at > before.starts_at {
            let problem =
                "cannot be later any more: registration has closed, and a beacon was named for the draw";
            return wrong("starts_at", problem);
        }
    }
    // Whoever was admitted by arrival counts as admitted: as many lots would be admitted at once.
    let admits_by_arrival = now >= after.starts_at || marks.fifo_mark > EpochMs(0);
    if mode(after) == RoomMode::Draw && mode(before) != RoomMode::Draw && admits_by_arrival {
        let problem = "cannot become draw once the sale has started, or somebody was admitted by arrival";
        return wrong("queue.mode", problem);
    }
    Ok(())
}
