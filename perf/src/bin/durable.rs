//! Durable wins a second, in process: admission, queue, order writers, and SQLite or PostgreSQL with every commit synced.
//!
//! The clock runs from the first purchase until the last order is durable and its buyer has been told. Producers keep
//! as many orders waiting as the queue takes.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use perf::figures::print;
use perf::harness::{BuyerText, Engine, moment, one_unit};
use seckill::admission::{Accepted, Resolution, Ticket};
use seckill::domain::{Refusal, Rejection};
use seckill::orders::postgres::PostgresSettings;
use seckill::orders::sqlite::SqliteSettings;
use seckill::orders::{StoreError, WriterSettings};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Args {
    /// SQLite in a folder on a real disk; a folder for the data is made in it, and left there.
    #[arg(long, required_unless_present = "database_url")]
    folder: Option<PathBuf>,
    /// PostgreSQL, in an empty database.
    #[arg(long, conflicts_with = "folder")]
    database_url: Option<String>,
    /// Threads that write to PostgreSQL; the engine's default when absent.
    #[arg(long)]
    writers: Option<usize>,
    /// Orders to sell.
    #[arg(long, default_value_t = 1_000_000)]
    orders: u32,
    /// Threads that buy.
    #[arg(long, default_value_t = 1)]
    producers: u32,
    /// Orders in one transaction; the engine's default when absent.
    #[arg(long)]
    batch: Option<usize>,
    /// Orders that may wait; the engine's default when absent.
    #[arg(long)]
    queue: Option<usize>,
    /// Pages of the write-ahead log before it is folded in; the engine's default when absent.
    #[arg(long)]
    wal_pages: Option<u32>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("durable: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), StoreError> {
    let mut settings = WriterSettings::default();
    settings.batch_orders_max = args.batch.unwrap_or(settings.batch_orders_max);
    settings.queue_orders_max = args.queue.unwrap_or(settings.queue_orders_max);
    settings.writers = args.writers.unwrap_or(settings.writers);
    let engine = open(args, settings)?;

    let started = Instant::now();
    let last_tickets: Vec<Arc<Ticket>> = std::thread::scope(|scope| {
        let producers: Vec<_> = (0..args.producers)
            .map(|producer| {
                let engine = &engine;
                scope.spawn(move || produce(engine, producer, args, started))
            })
            .collect();
        producers.into_iter().filter_map(|producer| producer.join().expect("no producer panics")).collect()
    });
    while engine.commits.orders() < u64::from(args.orders)
        || last_tickets.iter().any(|ticket| ticket.resolution().is_none())
    {
        std::thread::sleep(Duration::from_micros(100));
    }
    let took = started.elapsed();

    assert!(last_tickets.iter().all(|ticket| ticket.resolution() == Some(Resolution::Durable)));
    let audit = engine.reader.audit(engine.sale.id)?.expect("the sale is there");
    assert!(audit.durable_orders == u64::from(args.orders) && audit.conserved(0), "{audit:?}");
    let commits = engine.commits.commits();
    print("durable.wins", f64::from(args.orders) / took.as_secs_f64(), "1/s");
    print("durable.orders_a_commit", f64::from(args.orders) / commits as f64, "orders");
    print("durable.commit", engine.commits.busy().as_secs_f64() * 1e6 / commits as f64, "us");
    print("durable.writer_in_commit", engine.commits.busy().as_secs_f64() / took.as_secs_f64(), "share");
    engine.stop()
}

fn open(args: &Args, settings: WriterSettings) -> Result<Engine, StoreError> {
    let shards = args.producers as usize;
    if let Some(url) = &args.database_url {
        let postgres = PostgresSettings { url: url.as_str().into(), ..PostgresSettings::default() };
        return Engine::on_postgres(&postgres, args.orders, shards, settings);
    }
    let folder = args.folder.as_deref().expect("a folder or a database is required");
    let mut sqlite = SqliteSettings::default();
    sqlite.wal_pages_max = args.wal_pages.unwrap_or(sqlite.wal_pages_max);
    let data = folder.join("durable");
    if data.exists() {
        std::fs::remove_dir_all(&data).expect("the folder of an earlier run can be removed");
    }
    Engine::embedded(&data, args.orders, shards, &sqlite, settings)
}

/// Buys one unit for each buyer of this producer's share. Returns the last ticket.
fn produce(engine: &Engine, producer: u32, args: &Args, started: Instant) -> Option<Arc<Ticket>> {
    let mut buyer = BuyerText::default();
    let mut last = None;
    for number in (producer..args.orders).step_by(args.producers as usize) {
        let buyer = buyer.set(number.into());
        loop {
            let now = moment(started);
            match engine.admission.purchase(&engine.sale, &one_unit(buyer), producer as usize, now) {
                Ok(Accepted::Placed(placed)) => {
                    last = Some(placed.ticket);
                    break;
                }
                // The queue is full: as many wait as may.
                Err(Refusal { rejection: Rejection::Overloaded, .. }) => {
                    std::thread::sleep(Duration::from_micros(200))
                }
                other => panic!("buyer {number} was answered {other:?}"),
            }
        }
    }
    last
}
