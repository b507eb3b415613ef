//! One connection of HTTP/2: many requests under way at once, driven from the worker's loop.
//!
//! What was asked since the connection was last looked at goes out in one write; what has come is read in one piece, and its
//! answers are heard where they lie.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;

use mio::{Interest, Registry, Token};

use super::connection::{InFlight, Ready};
use super::stream::Stream;
use crate::outcome::Outcome;
use crate::wire::http2::{Asked, Client, Common, NoAnswer};
use crate::wire::request::Target;
use crate::wire::response::Response;

#[derive(Default)]
enum State {
    #[default]
    Closed,
    Connecting(Stream),
    /// The TCP connection is up, TLS is not.
    Handshaking(Stream),
    Open(Box<Open>),
}

/// A connection that can be asked.
struct Open {
    stream: Stream,
    client: Client,
}

/// What becomes of one request at a time.
#[derive(Default)]
struct Lane {
    request: Option<InFlight>,
    /// What it says, also for a server that does not take it.
    asked: Asked,
    /// It was offered while the connection was going away; it is free again when that is gone.
    is_parked: bool,
}

/// A connection of a worker.
pub struct Http2Connection {
    common: Arc<Common>,
    state: State,
    lanes: Vec<Lane>,
    /// Lanes whose requests have not been sent.
    waiting: VecDeque<u32>,
    /// Requests sent since it was opened.
    requests: u32,
    is_leaving: bool,
    /// A request was refused, and nothing was heard since: more would be, too.
    is_refused: bool,
    /// The server has answered on this connection.
    is_answered: bool,
}

impl Http2Connection {
    /// One that is closed, with room for this many requests under way, all of which say what is `common`.
    pub fn new(common: Arc<Common>, streams: u32) -> Self {
        Self {
            common,
            state: State::Closed,
            lanes: std::iter::repeat_with(Lane::default).take(streams as usize).collect(),
            waiting: VecDeque::new(),
            requests: 0,
            is_leaving: false,
            is_refused: false,
            is_answered: false,
        }
    }

    /// Whether it has no socket.
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Whether requests can be sent on it.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// The request in this lane.
    pub fn request(&self, lane: u32) -> Option<&InFlight> {
        self.lanes[lane as usize].request.as_ref()
    }

    /// Whether the lane can be used now. One that cannot is free again when the connection is over.
    pub fn takes(&mut self, lane: u32) -> bool {
        self.lanes[lane as usize].is_parked = self.is_leaving;
        !self.is_leaving
    }

    /// Begins to connect.
    ///
    /// # Errors
    /// When no socket can be had.
    pub fn connect(&mut self, target: &Target, registry: &Registry, token: Token) -> io::Result<()> {
        let mut socket = mio::net::TcpStream::connect(target.address())?;
        socket.set_nodelay(true)?;
        registry.register(&mut socket, token, Interest::READABLE | Interest::WRITABLE)?;
        self.state = State::Connecting(Stream::over(socket, target.tls(), true)?);
        Ok(())
    }

    /// Takes a request, whose words are written into what this returns. It is sent when the connection is next looked at,
    /// or as soon as it is open.
    pub fn ask(&mut self, lane: u32, request: InFlight) -> &mut Asked {
        self.waiting.push_back(lane);
        let place = &mut self.lanes[lane as usize];
        place.request = Some(request);
        &mut place.asked
    }

    /// Gives up on what is under way in this lane; the server hears that, and the others go on.
    pub fn give_up(&mut self, lane: u32) -> Option<InFlight> {
        if let State::Open(open) = &mut self.state {
            open.client.give_up(lane);
        }
        self.waiting.retain(|waiting| *waiting != lane);
        self.lanes[lane as usize].request.take()
    }

