//! Holds what the engine told its buyers against what its store says.
//!
//! Both sides are dealt by buyer into files, so that one file at a time fits into memory however many answers there
//! were; within a file every promise is looked up.

mod books;
mod ledger;
mod partition;
mod room;

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::admin::{Admin, AdminError, Audit, ExportedOrder};
use crate::load::answer_log::{Row, Rows, Told, logs_in};
use crate::wire::buyer;
use books::Exported;
use ledger::{Ledger, OrderState};
use partition::Partitions;

/// Examples that are kept of each violation.
const EXAMPLES_MAX: usize = 5;
/// Tries at reading the books while orders still change.
const READINGS_MAX: usize = 10;

/// Why the check could not be made.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The engine's books could not be read.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// The client's own log or the files for sorting.
    #[error("{0}: {1}")]
    File(String, io::Error),
}

/// One sale to be checked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SaleTerms {
    /// The campaign's real name.
    pub campaign: String,
    /// Units put on sale.
    pub stock: u64,
    /// Units a buyer may hold.
    pub per_buyer_limit: u64,
    /// Whether all units must be gone at the end, if the demand reached the stock.
    pub sold_out: bool,
    /// Units that visitors who may have them asked for and were answered about.
    #[serde(default)]
    pub demand_units: u64,
    /// Whether its buyers had to wait.
    #[serde(default)]
    pub has_queue: bool,
}

/// One check and what it found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Its name.
    pub name: String,
    /// Whether the promise was kept, or could not be judged.
    pub passed: bool,
    /// Whether there was enough to judge it by.
    #[serde(default = "judged")]
    pub judged: bool,
    /// How often it was broken.
    pub violations: u64,
    /// What was compared, or the first violations.
    pub detail: String,
}

fn judged() -> bool {
    true
}

/// How much of what was answered the log holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    Whole,
    /// What was answered until some moment: it may end within a row, and there may be orders that it does not name.
    Part,
}

/// The result of all checks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Verification {
    /// Whether every check passed.
    pub passed: bool,
    /// The checks.
    pub checks: Vec<Check>,
    /// The engine's books by campaign, as read.
    pub audits: Vec<(String, Audit)>,
    /// Answers in the client's log.
    pub answers_logged: u64,
    /// Orders exported by the engine.
    pub orders_exported: u64,
}

