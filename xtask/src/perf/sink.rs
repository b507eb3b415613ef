//! A collector of traces that takes everything and keeps nothing.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// It listens until the process ends.
#[derive(Debug)]
pub struct Sink {
    address: SocketAddr,
    taken: Arc<AtomicU64>,
}

impl Sink {
    /// Starts one.
    ///
    /// # Errors
    /// There is no free port.
    pub fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let sink = Self { address: listener.local_addr()?, taken: Arc::default() };
        let taken = Arc::clone(&sink.taken);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let taken = Arc::clone(&taken);
                // Whoever is cut off comes again.
                std::thread::spawn(move || drop(serve(stream, &taken)));
            }
        });
        Ok(sink)
    }

    /// What an engine is told.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Requests so far.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }
}

/// Answers each request once all of it is there.
fn serve(stream: TcpStream, taken: &AtomicU64) -> io::Result<()> {
    let (mut answers, mut reader) = (stream.try_clone()?, BufReader::new(stream));
    loop {
        let mut body_bytes = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if line.trim_end().is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                body_bytes = value.trim().parse().map_err(io::Error::other)?;
            }
        }
        io::copy(&mut reader.by_ref().take(body_bytes), &mut io::sink())?;
        taken.fetch_add(1, Ordering::Relaxed);
        answers.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
    }
}

#[cfg(test)]
mod tests {
    use testbed::client::Client;

    use super::*;

    #[test]
    fn each_request_is_counted_once_all_of_it_is_there() {
        let sink = Sink::start().unwrap();
        let mut client = Client::connect(sink.address);
        for body in ["", "0123456789"] {
            let length = body.len();
            client.send(format!("POST /v1/traces HTTP/1.1\r\ncontent-length: {length}\r\n\r\n{body}"));
            assert_eq!(client.answer().map(|answer| answer.status), Some(200));
        }
        assert_eq!(sink.taken(), 2);
    }
}
