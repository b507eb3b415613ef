//! The files of certificates and keys: read as a whole, compared, and understood.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, RootCertStore};

use super::settings::TlsSettings;
use crate::domain::FieldError;

/// Bytes of a file that are read: no chain of certificates has as many.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// The bytes of all files that the settings name, at one moment.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct PemFiles {
    pairs: Vec<Pair>,
    clients: Option<PemFile>,
}

#[derive(Clone, PartialEq, Eq)]
struct Pair {
    certificate: PemFile,
    key: PemFile,
}

#[derive(Clone, PartialEq, Eq)]
struct PemFile {
    /// The setting that names it.
    field: &'static str,
    path: Box<Path>,
    bytes: Vec<u8>,
}

/// What the files say.
pub(super) struct Identities {
    /// The first is for whoever asks for no name, or for one that no certificate is for.
    pub keys: Vec<Arc<CertifiedKey>>,
    /// The authorities of clients, if they have to show a certificate.
    pub clients: Option<Arc<RootCertStore>>,
}

impl std::fmt::Debug for PemFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // They hold keys.
        f.write_str("PemFiles")
    }
}

/// Checks the settings, and that their files can be used.
///
/// # Errors
/// The first field that breaks its rule, or whose file cannot be used.
pub fn check(settings: &TlsSettings) -> Result<(), FieldError> {
    settings.check()?;
    if !settings.is_on() {
        return Ok(());
    }
    PemFiles::read(settings)?.identities().map(drop)
}

impl PemFiles {
    /// Reads the files.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub fn read(settings: &TlsSettings) -> Result<Self, FieldError> {
        let first = Pair::read(("tls.cert_file", &settings.cert_file), ("tls.key_file", &settings.key_file))?;
        let mut pairs = vec![first];
        for more in &settings.certificates {
            let field = "tls.certificates";
            pairs.push(Pair::read((field, &more.cert_file), (field, &more.key_file))?);
        }
        let clients = settings.wants_clients();
        let clients = clients.then(|| PemFile::read("tls.client_ca_file", &settings.client_ca_file));
        Ok(Self { pairs, clients: clients.transpose()? })
    }

    /// Understands them.
    ///
    /// # Errors
    /// A file holds something else than it should, or a key is another certificate's.
    pub fn identities(&self) -> Result<Identities, FieldError> {
        let keys = self.pairs.iter().map(Pair::certified).collect::<Result<_, _>>()?;
        let clients = self.clients.as_ref().map(PemFile::authorities).transpose()?;
        Ok(Identities { keys, clients })
    }
}

impl Pair {
    fn read(certificate: (&'static str, &Path), key: (&'static str, &Path)) -> Result<Self, FieldError> {
        Ok(Self {
            certificate: PemFile::read(certificate.0, certificate.1)?,
            key: PemFile::read(key.0, key.1)?,
        })
    }

    fn certified(&self) -> Result<Arc<CertifiedKey>, FieldError> {
        let chain = self.certificate.certificates()?;
        let key = PrivateKeyDer::from_pem_slice(&self.key.bytes).map_err(|_| {
            self.key.wrong("has no private key in PEM form (PRIVATE KEY, RSA PRIVATE KEY or EC PRIVATE KEY, unencrypted)")
        })?;
        let certified =
            CertifiedKey::from_der(chain, key, &default_provider()).map_err(|error| match error {
                Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                    let certificate = self.certificate.path.display();
                    self.key
                        .wrong(&format!("is not the key of {certificate}; set the two that belong together"))
                }
                Error::InvalidCertificate(_) => {
                    self.certificate.wrong(&format!("has a first certificate that cannot be used: {error}"))
                }
                error => self.key.wrong(&format!("has a key that cannot be used: {error}")),
            })?;
        Ok(Arc::new(certified))
    }
}

