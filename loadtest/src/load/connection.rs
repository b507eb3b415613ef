//! One keep-alive connection: it writes a request, reads its answer, and says when it broke.

use std::io::{self, ErrorKind, Read, Write};

use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::stream::Stream;
use crate::outcome::{Action, Outcome};
use crate::wire::request::Target;
use crate::wire::response::{self, Response};

/// The request that a connection is busy with.
#[derive(Debug, Clone, Copy)]
pub struct InFlight {
    /// The visit it belongs to.
    pub journey: u32,
    /// What was asked.
    pub action: Action,
    /// When it was due.
    pub due_ns: u64,
    /// When it was written, or its connection begun.
    pub sent_ns: u64,
    /// Whether the visitor held an order then.
    pub held_when_asked: bool,
}

/// Why a connection is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// Something was asked on it. What has come is read at its own event.
    Asked,
    /// Something has become of its socket.
    Socket {
        /// It can be written to.
        writable: bool,
        /// The other side has hung up.
        closing: bool,
    },
}

impl Ready {
    /// What an event tells.
    pub fn of(event: &Event) -> Self {
        Self::Socket { writable: event.is_writable(), closing: event.is_read_closed() || event.is_error() }
    }
}

#[derive(Debug, Default)]
enum Socket {
    #[default]
    Closed,
    Connecting(Stream),
    /// The TCP connection is up, TLS is not.
    Handshaking(Stream),
    Open(Stream),
}

/// What a readiness event brought.
#[derive(Debug, PartialEq)]
pub enum Progress {
    /// Nothing to act on yet.
    Waiting,
    /// The connection is up.
    Connected,
    /// A whole answer was handled.
    Answered,
    /// The connection is gone or useless; the outcome is for the request in flight, if there is one.
    Broken(Outcome),
}

/// A connection of a worker.
#[derive(Debug, Default)]
pub struct Connection {
    socket: Socket,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
    /// Requests written since it was opened.
    pub requests: u32,
    /// The request it is busy with.
    pub request: Option<InFlight>,
}

impl Connection {
    /// Whether it has no socket.
    pub fn is_closed(&self) -> bool {
        matches!(self.socket, Socket::Closed)
    }

    /// Whether its socket is up.
    pub fn is_open(&self) -> bool {
        matches!(self.socket, Socket::Open(_))
    }

    /// Gives the socket up.
    pub fn close(&mut self) {
        self.socket = Socket::Closed;
        self.outgoing.clear();
        self.incoming.clear();
        self.requests = 0;
    }

    /// Begins to connect.
    ///
    /// # Errors
    /// When no socket can be had.
    pub fn connect(&mut self, target: &Target, registry: &Registry, token: Token) -> io::Result<()> {
        self.close();
        let mut socket = TcpStream::connect(target.address())?;
        socket.set_nodelay(true)?;
        registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
        self.socket = Socket::Connecting(Stream::over(socket, target.tls(), false)?);
        Ok(())
    }

