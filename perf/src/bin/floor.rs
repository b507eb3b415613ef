//! The floor under any HTTP server on this machine: one thread, epoll, one read and one write a request, a fixed reply
//! of the size that the engine answers, and no parsing at all.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;

use clap::Parser;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

#[derive(Parser)]
struct Args {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:8088")]
    listen: String,
    /// A file that holds the reply, head and body, as `client --capture` writes it.
    #[arg(long)]
    reply: PathBuf,
}

/// The first place belongs to the listener.
const LISTENER: usize = 0;

fn main() -> std::io::Result<()> {
    let args = Args::parse();
    let reply = std::fs::read(&args.reply)?;
    let listener = TcpListener::bind(&args.listen)?;
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER as u64), EventFlags::IN)?;
    let mut connections: Vec<Option<TcpStream>> = vec![None];
    let mut free = Vec::new();
    let mut events = Vec::with_capacity(512);
    let mut request = [0; 4096];
    loop {
        epoll::wait(&epoll, spare_capacity(&mut events), None)?;
        for event in events.drain(..) {
            let key = event.data.u64() as usize;
            if key == LISTENER {
                while let Ok((connection, _)) = listener.accept() {
                    connection.set_nonblocking(true)?;
                    connection.set_nodelay(true)?;
                    let key = free.pop().unwrap_or(connections.len());
                    epoll::add(&epoll, &connection, EventData::new_u64(key as u64), EventFlags::IN)?;
                    connections.resize_with(connections.len().max(key + 1), || None);
                    connections[key] = Some(connection);
                }
                continue;
            }
            let Some(connection) = &mut connections[key] else { continue };
            // Each readable event counts as one request: the client has one under way on a connection.
            let answered = matches!(connection.read(&mut request), Ok(bytes) if bytes > 0)
                && connection.write_all(&reply).is_ok();
            if !answered {
                connections[key] = None;
                free.push(key);
            }
        }
    }
}
