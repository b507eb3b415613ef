//! A connection of a worker, whichever protocol it speaks, and what is under way on it: one request, or one in each lane.

use std::io;
use std::sync::Arc;

use mio::{Registry, Token};

use super::connection::{Connection, InFlight, Progress, Ready};
use super::http2::Http2Connection;
use crate::outcome::Outcome;
use crate::wire::request::{Ask, RequestKit, Target};
use crate::wire::response::Response;

/// The connection.
pub enum Link {
    /// One request at a time.
    Http1(Connection),
    /// Several, each in its lane.
    Http2(Box<Http2Connection>),
}

impl Default for Link {
    fn default() -> Self {
        Self::Http1(Connection::default())
    }
}

/// How a request gets to the engine.
pub struct Way<'a> {
    /// Where to connect.
    pub target: &'a Target,
    /// Who tells when the socket is ready.
    pub registry: &'a Registry,
    /// By this name.
    pub token: Token,
}

impl Link {
    /// One that is closed, for requests of this kit. `streams`: the lanes, if it speaks HTTP/2.
    pub fn new(kit: &RequestKit, streams: Option<u32>) -> Self {
        match streams {
            None => Self::default(),
            Some(streams) => {
                Self::Http2(Box::new(Http2Connection::new(Arc::clone(kit.common_of_http2()), streams)))
            }
        }
    }

    /// Whether it has no socket.
    pub fn is_closed(&self) -> bool {
        match self {
            Self::Http1(connection) => connection.is_closed(),
            Self::Http2(connection) => connection.is_closed(),
        }
    }

    /// Whether it is up.
    pub fn is_open(&self) -> bool {
        match self {
            Self::Http1(connection) => connection.is_open(),
            Self::Http2(connection) => connection.is_open(),
        }
    }

    /// Begins to connect.
    ///
    /// # Errors
    /// When no socket can be had.
    pub fn connect(&mut self, way: &Way<'_>) -> io::Result<()> {
        match self {
            Self::Http1(connection) => connection.connect(way.target, way.registry, way.token),
            Self::Http2(connection) => connection.connect(way.target, way.registry, way.token),
        }
    }

    /// Whether the lane can be used now; else it is told as freed later.
    pub fn takes(&mut self, lane: u32) -> bool {
        match self {
            Self::Http1(_) => true,
            Self::Http2(connection) => connection.takes(lane),
        }
    }

    /// Whether the next request is the last that may be made on it, and has to say so.
    pub fn is_last(&self, requests_max: u32) -> bool {
        match self {
            Self::Http1(connection) => requests_max > 0 && connection.requests + 1 >= requests_max,
            Self::Http2(_) => false,
        }
    }

    /// The request in this lane.
    pub fn request(&self, lane: u32) -> Option<&InFlight> {
        match self {
            Self::Http1(connection) => connection.request.as_ref(),
            Self::Http2(connection) => connection.request(lane),
        }
    }

    /// Sends a request, on a new connection if there is none. Whether one was begun.
    ///
    /// # Errors
    /// When no socket can be had; the request is still in its lane.
    pub fn send(
        &mut self,
        lane: u32,
        request: InFlight,
        kit: &RequestKit,
        ask: Ask<'_>,
        way: &Way<'_>,
        buffer: &mut Vec<u8>,
    ) -> (bool, io::Result<()>) {
        match self {
            Self::Http1(connection) => {
                buffer.clear();
                kit.write(ask, buffer);
                connection.request = Some(request);
                if connection.is_open() && connection.send(buffer).is_ok() {
                    return (false, Ok(()));
                }
                // Closed, or the server has hung up since the last answer: this request needs a new connection.
                let opened = connection.connect(way.target, way.registry, way.token);
                (true, opened.and_then(|()| connection.send(buffer)))
            }
            Self::Http2(connection) => {
                kit.prepare(ask, connection.ask(lane, request));
                let begins = connection.is_closed();
                let opened =
                    if begins { connection.connect(way.target, way.registry, way.token) } else { Ok(()) };
                (begins, opened)
            }
        }
    }

    /// Gives up on the request in this lane, if there is one.
    pub fn give_up(&mut self, lane: u32) -> Option<InFlight> {
        match self {
            Self::Http1(connection) => {
                connection.close();
                connection.request.take()
            }
            Self::Http2(connection) => connection.give_up(lane),
        }
    }

    /// Acts on a readiness event, or on what was asked. `hear` is told what became of requests, each with its lane, which
    /// is free then; `freed` gets other lanes that are.
    pub fn go_on(
        &mut self,
        ready: Ready,
        requests_max: u32,
        buffer: &mut [u8],
        freed: &mut Vec<u32>,
        mut hear: impl FnMut(u32, InFlight, Result<&Response<'_>, Outcome>),
    ) {
        match self {
            Self::Http1(connection) => {
                let Ready::Socket { writable, closing } = ready else { return };
                let keep = requests_max == 0 || connection.requests < requests_max;
                let progress = connection.on_ready(writable, closing, buffer, |request, answer| {
                    hear(0, *request, Ok(answer));
                    keep
                });
                if let Progress::Broken(outcome) = progress {
                    connection.close();
                    if let Some(request) = connection.request.take() {
                        hear(0, request, Err(outcome));
                    }
                }
            }
            Self::Http2(connection) => connection.go_on(ready, requests_max, buffer, freed, hear),
        }
    }

    /// Whether something waits for a connection to be opened.
    pub fn needs_connection(&self) -> bool {
        matches!(self, Self::Http2(connection) if connection.needs_connection())
    }

    /// Whether it has to be looked at after a request, and not only when the socket is ready.
    pub fn is_driven(&self) -> bool {
        matches!(self, Self::Http2(_))
    }
}
