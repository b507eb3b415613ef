//! `seckill healthcheck`: asks a running engine whether it lives or is ready, with nothing but a socket.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::tls::AnyServer;

/// Bytes of an answer that are looked at.
const ANSWER_BYTES_MAX: u64 = 16 << 10;

/// What a probe asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Whether the process answers: what decides whether it is started anew. An engine that reads its store, or whose
    /// database is away, lives: a restart would only make it begin again.
    Lives,
    /// Whether buyers can be sent there.
    Ready,
}

impl Question {
    const fn path(self) -> &'static str {
        match self {
            Self::Lives => "/livez",
            Self::Ready => "/readyz",
        }
    }

    const fn no(self) -> &'static str {
        match self {
            Self::Lives => "is not well",
            Self::Ready => "is not ready",
        }
    }
}

/// Asks the engine that listens on `listen`, with TLS if it `speaks_tls`. Waits at most `patience` for each step.
///
/// # Errors
/// Why the answer is no, in one line.
pub fn probe(
    listen: SocketAddr,
    speaks_tls: bool,
    question: Question,
    patience: Duration,
) -> Result<(), String> {
    let address = reachable(listen);
    let failed = |error: std::io::Error| format!("no engine answers on {address}: {error}");
    let stream = TcpStream::connect_timeout(&address, patience).map_err(failed)?;
    stream.set_read_timeout(Some(patience)).map_err(failed)?;
    stream.set_write_timeout(Some(patience)).map_err(failed)?;
    let path = question.path();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let asked = if speaks_tls { ask(shaken(stream, address.ip())?, &request) } else { ask(stream, &request) };
    let answer = asked.map_err(failed)?;
    let answer = String::from_utf8_lossy(&answer);
    match answer.split(' ').nth(1) {
        Some("200") => Ok(()),
        Some(status) => {
            let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
            Err(format!("the engine on {address} {} ({status}): {}", question.no(), body.trim()))
        }
        None => Err(format!("what answers on {address} does not speak HTTP")),
    }
}

fn ask(mut stream: impl Read + Write, request: &str) -> std::io::Result<Vec<u8>> {
    stream.write_all(request.as_bytes())?;
    stream.flush()?;
    let mut answer = Vec::new();
    match stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer) {
        // Who closes without taking leave has said all the same what is asked for.
        Err(error) if answer.is_empty() => Err(error),
        _ => Ok(answer),
    }
}

/// Under TLS with whoever answers there: a probe says nothing that is secret, and the certificate is for the name by which
/// others reach this machine.
fn shaken(stream: TcpStream, ip: IpAddr) -> Result<StreamOwned<ClientConnection, TcpStream>, String> {
    let failed = |error: rustls::Error| format!("no TLS with {ip}: {error}");
    let provider = Arc::new(default_provider());
    let anybody = AnyServer::new(&provider);
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .dangerous()
        .with_custom_certificate_verifier(anybody)
        .with_no_client_auth();
    let session = ClientConnection::new(Arc::new(config), ServerName::from(ip)).map_err(failed)?;
    Ok(StreamOwned::new(session, stream))
}

/// Where this machine reaches an engine that listens on `listen`: "all addresses" is none to connect to.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    /// What the probe makes of a server that answers `answer`.
    fn probed(question: Question, answer: &'static str) -> Result<(), String> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let read = stream.read(&mut request).unwrap();
            assert!(request[..read].starts_with(format!("GET {} HTTP/1.1\r\n", question.path()).as_bytes()));
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let verdict = probe(address, false, question, PATIENCE);
        server.join().unwrap();
        verdict
    }

    #[test]
    fn only_200_is_yes() {
        assert_eq!(probed(Question::Ready, "HTTP/1.1 200 OK\r\n\r\n{}"), Ok(()));
        assert_eq!(probed(Question::Lives, "HTTP/1.1 200 OK\r\n\r\n{}"), Ok(()));
        let not_ready =
            probed(Question::Ready, "HTTP/1.1 503 Service Unavailable\r\n\r\n{\"status\":\"not_ready\"}")
                .unwrap_err();
        assert!(not_ready.contains("503") && not_ready.contains("not_ready"), "{not_ready}");
        assert!(probed(Question::Lives, "").unwrap_err().contains("HTTP"));
    }

    #[test]
    fn nobody_there_is_no() {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(probe(address, false, Question::Ready, PATIENCE).is_err());
    }

    #[test]
    fn all_addresses_are_reached_over_loopback() {
        let reached = |listen: &str| reachable(listen.parse().unwrap()).to_string();
        assert_eq!(reached("0.0.0.0:9090"), "127.0.0.1:9090");
        assert_eq!(reached("[::]:9090"), "[::1]:9090");
        assert_eq!(reached("192.0.2.1:9090"), "192.0.2.1:9090");
    }
}
