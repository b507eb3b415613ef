//! What an operator tells a running engine: stop, or read the configuration again.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// SIGTERM or SIGINT. Told again, it hurries.
    Stop,
    /// SIGHUP.
    Reload,
}

/// The signals, from the moment this is made: none of them ends the process any more, nor is one lost, also where the
/// system would ignore them (the first process of a container has no default actions).
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Begins to listen. Must be called in a tokio runtime.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The next one.
    pub async fn next(&mut self) -> Told {
        // None of them ends before the runtime does.
        tokio::select! {
            Some(()) = self.terminate.recv() => Told::Stop,
            Some(()) = self.interrupt.recv() => Told::Stop,
            Some(()) = self.hangup.recv() => Told::Reload,
            else => std::future::pending().await,
        }
    }
}