    /// Writes a request, or keeps it until the socket takes it.
    ///
    /// # Errors
    /// When the peer has closed the connection: the request was not sent.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.requests += 1;
        let mut written = 0;
        if let Socket::Open(stream) = &mut self.socket {
            written = write(stream, bytes)?;
        }
        self.outgoing.extend_from_slice(&bytes[written..]);
        Ok(())
    }

    /// Acts on a readiness event. `answered` is called with a whole answer and says whether more may follow on
    /// this connection; `buffer` is lent for reading.
    pub fn on_ready(
        &mut self,
        writable: bool,
        closing: bool,
        buffer: &mut [u8],
        answered: impl FnOnce(&InFlight, &Response<'_>) -> bool,
    ) -> Progress {
        let mut progress = Progress::Waiting;
        self.socket = match std::mem::take(&mut self.socket) {
            Socket::Connecting(stream) if writable || closing => {
                let refused = !matches!(stream.socket().take_error(), Ok(None));
                match stream.socket().peer_addr() {
                    Ok(_) if !refused => Socket::Handshaking(stream),
                    Err(error) if !refused && error.kind() == ErrorKind::NotConnected && !closing => {
                        Socket::Connecting(stream)
                    }
                    _ => return Progress::Broken(Outcome::ConnectFailed),
                }
            }
            other => other,
        };
        self.socket = match std::mem::take(&mut self.socket) {
            Socket::Handshaking(mut stream) => match stream.shake_hands() {
                Ok(true) => Socket::Open(stream),
                Ok(false) if !closing => Socket::Handshaking(stream),
                _ => return Progress::Broken(Outcome::ConnectFailed),
            },
            other => other,
        };
        let Socket::Open(stream) = &mut self.socket else { return progress };
        if self.requests == 0 {
            progress = Progress::Connected;
        }
        if writable && stream.flush().is_err() {
            return Progress::Broken(Outcome::ConnectionLost);
        }
        if !self.outgoing.is_empty() {
            match write(stream, &self.outgoing) {
                Ok(written) => drop(self.outgoing.drain(..written)),
                Err(_) => return Progress::Broken(Outcome::ConnectionLost),
            }
        }
        loop {
            let read = match stream.read(buffer) {
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return progress,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => return Progress::Broken(Outcome::ConnectionLost),
            };
            let ended = read == 0;
            // Under TLS the end may have come behind what was read.
            let closing = closing || stream.has_ended();
            // The usual answer arrives whole and is parsed where it was read.
            let whole: &[u8] = if self.incoming.is_empty() {
                &buffer[..read]
            } else {
                self.incoming.extend_from_slice(&buffer[..read]);
                &self.incoming
            };
            let Some(request) = &self.request else {
                // Nothing was asked: the peer says goodbye, or speaks out of turn.
                return Progress::Broken(Outcome::ConnectionLost);
            };
            match response::parse(whole, ended) {
                Ok(Some(answer)) => {
                    // Bytes beyond the answer belong to nothing that was asked.
                    let alone = answer.consumed == whole.len();
                    let keep = answered(request, &answer) && answer.keep_alive && alone && !ended && !closing;
                    self.request = None;
                    self.incoming.clear();
                    if !keep {
                        self.close();
                    }
                    return Progress::Answered;
                }
                Ok(None) if ended => return Progress::Broken(Outcome::ConnectionLost),
                Ok(None) if self.incoming.is_empty() => self.incoming.extend_from_slice(&buffer[..read]),
                Ok(None) => {}
                Err(_) => return Progress::Broken(Outcome::Malformed),
            }
            // A read that left room in the buffer has emptied the socket; the next bytes raise a new event.
            if read < buffer.len() && !closing {
                return progress;
            }
        }
    }
}

/// Writes as much as the socket takes.
fn write(stream: &mut Stream, bytes: &[u8]) -> io::Result<usize> {
    let mut written = 0;
    while written < bytes.len() {
        match stream.write(&bytes[written..]) {
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use mio::{Events, Poll};
    use testbed::PATIENCE;

    use super::*;
    use crate::load::tls_server::{Leaving, says_and_leaves};

    #[test]
    fn an_end_that_comes_with_the_answer_under_tls_is_heard() {
        let with_length = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        let until_the_end = "HTTP/1.1 200 OK\r\n\r\nok";
        for (words, leaving) in [
            (with_length, Leaving::Goodbye),
            (until_the_end, Leaving::Goodbye),
            (with_length, Leaving::Noise),
        ] {
            let (target, server) = says_and_leaves("http/1.1", words.as_bytes(), leaving);
            let (mut poll, mut connection) = (Poll::new().unwrap(), Connection::default());
            connection.connect(&target, poll.registry(), Token(0)).unwrap();
            let (action, [due_ns, sent_ns]) = (Action::Page, [0; 2]);
            connection.request =
                Some(InFlight { journey: 0, action, due_ns, sent_ns, held_when_asked: false });
            connection.send(b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n").unwrap();
            let (mut events, mut heard) = (Events::with_capacity(4), Vec::new());
            while connection.request.is_some() {
                poll.poll(&mut events, Some(PATIENCE)).unwrap();
                assert!(!events.is_empty(), "nothing becomes of the socket");
                for event in &events {
                    let Ready::Socket { writable, closing } = Ready::of(event) else { continue };
                    let progress = connection.on_ready(writable, closing, &mut [0; 4_096], |_, answer| {
                        heard.push((answer.status, answer.body.to_vec()));
                        true
                    });
                    assert!(!matches!(progress, Progress::Broken(_)), "{words:?}, {leaving:?}: {progress:?}");
                }
            }
            assert_eq!(heard, [(200, b"ok".to_vec())], "{words:?}, {leaving:?}");
            // Nothing more is asked on it.
            assert!(connection.is_closed(), "{words:?}, {leaving:?}");
            server.join().unwrap();
        }
    }
}
