use std::collections::BTreeSet;
use std::path::Path;

use proptest::prelude::*;

use super::super::super::store::{Fault, StoreWriter};
use super::super::test_sale::{make_sale, purchases};
use super::super::{SqliteReader, SqliteSettings, SqliteWriter, open};
use super::*;
use crate::domain::{NodeId, Order, SaleId};

/// What it was shown, by the numbers of the orders.
#[derive(Default)]
struct Seen {
    sales: usize,
    orders: Mutex<Vec<u64>>,
    /// So many have begun, and so many have come to their end.
    threads: Mutex<[usize; 2]>,
}

struct SeenBeside<'a> {
    orders: Vec<u64>,
    seen: &'a Seen,
}

impl StartVisitor for Seen {
    fn see(&mut self, record: Record) {
        match record {
            Record::LastEvent(_) => {}
            Record::Sale(_) => self.sales += 1,
            other => panic!("{other:?}"),
        }
    }

    fn beside(&self) -> Box<dyn OrderVisitor + '_> {
        self.threads.lock()[0] += 1;
        Box::new(SeenBeside { orders: Vec::new(), seen: self })
    }
}

impl OrderVisitor for SeenBeside<'_> {
    fn see(&mut self, order: Order, last_step_by: Option<NodeId>) {
        assert_eq!(last_step_by, None);
        self.orders.push(order.placed.id.number());
    }

    fn done(self: Box<Self>) {
        self.seen.threads.lock()[1] += 1;
        self.seen.orders.lock().extend(self.orders);
    }
}

/// A store with one sale.
fn store(folder: &Path) -> (SqliteWriter, SqliteReader, SaleId) {
    let (mut writer, reader) = open(folder, &SqliteSettings::default()).unwrap();
    let sale = make_sale(&mut writer, 1_000_000);
    (writer, reader, sale)
}

/// What a start on so many threads sees, and the connections it had.
fn seen(threads: usize, reader: &SqliteReader) -> Result<(Seen, Vec<Connection>), StoreError> {
    let mut seen = Seen::default();
    let used = read_on(threads, || reader.log().connect_reader(), &mut seen)?;
    Ok((seen, used))
}

#[test]
fn a_start_sees_every_order_once_on_however_many_threads() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, reader, sale) = store(folder.path());
    let mut expected = Vec::new();
    // None; one; more than a run; as many again, far away, so that runs end before, in and behind the gap.
    let run = u64::from(ORDERS_A_RUN);
    for (from, count) in [(1, 0), (1, 1), (2, run), (1 << 40, run + 7)] {
        // What is there already was tried to pay, some of it in vain, and what comes was not.
        let stranger = Connection::open(folder.path().join("orders.sqlite")).unwrap();
        let tries = "UPDATE orders SET payment_attempt = 1, status = 1 + order_id % 2";
        stranger.execute(tries, []).unwrap();
        drop(stranger);
        for first in (from..from + count).step_by(1_000) {
            let count = (from + count - first).min(1_000);
            writer.commit(&purchases(sale, first, count)).unwrap();
        }
        expected.extend(from..from + count);
        for threads in [1, 2, 5] {
            let (seen, used) = seen(threads, &reader).unwrap();
            let mut orders = seen.orders.into_inner();
            orders.sort_unstable();
            assert!(orders == expected, "{} of {} on {threads} threads", orders.len(), expected.len());
            assert_eq!((seen.sales, seen.threads.into_inner(), used.len()), (1, [threads; 2], threads));
            assert!(used.iter().all(Connection::is_autocommit), "in no transaction any more");
        }
    }
}

#[test]
fn where_somebody_writes_between_two_connections_one_reads_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, reader, sale) = store(folder.path());
    let mut at_each = |write_at: usize| {
        let mut connected = 0;
        let connect = || {
            connected += 1;
            if connected == write_at {
                writer.commit(&purchases(sale, write_at as u64, 1)).unwrap();
            }
            reader.log().connect_reader()
        };
        at_one_moment(3, connect).unwrap().len()
    };
    // The first one watches.
    assert_eq!([9, 1, 2, 3, 4].map(&mut at_each), [3, 3, 1, 1, 1]);
}

#[test]
fn what_cannot_be_read_ends_the_start_on_whichever_thread() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, reader, sale) = store(folder.path());
    writer.commit(&purchases(sale, 1, 100)).unwrap();
    let stranger = Connection::open(folder.path().join("orders.sqlite")).unwrap();
    stranger.execute("UPDATE orders SET status = 99 WHERE order_id = 50", []).unwrap();
    for threads in [1, 3] {
        let error = seen(threads, &reader).err().expect("there is no such status");
        assert!(error.kind == Fault::Fatal && error.message.contains("no order status"), "{error}");
    }
}

/// All runs of so many orders of a table with these.
fn runs_of(orders: &BTreeSet<i64>, length: u32) -> Vec<RangeInclusive<i64>> {
    let table = Connection::open_in_memory().unwrap();
    table.execute_batch("CREATE TABLE orders (order_id INTEGER PRIMARY KEY)").unwrap();
    for order in orders {
        table.execute("INSERT INTO orders VALUES (?)", [order]).unwrap();
    }
    let mut runs = Runs::of(length);
    std::iter::from_fn(|| runs.next(&table).unwrap()).collect()
}

/// That each number there may be is in one run, and each run but the last has its orders.
fn check_runs(orders: &BTreeSet<i64>, length: u32) {
    let runs = runs_of(orders, length);
    assert_eq!(runs.first().map(RangeInclusive::start), Some(&i64::MIN));
    assert_eq!(runs.last().map(RangeInclusive::end), Some(&i64::MAX));
    assert!(runs.windows(2).all(|pair| pair[0].end() + 1 == *pair[1].start()), "{runs:?}");
    let counts: Vec<_> = runs.iter().map(|run| orders.range(run.clone()).count()).collect();
    let (last, full) = counts.split_last().unwrap();
    let length = length as usize;
    assert!(full.iter().all(|count| *count == length) && *last <= length, "{counts:?}");
}

#[test]
fn runs_cover_what_lies_at_either_end() {
    let tables: [&[i64]; 6] =
        [&[], &[0], &[i64::MIN], &[i64::MAX], &[i64::MIN, i64::MAX], &[1, 2, 3, i64::MAX]];
    for orders in tables {
        for length in [1, 2, 3, 100] {
            check_runs(&orders.iter().copied().collect(), length);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn runs_have_each_order_once_whatever_gaps_there_are(
        near in proptest::collection::btree_set(0i64..60, 0..40),
        far in proptest::collection::btree_set(any::<i64>(), 0..20),
        length in 1u32..12,
    ) {
        check_runs(&near.union(&far).copied().collect(), length);
    }
}
