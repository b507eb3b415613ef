//! hyper, or h2, alone: answers everything with one answer. See `perf::bare`.

use std::path::PathBuf;
use std::rc::Rc;

use clap::Parser;
use perf::bare::{FixedReply, http1, http2};
use tokio::net::TcpListener;
use tokio::task::LocalSet;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
struct Args {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:8089")]
    listen: String,
    /// A file that holds the reply, head and body, as `client --capture` writes it.
    #[arg(long)]
    reply: PathBuf,
    /// Speak HTTP/2, by prior knowledge.
    #[arg(long)]
    http2: bool,
}

fn main() -> std::io::Result<()> {
    let args = Args::parse();
    let reply = Rc::new(FixedReply::read(&std::fs::read(&args.reply)?));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind(&args.listen).await?;
        if args.http2 { http2(listener, reply).await } else { http1(listener, reply).await }
    })
}
