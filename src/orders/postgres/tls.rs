//! Whether the connection is encrypted, and whom it must lead to.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::Config;
use tokio_postgres::config::{self, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::tls::AnyServer;

/// The parameter of the address that says so.
const PARAMETER: &str = "sslmode=";

/// The parameter that says which servers will do; see [`Address::parse`].
const TARGET: &str = "target_session_attrs=";

/// One host of an address.
#[derive(Debug)]
pub struct Host {
    /// What it is called in messages.
    pub name: String,
    /// Where it is, as whom, and whether in the clear.
    pub config: Config,
}

/// The address as PostgreSQL's own tools take it. The database crate has no word for a server that must prove who it is.
#[derive(Debug)]
pub struct Address {
    /// The hosts, in the order in which they are named. Not empty.
    pub hosts: Vec<Host>,
    /// Whether the server must prove that it is the host of the address (`sslmode=verify-full`).
    pub is_verified: bool,
}

impl Address {
    /// Reads an address, or says what is wrong with it. An engine writes: only `read-write` servers will do, whether the
    /// address says so or nothing.
    pub fn parse(url: &str) -> Result<Self, String> {
        let (place, parameters) = url.split_once('?').unwrap_or((url, ""));
        let (mut modes, mut targets, mut others) = (Vec::new(), Vec::new(), Vec::new());
        for parameter in parameters.split('&').filter(|it| !it.is_empty()) {
            match (parameter.strip_prefix(PARAMETER), parameter.strip_prefix(TARGET)) {
                (Some(mode), _) => modes.push(mode),
                (_, Some(target)) => targets.push(target),
                _ => others.push(parameter),
            }
        }
        if let Some(other) = targets.into_iter().find(|target| !["read-write", "primary"].contains(target)) {
            return Err(format!(
                "has target_session_attrs={other}; an engine writes: leave it out, or set read-write"
            ));
        }
        let parsed = [place, &others.join("&")].join("?").parse();
        let mut config: Config = parsed.map_err(|error: tokio_postgres::Error| {
            let cause = std::error::Error::source(&error).map_or_else(String::new, |it| format!(": {it}"));
            format!("cannot be read ({error}{cause}); it must look like postgres://user:password@host:5432/database")
        })?;
        let mode = modes.last().copied().unwrap_or("prefer");
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
        Ok(Self { hosts: hosts_of(&config)?, is_verified: mode == "verify-full" })
    }
}

/// The hosts of an address one by one, each with everything else that the address says.
fn hosts_of(config: &Config) -> Result<Vec<Host>, String> {
    let (names, numbers, ports) = (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    let count = names.len().max(numbers.len());
    let agrees = |given: usize| given <= 1 || given == count;
    if count == 0
        || !agrees(ports.len())
        || (!names.is_empty() && !numbers.is_empty() && names.len() != numbers.len())
    {
        return Err("must name a host, and as many ports (or one) and hostaddrs (or none) as hosts".into());
    }
    let one = |at: usize| {
        let mut one = Config::new();
        if let Some(user) = config.get_user() {
            one.user(user);
        }
        if let Some(password) = config.get_password() {
            one.password(password);
        }
        if let Some(database) = config.get_dbname() {
            one.dbname(database);
        }
        if let Some(options) = config.get_options() {
            one.options(options);
        }
        if let Some(limit) = config.get_tcp_user_timeout() {
            one.tcp_user_timeout(*limit);
        }
        one.ssl_mode(config.get_ssl_mode())
            .ssl_negotiation(config.get_ssl_negotiation())
            .channel_binding(config.get_channel_binding())
            .load_balance_hosts(config.get_load_balance_hosts())
            .keepalives(config.get_keepalives());
        let port = ports.get(at).or(ports.first()).copied().unwrap_or(5432);
        one.port(port);
        let mut name = String::new();
        match names.get(at) {
            Some(config::Host::Tcp(host)) => {
                one.host(host);
                name.clone_from(host);
            }
            Some(config::Host::Unix(folder)) => {
                one.host_path(folder);
                name = folder.display().to_string();
            }
            None => {}
        }
        if let Some(number) = numbers.get(at) {
            one.hostaddr(*number);
            name = number.to_string();
        }
        Host { name: format!("{name}:{port}"), config: one }
    };
    Ok((0..count).map(one).collect())
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
        // As PostgreSQL's own tools do with `prefer` and `require`.
        builder.dangerous().with_custom_certificate_verifier(AnyServer::new(&provider)).with_no_client_auth()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_says_how_much_is_asked_of_the_server() {
        let read = |parameters: &str| {
            let address = Address::parse(&format!("postgres://ann:s%3Fcret@db:5432/shop{parameters}"));
            address.map(|address| {
                let [Host { name, config }] = &address.hosts[..] else { panic!("one host") };
                assert_eq!(name, "db:5432");
                assert_eq!(config.get_dbname(), Some("shop"));
                assert_eq!(config.get_password(), Some(&b"s?cret"[..]));
                (config.get_ssl_mode(), address.is_verified)
            })
        };
        assert_eq!(read(""), Ok((SslMode::Prefer, false)));
        assert_eq!(read("?sslmode=disable"), Ok((SslMode::Disable, false)));
        assert_eq!(read("?keepalives=1&sslmode=require"), Ok((SslMode::Require, false)));
        assert_eq!(read("?sslmode=verify-full&keepalives=1"), Ok((SslMode::Require, true)));
        assert!(read("?sslmode=verify-ca").unwrap_err().contains("verify-full"));
        assert!(read("?nonsense=1").unwrap_err().contains("nonsense"));
    }

    #[test]
    fn each_host_has_its_own_port_and_everything_else() {
        let address =
            Address::parse("postgres://ann:p@a:1,b:2/shop?target_session_attrs=read-write").unwrap();
        let names: Vec<_> = address.hosts.iter().map(|host| host.name.as_str()).collect();
        assert_eq!(names, ["a:1", "b:2"]);
        for Host { config, .. } in &address.hosts {
            assert_eq!((config.get_hosts().len(), config.get_ports().len()), (1, 1));
            assert_eq!((config.get_user(), config.get_dbname()), (Some("ann"), Some("shop")));
        }
        let refused = Address::parse("postgres://ann@a/shop?target_session_attrs=any").unwrap_err();
        assert!(refused.contains("read-write"), "{refused}");
        assert!(Address::parse("postgres:///shop?user=ann").unwrap_err().contains("host"));
    }
}
