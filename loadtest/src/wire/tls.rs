//! TLS to the engine: whose certificates this tester believes, and which one it shows.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde::{Deserialize, Serialize};

/// Where certificates are.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct TlsFiles {
    /// Authorities of the engine, as PEM; those of the system without it.
    pub cacert: Option<PathBuf>,
    /// The chain that this tester shows, as PEM.
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
}

/// How one host is spoken to under TLS.
#[derive(Debug, Clone)]
pub struct TlsPeer {
    config: Arc<ClientConfig>,
    config_of_http2: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl TlsPeer {
    /// For a host, named without its port.
    ///
    /// # Errors
    /// A file cannot be used, or no certificate can be for this name.
    pub fn new(host: &str, files: &TlsFiles) -> Result<Self, String> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let name =
            ServerName::try_from(bare.to_owned()).map_err(|_| format!("{host}: is no name of a server"))?;
        let config = client_config(files)?;
        let mut config_of_http2 = config.clone();
        config_of_http2.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self { config: Arc::new(config), config_of_http2: Arc::new(config_of_http2), name })
    }

    /// A session that has said nothing yet, and will offer HTTP/2 alone.
    ///
    /// # Errors
    /// As the library says.
    pub fn session_of_http2(&self) -> io::Result<ClientConnection> {
        ClientConnection::new(Arc::clone(&self.config_of_http2), self.name.clone()).map_err(io::Error::other)
    }

    /// A session that has said nothing yet, and will offer HTTP/1.1.
    ///
    /// # Errors
    /// As the library says.
    pub fn session(&self) -> io::Result<ClientConnection> {
        ClientConnection::new(Arc::clone(&self.config), self.name.clone()).map_err(io::Error::other)
    }
}

fn client_config(files: &TlsFiles) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    match &files.cacert {
        Some(path) => {
            for certificate in certificates(path, "--cacert")? {
                roots.add(certificate).map_err(|error| format!("--cacert {}: {error}", path.display()))?;
            }
        }
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    let mut config = match (&files.cert, &files.key) {
        (None, None) => builder.with_no_client_auth(),
        (Some(cert), Some(key)) => {
            let chain = certificates(cert, "--cert")?;
            let private = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| format!("--key {}: {error}", key.display()))?;
            builder
                .with_client_auth_cert(chain, private)
                .map_err(|error| format!("--cert {}: {error}", cert.display()))?
        }
        _ => return Err("--cert and --key go together".into()),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(path: &Path, option: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let failed = |why: String| format!("{option} {}: {why}", path.display());
    let read: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|error| failed(error.to_string()))?.collect();
    let read = read.map_err(|error| failed(error.to_string()))?;
    if read.is_empty() { Err(failed("holds no certificate".into())) } else { Ok(read) }
}

/// A blocking connection, plain or under TLS.
#[derive(Debug)]
pub enum CallStream {
    /// Plain.
    Plain(TcpStream),
    /// Under TLS.
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl CallStream {
    /// Over a connection that is up.
    ///
    /// # Errors
    /// As the library says.
    pub fn over(socket: TcpStream, peer: Option<&TlsPeer>) -> io::Result<Self> {
        Ok(match peer {
            None => Self::Plain(socket),
            Some(peer) => Self::Tls(Box::new(StreamOwned::new(peer.session()?, socket))),
        })
    }

    /// The socket below.
    pub fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => &stream.sock,
        }
    }
}

impl Read for CallStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for CallStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
