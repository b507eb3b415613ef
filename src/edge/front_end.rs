//! The edge as the rest of the engine sees it: started with one of the two front ends, drained at the end.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::runtime::Handle;

use super::Application;
use super::clock::Clock;
use super::hyper_server::HyperServer;
use super::may_server::MayServer;
use super::settings::{EdgeSettings, FrontEnd, StartError};
use crate::telemetry::Telemetry;

/// The running edge. Buyers are served on threads of its own.
#[derive(Debug)]
pub struct Edge(Running);

#[derive(Debug)]
enum Running {
    Hyper(HyperServer),
    May(MayServer),
}

impl Edge {
    /// Checks the settings, listens, and starts the front end that they name. `control` is the tokio runtime that the
    /// `may` front end borrows timers and blocking threads from.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start<A: Application>(
        settings: &EdgeSettings,
        clock: Clock,
        telemetry: Arc<Telemetry>,
        application: Arc<A>,
        control: Handle,
    ) -> Result<Self, StartError> {
        settings.check().map_err(StartError::Setting)?;
        Ok(Self(match settings.front_end {
            FrontEnd::Hyper => Running::Hyper(HyperServer::start(settings, clock, telemetry, application)?),
            FrontEnd::May => {
                Running::May(MayServer::start(settings, clock, telemetry, application, control)?)
            }
        }))
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        match &self.0 {
            Running::Hyper(server) => server.addr(),
            Running::May(server) => server.addr(),
        }
    }

    /// Stops accepting, finishes what is in flight, then closes. Returns how many connections had to be cut because
    /// they took longer than `drain_ms`. Blocks: call it where blocking is allowed.
    pub fn drain(self) -> usize {
        match self.0 {
            Running::Hyper(server) => server.drain(),
            Running::May(server) => server.drain(),
        }
    }
}
