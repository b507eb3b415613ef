//! A client that sends exactly the bytes it is given and understands just enough of the answers.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use crate::PATIENCE;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The header fields in their order, names in lower case.
    pub fields: Vec<(String, String)>,
    /// The body, put together if it came in chunks.
    pub body: String,
}

impl Answer {
    /// The value of the first field with this name, which is in lower case.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The JSON body.
    ///
    /// # Panics
    /// It is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    /// The value of a text member of the JSON body.
    pub fn member(&self, name: &str) -> String {
        self.json()[name].as_str().unwrap_or_default().to_owned()
    }
}

/// What bytes travel in: a socket, or a session above one.
pub trait Bytes: Read + Write + std::fmt::Debug + Send {}

impl<T: Read + Write + std::fmt::Debug + Send> Bytes for T {}

/// A connection.
#[derive(Debug)]
pub struct Client {
    socket: TcpStream,
    stream: BufReader<Box<dyn Bytes>>,
}

impl Client {
    /// A connection.
    ///
    /// # Panics
    /// Nobody listens.
    pub fn connect(addr: SocketAddr) -> Self {
        Self::try_connect(addr).unwrap()
    }

    /// A connection, unless nobody listens.
    ///
    /// # Errors
    /// What the system says.
    pub fn try_connect(addr: SocketAddr) -> io::Result<Self> {
        Ok(Self::over(TcpStream::connect(addr)?))
    }

    /// A connection that exists.
    ///
    /// # Panics
    /// It is over already.
    pub fn over(socket: TcpStream) -> Self {
        let stream = socket.try_clone().unwrap();
        Self::above(&socket, stream)
    }

    /// A session above a socket, such as one of TLS.
    ///
    /// # Panics
    /// The socket is over already.
    pub fn above(socket: &TcpStream, session: impl Bytes + 'static) -> Self {
        let socket = socket.try_clone().unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { socket, stream: BufReader::new(Box::new(session)) }
    }

    /// Sends bytes. The server may have closed already: then there is nothing to send them to, and the answers tell.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _ = self.stream.get_mut().write_all(bytes.as_ref());
        self
    }

    /// Says that nothing more will be sent.
    pub fn end(&mut self) -> &mut Self {
        let _ = self.socket.shutdown(Shutdown::Write);
        self
    }

    /// The next answer; `None` when the server has closed before its end.
    ///
    /// # Panics
    /// It is no HTTP, or the server neither answers nor closes.
    pub fn answer(&mut self) -> Option<Answer> {
        let mut answer = self.headed()?;
        let body = if answer.field("transfer-encoding") == Some("chunked") {
            self.chunks()?
        } else {
            self.bytes(answer.field("content-length").map_or(0, |length| length.parse().unwrap()))?
        };
        // A file is no text: whoever wants its bytes asks by other means.
        answer.body = String::from_utf8_lossy(&body).into_owned();
        Some(answer)
    }

    /// The header of the next answer, whose body comes bit by bit; `None` when the server has closed before its end.
    ///
    /// # Panics
    /// It is no HTTP, or the server neither answers nor closes.
    pub fn headed(&mut self) -> Option<Answer> {
        let line = self.line()?;
        let status =
            line.split(' ').nth(1).unwrap_or_default().parse().unwrap_or_else(|_| panic!("{line:?}"));
        let mut fields = Vec::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Some(Answer { status, fields, body: String::new() })
    }

    /// The next chunk of a body; `None` at its end.
    ///
    /// # Panics
    /// It is none.
    pub fn chunk(&mut self) -> Option<String> {
        let size = usize::from_str_radix(&self.line()?, 16).expect("a chunk's size");
        let chunk = self.bytes(size)?;
        self.line()?;
        (size > 0).then(|| String::from_utf8(chunk).unwrap())
    }

    /// One line without its end.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        if is_over(self.stream.read_line(&mut line)) || !line.ends_with('\n') {
            return None;
        }
        line.truncate(line.trim_end().len());
        Some(line)
    }

    fn bytes(&mut self, count: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).ok()?;
        Some(bytes)
    }

    /// A body in chunks, put together.
    fn chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let size = usize::from_str_radix(&self.line()?, 16).expect("a chunk's size");
            let chunk = self.bytes(size)?;
            self.line()?;
            if chunk.is_empty() {
                return Some(body);
            }
            body.extend(chunk);
        }
    }

    /// All answers until the server closes. Fails when it does not.
    pub fn answers(&mut self) -> Vec<Answer> {
        std::iter::from_fn(|| self.answer()).collect()
    }

    /// Statuses of [`Client::answers`].
    pub fn statuses(&mut self) -> Vec<u16> {
        self.answers().iter().map(|answer| answer.status).collect()
    }

    /// Everything that comes until the server closes.
    pub fn raw(&mut self) -> String {
        let mut raw = Vec::new();
        is_over(self.stream.read_to_end(&mut raw));
        String::from_utf8_lossy(&raw).into_owned()
    }

    /// Waits until the server has closed, whatever it says before that.
    pub fn wait_for_close(&mut self) {
        self.raw();
    }
}

/// One request on a connection of its own.
///
/// # Panics
/// Nobody answers.
pub fn request(addr: SocketAddr, method: &str, path: &str, lines: &str, body: &str) -> Answer {
    try_request(addr, method, path, lines, body).expect("an answer")
}

/// One request on a connection of its own. `None` when nobody answers.
pub fn try_request(addr: SocketAddr, method: &str, path: &str, lines: &str, body: &str) -> Option<Answer> {
    let sent = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{lines}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    Client::try_connect(addr).ok()?.send(sent).answer()
}

/// Whether the connection is over. Hanging is a failure, a reset is an end.
fn is_over(read: io::Result<usize>) -> bool {
    match read {
        Ok(bytes) => bytes == 0,
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            panic!("the server neither answers nor closes")
        }
        Err(_reset) => true,
    }
}
