//! What can be set about the TLS of a plane.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::FieldError;
use crate::settings::within;

/// The `[edge.tls]`, `[admin.tls]` and `[grpc.tls]` sections.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsSettings {
    /// The certificate (PEM): the engine's own first, then those between it and its authority. Empty: no TLS, the plane
    /// speaks in the clear.
    pub cert_file: PathBuf,
    /// The certificate's private key (PEM).
    pub key_file: PathBuf,
    /// More certificates for other names, such as `[{ cert_file = "b.pem", key_file = "b.key" }]`: a client gets the first
    /// one that is for the name it asks for, and the one of `cert_file` when none is.
    pub certificates: Vec<CertificateFiles>,
    /// Authorities (PEM) of the clients that are served: those that show a certificate of one of them, as a CDN does that
    /// proves to be the one (authenticated origin pulls). On the admin plane probes need none. Empty: any client.
    pub client_ca_file: PathBuf,
    /// Handshakes that are signed in one go; others wait for their turn, within `handshake_ms_max`, while requests are
    /// served. A client that is waited for has no turn.
    pub handshakes_max: usize,
    /// From a connection's begin to the end of its handshake, in milliseconds; then it is closed. On the gRPC plane HTTP/2's
    /// preface counts as well, with or without TLS.
    pub handshake_ms_max: u64,
    /// How often the files are looked at for a change, in seconds; 0: only on reload.
    pub watch_s: u64,
}

/// One certificate and its key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CertificateFiles {
    /// The certificate (PEM), with those between it and its authority.
    pub cert_file: PathBuf,
    /// Its private key (PEM).
    pub key_file: PathBuf,
}

impl Default for TlsSettings {
    fn default() -> Self {
        Self {
            cert_file: PathBuf::new(),
            key_file: PathBuf::new(),
            certificates: Vec::new(),
            client_ca_file: PathBuf::new(),
            handshakes_max: 256,
            handshake_ms_max: 10_000,
            watch_s: 10,
        }
    }
}

impl TlsSettings {
    /// Certificates beside the first: a handshake looks through them.
    const CERTIFICATES_MAX: usize = 100;

    /// Whether the plane speaks TLS.
    pub fn is_on(&self) -> bool {
        !self.cert_file.as_os_str().is_empty()
    }

    /// Whether clients have to show a certificate.
    pub fn wants_clients(&self) -> bool {
        !self.client_ca_file.as_os_str().is_empty()
    }

    /// Checks the ranges, and that what belongs together is set together. The files are looked at by
    /// [`check`](super::check).
    ///
    /// # Errors
    /// The first field that breaks its rule.
    pub(super) fn check(&self) -> Result<(), FieldError> {
        within("tls.handshakes_max", self.handshakes_max, 1..=100_000)?;
        within("tls.handshake_ms_max", self.handshake_ms_max, 100..=600_000)?;
        within("tls.watch_s", self.watch_s, 0..=86_400)?;
        let wrong = |field, problem: &str| Err(FieldError { field, problem: problem.into() });
        if !self.is_on() {
            return if !self.key_file.as_os_str().is_empty() {
                wrong("tls.key_file", "is set without tls.cert_file; set both, or neither for no TLS")
            } else if !self.certificates.is_empty() {
                wrong("tls.certificates", "is set without tls.cert_file, which other names get; set it, too")
            } else if self.wants_clients() {
                wrong(
                    "tls.client_ca_file",
                    "is set without tls.cert_file; clients show certificates under TLS only",
                )
            } else {
                Ok(())
            };
        }
        if self.key_file.as_os_str().is_empty() {
            return wrong("tls.key_file", "is missing; set it to the private key of tls.cert_file");
        }
        if self.certificates.len() > Self::CERTIFICATES_MAX {
            let problem = format!("has more than {} entries", Self::CERTIFICATES_MAX);
            return wrong("tls.certificates", &problem);
        }
        Ok(())
    }
}
