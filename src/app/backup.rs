//! `seckill backup FILE` and `seckill check-backup FILE`.

use std::fmt::Write;
use std::path::Path;

use crate::config::Settings;
use crate::exit::{Exit, Failure};
use crate::orders::sqlite::{self, BackupContents};
use crate::terminal;

/// Copies the orders of the configured folder to `file`, while an engine sells from it or not, and looks at the copy.
///
/// # Errors
/// There is no copy, or what was copied is damaged.
pub fn back_up(settings: &Settings, file: &Path) -> Result<(), Failure> {
    if !settings.postgres.url.is_empty() {
        return Err(Failure::new(
            Exit::Config,
            "the orders are in PostgreSQL: back them up with pg_dump --schema=seckill, or with the server's own physical \
             backups; src/orders/BACKUP.md says what to check after a restore",
        ));
    }
    sqlite::back_up(&settings.data_dir, file, &settings.sqlite)
        .map_err(|error| Failure::new(Exit::Io, error))?;
    check(file)
}

/// Prints what the backup holds.
///
/// # Errors
/// It cannot be read, or is damaged.
pub fn check(file: &Path) -> Result<(), Failure> {
    let contents = sqlite::check_backup(file).map_err(|error| Failure::new(Exit::Io, error))?;
    terminal::print(&described(file, &contents)).map_err(|error| Failure::new(Exit::Io, error))?;
    match contents.damage.len() {
        0 => Ok(()),
        _ => Err(Failure::new(Exit::No, format_args!("{} must not be started from", file.display()))),
    }
}

fn described(file: &Path, contents: &BackupContents) -> String {
    let BackupContents { schema, orders, last_event, sales, damage } = contents;
    let mut text = format!(
        "{}: schema {schema}, {} sales, {orders} orders, last event {last_event}\n",
        file.display(),
        sales.len()
    );
    for sale in sales {
        // Writing to a text cannot fail.
        let _ = writeln!(
            text,
            "  {}: {} units, {} sold, {} held by its orders",
            sale.name, sale.total, sale.sold_by_guard, sale.sold_by_orders
        );
    }
    if damage.is_empty() {
        text.push_str("it is whole: every sale's count is the sum of its orders\n");
    }
    for finding in damage {
        let _ = writeln!(text, "damaged: {finding}");
    }
    text
}
