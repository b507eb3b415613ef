//! Authorities, certificates and keys as files, made for one test.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

/// Somebody who signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    /// One of this name.
    ///
    /// # Panics
    /// As everything here: when it cannot be made.
    pub fn new(name: &str) -> Self {
        let mut about = CertificateParams::new(Vec::new()).unwrap();
        about.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        about.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = about.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(about, key), pem }
    }

    /// A certificate for this name, and its key, as PEM.
    pub fn sign(&self, name: &str) -> (String, String) {
        self.sign_for(&[name])
    }

    /// A certificate for all of these names, and its key, as PEM.
    ///
    /// # Panics
    /// There is no name.
    pub fn sign_for(&self, names: &[&str]) -> (String, String) {
        let mut about =
            CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap();
        about.distinguished_name.push(DnType::CommonName, names[0]);
        let key = KeyPair::generate().unwrap();
        let certificate = about.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    /// Its own certificate.
    pub fn pem(&self) -> &str {
        &self.pem
    }
}

/// A folder of files.
pub struct Files(TempDir);

impl Default for Files {
    fn default() -> Self {
        Self(tempfile::tempdir().unwrap())
    }
}

impl Files {
    /// Writes a file, in one step for whoever reads it.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let (path, new) = (self.0.path().join(name), self.0.path().join(format!("{name}.new")));
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, &path).unwrap();
        path
    }

    /// Writes a certificate and its key as `{name}.pem` and `{name}.key`.
    pub fn write_pair(&self, name: &str, (certificate, key): &(String, String)) -> (PathBuf, PathBuf) {
        (self.write(&format!("{name}.pem"), certificate), self.write(&format!("{name}.key"), key))
    }
}
