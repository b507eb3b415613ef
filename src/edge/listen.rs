//! The sockets that the `hyper` front end listens on.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

const BACKLOG: i32 = 4096;

/// One listener for each thread, all on the same address.
pub(super) fn listen(addr: SocketAddr, threads: usize) -> io::Result<Vec<TcpListener>> {
    let socket = |addr: SocketAddr| {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        io::Result::Ok(socket)
    };
    // Without this look, a second engine of the same user would share the port and take every second buyer.
    let alone = socket(addr)?;
    alone.bind(&addr.into())?;
    let addr = alone.local_addr()?.as_socket().unwrap_or(addr);
    drop(alone);
    (0..threads)
        .map(|_| {
            let socket = socket(addr)?;
            socket.set_reuse_port(true)?;
            // Inherited by the accepted sockets: one call here instead of one a connection.
            socket.set_tcp_nodelay(true)?;
            socket.set_nonblocking(true)?;
            socket.bind(&addr.into())?;
            socket.listen(BACKLOG)?;
            Ok(socket.into())
        })
        .collect()
}
