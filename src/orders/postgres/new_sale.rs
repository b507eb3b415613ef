//! Making a sale: one transaction, with its entry in the trail.

use super::super::store::StoreError;
use super::super::trail::SaleAct;
use super::error::PgError;
use super::rows::{self, SALE_COLUMNS};
use super::session::{Parameter, Session, WITH_STANDBYS};
use super::term_columns::TermColumns;
use super::trail;
use crate::domain::{Sale, SaleKey, SaleTerms, Units};

/// Above all epochs of sales of that name that were deleted: what a node says late of one of those changes nothing in the new
/// one's book, and the new one's book is not forgotten for it.
const FIRST_EPOCH: &str = "(SELECT coalesce(max(d.epoch), 0) + 1 FROM sales d WHERE d.retired = 2 AND d.tenant = $1 \
                           AND d.campaign = $2 AND d.sku = $3 || '/' || d.sale_id)";

/// Makes sales, and knows whether the answer to the last attempt was lost.
#[derive(Debug, Default)]
pub struct Making {
    is_in_doubt: bool,
}

impl Making {
    /// Makes the sale, or finds out that the attempt before has made it. `None` when the name is taken.
    pub async fn make(
        &mut self,
        session: &mut Session,
        key: &SaleKey,
        terms: &SaleTerms,
        total: Units,
        act: Option<&SaleAct>,
    ) -> Result<Option<Sale>, StoreError> {
        let insert = format!(
            "INSERT INTO sales (tenant, campaign, sku, title, price_cents, currency, per_buyer_limit, starts_at_ms, \
             ends_at_ms, pay_within_s, rate_per_s, burst, paused, total, paused_until_ms, room_mode, room_opens_at_ms, \
             room_rate_per_s, room_grace_s, room_holds, room_seed, room_beacon, room_beacon_round, room_beacon_wait_s, epoch) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, \
             $24, \
             {FIRST_EPOCH}) \
             ON CONFLICT DO NOTHING RETURNING {SALE_COLUMNS}"
        );
        let ours = TermColumns::of(terms, total);
        let mut parameters: Vec<Parameter<'_>> = Vec::with_capacity(24);
        let (tenant, campaign, sku) = (key.tenant(), key.campaign(), key.sku());
        parameters.extend([&tenant as Parameter<'_>, &campaign, &sku]);
        parameters.extend(ours.parameters());
        let created = session
            .transaction(async |session| {
                let created =
                    session.row(&insert, &parameters).await?.as_ref().map(rows::sale).transpose()?;
                if let (Some(sale), Some(act)) = (&created, act) {
                    trail::append(session, &act.made(sale)).await?;
                }
                Ok(created)
            })
            .await;
        self.is_in_doubt |= created.as_ref().is_err_and(PgError::is_lost);
        let created = created?;
        if created.is_some() || !self.is_in_doubt {
            self.is_in_doubt = false;
            return Ok(created);
        }
        // The lost answer may have been about this very sale.
        let select = format!(
            "SELECT {SALE_COLUMNS}, {WITH_STANDBYS} FROM sales \
             WHERE tenant = $1 AND campaign = $2 AND sku = $3 AND retired < 2"
        );
        let found = session.row(&select, &[&tenant, &campaign, &sku]).await?;
        self.is_in_doubt = false;
        let found = found.as_ref().map(rows::sale).transpose()?;
        Ok(found.filter(|sale| TermColumns::of(&sale.terms, sale.total) == ours))
    }
}
