//! Whether the connection is encrypted, and whom it must lead to.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

/// The parameter of the address that says so.
const PARAMETER: &str = "sslmode=";

/// The address as PostgreSQL's own tools take it. The database crate has no word for a server that must prove who it is.
#[derive(Debug)]
pub struct Address {
    /// Where, as whom, and whether in the clear.
    pub config: Config,
    /// Whether the server must prove that it is the host of the address (`sslmode=verify-full`).
    pub is_verified: bool,
}

impl Address {
    /// Reads an address, or says what is wrong with it.
    pub fn parse(url: &str) -> Result<Self, String> {
        let (place, parameters) = url.split_once('?').unwrap_or((url, ""));
        let (modes, others): (Vec<&str>, Vec<&str>) =
            parameters.split('&').filter(|it| !it.is_empty()).partition(|it| it.starts_with(PARAMETER));
        let parsed = [place, &others.join("&")].join("?").parse();
        let mut config: Config = parsed.map_err(|error: tokio_postgres::Error| {
            let cause = std::error::Error::source(&error).map_or_else(String::new, |it| format!(": {it}"));
            format!("cannot be read ({error}{cause}); it must look like postgres://user:password@host:5432/database")
        })?;
        let mode = modes.last().map_or("prefer", |mode| &mode[PARAMETER.len()..]);
        config.ssl_mode(match mode {
            "disable" => SslMode::Disable,
            "prefer" => SslMode::Prefer,
            "require" | "verify-full" => SslMode::Require,
            other => {
                return Err(format!(
                    "has sslmode={other}; it must be disable, prefer, require or verify-full"
                ));
            }
        });
        Ok(Self { config, is_verified: mode == "verify-full" })
    }
}

/// Makes the encrypted part of connections to a server whose certificate is signed by one in `ca_file`, or by one that
/// the system trusts if that is empty; or, if it need not be verified, to any.
pub fn connector(is_verified: bool, ca_file: &Path) -> Result<MakeRustlsConnect, String> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS: {error}"))?;
    let config = if is_verified {
        builder.with_root_certificates(roots(ca_file)?).with_no_client_auth()
    } else {
        let anybody = Arc::new(Anybody::new(&provider));
        builder.dangerous().with_custom_certificate_verifier(anybody).with_no_client_auth()
    };
    Ok(MakeRustlsConnect::new(config))
}

fn roots(ca_file: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    if ca_file.as_os_str().is_empty() {
        // Certificates of the system that cannot be read sign nothing that is needed here, or the handshake says so.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(roots);
    }
    let wrong = |error: &dyn std::fmt::Display| format!("{} cannot be read: {error}", ca_file.display());
    for certificate in CertificateDer::pem_file_iter(ca_file).map_err(|error| wrong(&error))? {
        roots.add(certificate.map_err(|error| wrong(&error))?).map_err(|error| wrong(&error))?;
    }
    if roots.is_empty() { Err(wrong(&"it has no certificate in PEM form")) } else { Ok(roots) }
}

/// Takes whoever answers, as PostgreSQL's own tools do with `prefer` and `require`: nobody reads along who only listens.
#[derive(Debug)]
struct Anybody(WebPkiSupportedAlgorithms);

impl Anybody {
    fn new(provider: &CryptoProvider) -> Self {
        Self(provider.signature_verification_algorithms)
    }
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_says_how_much_is_asked_of_the_server() {
        let read = |parameters: &str| {
            let address = Address::parse(&format!("postgres://ann:s%3Fcret@db:5432/shop{parameters}"));
            address.map(|address| {
                assert_eq!(address.config.get_dbname(), Some("shop"));
                assert_eq!(address.config.get_password(), Some(&b"s?cret"[..]));
                (address.config.get_ssl_mode(), address.is_verified)
            })
        };
        assert_eq!(read(""), Ok((SslMode::Prefer, false)));
        assert_eq!(read("?sslmode=disable"), Ok((SslMode::Disable, false)));
        assert_eq!(read("?keepalives=1&sslmode=require"), Ok((SslMode::Require, false)));
        assert_eq!(read("?sslmode=verify-full&keepalives=1"), Ok((SslMode::Require, true)));
        assert!(read("?sslmode=verify-ca").unwrap_err().contains("verify-full"));
        assert!(read("?nonsense=1").unwrap_err().contains("nonsense"));
    }
}
