//! What a batch sells, in rows: the guard against overselling.

use rusqlite::{Transaction, params};

use super::super::store::StoreError;
use crate::domain::SaleId;

/// Units that a batch sells (or gives back) a sale.
#[derive(Default)]
pub(super) struct SoldUnits(Vec<(SaleId, i64)>);

impl SoldUnits {
    /// So many more, or fewer.
    pub fn add(&mut self, sale: SaleId, units: i64) {
        // A batch is of one sale, or of a few: a short list beats a map.
        match self.0.iter_mut().rev().find(|(known, _)| *known == sale) {
            Some((_, sum)) => *sum += units,
            None => self.0.push((sale, units)),
        }
    }

    /// Raises each sale's `sold` where that is allowed. Returns the sales where it is not.
    pub fn write(self, transaction: &Transaction<'_>) -> Result<Vec<SaleId>, StoreError> {
        let mut statement = transaction.prepare_cached(
            "UPDATE sales SET sold = sold + ?2 WHERE sale_id = ?1 AND sold + ?2 BETWEEN 0 AND total AND retired = 0",
        )?;
        let mut refused = Vec::new();
        for (sale, units) in self.0 {
            if units != 0 && statement.execute(params![sale.0, units])? == 0 {
                refused.push(sale);
            }
        }
        Ok(refused)
    }
}
