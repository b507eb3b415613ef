//! Orders a second that the writers of several nodes make durable in one PostgreSQL.
//!
//! Each node is a store of its own: its life, its shares, its writing connections. Each writer commits one batch after the
//! other, of buyers that nobody has seen, with as many orders as it is told. What is in front of the writers in an engine
//! (HTTP, admission, the queue) and beside them (leases, followers) is not here: all nodes are in one process, and every share
//! was written before the clock starts. What is measured is how far their transactions keep each other waiting.

use std::process::ExitCode;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use perf::figures::{percentile, print};
use perf::harness::{terms, wall_now};
use seckill::domain::{BuyerId, Cents, NewOrder, NodeId, OrderId, Sale, SaleKey, Units};
use seckill::orders::postgres::{self, Exclusivity, PgWriter, PostgresSettings};
use seckill::orders::{Batch, LeaseStore, Receipt, StoreError, StoreWriter, WantedShare};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Args {
    /// PostgreSQL, in an empty database.
    #[arg(long)]
    database_url: String,
    /// Nodes.
    #[arg(long)]
    nodes: u16,
    /// Writers of each node.
    #[arg(long, default_value_t = 4)]
    writers: usize,
    /// Sales; the orders of a batch are of one after the other.
    #[arg(long, default_value_t = 1)]
    sales: u32,
    /// Orders of a batch.
    #[arg(long, default_value_t = 4)]
    orders: usize,
    /// How long they sell, in s.
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
}

/// Units of each node's share of each sale: more than any run sells.
const SHARE: Units = 2_000_000;

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("writers: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), StoreError> {
    let settings = PostgresSettings {
        url: args.database_url.as_str().into(),
        readers: 2,
        lock_wait_ms: 60_000,
        statement_wait_ms: 60_000,
        ..PostgresSettings::default()
    };
    let mut stores = Vec::new();
    for number in 0..args.nodes {
        let node = NodeId::new(number).expect("few nodes");
        stores.push((node, postgres::open(&settings, node, args.writers, Exclusivity::Shared)?));
    }
    let total = SHARE * Units::from(args.nodes);
    let maker = &mut stores[0].1.writers[0];
    let sales: Vec<Sale> = (0..args.sales)
        .map(|number| {
            let key = SaleKey::new("default", "perf", &format!("sku-{number}")).expect("the name is fine");
            Ok(maker
                .create_sale(&key, &terms(wall_now(), None), total, None)?
                .expect("the database is empty"))
        })
        .collect::<Result<_, StoreError>>()?;
    for (_, store) in &stores {
        let lease_store = &store.lease_store;
        for sale in &sales {
            let wanted =
                WantedShare { sale: sale.id, life: lease_store.incarnation(), turn: 0, units: SHARE.into() };
            let share = lease_store.set_share(wanted)?;
            assert_eq!(share, Some(SHARE.into()), "there is enough for all");
        }
    }

    let (over, begin) = (AtomicBool::new(false), Barrier::new(usize::from(args.nodes) * args.writers + 1));
    let ticks = AtomicU64::new(OrderId::tick_at(wall_now()));
    let (mut took, mut commits) = (Duration::ZERO, Vec::new());
    std::thread::scope(|scope| {
        let selling: Vec<_> = stores
            .iter_mut()
            .flat_map(|(node, store)| store.writers.iter_mut().map(|writer| (*node, writer)))
            .map(|(node, writer)| {
                let (sales, over, begin, ticks) = (&sales, &over, &begin, &ticks);
                let sell = Selling { node, writer, sales, ticks, orders: args.orders };
                scope.spawn(move || {
                    begin.wait();
                    sell.until(over)
                })
            })
            .collect();
        begin.wait();
        let started = Instant::now();
        std::thread::sleep(Duration::from_secs_f64(args.seconds));
        over.store(true, Ordering::Relaxed);
        for sold in selling {
            commits.extend(sold.join().expect("no writer panics")?);
        }
        took = started.elapsed();
        Ok::<_, StoreError>(())
    })?;

    let sold: u64 = sales
        .iter()
        .map(|sale| Ok(stores[0].1.lease_store.units(sale.id)?.map_or(0, |units| units.sold)))
        .sum::<Result<_, StoreError>>()?;
    assert_eq!(sold, (commits.len() * args.orders) as u64, "every order that was acknowledged is sold");
    print("writers.orders", sold as f64 / took.as_secs_f64(), "1/s");
    print("writers.commits", commits.len() as f64 / took.as_secs_f64(), "1/s");
    print("writers.p50", percentile(&commits, 0.5) * 1e3, "ms");
    print("writers.p99", percentile(&commits, 0.99) * 1e3, "ms");
    Ok(())
}

/// One writer at work.
struct Selling<'a> {
    node: NodeId,
    writer: &'a mut PgWriter,
    sales: &'a [Sale],
    ticks: &'a AtomicU64,
    orders: usize,
}

impl Selling<'_> {
    /// How long each of its commits took, in s.
    fn until(self, over: &AtomicBool) -> Result<Vec<f64>, StoreError> {
        let mut took = Vec::new();
        while !over.load(Ordering::Relaxed) {
            let placed = (0..self.orders).map(|_| self.order()).collect();
            let batch = Batch { placed, ..Batch::default() };
            let started = Instant::now();
            let receipt = self.writer.commit(&batch)?;
            took.push(started.elapsed().as_secs_f64());
            assert!(
                matches!(&receipt, Receipt::Committed { refused, .. } if refused.is_empty()),
                "{receipt:?}"
            );
        }
        Ok(took)
    }

    fn order(&self) -> NewOrder {
        let tick = self.ticks.fetch_add(1, Ordering::Relaxed);
        let now = wall_now();
        NewOrder {
            id: OrderId::from_tick(tick, self.node),
            sale: self.sales[tick as usize % self.sales.len()].id,
            buyer: BuyerId::new(&format!("buyer-{tick:012}")).expect("the name keeps its rule"),
            quantity: 1,
            amount: Cents(1999),
            created_at: now,
            pay_before: now.plus_ms(900_000),
            idempotency_key: None,
        }
    }
}
