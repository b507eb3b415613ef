//! The files of the embedded store as a file system may leave them when the power goes.
//!
//! An answer waits until the log is synced up to the commit of its order. What stands behind the last whole commit (the form of
//! the file: sqlite.org/fileformat2.html#walformat) was never synced for anybody: it may be missing, in part or as a whole, or
//! be anything. So may a page of the table file that the log holds: it is folded without a sync, and the log begins anew only
//! once the table file was synced. The first page is left as it is: SQLite counts on its head being written at once.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rand::Rng;
use rand::rngs::SmallRng;

const HEADER_BYTES: usize = 32;
const FRAME_HEADER_BYTES: usize = 24;

/// What is done to them.
#[derive(Clone, Copy, Debug)]
pub enum Damage {
    /// The log ends somewhere behind the last commit.
    Cut,
    /// Anything stands behind the last commit.
    Garbage,
    /// Behind the last commit another one stands whose page was written by half.
    Torn,
    /// Each page of the table file that stands in the log was written by half.
    HalfFolded,
}

impl Damage {
    /// Each of them.
    pub const ALL: [Self; 4] = [Self::Cut, Self::Garbage, Self::Torn, Self::HalfFolded];

    /// Does it to the store in this folder, which no process has open. Nothing where the log holds nothing.
    pub fn strike(self, folder: &Path, dice: &mut SmallRng) {
        let path = folder.join("orders.sqlite-wal");
        let bytes = fs::read(&path).expect("a store that was killed has a log");
        let Some(log) = Committed::of(&bytes) else { return };
        let file = File::options().write(true).open(&path).expect("the log");
        match self {
            Self::Cut => {
                let length = dice.random_range(log.end..=bytes.len());
                file.set_len(length as u64).expect("it becomes shorter");
            }
            Self::Garbage => {
                let length = dice.random_range(1..=3 * log.frame_bytes());
                file.write_all_at(&anything(length, dice), log.end as u64).expect("it is written");
            }
            Self::Torn => {
                file.write_all_at(&log.torn_commit(dice), log.end as u64).expect("it is written");
            }
            Self::HalfFolded => {
                let table = File::options().write(true).open(folder.join("orders.sqlite")).expect("a store");
                let length = table.metadata().expect("it is there").len();
                let half = anything(log.page_bytes / 2, dice);
                for &page in log.pages.iter().filter(|page| **page > 1) {
                    let at = u64::from(page - 1) * log.page_bytes as u64;
                    if at + log.page_bytes as u64 <= length {
                        table.write_all_at(&half, at).expect("it is written");
                    }
                }
            }
        }
    }
}

fn anything(length: usize, dice: &mut SmallRng) -> Vec<u8> {
    let mut bytes = vec![0; length];
    dice.fill(bytes.as_mut_slice());
    bytes
}

