//! A server under TLS that tests script: it speaks, and leaves without closing its socket.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};
use testbed::certificates::{Authority, Files};

use crate::wire::request::{Reach, Resolve, Target};
use crate::wire::tls::TlsFiles;

/// How it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// As TLS wants it: by `close_notify`.
    Goodbye,
    /// By bytes that are no TLS.
    Noise,
}

/// A server that agrees on `protocol`, whatever it is asked says these words, and leaves, all of that in one write; and how it
/// is reached. Its socket stays open as long as nobody takes it from the thread.
pub fn says_and_leaves(protocol: &str, words: &[u8], leaving: Leaving) -> (Target, JoinHandle<TcpStream>) {
    let (authority, files) = (Authority::new("ca"), Files::default());
    let (certificate, key) = authority.sign("localhost");
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let mut session = ServerConnection::new(Arc::new(config)).unwrap();

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let resolve = vec![Resolve::parse(&format!("localhost:{port}:127.0.0.1")).unwrap()];
    let tls = TlsFiles { cacert: Some(files.write("ca.pem", authority.pem())), ..TlsFiles::default() };
    let target = Target::resolve(&format!("https://localhost:{port}"), &Reach { resolve, tls }).unwrap();

    let words = words.to_vec();
    let server = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        while session.is_handshaking() {
            session.complete_io(&mut socket).unwrap();
        }
        session.writer().write_all(&words).unwrap();
        if leaving == Leaving::Goodbye {
            session.send_close_notify();
        }
        let mut bytes = Vec::new();
        while session.wants_write() {
            session.write_tls(&mut bytes).unwrap();
        }
        if leaving == Leaving::Noise {
            bytes.extend_from_slice(&[0xff; 64]);
        }
        socket.write_all(&bytes).unwrap();
        socket
    });
    (target, server)
}
