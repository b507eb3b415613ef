//! The certificates of a plane as they are now: exchanged while connections are served, and kept when new ones are broken.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::Mutex;
use rustls::client::verify_server_name;
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::pki_types::ServerName;
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{Error, ServerConfig};

use super::pem::{Identities, PemFiles};
use super::settings::TlsSettings;
use crate::domain::FieldError;

/// Whether a client without a certificate is heard at all, where certificates are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clients {
    /// No: its handshake fails.
    Strict,
    /// Yes: who answers its requests decides what it may ask.
    Lenient,
}

/// What the handshakes of a plane work with.
#[derive(Debug)]
pub struct Certificates {
    plane: &'static str,
    protocols: Vec<Vec<u8>>,
    clients: Clients,
    config: ArcSwapOption<ServerConfig>,
    /// Exchanged with `made_of` held.
    settings: ArcSwap<TlsSettings>,
    /// What `config` was made of. Held from choosing the files to exchanging what they say: who looks by older settings
    /// would bring back what they name.
    made_of: Mutex<Option<PemFiles>>,
    trouble: ArcSwapOption<String>,
    changes: AtomicU64,
}

impl Certificates {
    /// Reads the files. `plane` is the section's name, `protocols` are those that are offered, the best first.
    ///
    /// # Errors
    /// Names the setting whose file cannot be used.
    pub fn new(
        plane: &'static str,
        settings: &TlsSettings,
        protocols: &[&str],
        clients: Clients,
    ) -> Result<Arc<Self>, FieldError> {
        let certificates = Self {
            plane,
            protocols: protocols.iter().map(|name| name.as_bytes().to_vec()).collect(),
            clients,
            config: ArcSwapOption::empty(),
            settings: ArcSwap::from_pointee(settings.clone()),
            made_of: Mutex::new(None),
            trouble: ArcSwapOption::empty(),
            changes: AtomicU64::new(0),
        };
        certificates.read(&mut certificates.made_of.lock(), settings)?;
        certificates.changes.store(0, Relaxed);
        Ok(Arc::new(certificates))
    }

    /// The section's name.
    pub fn plane(&self) -> &'static str {
        self.plane
    }

    /// What the next handshake works with; `None` when the plane speaks in the clear.
    pub fn config(&self) -> Option<Arc<ServerConfig>> {
        self.config.load_full()
    }

    /// Whether clients have to show a certificate, by the settings as they are now.
    pub fn want_clients(&self) -> bool {
        self.settings.load().wants_clients()
    }

    /// How often what the files say has changed while the engine ran.
    pub fn changes(&self) -> u64 {
        self.changes.load(Relaxed)
    }

    /// Why the files as they are now are not used, if they are not: the ones before are.
    pub fn trouble(&self) -> Option<Arc<String>> {
        self.trouble.load_full()
    }

    /// Takes over other settings, and reads their files. Blocks on them.
    ///
    /// # Errors
    /// Names the setting whose file cannot be used; what was in force stays.
    pub fn replace(&self, settings: &TlsSettings) -> Result<(), FieldError> {
        let mut made_of = self.made_of.lock();
        self.read(&mut made_of, settings)?;
        self.settings.store(Arc::new(settings.clone()));
        Ok(())
    }

    /// Looks whether the files say something else than before, and takes it over: true if they did. Tells what is wrong
    /// with them if it cannot be used; what was in force stays. Blocks on the files.
    pub fn look(&self) -> bool {
        let mut made_of = self.made_of.lock();
        match self.read(&mut made_of, &self.settings.load()) {
            Ok(changed) => {
                if changed {
                    tracing::info!(plane = self.plane, "new certificates are in use");
                }
                changed
            }
            Err(FieldError { field, problem }) => {
                let trouble = format!("{}.{field} {problem}", self.plane);
                if self.trouble.load().as_deref() != Some(&trouble) {
                    tracing::warn!(plane = self.plane, %trouble, "certificates cannot be used; the ones before are");
                    self.trouble.store(Some(Arc::new(trouble)));
                }
                false
            }
        }
    }

    /// Looks again and again, as often as the settings say.
    pub async fn watch(self: Arc<Self>) {
        /// While nobody is to look, the settings may come to say something else.
        const UNTIL_ASKED_AGAIN: Duration = Duration::from_secs(10);
        loop {
            let watch_s = self.settings.load().watch_s;
            let pause = if watch_s == 0 { UNTIL_ASKED_AGAIN } else { Duration::from_secs(watch_s) };
            tokio::time::sleep(pause).await;
            if watch_s > 0 {
                let this = Arc::clone(&self);
                let _ = tokio::task::spawn_blocking(move || this.look()).await;
            }
        }
    }

    fn read(&self, made_of: &mut Option<PemFiles>, settings: &TlsSettings) -> Result<bool, FieldError> {
        let files = settings.is_on().then(|| PemFiles::read(settings)).transpose()?;
        if *made_of == files {
            self.trouble.store(None);
            return Ok(false);
        }
        let config = files.as_ref().map(|files| self.config_of(files.identities()?)).transpose()?;
        self.config.store(config.map(Arc::new));
        *made_of = files;
        self.trouble.store(None);
        self.changes.fetch_add(1, Relaxed);
        Ok(true)
    }

    /// Every new configuration has new keys for its tickets: whoever was let in by an authority that is gone has to show a
    /// certificate again.
    fn config_of(&self, identities: Identities) -> Result<ServerConfig, FieldError> {
        let wrong = |problem: String| FieldError { field: "tls.client_ca_file", problem };
        let provider = Arc::new(default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| FieldError { field: "tls.cert_file", problem: error.to_string() })?;
        let builder = match identities.clients {
            None => builder.with_no_client_auth(),
            Some(authorities) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(authorities, provider);
                let verifier = match self.clients {
                    Clients::Strict => verifier,
                    Clients::Lenient => verifier.allow_unauthenticated(),
                };
                let verifier = verifier.build().map_err(|error| wrong(format!("cannot be used: {error}")))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(ByName(identities.keys)));
        config.alpn_protocols.clone_from(&self.protocols);
        config.ticketer = Ticketer::new()
            .map_err(|error: Error| FieldError { field: "tls.cert_file", problem: error.to_string() })?;
        Ok(config)
    }
}

/// Chooses the first certificate that is for the name a client asks for.
#[derive(Debug)]
struct ByName(Vec<Arc<CertifiedKey>>);

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let first = self.0.first();
        let named = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        let Some(name) = named.filter(|_| self.0.len() > 1) else { return first.cloned() };
        self.0.iter().find(|key| is_for(key, &name)).or(first).cloned()
    }
}

fn is_for(key: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let parsed = key.end_entity_cert().and_then(ParsedCertificate::try_from);
    parsed.is_ok_and(|certificate| verify_server_name(&certificate, name).is_ok())
}