    /// Goes on as far as the socket lets it, reading into `buffer`. `hear` is told what became of requests, each with its
    /// lane; `freed` gets lanes that were parked.
    pub fn go_on(
        &mut self,
        ready: Ready,
        requests_max: u32,
        buffer: &mut [u8],
        freed: &mut Vec<u32>,
        mut hear: impl FnMut(u32, InFlight, Result<&Response<'_>, Outcome>),
    ) {
        let was_open = self.is_open();
        if self.open(ready).is_err() {
            return self.end(Outcome::ConnectFailed, freed, hear);
        }
        // What came behind the handshake has been taken from the socket with it.
        let is_read = !was_open || ready != Ready::Asked;
        // Asked first: what a server hangs up on at once is lost, and not asked again and again.
        let begun = was_open || self.send(ready, requests_max);
        let mut is_up = begun && (!is_read || self.read(ready, buffer, &mut hear));
        if is_up && !self.send(ready, requests_max) {
            // What came before the socket broke lies there still.
            self.read(ready, buffer, &mut hear);
            is_up = false;
        }
        let State::Open(open) = &self.state else { return };
        if !is_up || ((self.is_leaving || self.is_refused) && open.client.under_way() == 0) {
            self.end(Outcome::ConnectionLost, freed, hear);
        }
    }

    /// From a socket to a connection that can be asked.
    fn open(&mut self, ready: Ready) -> Result<(), ()> {
        let (writable, closing) = match ready {
            Ready::Asked => (false, false),
            Ready::Socket { writable, closing } => (writable, closing),
        };
        self.state = match std::mem::take(&mut self.state) {
            State::Connecting(stream) if writable || closing => {
                let refused = !matches!(stream.socket().take_error(), Ok(None));
                match stream.socket().peer_addr() {
                    Ok(_) if !refused => State::Handshaking(stream),
                    Err(error) if !refused && error.kind() == ErrorKind::NotConnected && !closing => {
                        State::Connecting(stream)
                    }
                    _ => return Err(()),
                }
            }
            other => other,
        };
        self.state = match std::mem::take(&mut self.state) {
            State::Handshaking(mut stream) => match stream.shake_hands() {
                Ok(true) if stream.speaks_http2() => {
                    let client = Client::new(Arc::clone(&self.common), self.lanes.len() as u32);
                    State::Open(Box::new(Open { stream, client }))
                }
                Ok(false) if !closing => State::Handshaking(stream),
                _ => return Err(()),
            },
            other => other,
        };
        Ok(())
    }

    /// Reads what has come. False when the connection is over.
    fn read(
        &mut self,
        ready: Ready,
        buffer: &mut [u8],
        hear: &mut impl FnMut(u32, InFlight, Result<&Response<'_>, Outcome>),
    ) -> bool {
        let Self { state, lanes, waiting, is_leaving, is_refused, is_answered, .. } = self;
        let State::Open(open) = state else { return true };
        let mut hear = |lane: u32, answer: Result<&Response<'_>, NoAnswer>| {
            *is_refused = matches!(answer, Err(NoAnswer::NotTaken));
            *is_answered |= answer.is_ok();
            if *is_refused {
                return waiting.push_front(lane);
            }
            if let Some(request) = lanes[lane as usize].request.take() {
                hear(lane, request, answer.map_err(|_| Outcome::ConnectionLost));
            }
        };
        let is_up = loop {
            match open.stream.read(buffer) {
                Ok(0) => break false,
                Ok(read) => {
                    if let Err(code) = open.client.read(&buffer[..read], &mut hear) {
                        // It may be told why, if its socket takes that now.
                        open.client.fail(code);
                        let _ = write(open);
                        break false;
                    }
                    let closing = matches!(ready, Ready::Socket { closing: true, .. });
                    // A read that left room in the buffer has emptied the socket; the next bytes raise a new event.
                    if read < buffer.len() && !closing && !open.stream.has_ended() {
                        break true;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => break false,
            }
        };
        *is_leaving |= open.client.is_leaving();
        is_up
    }

    /// Sends what waits, as much as the server takes at once. False when the connection is over.
    fn send(&mut self, ready: Ready, requests_max: u32) -> bool {
        let State::Open(open) = &mut self.state else { return true };
        while !self.is_leaving
            && !self.is_refused
            && open.client.may_ask()
            && let Some(lane) = self.waiting.pop_front()
        {
            self.requests += 1;
            open.client.ask(lane, &self.lanes[lane as usize].asked);
            self.is_leaving = requests_max > 0 && self.requests >= requests_max || open.client.is_leaving();
        }
        let writable = matches!(ready, Ready::Socket { writable: true, .. });
        (!writable || flush(&mut open.stream)) && write(open).is_ok()
    }

    /// Closes it. Who has not been answered hears `outcome`, but those who were not sent yet: they stay.
    fn end(
        &mut self,
        outcome: Outcome,
        freed: &mut Vec<u32>,
        mut hear: impl FnMut(u32, InFlight, Result<&Response<'_>, Outcome>),
    ) {
        // One that could not be opened would fail them again and again, and so would a server that takes none.
        let takes_none = self.is_refused && !self.is_answered && !self.is_leaving;
        if outcome == Outcome::ConnectFailed || takes_none {
            self.waiting.clear();
        }
        self.state = State::Closed;
        (self.requests, self.is_leaving) = (0, false);
        (self.is_refused, self.is_answered) = (false, false);
        for (number, lane) in (0..).zip(&mut self.lanes) {
            if std::mem::take(&mut lane.is_parked) {
                freed.push(number);
            }
            if let Some(request) = lane.request.take_if(|_| !self.waiting.contains(&number)) {
                hear(number, request, Err(outcome));
            }
        }
    }

    /// Whether something waits for a connection to be opened.
    pub fn needs_connection(&self) -> bool {
        self.is_closed() && !self.waiting.is_empty()
    }
}

/// Gives the socket what the stream still holds. False when it is gone.
fn flush(stream: &mut Stream) -> bool {
    match stream.flush() {
        Ok(()) => true,
        Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
    }
}

/// Writes as much as the socket takes.
fn write(open: &mut Open) -> io::Result<()> {
    while !open.client.unsent().is_empty() {
        match open.stream.write(open.client.unsent()) {
            Ok(written) => open.client.note_sent(written),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use mio::{Events, Poll};
    use testbed::PATIENCE;

    use super::*;
    use crate::load::tls_server::{Leaving, says_and_leaves};
    use crate::outcome::Action;

    const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    const STATUS_200: [u8; 10] = [0, 0, 1, 1, 5, 0, 0, 0, 1, 0x88];

    /// A connection with two lanes, to a server that the test is.
    struct Bench {
        poll: Poll,
        connection: Http2Connection,
        /// The lanes that have heard, and what.
        heard: Vec<(u32, Result<u16, Outcome>)>,
    }

    impl Bench {
        /// One that has something to ask, and what came of it at the server.
        fn connect() -> (Self, TcpStream) {
            let server = TcpListener::bind("127.0.0.1:0").unwrap();
            let target = Target::parse(&format!("http://{}", server.local_addr().unwrap())).unwrap();
            (Self::connect_to(&target), server.accept().unwrap().0)
        }

        /// One that has something to ask there.
        fn connect_to(target: &Target) -> Self {
            let common = Arc::new(Common::new(false, "shop", "x-user-id", Vec::new()));
            let (poll, mut connection) = (Poll::new().unwrap(), Http2Connection::new(common, 2));
            connection.connect(target, poll.registry(), Token(0)).unwrap();
            let mut bench = Self { poll, connection, heard: Vec::new() };
            bench.ask(0);
            bench
        }

        fn ask(&mut self, lane: u32) {
            let (action, [due_ns, sent_ns]) = (Action::Page, [0; 2]);
            let request = InFlight { journey: 0, action, due_ns, sent_ns, held_when_asked: false };
            let asked = self.connection.ask(lane, request);
            (asked.method, asked.path) = ("GET", "/".into());
        }

        fn look(&mut self, ready: Ready) {
            let (heard, mut freed) = (&mut self.heard, Vec::new());
            self.connection.go_on(ready, 0, &mut [0; 4_096], &mut freed, |lane, _, answer| {
                heard.push((lane, answer.map(|answer| answer.status)));
            });
        }

        fn look_at_events(&mut self) {
            let mut events = Events::with_capacity(4);
            self.poll.poll(&mut events, Some(PATIENCE)).unwrap();
            assert!(!events.is_empty(), "nothing becomes of the socket");
            events.iter().for_each(|event| self.look(Ready::of(event)));
        }
    }

    #[test]
    fn what_a_server_hangs_up_on_at_once_is_lost_and_not_asked_again() {
        let (mut bench, mut server) = Bench::connect();
        // As one that has too many connections; all of it is there when the socket is first looked at.
        server.write_all(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n").unwrap();
        drop(server);
        while bench.heard.is_empty() && !bench.connection.is_closed() {
            bench.look_at_events();
        }
        assert_eq!(bench.heard, [(0, Err(Outcome::ConnectionLost))]);
        assert!(!bench.connection.needs_connection());
    }

    #[test]
    fn what_is_too_much_for_the_server_is_asked_again_on_the_same_connection() {
        let (mut bench, mut server) = Bench::connect();
        bench.ask(1);
        while !bench.connection.is_open() {
            bench.look_at_events();
        }
        // Two were sent before it could say that it takes one at a time.
        let one_at_a_time = [0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 1];
        let refused = [0, 0, 4, 3, 0, 0, 0, 0, 3, 0, 0, 0, 7];
        let status_200 = |stream| [0, 0, 1, 1, 5, 0, 0, 0, stream, 0x88];
        server.write_all(&[&one_at_a_time[..], &refused, &status_200(1)].concat()).unwrap();
        while bench.heard.is_empty() {
            bench.look_at_events();
        }
        server.write_all(&status_200(5)).unwrap();
        while bench.heard.len() < 2 {
            bench.look_at_events();
        }
        assert_eq!(bench.heard, [(0, Ok(200)), (1, Ok(200))]);
    }

    #[test]
    fn an_answer_that_lies_in_a_socket_that_broke_is_heard() {
        let (mut bench, mut server) = Bench::connect();
        while !bench.connection.is_open() {
            bench.look_at_events();
        }
        server.write_all(&[&SETTINGS[..], &STATUS_200].concat()).unwrap();
        // What was asked has not been read: the connection is reset.
        drop(server);
        bench.ask(1);
        bench.look(Ready::Asked);
        while bench.heard.len() < 2 {
            bench.look_at_events();
        }
        assert_eq!(bench.heard, [(0, Ok(200)), (1, Err(Outcome::ConnectionLost))]);
    }

    #[test]
    fn an_end_that_comes_with_answers_under_tls_is_heard() {
        for leaving in [Leaving::Goodbye, Leaving::Noise] {
            let words = [&SETTINGS[..], &STATUS_200].concat();
            let (target, server) = says_and_leaves("h2", &words, leaving);
            let mut bench = Bench::connect_to(&target);
            bench.ask(1);
            while bench.heard.len() < 2 {
                bench.look_at_events();
            }
            assert_eq!(bench.heard, [(0, Ok(200)), (1, Err(Outcome::ConnectionLost))], "{leaving:?}");
            assert!(bench.connection.is_closed(), "{leaving:?}");
            server.join().unwrap();
        }
    }
}
