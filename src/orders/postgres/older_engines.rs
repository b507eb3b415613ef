//! Engines of the versions before, which run on beside this one while nodes are upgraded one by one: what they do not know
//! waits until they have ended.

use super::error::PgError;
use super::rows::damaged;
use super::session::Session;

/// What not every engine knows that may run on these tables.
#[derive(Clone, Copy, Debug)]
pub(super) enum Knowledge {
    /// Orders that are refunded.
    Refunds,
    /// Sales that end while several engines sell.
    Retirement,
}

/// Whether all engines that live know this. One that died without a word counts until somebody follows the orders for so long
/// that it is given up.
pub(super) async fn all_know(session: &mut Session, what: Knowledge) -> Result<bool, PgError> {
    let column = match what {
        Knowledge::Refunds => "knows_refunds",
        Knowledge::Retirement => "knows_retirement",
    };
    let older =
        format!("SELECT NOT EXISTS (SELECT FROM nodes WHERE settled_through IS NOT NULL AND NOT {column})");
    Ok(session.row(&older, &[]).await?.ok_or_else(|| damaged("no answer"))?.try_get(0)?)
}
