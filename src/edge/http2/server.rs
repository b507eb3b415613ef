//! How a connection is served that speaks HTTP/2, from its beginning to its end.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;

use tokio::io::AsyncWrite;

use super::super::Application;
use super::super::connection::Connection;
use super::super::connection_timeout::{ConnectionTimeout, Signal};
use super::super::exchange::Exchange;
use super::super::settings::EdgeSettings;
use super::super::transport::Transport;
use super::connection::{Ended, Served};
use super::shared::Shared;
use crate::telemetry::Telemetry;

/// The connections of one thread that speak HTTP/2.
pub struct Http2(Shared);

impl Http2 {
    /// As the settings say.
    pub fn new(settings: &EdgeSettings) -> Self {
        Self(Shared::new(settings))
    }

    /// Serves a connection until either side ends it. `names_clients`: it is a trusted proxy's.
    pub async fn serve<A: Application>(
        &self,
        exchange: &Exchange<A>,
        telemetry: &Telemetry,
        transport: Transport,
        timeout: &Rc<ConnectionTimeout>,
        names_clients: bool,
    ) {
        let _counted = telemetry.http2.connections.enter();
        let mut served = Served::new(&self.0, exchange, telemetry, transport, timeout, names_clients);
        let ended = poll_fn(|context| served.poll(context)).await;
        let transport = served.into_transport();
        if ended == Ended::Told {
            // In the order that loses no answer.
            let mut io = Connection::new(transport, Rc::clone(timeout));
            let mut closing = pin!(poll_fn(|context| Pin::new(&mut io).poll_shutdown(context)));
            poll_fn(|context| match timeout.signal() {
                Signal::Drop => Poll::Ready(()),
                _ => closing.as_mut().poll(context).map(drop),
            })
            .await;
        }
    }
}