impl PemFile {
    fn read(field: &'static str, path: &Path) -> Result<Self, FieldError> {
        let mut file = Self { field, path: path.into(), bytes: Vec::new() };
        let length = std::fs::metadata(path).map(|about| about.len());
        let length = length.map_err(|error| file.wrong(&format!("cannot be read: {error}")))?;
        if length > FILE_BYTES_MAX {
            return Err(file.wrong("is too large to be a certificate or key in PEM form"));
        }
        file.bytes = std::fs::read(path).map_err(|error| file.wrong(&format!("cannot be read: {error}")))?;
        Ok(file)
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, FieldError> {
        let broken = |error: &dyn Display| self.wrong(&format!("is not well-formed PEM: {error}"));
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(&self.bytes)
            .collect::<Result<_, _>>()
            .map_err(|error| broken(&error))?;
        if certificates.is_empty() {
            return Err(self.wrong("has no certificate in PEM form (BEGIN CERTIFICATE)"));
        }
        Ok(certificates)
    }

    fn authorities(&self) -> Result<Arc<RootCertStore>, FieldError> {
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates()? {
            let added = roots.add(certificate);
            added.map_err(|error| self.wrong(&format!("has a certificate that cannot be used: {error}")))?;
        }
        Ok(Arc::new(roots))
    }

    fn wrong(&self, what: &str) -> FieldError {
        FieldError { field: self.field, problem: format!("names {}, which {what}", self.path.display()) }
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use rcgen::generate_simple_self_signed;

    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn write(&self, name: &str, text: &str) -> PathBuf {
            let path = self.0.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        }
    }

    #[test]
    fn what_is_wrong_with_a_file_is_told_with_its_setting() {
        let folder = Folder(tempfile::tempdir().unwrap());
        let [own, other] = [(); 2].map(|()| generate_simple_self_signed(["localhost".to_owned()]).unwrap());
        let certificate = folder.write("own.pem", &own.cert.pem());
        let key = folder.write("own.key", &own.signing_key.serialize_pem());
        let others_key = folder.write("other.key", &other.signing_key.serialize_pem());
        let empty = folder.write("empty", "");
        let cut = folder.write("cut", &own.cert.pem()[..200]);
        let missing = folder.0.path().join("missing");
        let on =
            TlsSettings { cert_file: certificate.clone(), key_file: key.clone(), ..TlsSettings::default() };
        assert_eq!(check(&on), Ok(()));
        assert_eq!(check(&TlsSettings::default()), Ok(()));
        let with = |change: fn(&mut TlsSettings, PathBuf), path: &PathBuf| {
            let mut settings = on.clone();
            change(&mut settings, path.clone());
            check(&settings).unwrap_err()
        };
        let cert_file: fn(&mut TlsSettings, PathBuf) = |settings, path| settings.cert_file = path;
        let key_file: fn(&mut TlsSettings, PathBuf) = |settings, path| settings.key_file = path;
        let clients: fn(&mut TlsSettings, PathBuf) = |settings, path| settings.client_ca_file = path;
        let more: fn(&mut TlsSettings, PathBuf) = |settings, path| {
            let key_file = settings.key_file.clone();
            settings.certificates = vec![super::super::CertificateFiles { cert_file: path, key_file }];
        };
        for (change, path, field, says) in [
            (cert_file, &missing, "tls.cert_file", "cannot be read"),
            (cert_file, &empty, "tls.cert_file", "has no certificate"),
            (cert_file, &cut, "tls.cert_file", "PEM"),
            (cert_file, &key, "tls.cert_file", "has no certificate"),
            (key_file, &certificate, "tls.key_file", "has no private key"),
            (key_file, &others_key, "tls.key_file", "is not the key of"),
            (key_file, &PathBuf::new(), "tls.key_file", "is missing"),
            (cert_file, &PathBuf::new(), "tls.key_file", "without tls.cert_file"),
            (clients, &empty, "tls.client_ca_file", "has no certificate"),
            (more, &missing, "tls.certificates", "cannot be read"),
        ] {
            let error = with(change, path);
            assert_eq!(error.field, field, "{error:?}");
            assert!(error.problem.contains(says), "{error:?}");
        }
    }
}
