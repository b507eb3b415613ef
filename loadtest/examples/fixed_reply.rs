//! A server without a shop behind it: the same refusal for every purchase, one thread, no parsing.
//!
//! It is the floor that the client's own cost is measured on: `cargo run --release -p loadtest --example fixed_reply`
//! and then `perf/client_cost.sh`. It answers just enough of the admin plane for a run with `--no-verify`.

use std::io::{self, ErrorKind, Read, Write};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const SOLD_OUT: &[u8] = b"HTTP/1.1 409 Conflict\r\nContent-Type: application/problem+json\r\nContent-Length: 61\r\n\r\n{\"type\":\"about:blank\",\"title\":\"Sold out\",\"code\":\"sold-out\"}\r\n";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
const CREATED: &[u8] =
    b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8089".into());
    let address = address.parse().map_err(io::Error::other)?;
    let mut listener = TcpListener::bind(address)?;
    println!("listening on {}", listener.local_addr()?);
    let mut poll = Poll::new()?;
    poll.registry().register(&mut listener, Token(usize::MAX - 1), Interest::READABLE)?;
    let mut connections: Vec<Option<TcpStream>> = Vec::new();
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; 16 * 1024];
    loop {
        if let Err(error) = poll.poll(&mut events, None)
            && error.kind() != ErrorKind::Interrupted
        {
            return Err(error);
        }
        for event in &events {
            let Token(id) = event.token();
            if id == usize::MAX - 1 {
                while let Ok((mut stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    poll.registry().register(&mut stream, Token(connections.len()), Interest::READABLE)?;
                    connections.push(Some(stream));
                }
            } else if let Some(slot) = connections.get_mut(id)
                && let Some(stream) = slot
                && !answer(stream, &mut buffer)
            {
                *slot = None;
            }
        }
    }
}

/// Answers the request that has arrived; false when the connection is over.
fn answer(stream: &mut TcpStream, buffer: &mut [u8]) -> bool {
    let read = match stream.read(buffer) {
        Ok(0) => return false,
        Ok(read) => read,
        Err(error) => return matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
    };
    let reply = match &buffer[..read] {
        request if request.starts_with(b"POST /seckill") => SOLD_OUT,
        request if request.starts_with(b"POST ") => CREATED,
        _ => OK,
    };
    stream.write_all(reply).is_ok()
}
