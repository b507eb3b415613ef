//! Handshakes, and turns at what is costly about them.

use std::io;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Semaphore;
use tokio::task::yield_now;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

/// Turns at the signatures of handshakes. One costs a thread more than a hundred requests: who comes in a crowd waits
/// here, and those who are served do not wait for all of it.
#[derive(Debug)]
pub struct HandshakeTurns(Semaphore);

impl HandshakeTurns {
    /// So many signatures may be made in one go.
    pub fn new(turns: usize) -> Self {
        Self(Semaphore::new(turns))
    }

    /// The handshake of a client that has just connected. Takes as long as the client likes: whoever calls bounds it. A
    /// turn is held while the engine works and never while the client is waited for, so that the silent keep nobody out.
    ///
    /// # Errors
    /// The client is gone, speaks something else, or shows no certificate that is taken.
    pub async fn shake<S>(&self, config: Arc<ServerConfig>, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        // It is never closed.
        let turn = self.0.acquire().await;
        // Signs.
        let rest = hello.into_stream(config);
        // Signing waits for nothing: without a pause, whoever is next would have its turn before anybody is served.
        let hand_on = async move {
            yield_now().await;
            drop(turn);
        };
        tokio::join!(rest, hand_on).0
    }
}
