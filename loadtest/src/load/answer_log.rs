//! The client's own record of what the engine promised whom: the evidence that `verify` holds against the store.
//!
//! Refusals promise nothing and are only counted, so the log grows with the winners, not with the crowd.
//! A row is `kind u8 · campaign u16 · quantity u32 · buyer u64 · length u8 · order id`, little endian, after a
//! header that names the format.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"ltlog\x00\x00\x01";
/// Longer order ids do not fit a row; the contract's are far shorter.
pub const ORDER_ID_BYTES_MAX: usize = 255;

/// What the engine has told a buyer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Told {
    /// The order is durable: 201, or a look-up that found it.
    Won = 1,
    /// 200 to a repeated idempotency key, with an order that is not pending.
    Replayed = 2,
    /// 202: it may become an order.
    Pending = 3,
    /// The order is paid.
    Paid = 4,
    /// The order is cancelled.
    Cancelled = 5,
    /// A purchase went unanswered: there may be an order.
    NothingOnPurchase = 6,
    /// A checkout or cancellation went unanswered: the order may be paid or cancelled.
    NothingOnOrder = 7,
}

impl Told {
    /// Every kind.
    pub const ALL: [Told; 7] = [
        Told::Won,
        Told::Replayed,
        Told::Pending,
        Told::Paid,
        Told::Cancelled,
        Told::NothingOnPurchase,
        Told::NothingOnOrder,
    ];
}

/// What kind of row a row is, as a byte of the file.
pub trait Kind: Copy {
    /// Its byte.
    fn byte(self) -> u8;
    /// The kind with this byte.
    fn from_byte(byte: u8) -> Option<Self>;
}

impl Kind for Told {
    fn byte(self) -> u8 {
        self as u8
    }

    fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|told| *told as u8 == byte)
    }
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row<K> {
    /// What was told, or the state of an order.
    pub kind: K,
    /// Campaign by index.
    pub campaign: u16,
    /// Units.
    pub quantity: u32,
    /// The buyer's number.
    pub buyer: u64,
    /// The order, or empty.
    pub order: Box<str>,
}

/// The log of one worker.
#[derive(Debug)]
pub struct AnswerLog {
    file: BufWriter<File>,
}

impl AnswerLog {
    /// Starts the log of a run's worker in the run's folder.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn create(folder: &Path, run_id: &str, worker: usize) -> io::Result<Self> {
        let path = folder.join(format!("answers-{run_id}-{worker}.log"));
        let mut file = BufWriter::with_capacity(64 * 1024, File::create(path)?);
        file.write_all(MAGIC)?;
        Ok(Self { file })
    }

    /// Appends a row.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn append(&mut self, row: &Row<Told>) -> io::Result<()> {
        write_row(&mut self.file, row)
    }

    /// Writes what is buffered.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Whether a log of this run has such a name.
pub fn is_log_of(name: &str, run_id: &str) -> bool {
    let number = name.strip_prefix("answers-").and_then(|rest| rest.strip_prefix(run_id));
    let number = number.and_then(|rest| rest.strip_prefix('-')?.strip_suffix(".log"));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// The logs of a run in its folder.
///
/// # Errors
/// When the folder cannot be read.
pub fn logs_in(folder: &Path, run_id: &str) -> io::Result<Vec<PathBuf>> {
    let mut logs = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if is_log_of(name, run_id) {
            logs.push(path);
        }
    }
    logs.sort();
    Ok(logs)
}

/// Writes one row.
///
/// # Errors
/// When `out` cannot be written.
pub fn write_row<K: Kind>(out: &mut impl Write, row: &Row<K>) -> io::Result<()> {
    let order = &row.order.as_bytes()[..row.order.len().min(ORDER_ID_BYTES_MAX)];
    let mut head = [0; 16];
    head[0] = row.kind.byte();
    head[1..3].copy_from_slice(&row.campaign.to_le_bytes());
    head[3..7].copy_from_slice(&row.quantity.to_le_bytes());
    head[7..15].copy_from_slice(&row.buyer.to_le_bytes());
    head[15] = order.len() as u8;
    out.write_all(&head)?;
    out.write_all(order)
}

/// Rows one after the other.
#[derive(Debug)]
pub struct Rows<R, K> {
    input: R,
    kind: PhantomData<K>,
}

impl Rows<BufReader<File>, Told> {
    /// Opens a log.
    ///
    /// # Errors
    /// When the file cannot be read or is not such a log.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut input = BufReader::with_capacity(64 * 1024, File::open(path)?);
        let mut magic = [0; 8];
        input.read_exact(&mut magic)?;
        if &magic != MAGIC {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not an answer log of this version"));
        }
        Ok(Self::bare(input))
    }
}

impl<R: Read, K: Kind> Rows<R, K> {
    /// Reads rows that follow no header.
    pub fn bare(input: R) -> Self {
        Self { input, kind: PhantomData }
    }

    fn read(&mut self) -> io::Result<Option<Row<K>>> {
        let mut head = [0; 16];
        if self.input.read(&mut head[..1])? == 0 {
            return Ok(None);
        }
        self.input.read_exact(&mut head[1..])?;
        let mut order = vec![0; usize::from(head[15])];
        self.input.read_exact(&mut order)?;
        let invalid = |what| io::Error::new(io::ErrorKind::InvalidData, what);
        let number = |range: std::ops::Range<usize>| {
            head[range].iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte))
        };
        Ok(Some(Row {
            kind: K::from_byte(head[0]).ok_or_else(|| invalid("unknown kind of row"))?,
            campaign: number(1..3) as u16,
            quantity: number(3..7) as u32,
            buyer: number(7..15),
            order: String::from_utf8(order).map_err(|_| invalid("an order id is not text"))?.into(),
        }))
    }
}

impl<R: Read, K: Kind> Iterator for Rows<R, K> {
    type Item = io::Result<Row<K>>;

    fn next(&mut self) -> Option<io::Result<Row<K>>> {
        self.read().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_as_they_went() {
        let folder = tempfile::tempdir().unwrap();
        let rows: Vec<Row<Told>> = Told::ALL
            .into_iter()
            .enumerate()
            .map(|(n, kind)| Row {
                kind,
                campaign: n as u16 * 300,
                quantity: 70_000,
                buyer: u64::MAX - n as u64,
                order: "o".repeat(n * 40).into(),
            })
            .collect();
        let mut log = AnswerLog::create(folder.path(), "run", 3).unwrap();
        rows.iter().for_each(|row| log.append(row).unwrap());
        log.flush().unwrap();
        let logs = logs_in(folder.path(), "run").unwrap();
        assert_eq!(logs.len(), 1);
        assert!(logs_in(folder.path(), "other").unwrap().is_empty(), "another run's log");
        let read: Vec<Row<Told>> = Rows::open(&logs[0]).unwrap().map(Result::unwrap).collect();
        assert_eq!(read, rows);
    }

    #[test]
    fn a_torn_log_is_an_error_not_a_short_log() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = AnswerLog::create(folder.path(), "run", 0).unwrap();
        let row = Row { kind: Told::Won, campaign: 0, quantity: 1, buyer: 1, order: "abc".into() };
        log.append(&row).unwrap();
        log.flush().unwrap();
        let path = &logs_in(folder.path(), "run").unwrap()[0];
        let bytes = std::fs::read(path).unwrap();
        std::fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
        assert!(Rows::open(path).unwrap().any(|row| row.is_err()));
    }
}
