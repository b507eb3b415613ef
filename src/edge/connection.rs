//! One buyer's socket: how it is read, ended, and refused when there are too many.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::connection_timeout::{ConnectionTimeout, Signal, Wait};
use super::problem;
use super::reply::{Keep, NOSNIFF, retry_after_s};
use super::request_id::RequestId;
use super::transport::Transport;
use crate::domain::Nanos;

/// Bytes that are read of who goes on sending after our side has ended: as much as may be on its way when it hears of that.
pub(super) const DISCARDED_BYTES_MAX: usize = 1 << 20;

/// Why a connection is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoPlace {
    /// Everybody's places are taken.
    Full,
    /// This address's places are taken.
    AddressFull,
}

/// Says that there are too many connections, and waits a moment for the other side to read it.
pub(super) async fn refuse(stream: TcpStream, why: NoPlace) {
    let reply = problem::OVERLOADED
        .detailed(match why {
            NoPlace::Full => "The engine has as many connections as it may have.",
            NoPlace::AddressFull => "This address has as many connections as it may have.",
        })
        .reply(&RequestId::of(None));
    let mut answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: {}\r\ncache-control: {}\r\n\
         x-content-type-options: {NOSNIFF}\r\nretry-after: {}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        reply.content.media_type(),
        Keep::NO_STORE,
        retry_after_s(Nanos::SECOND),
        reply.body.len()
    )
    .into_bytes();
    answer.extend_from_slice(&reply.body);
    // A socket that was just opened takes this much at once.
    let _ = stream.try_write(&answer);
    let _ = SockRef::from(&stream).shutdown(std::net::Shutdown::Write);
    let (mut unread, mut discarded) = ([0; 1024], 0);
    let read_to_the_end = async {
        while discarded < DISCARDED_BYTES_MAX && stream.readable().await.is_ok() {
            match stream.try_read(&mut unread) {
                Ok(0) => break,
                Ok(read) => discarded += read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_millis(500), read_to_the_end).await;
}

/// A connection that tells the [`ConnectionTimeout`] when bytes arrive, and closes in the order that loses no answer.
pub(super) struct Connection {
    transport: Transport,
    timeout: Rc<ConnectionTimeout>,
    /// What was read and is to be read again.
    unread: Bytes,
    sent_end: bool,
    /// Read, and looked at by nobody, since our side ended.
    discarded: usize,
}

impl Connection {
    /// Nothing has been read yet.
    pub(super) fn new(transport: Transport, timeout: Rc<ConnectionTimeout>) -> Self {
        Self { transport, timeout, unread: Bytes::new(), sent_end: false, discarded: 0 }
    }

    /// Has these bytes be read again, before what comes next.
    pub(super) fn read_again(&mut self, bytes: Bytes) {
        self.unread = bytes;
    }

    /// Waits until there is something to read, or the connection is told something that asks for more than waiting. False
    /// when it is to be dropped.
    pub(super) async fn rest(&self) -> bool {
        self.timeout.waits_for(Wait::Rested);
        let mut is_watched = false;
        std::future::poll_fn(|context| {
            if !is_watched {
                self.timeout.belongs_to(context.waker());
                is_watched = true;
            }
            match self.timeout.signal() {
                Signal::Serve => {}
                Signal::Rest | Signal::Leave => self.timeout.acknowledge(),
                Signal::Finish => return Poll::Ready(true),
                Signal::Drop => return Poll::Ready(false),
            }
            self.transport.poll_readable(context).map(|()| {
                self.timeout.waits_for(Wait::Request);
                true
            })
        })
        .await
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.unread.is_empty() {
            let fits = this.unread.len().min(buffer.remaining());
            buffer.put_slice(&this.unread.split_to(fits));
            return Poll::Ready(Ok(()));
        }
        let read = ready!(Pin::new(&mut this.transport).poll_read(context, buffer));
        // Bytes are the beginning of a header.
        if this.timeout.wait() == Wait::Request {
            this.timeout.waits_for(Wait::Header);
        }
        Poll::Ready(read)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.timeout.writes(true);
        Pin::new(&mut this.transport).poll_write(context, bytes)
    }

    /// Who writes here flushes when it has handed over all that it has.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.transport).poll_flush(context))?;
        this.timeout.writes(false);
        Poll::Ready(Ok(()))
    }

    /// Ends our side, then reads what still comes until the other side ends too. Closing a socket that holds unread
    /// bytes resets it, and a reset can destroy the answer before it is read. Who goes on sending for all that is not waited for.
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.sent_end {
            ready!(Pin::new(&mut this.transport).poll_shutdown(context))?;
            this.sent_end = true;
            this.timeout.waits_for(Wait::Close);
        }
        let mut unread = [0; 1024];
        while this.discarded < DISCARDED_BYTES_MAX {
            let mut buffer = ReadBuf::new(&mut unread);
            let read = ready!(Pin::new(&mut this.transport).poll_read(context, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                break;
            }
            this.discarded += buffer.filled().len();
        }
        Poll::Ready(Ok(()))
    }
}
