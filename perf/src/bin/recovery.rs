//! What a start costs: reads the store that `durable` left, and shows the time and the memory of each order.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use perf::figures::print;
use perf::process::resident_bytes;
use seckill::domain::NodeId;
use seckill::orders::sqlite::{self, SqliteSettings};
use seckill::orders::{Deadlines, Recovered, StoreError};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Args {
    /// The folder that was given to `durable`.
    #[arg(long)]
    folder: PathBuf,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("recovery: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), StoreError> {
    let me = std::process::id();
    let memory = || resident_bytes(me).expect("this process is alive") as f64;
    let before = memory();
    let started = Instant::now();
    let (writer, reader) = sqlite::open(&args.folder.join("durable"), &SqliteSettings::default())?;
    let deadlines = Deadlines::default();
    let recovered =
        Recovered::read(&reader, NodeId::new(0).expect("0 is a node"), 2, &deadlines, &Default::default())?;
    let took = started.elapsed();
    // SQLite's page cache is not the orders' memory.
    drop((writer, reader));
    let orders = recovered.orders as f64;
    print("recovery.orders", orders, "orders");
    print("recovery.time", took.as_secs_f64(), "s");
    print("recovery.rate", orders / took.as_secs_f64(), "1/s");
    print("recovery.memory", (memory() - before) / orders, "bytes/order");
    Ok(())
}
