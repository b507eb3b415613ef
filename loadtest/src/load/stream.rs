//! A socket of the load that never blocks, plain or under TLS.

use std::io::{self, ErrorKind, Read, Write};

use mio::net::TcpStream;
use rustls::ClientConnection;

use crate::wire::tls::TlsPeer;

/// The socket.
#[derive(Debug)]
pub enum Stream {
    /// Plain.
    Plain(TcpStream),
    /// Under TLS.
    Tls(Box<Tls>),
}

/// A TLS session over a socket.
#[derive(Debug)]
pub struct Tls {
    socket: TcpStream,
    session: ClientConnection,
    /// The other side has said that nothing more comes, or something that ends the session.
    is_over: bool,
}

impl Stream {
    /// Over a socket that connects or is connected; `http2`: the protocol that is offered under TLS.
    ///
    /// # Errors
    /// As the library says.
    pub fn over(socket: TcpStream, peer: Option<&TlsPeer>, http2: bool) -> io::Result<Self> {
        let Some(peer) = peer else { return Ok(Self::Plain(socket)) };
        let session = if http2 { peer.session_of_http2()? } else { peer.session()? };
        Ok(Self::Tls(Box::new(Tls { socket, session, is_over: false })))
    }

    /// Whether the other side speaks HTTP/2, as far as that has been said: in the clear it is taken for granted.
    pub fn speaks_http2(&self) -> bool {
        match self {
            Self::Plain(_) => true,
            Self::Tls(tls) => tls.session.alpn_protocol() == Some(b"h2"),
        }
    }

    /// Whether its end has come, with or before what was read last: the next read tells it, and no event does, for the socket
    /// itself may stay open.
    pub fn has_ended(&self) -> bool {
        matches!(self, Self::Tls(tls) if tls.is_over)
    }

    /// The socket below.
    pub fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => &tls.socket,
        }
    }

    /// Goes on with the handshake as far as the socket lets it; whether it is over.
    ///
    /// # Errors
    /// The peer is not whom this tester trusts, does not trust it, or has gone.
    pub fn shake_hands(&mut self) -> io::Result<bool> {
        let Self::Tls(tls) = self else { return Ok(true) };
        loop {
            tls.send_pending()?;
            if !tls.session.is_handshaking() {
                return Ok(true);
            }
            match tls.receive() {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }
}

impl Tls {
    /// Gives the socket what it takes of what the session has to say.
    fn send_pending(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Takes bytes from the socket to the session: how many, zero at the end. A session that is over takes none, and says
    /// again what was wrong.
    fn receive(&mut self) -> io::Result<usize> {
        let taken = if self.is_over { 0 } else { self.session.read_tls(&mut self.socket)? };
        match self.session.process_new_packets() {
            Ok(state) => {
                self.is_over = state.peer_has_closed();
                Ok(taken)
            }
            Err(error) => {
                self.is_over = true;
                // The peer may be told why.
                let _ = self.send_pending();
                Err(io::Error::other(error))
            }
        }
    }
}

impl Read for Stream {
    /// As a socket's: what there is, and less than the buffer has room for only when there is no more for now, or no more at
    /// all: see [`has_ended`](Self::has_ended).
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let tls = match self {
            Self::Plain(socket) => return socket.read(buffer),
            Self::Tls(tls) => tls,
        };
        let mut filled = 0;
        loop {
            match tls.session.reader().read(&mut buffer[filled..]) {
                Ok(0) => return Ok(filled),
                Ok(read) => {
                    filled += read;
                    if filled == buffer.len() {
                        return Ok(filled);
                    }
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) if filled > 0 => return Ok(filled),
                Err(error) => return Err(error),
            }
            let was_over = tls.is_over;
            match tls.receive() {
                Ok(_) => {}
                // What stands before the fault is read first; then it is told again.
                Err(_) if tls.is_over && !was_over => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    // The session may answer what it heard: new keys, a farewell.
                    tls.send_pending()?;
                    return if filled > 0 { Ok(filled) } else { Err(error) };
                }
                Err(_) if filled > 0 => return Ok(filled),
                Err(error) => return Err(error),
            }
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let tls = match self {
            Self::Plain(socket) => return socket.write(bytes),
            Self::Tls(tls) => tls,
        };
        let taken = tls.session.writer().write(bytes)?;
        tls.send_pending()?;
        // The session keeps a bounded amount for a socket that takes nothing.
        if taken == 0 && !bytes.is_empty() { Err(ErrorKind::WouldBlock.into()) } else { Ok(taken) }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(tls) => tls.send_pending(),
        }
    }
}
