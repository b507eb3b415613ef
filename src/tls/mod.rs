//! TLS as the engine offers it, on both planes: certificates that change while it runs, by name, with clients that have to
//! show their own where that is asked for.

mod any_server;
mod certificates;
mod handshake_turns;
mod pem;
mod settings;

/// The name under which TLS negotiates HTTP/2.
pub const ALPN_HTTP2: &str = "h2";
/// The name under which TLS negotiates HTTP/1.1.
pub const ALPN_HTTP1: &str = "http/1.1";

pub use any_server::AnyServer;
pub use certificates::{Certificates, Clients};
pub use handshake_turns::HandshakeTurns;
pub use pem::check;
pub use settings::{CertificateFiles, TlsSettings};
