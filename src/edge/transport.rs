//! A buyer's bytes as they come from the network, and what they turn out to be.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::connection_timeout::{ConnectionTimeout, Signal, Wait};
use super::http2::PREFACE;

/// Bytes that are read at once to see what a connection speaks: most first requests fit.
const FIRST_READ_BYTES: usize = 2_048;

/// A socket, of which a part may have been read already.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    begun: Bytes,
}

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

impl Socket {
    /// A socket whose first bytes, `begun`, have been read already.
    pub fn new(stream: TcpStream, begun: Bytes) -> Self {
        Self { stream, begun }
    }

    /// Waits for as many bytes as tell the protocol, and keeps them to be read again. `None` when the connection is not
    /// to be served: it was silent for too long, or the engine stops.
    pub async fn speaks(&mut self, timeout: &ConnectionTimeout) -> Option<Protocol> {
        let mut is_watched = false;
        std::future::poll_fn(|context| {
            if !is_watched {
                timeout.belongs_to(context.waker());
                is_watched = true;
            }
            if timeout.signal() == Signal::Drop {
                return Poll::Ready(None);
            }
            loop {
                if let Some(protocol) = told_by(&self.begun) {
                    return Poll::Ready(Some(protocol));
                }
                match self.poll_more(context) {
                    Poll::Ready(true) if timeout.wait() == Wait::Request => timeout.waits_for(Wait::Header),
                    Poll::Ready(true) => {}
                    // The end, or an error: whoever serves HTTP/1.1 finds that again.
                    Poll::Ready(false) => return Poll::Ready(Some(Protocol::Http1)),
                    Poll::Pending if timeout.signal() == Signal::Finish && self.begun.is_empty() => {
                        return Poll::Ready(None);
                    }
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await
    }

    /// Reads more beginning. False when nothing more comes.
    fn poll_more(&mut self, context: &mut Context<'_>) -> Poll<bool> {
        let mut bytes = [0; FIRST_READ_BYTES];
        let mut buffer = ReadBuf::new(&mut bytes);
        let read = ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer));
        if read.is_err() || buffer.filled().is_empty() {
            return Poll::Ready(false);
        }
        self.begun = match self.begun.len() {
            0 => Bytes::copy_from_slice(buffer.filled()),
            _ => [&self.begun, buffer.filled()].concat().into(),
        };
        Poll::Ready(true)
    }
}

/// What a connection speaks that begins like this, if that can be told yet.
fn told_by(begun: &[u8]) -> Option<Protocol> {
    if begun.starts_with(PREFACE) {
        Some(Protocol::Http2)
    } else if PREFACE.starts_with(begun) {
        None
    } else {
        Some(Protocol::Http1)
    }
}

/// What a connection's bytes travel in.
pub(super) enum Transport {
    /// In the clear.
    Plain(Socket),
    /// Under TLS.
    Tls(Box<TlsStream<Socket>>),
}

impl Transport {
    /// Waits until the socket has something, or has ended; nothing is read.
    pub fn poll_readable(&self, context: &mut Context<'_>) -> Poll<()> {
        let socket = match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream.get_ref().0,
        };
        // What is wrong with it is found by whoever reads.
        if socket.begun.is_empty() {
            socket.stream.poll_read_ready(context).map(drop)
        } else {
            Poll::Ready(())
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.begun.is_empty() {
            return Pin::new(&mut this.stream).poll_read(context, buffer);
        }
        let fits = this.begun.len().min(buffer.remaining());
        buffer.put_slice(&this.begun.split_to(fits));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_the_protocol() {
        for (begun, told) in [
            (&b""[..], None),
            (b"P", None),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r", None),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0", Some(Protocol::Http2)),
            (b"POST /a HTTP/1.1\r\n", Some(Protocol::Http1)),
            (b"PRI * HTTP/1.1\r\n", Some(Protocol::Http1)),
            (b"\x16\x03\x01", Some(Protocol::Http1)),
        ] {
            assert_eq!(told_by(begun), told, "{begun:?}");
        }
    }
}
