//! One blocking call at a time, for the admin plane: campaigns, audits, exports.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::request::Target;
use super::response;
use super::tls::CallStream;

/// A call that brought no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No connection, or it broke.
    #[error("{0}: {1}")]
    Io(String, std::io::Error),
    /// Too slow.
    #[error("{0}: no complete answer within {1} s")]
    TimedOut(String, u64),
    /// Not HTTP.
    #[error("{0}: {1}")]
    Malformed(String, response::Malformed),
}

/// An answer.
#[derive(Debug)]
pub struct CallReply {
    /// Status code.
    pub status: u16,
    /// Body.
    pub body: Vec<u8>,
}

impl CallReply {
    /// The body as text, shortened for a message.
    pub fn excerpt(&self) -> String {
        String::from_utf8_lossy(&self.body).chars().take(300).collect()
    }
}

/// A caller with fixed headers, on a connection of its own that is kept as long as the server keeps it.
#[derive(Debug)]
pub struct Caller {
    target: Target,
    headers: String,
    timeout: Duration,
    kept: Option<CallStream>,
}

impl Caller {
    /// `headers` are whole lines without their end.
    pub fn new(target: Target, headers: &[String], timeout: Duration) -> Self {
        let headers = headers.iter().map(|line| format!("{line}\r\n")).collect();
        Self { target, headers, timeout, kept: None }
    }

    /// Sends one request and waits for the whole answer.
    ///
    /// # Errors
    /// See [`CallError`]. Any status is an answer.
    pub fn call(&mut self, method: &str, path: &str, body: Option<&str>) -> Result<CallReply, CallError> {
        let body_head = body
            .map(|body| format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()))
            .unwrap_or_default();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\n{}{body_head}\r\n",
            self.target.host, self.headers
        );
        let request = [head.as_bytes(), body.unwrap_or_default().as_bytes()].concat();
        // A kept connection may have been closed meanwhile; only reading calls may be sent twice.
        if let Some(stream) = self.kept.take()
            && let Ok(reply) = self.exchange(stream, &request, method, path)
        {
            return Ok(reply);
        }
        let io = |error| CallError::Io(format!("{method} {path} at {}", self.target.host), error);
        let socket = self.connect().map_err(io)?;
        socket.set_nodelay(true).map_err(io)?;
        let stream = CallStream::over(socket, self.target.tls()).map_err(io)?;
        self.exchange(stream, &request, method, path)
    }

    /// Connects to the first of the host's addresses that accepts; each has its share of the time.
    fn connect(&self) -> std::io::Result<TcpStream> {
        let addresses = self.target.addresses();
        let share = self.timeout / addresses.len().max(1) as u32;
        let mut refused = std::io::Error::from(std::io::ErrorKind::AddrNotAvailable);
        for address in addresses {
            match TcpStream::connect_timeout(address, share) {
                Ok(stream) => return Ok(stream),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    fn exchange(
        &mut self,
        mut stream: CallStream,
        request: &[u8],
        method: &str,
        path: &str,
    ) -> Result<CallReply, CallError> {
        let what = || format!("{method} {path} at {}", self.target.host);
        let io = |error| CallError::Io(what(), error);
        let late = || CallError::TimedOut(what(), self.timeout.as_secs());
        stream.socket().set_read_timeout(Some(self.timeout)).map_err(io)?;
        stream.socket().set_write_timeout(Some(self.timeout)).map_err(io)?;
        stream.write_all(request).map_err(io)?;
        let deadline = Instant::now() + self.timeout;
        let mut bytes = Vec::new();
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let read = match stream.read(&mut buffer) {
                Ok(read) => read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Err(late()),
                Err(error) => return Err(io(error)),
            };
            bytes.extend_from_slice(&buffer[..read]);
            let parsed = response::parse(&bytes, read == 0).map_err(|e| CallError::Malformed(what(), e))?;
            if let Some(answer) = parsed {
                let reply = CallReply { status: answer.status, body: answer.body.into_owned() };
                if answer.keep_alive && read > 0 && method == "GET" {
                    self.kept = Some(stream);
                }
                return Ok(reply);
            }
            if read == 0 {
                return Err(io(std::io::ErrorKind::UnexpectedEof.into()));
            }
            if Instant::now() > deadline {
                return Err(late());
            }
        }
    }
}
