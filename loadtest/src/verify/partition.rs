//! Rows of both sides, dealt by buyer into files that fit into memory one at a time.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::load::answer_log::{Row, Rows, Told, write_row};

use super::ledger::OrderState;

/// Rows of one partition should take about this much of a file.
const PARTITION_BYTES: u64 = 16 * 1024 * 1024;
/// Bytes that an order takes in a partition, about.
const ORDER_BYTES: u64 = 64;
const PARTITIONS_MAX: u64 = 256;

/// The files, in a folder that is removed at the end.
#[derive(Debug)]
pub struct Partitions {
    folder: PathBuf,
    count: u64,
    told: Vec<BufWriter<File>>,
    /// Orders of the sale that is being exported; earlier sales' files are closed.
    orders: Vec<BufWriter<File>>,
    sales: u16,
}

impl Partitions {
    /// Starts files for about this many bytes of log and this many orders, in a new folder within `folder`.
    pub fn create(folder: &Path, log_bytes: u64, orders: u64) -> io::Result<Self> {
        let folder = new_folder(folder)?;
        let count = ((log_bytes + orders * ORDER_BYTES) / PARTITION_BYTES + 1).min(PARTITIONS_MAX);
        let told = (0..count)
            .map(|part| File::create(folder.join(format!("told-{part}"))).map(BufWriter::new))
            .collect::<io::Result<_>>()?;
        Ok(Self { folder, count, told, orders: Vec::new(), sales: 0 })
    }

    /// Deals a row of the client's log.
    pub fn told(&mut self, row: &Row<Told>) -> io::Result<()> {
        let part = row.buyer % self.count;
        write_row(&mut self.told[part as usize], row)
    }

    /// Starts (again) with the orders of a sale; sales come in order.
    pub fn restart_orders(&mut self, sale: u16) -> io::Result<()> {
        for file in &mut self.orders {
            file.flush()?;
        }
        self.sales = sale + 1;
        self.orders = (0..self.count)
            .map(|part| File::create(self.orders_path(sale, part)).map(BufWriter::new))
            .collect::<io::Result<_>>()?;
        Ok(())
    }

    /// Deals an exported order.
    pub fn order(&mut self, row: &Row<OrderState>) -> io::Result<()> {
        let part = row.buyer % self.count;
        write_row(&mut self.orders[part as usize], row)
    }

    /// Hands the partitions over, one at a time, and removes the files.
    pub fn finish(mut self, mut each: impl FnMut(Vec<Row<Told>>, Vec<Row<OrderState>>)) -> io::Result<()> {
        for file in self.told.iter_mut().chain(&mut self.orders) {
            file.flush()?;
        }
        for part in 0..self.count {
            let path = self.folder.join(format!("told-{part}"));
            let told = Rows::bare(BufReader::new(File::open(path)?)).collect::<io::Result<Vec<_>>>()?;
            let mut orders = Vec::new();
            for sale in 0..self.sales {
                for row in Rows::bare(BufReader::new(File::open(self.orders_path(sale, part))?)) {
                    orders.push(row?);
                }
            }
            each(told, orders);
        }
        Ok(())
    }

    fn orders_path(&self, sale: u16, part: u64) -> PathBuf {
        self.folder.join(format!("orders-{sale}-{part}"))
    }
}

impl Drop for Partitions {
    fn drop(&mut self) {
        // A folder of our own making; what cannot be removed takes room and does no harm.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A folder that was not there before.
fn new_folder(within: &Path) -> io::Result<PathBuf> {
    for number in 0.. {
        let folder = within.join(format!("verify-{}-{number}", std::process::id()));
        match std::fs::create_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map(|()| folder),
        }
    }
    unreachable!("numbers do not end")
}
