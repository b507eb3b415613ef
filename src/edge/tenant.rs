//! Whose sales a request is about. The configuration says where that comes from, and nothing else in a request chooses.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use smallvec::SmallVec;

use super::auth_settings::{AuthMode, AuthSettings, TenantSettings, TenantSource};
use super::problem::{self, ProblemAnswer};
use super::request::Head;
use crate::domain::{FieldError, InvalidId, SaleKey};

/// Finds the tenant of a request.
#[derive(Debug)]
pub(super) struct Tenants {
    source: Source,
    default: Option<String>,
    /// Empty: whoever is well named.
    allowed: BTreeSet<String>,
}

#[derive(Debug)]
enum Source {
    /// `X-Tenant-ID`. Not `trusted` when buyers bring tokens and no gateway vouches for the other fields: then the
    /// field may only say what would be taken anyway.
    Header { trusted: bool },
    /// The name that was asked, in lower case, or the first label of one that ends like this.
    Host { hosts: HashMap<Box<[u8]>, String>, suffix: Box<[u8]> },
    /// A claim of the token.
    Claim,
    /// Always this one.
    Fixed(String),
}

impl Tenants {
    /// Reads the table.
    ///
    /// # Errors
    /// Names what is missing or no tenant's name.
    pub fn new(settings: &TenantSettings, auth: &AuthSettings) -> Result<Self, FieldError> {
        let TenantSettings { from, default, allowed, hosts, host_suffix, name, claim } = settings;
        let wrong = |field, problem: &str| FieldError { field, problem: problem.to_owned() };
        let named = |field: &'static str, tenant: &str| {
            SaleKey::check_part(tenant).map_err(|InvalidId(rule)| FieldError {
                field,
                problem: format!("holds {tenant:?}; a tenant {rule}"),
            })
        };
        allowed.iter().try_for_each(|tenant| named("tenant.allowed", tenant))?;
        hosts.values().try_for_each(|tenant| named("tenant.hosts", tenant))?;
        if !default.is_empty() {
            named("tenant.default", default)?;
        }
        let source = match from {
            TenantSource::Header => {
                let trusted = auth.mode == AuthMode::TrustedHeader || auth.has_origin_secret();
                Source::Header { trusted }
            }
            TenantSource::Host if hosts.is_empty() && host_suffix.is_empty() => {
                return Err(wrong(
                    "tenant.hosts",
                    "is needed by tenant.from = \"host\", or tenant.host_suffix",
                ));
            }
            TenantSource::Host => {
                let lower = |host: &String| host.to_ascii_lowercase().into_bytes().into_boxed_slice();
                let hosts = hosts.iter().map(|(host, tenant)| (lower(host), tenant.clone())).collect();
                let suffix = host_suffix.trim_start_matches('.').to_ascii_lowercase().into_bytes().into();
                Source::Host { hosts, suffix }
            }
            TenantSource::Claim if auth.mode != AuthMode::Jwt => {
                return Err(wrong("tenant.from", "is \"claim\", which needs auth.mode = \"jwt\""));
            }
            TenantSource::Claim if claim.is_empty() => {
                return Err(wrong("tenant.claim", "is needed by tenant.from = \"claim\""));
            }
            TenantSource::Claim => Source::Claim,
            TenantSource::Fixed => {
                named("tenant.name", name)?;
                Source::Fixed(name.clone())
            }
        };
        let default = Some(default.clone()).filter(|name| !name.is_empty());
        Ok(Self { source, default, allowed: allowed.iter().cloned().collect() })
    }

    /// Whether a token has to be read before the tenant is known.
    pub fn are_in_tokens(&self) -> bool {
        matches!(self.source, Source::Claim)
    }

    /// The request field that decides, for `Vary`; `Host` is part of every cache's key.
    pub fn decided_by(&self) -> Option<&'static str> {
        match self.source {
            Source::Header { .. } => Some("x-tenant-id"),
            Source::Claim => Some("authorization"),
            Source::Host { .. } | Source::Fixed(_) => None,
        }
    }

    /// The tenant of the request; `claim` is what its token says.
    ///
    /// # Errors
    /// 400 when it is missing or no name, 403 when it is not one that the configuration allows.
    pub fn of<'t>(
        &'t self,
        head: &'t Head<'_>,
        claim: Option<&'t str>,
    ) -> Result<Cow<'t, str>, ProblemAnswer> {
        let sent = head.tenant.map(name_of).transpose()?;
        let named = match &self.source {
            Source::Header { trusted } => {
                if !trusted && sent.is_some() && sent != self.default.as_deref() {
                    return Err(problem::TENANT_NOT_ALLOWED.answer());
                }
                sent.map(Cow::Borrowed)
            }
            Source::Host { hosts, suffix } => self.hosted(hosts, suffix, head.host.unwrap_or_default()),
            Source::Claim => claim.map(|tenant| name_of(tenant.as_bytes())).transpose()?.map(Cow::Borrowed),
            Source::Fixed(tenant) => Some(Cow::Borrowed(tenant.as_str())),
        };
        let is_default = named.is_none();
        let tenant = named
            .or(self.default.as_deref().map(Cow::Borrowed))
            .ok_or_else(|| problem::NO_TENANT.answer())?;
        let is_listed = is_default
            || self.allowed.is_empty()
            || self.allowed.contains(&*tenant)
            || self.default.as_deref() == Some(&*tenant);
        // Whoever names another tenant than the one that counts is told so, and not served from that one's shelf.
        if !is_listed || sent.is_some_and(|sent| sent != tenant) {
            return Err(problem::TENANT_NOT_ALLOWED.answer());
        }
        Ok(tenant)
    }

    fn hosted<'t>(
        &'t self,
        hosts: &'t HashMap<Box<[u8]>, String>,
        suffix: &[u8],
        host: &[u8],
    ) -> Option<Cow<'t, str>> {
        let mut name: SmallVec<[u8; 128]> = SmallVec::from_slice(without_port(host));
        name.make_ascii_lowercase();
        if let Some(tenant) = hosts.get(&*name) {
            return Some(Cow::Borrowed(tenant));
        }
        let label = name.strip_suffix(suffix).filter(|_| !suffix.is_empty())?.strip_suffix(b".")?;
        let label = std::str::from_utf8(label).ok().filter(|label| !label.contains('.'))?;
        SaleKey::check_part(label).ok()?;
        Some(Cow::Owned(label.to_owned()))
    }
}

