//! The edge as the rest of the engine sees it: started with one of the two front ends, drained at the end.

use std::net::SocketAddr;
use std::sync::Arc;

use super::Application;
use super::hyper_server::HyperServer;
use super::may_server::MayServer;
use super::settings::{EdgeSettings, FrontEnd};
use super::start_error::StartError;
use crate::clock::Clock;
use crate::supervisor::Supervisor;
use crate::telemetry::Telemetry;
use crate::tls::Certificates;

/// The running edge. Buyers are served on threads of its own.
#[derive(Debug)]
pub struct Edge(Running);

#[derive(Debug)]
enum Running {
    Hyper(HyperServer),
    May(MayServer),
}

impl Edge {
    /// Checks the settings, listens, and starts the front end that they name, which shows `certificates` if it speaks TLS. Its threads
    /// are the supervisor's; the `may` front end borrows timers and blocking threads from the supervisor's runtime.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn start<A: Application>(
        settings: &EdgeSettings,
        clock: Clock,
        telemetry: Arc<Telemetry>,
        application: Arc<A>,
        certificates: Arc<Certificates>,
        supervisor: &Supervisor,
    ) -> Result<Self, StartError> {
        settings.check().map_err(StartError::Setting)?;
        Ok(Self(match settings.front_end {
            FrontEnd::Hyper => Running::Hyper(HyperServer::start(
                settings,
                clock,
                telemetry,
                application,
                certificates,
                supervisor,
            )?),
            FrontEnd::May => {
                Running::May(MayServer::start(settings, clock, telemetry, application, supervisor)?)
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

    /// Has every answer from now on say `Connection: close`, while new connections are still accepted: whoever balances
    /// the load learns that this engine goes away before it refuses anybody.
    pub fn leave(&self) {
        match &self.0 {
            Running::Hyper(server) => server.leave(),
            Running::May(server) => server.leave(),
        }
    }

    /// Stops accepting, finishes what is in flight, then closes. Returns how many connections had to be cut because
    /// they took longer than `drain_ms`, or because `hurry` ended.
    pub async fn drain(self, hurry: impl Future<Output = ()>) -> usize {
        match self.0 {
            Running::Hyper(server) => server.drain(hurry).await,
            Running::May(server) => server.drain(hurry).await,
        }
    }
}