fn number(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// The part of a log that was committed.
#[derive(Debug)]
struct Committed {
    page_bytes: usize,
    /// Whether sums are over big-endian numbers.
    is_big_endian: bool,
    salt: [u8; 8],
    /// Where it ends.
    end: usize,
    /// The sum over all of it.
    sum: [u32; 2],
    /// The pages of the table file that stand in it, from 1.
    pages: BTreeSet<u32>,
}

impl Committed {
    /// `None` where the file is none that anything was committed to.
    fn of(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < HEADER_BYTES {
            return None;
        }
        let is_big_endian = match number(bytes, 0) {
            0x377f_0682 => false,
            0x377f_0683 => true,
            _ => return None,
        };
        let mut log = Self {
            page_bytes: number(bytes, 8) as usize,
            is_big_endian,
            salt: bytes[16..24].try_into().expect("eight bytes"),
            end: HEADER_BYTES,
            sum: [0, 0],
            pages: BTreeSet::new(),
        };
        log.sum = log.sum_over([0, 0], &bytes[..24]);
        if log.sum != [number(bytes, 24), number(bytes, 28)] {
            return None;
        }
        let (mut sum, mut pages) = (log.sum, Vec::new());
        for (place, frame) in bytes[HEADER_BYTES..].chunks_exact(log.frame_bytes()).enumerate() {
            let (header, page) = frame.split_at(FRAME_HEADER_BYTES);
            sum = log.sum_over(log.sum_over(sum, &header[..8]), page);
            // Frames of an earlier round have another salt.
            if header[8..16] != log.salt || sum != [number(header, 16), number(header, 20)] {
                break;
            }
            pages.push(number(header, 0));
            // The size of the table file stands in the last frame of a commit alone.
            if number(header, 4) > 0 {
                log.end = HEADER_BYTES + (place + 1) * log.frame_bytes();
                log.sum = sum;
                log.pages.extend(pages.drain(..));
            }
        }
        (!log.pages.is_empty()).then_some(log)
    }

    fn frame_bytes(&self) -> usize {
        FRAME_HEADER_BYTES + self.page_bytes
    }

    fn sum_over(&self, [mut one, mut two]: [u32; 2], bytes: &[u8]) -> [u32; 2] {
        let word = |word: &[u8]| {
            let word: [u8; 4] = word.try_into().expect("four bytes");
            if self.is_big_endian { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) }
        };
        for pair in bytes.chunks_exact(8) {
            one = one.wrapping_add(word(&pair[..4])).wrapping_add(two);
            two = two.wrapping_add(word(&pair[4..])).wrapping_add(one);
        }
        [one, two]
    }

    /// A commit that fits behind this one, but that half of its page is not there.
    fn torn_commit(&self, dice: &mut SmallRng) -> Vec<u8> {
        // No zeros, which would fit where zeros stand instead.
        let mut page = vec![dice.random_range(1..=u8::MAX); self.page_bytes];
        let last = self.pages.last().copied().expect("something was committed");
        let mut frame = [last.to_be_bytes(), last.to_be_bytes()].concat();
        let sum = self.sum_over(self.sum_over(self.sum, &frame), &page);
        frame.extend_from_slice(&self.salt);
        sum.iter().for_each(|part| frame.extend_from_slice(&part.to_be_bytes()));
        page[self.page_bytes / 2..].fill(0);
        frame.extend_from_slice(&page);
        frame
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rusqlite::Connection;

    use super::*;

    const ROWS: i64 = 40;

    /// A store with so many commits, as a kill leaves it.
    fn killed() -> tempfile::TempDir {
        let (folder, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let store = Connection::open(folder.path().join("orders.sqlite")).unwrap();
        store.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).unwrap();
        store.pragma_update(None, "synchronous", "FULL").unwrap();
        store.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
        store.execute_batch("CREATE TABLE t (n INTEGER PRIMARY KEY, text TEXT)").unwrap();
        for row in 0..ROWS {
            // Half of them were folded, and the table file has pages of them.
            if row == ROWS / 2 {
                store.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).unwrap();
            }
            let text = format!("{row}").repeat(500);
            store.execute("INSERT INTO t VALUES (?1, ?2)", (row, text)).unwrap();
        }
        for name in ["orders.sqlite", "orders.sqlite-wal"] {
            fs::copy(folder.path().join(name), copy.path().join(name)).unwrap();
        }
        copy
    }

    fn rows(folder: &Path) -> i64 {
        let store = Connection::open(folder.join("orders.sqlite")).unwrap();
        let found: String = store.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(found, "ok");
        store.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn no_damage_that_the_power_can_do_touches_a_commit() {
        let mut dice = SmallRng::seed_from_u64(7);
        for damage in Damage::ALL {
            let store = killed();
            damage.strike(store.path(), &mut dice);
            assert_eq!(rows(store.path()), ROWS, "{damage:?}");
        }
    }

    #[test]
    fn the_commits_end_where_one_byte_less_is_one_commit_less() {
        let store = killed();
        let wal = store.path().join("orders.sqlite-wal");
        let bytes = fs::read(&wal).unwrap();
        let log = Committed::of(&bytes).unwrap();
        File::options().write(true).open(&wal).unwrap().set_len(log.end as u64 - 1).unwrap();
        assert_eq!(rows(store.path()), ROWS - 1);
        assert!(Committed::of(&[]).is_none() && Committed::of(&[0; 100]).is_none());
    }
}