fn name_of(tenant: &[u8]) -> Result<&str, ProblemAnswer> {
    std::str::from_utf8(tenant).ok().filter(|tenant| SaleKey::check_part(tenant).is_ok()).ok_or_else(|| {
        problem::BAD_REQUEST.detailed("A tenant must be 1 to 64 characters of A-Z a-z 0-9 . _ -.")
    })
}

/// The name in `Host`, without port and without the dot that may end it.
fn without_port(host: &[u8]) -> &[u8] {
    let end = match host.iter().rposition(|&byte| byte == b':') {
        Some(colon) if host[colon + 1..].iter().all(u8::is_ascii_digit) => colon,
        _ => host.len(),
    };
    let name = &host[..end];
    name.strip_suffix(b".").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenants(text: &str, auth: &AuthSettings) -> Result<Tenants, FieldError> {
        Tenants::new(&toml::from_str(text).unwrap(), auth)
    }

    fn told(tenants: &Tenants, tenant: Option<&str>, host: &str, claim: Option<&str>) -> Result<String, u16> {
        let head = Head { tenant: tenant.map(str::as_bytes), host: Some(host.as_bytes()), ..Head::default() };
        let found = tenants.of(&head, claim).map(Cow::into_owned);
        found
            .map_err(|answer| answer.reply(&super::super::request_id::RequestId::Echoed("x")).status.as_u16())
    }

    #[test]
    fn the_header_decides_where_a_gateway_sends_it() {
        let any = tenants("", &AuthSettings::default()).unwrap();
        assert_eq!(told(&any, None, "h", None), Ok("default".into()));
        assert_eq!(told(&any, Some("a"), "h", None), Ok("a".into()));
        assert_eq!(told(&any, Some("a/b"), "h", None), Err(400));
        let listed = tenants("allowed = ['a']\ndefault = ''", &AuthSettings::default()).unwrap();
        assert_eq!(told(&listed, Some("a"), "h", None), Ok("a".into()));
        assert_eq!(told(&listed, Some("b"), "h", None), Err(403));
        assert_eq!(told(&listed, None, "h", None), Err(400));
    }

    #[test]
    fn a_header_beside_a_token_chooses_nothing() {
        let auth = AuthSettings { mode: AuthMode::Jwt, ..AuthSettings::default() };
        let header = tenants("", &auth).unwrap();
        assert_eq!(told(&header, None, "h", None), Ok("default".into()));
        assert_eq!(told(&header, Some("default"), "h", None), Ok("default".into()));
        assert_eq!(told(&header, Some("a"), "h", None), Err(403));
        let claim = tenants("from = 'claim'\ndefault = ''", &auth).unwrap();
        assert_eq!(told(&claim, None, "h", Some("a")), Ok("a".into()));
        assert_eq!(told(&claim, Some("a"), "h", Some("a")), Ok("a".into()));
        assert_eq!(told(&claim, Some("b"), "h", Some("a")), Err(403));
        assert_eq!(told(&claim, None, "h", None), Err(400));
    }

    #[test]
    fn the_name_that_was_asked_decides() {
        let text =
            "from = 'host'\ndefault = ''\nhosts = { 'Shop.example' = 'a' }\nhost_suffix = '.sales.example'";
        let host = tenants(text, &AuthSettings::default()).unwrap();
        for (name, tenant) in [
            ("shop.example", Ok("a")),
            ("SHOP.example:8443", Ok("a")),
            ("shop.example.", Ok("a")),
            ("B.sales.example", Ok("b")),
            ("b.c.sales.example", Err(400)),
            (".sales.example", Err(400)),
            ("sales.example", Err(400)),
            ("xsales.example", Err(400)),
            ("other.example", Err(400)),
        ] {
            assert_eq!(told(&host, None, name, None), tenant.map(str::to_owned), "{name}");
        }
        assert_eq!(told(&host, Some("b"), "shop.example", None), Err(403));
        let fixed = tenants("from = 'fixed'\nname = 'a'", &AuthSettings::default()).unwrap();
        assert_eq!(told(&fixed, None, "any", None), Ok("a".into()));
        assert_eq!(told(&fixed, Some("b"), "any", None), Err(403));
    }

    #[test]
    fn what_a_source_needs_is_told_at_the_start() {
        for text in [
            "from = 'host'",
            "from = 'claim'",
            "from = 'fixed'\nname = ''",
            "default = 'a/b'",
            "allowed = ['']",
        ] {
            assert!(tenants(text, &AuthSettings::default()).is_err(), "{text}");
        }
    }
}