/// Waits until no unpaid order of the sales is left, or the time is over.
///
/// # Errors
/// When the books cannot be read.
pub fn settle(admin: &mut Admin, sales: &[SaleTerms], wait: Duration) -> Result<(), VerifyError> {
    let deadline = Instant::now() + wait;
    while Instant::now() < deadline {
        let mut held = 0;
        for sale in sales {
            held += admin.audit(&sale.campaign)?.held;
        }
        if held == 0 {
            break;
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    Ok(())
}

/// Checks the run `run_id` of whose log so much lies in `folder`; `untruthful` is the number of answers that denied an order
/// to its holder.
///
/// # Errors
/// When one side cannot be read: then nothing is known, which is not the same as all being well.
pub fn verify(
    admin: &mut Admin,
    sales: &[SaleTerms],
    folder: &Path,
    run_id: &str,
    extent: Extent,
    untruthful: u64,
) -> Result<Verification, VerifyError> {
    let mut log_bytes = 0;
    let logs = logs_in(folder, run_id).map_err(|e| VerifyError::File(folder.display().to_string(), e))?;
    for path in &logs {
        log_bytes += std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    }
    let mut audits = Vec::new();
    for sale in sales {
        audits.push(admin.audit(&sale.campaign)?);
    }
    let orders_expected: u64 = audits.iter().map(|audit| audit.durable_orders).sum();
    let file = |error| VerifyError::File(folder.display().to_string(), error);
    let mut partitions = Partitions::create(folder, log_bytes, orders_expected).map_err(file)?;

    let mut answers_logged = 0;
    for path in &logs {
        let unreadable = |error| VerifyError::File(path.display().to_string(), error);
        for row in rows_in(path, extent) {
            partitions.told(&row.map_err(unreadable)?).map_err(file)?;
            answers_logged += 1;
        }
    }

    let mut checks = Vec::new();
    let mut orders_exported = 0;
    for (index, sale) in sales.iter().enumerate() {
        let (audit, exported) = read_books(admin, sale, index as u16, &mut partitions, file)?;
        orders_exported += exported.orders;
        checks.extend(books::check(sale, &audit, &exported));
        if sale.has_queue {
            checks.push(room::check(admin, &sale.campaign)?);
        }
        audits[index] = audit;
    }

    let mut ledger = Ledger::new(sales);
    partitions.finish(|told, orders| ledger.take(told, orders)).map_err(file)?;
    checks.extend(ledger.checks(extent));
    checks.push(Check {
        name: "truthful-answers".into(),
        passed: untruthful == 0,
        judged: true,
        violations: untruthful,
        detail: "no buyer who held an order was told that there is none".into(),
    });
    Ok(Verification {
        passed: checks.iter().all(|check| check.passed),
        checks,
        audits: sales.iter().map(|sale| sale.campaign.clone()).zip(audits).collect(),
        answers_logged,
        orders_exported,
    })
}

/// The rows of a log; those of a part end where a row is not all there.
fn rows_in(path: &Path, extent: Extent) -> impl Iterator<Item = io::Result<Row<Told>>> {
    let (rows, failed) = match Rows::open(path) {
        Ok(rows) => (Some(rows), None),
        Err(error) => (None, Some(Err(error))),
    };
    failed.into_iter().chain(rows.into_iter().flatten()).take_while(move |row| match row {
        Err(error) => extent == Extent::Whole || error.kind() != io::ErrorKind::UnexpectedEof,
        Ok(_) => true,
    })
}

/// Reads audit and export of one sale until no order changed in between, so that both speak of the same moment.
fn read_books(
    admin: &mut Admin,
    sale: &SaleTerms,
    index: u16,
    partitions: &mut Partitions,
    file: impl Fn(io::Error) -> VerifyError,
) -> Result<(Audit, Exported), VerifyError> {
    let mut reading = 1;
    loop {
        let before = admin.audit(&sale.campaign)?;
        let mut exported = Exported::default();
        partitions.restart_orders(index).map_err(&file)?;
        admin.export(&sale.campaign, |order: ExportedOrder| {
            let state = OrderState::from_name(&order.status);
            exported.add(state, order.quantity.saturating_sub(order.restocked));
            // Its buyer may have bought as many again.
            let state = if order.restocked > 0 { OrderState::Restocked } else { state };
            let row = Row {
                kind: state,
                campaign: index,
                quantity: order.quantity,
                buyer: buyer_key(&order.buyer),
                order: order.order_id.into(),
            };
            partitions.order(&row).map_err(&file)
        })?;
        let after = admin.audit(&sale.campaign)?;
        if before == after || reading == READINGS_MAX {
            return Ok((after, exported));
        }
        reading += 1;
    }
}

/// The number of a buyer; somebody whom this tester did not invent gets one that none of its buyers has.
fn buyer_key(name: &str) -> u64 {
    buyer::number(name).unwrap_or_else(|| {
        name.bytes().fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
        }) | 1 << 63
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::answer_log::AnswerLog;

    #[test]
    fn a_part_of_a_log_ends_at_its_last_whole_row() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = AnswerLog::create(folder.path(), "run", 0).unwrap();
        for buyer in 0..3 {
            let row = Row { kind: Told::Won, campaign: 0, quantity: 1, buyer, order: "abc".into() };
            log.append(&row).unwrap();
        }
        log.flush().unwrap();
        let path = &logs_in(folder.path(), "run").unwrap()[0];
        let bytes = std::fs::read(path).unwrap();
        // Nothing of it, its header alone, and rows that are or are not all there.
        for (length, whole) in [(0, 0), (8, 0), (27, 1), (28, 1), (45, 1), (46, 2), (64, 2), (65, 3)] {
            std::fs::write(path, &bytes[..length]).unwrap();
            let rows = rows_in(path, Extent::Part).collect::<io::Result<Vec<_>>>();
            assert_eq!(rows.unwrap().len(), whole, "of {length} bytes");
        }
        std::fs::write(path, &bytes[..64]).unwrap();
        assert!(rows_in(path, Extent::Whole).any(|row| row.is_err()), "a whole log does not end so");
        std::fs::write(path, b"another file").unwrap();
        assert!(rows_in(path, Extent::Part).any(|row| row.is_err()));
    }
}
