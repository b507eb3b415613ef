//! Requests, prepared once: sending one of HTTP/1.1 is two copies and a number.

use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};

use super::buyer::{self, BuyerIdentity};
use super::http2::{Asked, Common};
use super::tls::{TlsFiles, TlsPeer};
use crate::outcome::Action;

/// How long an address may take to accept the connection that shows whether it can be used.
const REACHABLE_WITHIN: Duration = Duration::from_secs(2);

/// What keys of purchases begin with.
const KEY_START: &[u8] = b"visit-";
const CHECKOUT_BODY: &str = r#"{"payment_method":"card"}"#;

/// An engine's address.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where to connect: every address of the host, at least one.
    addresses: Vec<SocketAddr>,
    /// The `Host` header.
    pub host: String,
    tls: Option<TlsPeer>,
}

/// How addresses are found and trusted.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Reach {
    /// Addresses of hosts that are not to be asked for.
    pub resolve: Vec<Resolve>,
    /// Certificates of `https://` addresses.
    pub tls: TlsFiles,
}

/// An address that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{url}: {why}")]
pub struct BadTarget {
    url: String,
    why: String,
}

impl Target {
    /// Reads `http://host:port` or `https://host:port`, and resolves the host.
    ///
    /// # Errors
    /// When it is not such an address, or the host has none.
    pub fn parse(url: &str) -> Result<Self, BadTarget> {
        Self::resolve(url, &Reach::default())
    }

    /// The same, but a host and port that `reach` names has the addresses that are given there, and its files say who is
    /// trusted.
    ///
    /// # Errors
    /// As [`Target::parse`], and when a file cannot be used.
    pub fn resolve(url: &str, reach: &Reach) -> Result<Self, BadTarget> {
        let bad = |why: &str| BadTarget { url: url.to_owned(), why: why.to_owned() };
        let (rest, is_tls) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
            (Some(rest), _) => (rest, false),
            (_, Some(rest)) => (rest, true),
            _ => return Err(bad("must start with http:// or https://")),
        };
        let host = rest.strip_suffix('/').unwrap_or(rest);
        if host.is_empty() || host.contains(['/', '?', '#', '@', ' ', '\r', '\n']) {
            return Err(bad("must be http://host:port or https://host:port without a path"));
        }
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let default_port = if is_tls { 443 } else { 80 };
        let with_port = if has_port { host.to_owned() } else { format!("{host}:{default_port}") };
        let mut addresses: Vec<SocketAddr> = match reach.resolve.iter().find(|given| given.host == with_port)
        {
            Some(given) => given.addresses.clone(),
            None => with_port.to_socket_addrs().map_err(|error| bad(&error.to_string()))?.collect(),
        };
        let mut seen = Vec::new();
        addresses.retain(|address| {
            !seen.contains(address) && {
                seen.push(*address);
                true
            }
        });
        if addresses.is_empty() {
            return Err(bad("the host has no address"));
        }
        let name = with_port.rsplit_once(':').map_or(host, |(name, _)| name);
        let tls = is_tls.then(|| TlsPeer::new(name, &reach.tls)).transpose().map_err(|why| bad(&why))?;
        Ok(Self { addresses, host: host.to_owned(), tls })
    }

    /// Every address of these that takes connections, each as a target of its own.
    ///
    /// # Errors
    /// As [`Target::resolve`].
    pub fn resolve_all(urls: &[String], reach: &Reach) -> Result<Vec<Self>, BadTarget> {
        let resolved = urls.iter().map(|url| Ok(Self::resolve(url, reach)?.reachable()));
        Ok(resolved.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
    }

    /// How it is spoken to under TLS, if it is.
    pub fn tls(&self) -> Option<&TlsPeer> {
        self.tls.as_ref()
    }

    /// Every address to try, in order.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The first address.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    /// Each address that accepts a connection as a target of its own; all of them when none does.
    pub fn reachable(&self) -> Vec<Self> {
        let single = |address: &SocketAddr| Self { addresses: vec![*address], ..self.clone() };
        let accepts = |address: &&SocketAddr| TcpStream::connect_timeout(address, REACHABLE_WITHIN).is_ok();
        // Nothing to choose from: whether it can be reached is seen when it is used.
        let chosen: Vec<_> = match self.addresses.as_slice() {
            [only] => return vec![single(only)],
            several => several.iter().filter(accepts).map(single).collect(),
        };
        if chosen.is_empty() { self.addresses.iter().map(single).collect() } else { chosen }
    }
}

/// Addresses of a host as they were given, instead of those that its name has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolve {
    host: String,
    addresses: Vec<SocketAddr>,
}

impl Resolve {
    /// Reads `HOST:PORT:ADDRESS[,ADDRESS]`; an IPv6 address may stand in brackets.
    ///
    /// # Errors
    /// When it is not of this form.
    pub fn parse(text: &str) -> Result<Self, String> {
        let form = || format!("{text}: must be HOST:PORT:ADDRESS[,ADDRESS]");
        let (host, rest) = text.split_once(':').ok_or_else(form)?;
        let (port, list) = rest.split_once(':').ok_or_else(form)?;
        let number: u16 = port.parse().map_err(|_| form())?;
        let address = |text: &str| text.trim_matches(['[', ']']).parse::<IpAddr>().map_err(|_| form());
        let addresses: Vec<SocketAddr> = list
            .split(',')
            .map(|text| address(text).map(|ip| (ip, number).into()))
            .collect::<Result<_, _>>()?;
        if host.is_empty() { Err(form()) } else { Ok(Self { host: format!("{host}:{port}"), addresses }) }
    }
}

/// One request to be written.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// Which request.
    pub action: Action,
    /// Campaign by index.
    pub campaign: usize,
    /// Buyer's number.
    pub buyer: u64,
    /// Units of a purchase.
    pub quantity: u64,
    /// The order, for the requests about one.
    pub order: &'a str,
    /// The buyer's pass, for a purchase or to register again.
    pub pass: Option<&'a str>,
    /// Sends an `Idempotency-Key`.
    pub idempotency_key: bool,
    /// Asks the server to close the connection after the answer.
    pub close: bool,
}

/// The prepared parts for one target, of both protocols.
#[derive(Debug)]
pub struct RequestKit {
    sale_paths: Vec<String>,
    common: String,
    common_of_http2: Arc<Common>,
    identity: BuyerIdentity,
}

/// The fields that header lines hold.
///
/// # Errors
/// A line holds none.
pub fn fields_of(lines: &[String]) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let field = |line: &str| {
        let (name, value) = line.split_once(':')?;
        let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
        Some((name, HeaderValue::from_str(value.trim()).ok()?))
    };
    lines.iter().map(|line| field(line).ok_or_else(|| format!("{line:?} is no header field"))).collect()
}

impl RequestKit {
    /// Prepares for campaigns given as `campaign/sku`; `headers` are whole lines without their end.
    pub fn new(target: &Target, sales: &[String], headers: &[String], identity: BuyerIdentity) -> Self {
        let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
        let common = format!(" HTTP/1.1\r\nHost: {}\r\n{lines}", target.host);
        // Those that are none have been refused before the run.
        let fields = fields_of(headers).unwrap_or_default();
        let common_of_http2 = Common::new(target.tls().is_some(), &target.host, identity.field(), fields);
        Self {
            sale_paths: sales.iter().map(|sale| format!("/seckill/{sale}")).collect(),
            common,
            common_of_http2: Arc::new(common_of_http2),
            identity,
        }
    }

    /// Method, and the parts of the path.
    fn line<'a>(&'a self, ask: &Ask<'a>) -> (&'static str, [&'a str; 3]) {
        let sale = self.sale_paths[ask.campaign].as_str();
        match ask.action {
            Action::Page => ("GET", ["", sale, ""]),
            Action::Purchase => ("POST", ["", sale, ""]),
            Action::Lookup => ("GET", ["/orders/", ask.order, ""]),
            Action::Checkout => ("POST", ["/orders/", ask.order, "/checkout"]),
            Action::Cancel => ("DELETE", ["/orders/", ask.order, ""]),
            Action::Register => ("POST", ["", sale, "/queue"]),
            Action::Wait => ("GET", ["", sale, "/queue"]),
        }
    }

    /// What all requests of HTTP/2 say.
    pub fn common_of_http2(&self) -> &Arc<Common> {
        &self.common_of_http2
    }

    /// Puts what a request of HTTP/2 says beside that in place of what was `asked` before.
    pub fn prepare(&self, ask: Ask<'_>, asked: &mut Asked) {
        let (method, path) = self.line(&ask);
        asked.clear();
        asked.method = method;
        asked.path.extend(path);
        self.identity.write_value(ask.buyer, &mut asked.identity);
        if ask.idempotency_key && ask.action == Action::Purchase {
            asked.key.extend_from_slice(KEY_START);
            buyer::write_name(ask.buyer, &mut asked.key);
        }
        asked.pass.extend_from_slice(ask.pass.unwrap_or_default().as_bytes());
        match ask.action {
            Action::Purchase if ask.quantity > 1 => write_quantity(ask.quantity, &mut asked.body),
            Action::Checkout => asked.body.extend_from_slice(CHECKOUT_BODY.as_bytes()),
            _ => {}
        }
    }

    /// Appends the request's bytes to `out`.
    pub fn write(&self, ask: Ask<'_>, out: &mut Vec<u8>) {
        let (method, [start, middle, end]) = self.line(&ask);
        for part in [method, " ", start, middle, end, &self.common] {
            out.extend_from_slice(part.as_bytes());
        }
        self.identity.write(ask.buyer, out);
        if ask.idempotency_key && ask.action == Action::Purchase {
            out.extend_from_slice(b"\r\nIdempotency-Key: ");
            out.extend_from_slice(KEY_START);
            buyer::write_name(ask.buyer, out);
        }
        if let Some(pass) = ask.pass {
            out.extend_from_slice(b"\r\nX-Sale-Pass: ");
            out.extend_from_slice(pass.as_bytes());
        }
        if ask.close {
            out.extend_from_slice(b"\r\nConnection: close");
        }
        match ask.action {
            Action::Purchase if ask.quantity > 1 => {
                let length = r#"{"quantity":}"#.len() + itoa::Buffer::new().format(ask.quantity).len();
                write_body_head(length, out);
                write_quantity(ask.quantity, out);
            }
            Action::Purchase | Action::Register => out.extend_from_slice(b"\r\nContent-Length: 0\r\n\r\n"),
            Action::Checkout => {
                write_body_head(CHECKOUT_BODY.len(), out);
                out.extend_from_slice(CHECKOUT_BODY.as_bytes());
            }
            Action::Page | Action::Lookup | Action::Cancel | Action::Wait => {
                out.extend_from_slice(b"\r\n\r\n")
            }
        }
    }
}

fn write_body_head(length: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\nContent-Type: application/json\r\nContent-Length: ");
    out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    out.extend_from_slice(b"\r\n\r\n");
}

fn write_quantity(quantity: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"quantity\":");
    out.extend_from_slice(itoa::Buffer::new().format(quantity).as_bytes());
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(action: Action, quantity: u64, idempotency_key: bool, close: bool) -> String {
        let target = Target::parse("http://127.0.0.1:8080/").unwrap();
        let kit =
            RequestKit::new(&target, &["c/unit".into()], &["X-Tenant-ID: t".into()], BuyerIdentity::Header);
        let mut out = Vec::new();
        let order = "o-1";
        let pass = (action == Action::Register).then_some("p");
        kit.write(
            Ask { action, campaign: 0, buyer: 42, quantity, order, pass, idempotency_key, close },
            &mut out,
        );
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn requests_are_written_as_the_contract_wants_them() {
        let common = " HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nX-Tenant-ID: t\r\nX-User-ID: b42";
        assert_eq!(
            written(Action::Purchase, 1, false, false),
            format!("POST /seckill/c/unit{common}\r\nContent-Length: 0\r\n\r\n")
        );
        assert_eq!(
            written(Action::Purchase, 12, true, true),
            format!(
                "POST /seckill/c/unit{common}\r\nIdempotency-Key: visit-b42\r\nConnection: close\r\n\
                 Content-Type: application/json\r\nContent-Length: 15\r\n\r\n{{\"quantity\":12}}"
            )
        );
        assert_eq!(written(Action::Page, 1, true, false), format!("GET /seckill/c/unit{common}\r\n\r\n"));
        assert_eq!(written(Action::Cancel, 1, false, false), format!("DELETE /orders/o-1{common}\r\n\r\n"));
        assert_eq!(
            written(Action::Register, 1, false, false),
            format!("POST /seckill/c/unit/queue{common}\r\nX-Sale-Pass: p\r\nContent-Length: 0\r\n\r\n")
        );
        let checkout = written(Action::Checkout, 1, false, false);
        let (head, body) = checkout.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /orders/o-1/checkout HTTP/1.1\r\n"));
        assert!(head.ends_with(&format!("Content-Length: {}", body.len())));
    }

    #[test]
    fn requests_of_http2_say_the_same() {
        let target = Target::parse("http://127.0.0.1:8080/").unwrap();
        let kit =
            RequestKit::new(&target, &["c/unit".into()], &["X-Tenant-ID: t".into()], BuyerIdentity::Header);
        let ask = Ask {
            action: Action::Purchase,
            campaign: 0,
            buyer: 42,
            quantity: 12,
            order: "o-1",
            pass: None,
            idempotency_key: true,
            close: false,
        };
        let mut asked = Asked::default();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let said = |asked: &Asked| {
            let parts = [&asked.identity, &asked.key, &asked.pass, &asked.body].map(|part| text(part));
            (asked.method, asked.path.clone(), parts)
        };
        kit.prepare(ask, &mut asked);
        let parts = ["b42", "visit-b42", "", "{\"quantity\":12}"].map(str::to_owned);
        assert_eq!(said(&asked), ("POST", "/seckill/c/unit".into(), parts));
        kit.prepare(Ask { action: Action::Checkout, pass: Some("p"), ..ask }, &mut asked);
        let parts = ["b42", "", "p", CHECKOUT_BODY].map(str::to_owned);
        assert_eq!(said(&asked), ("POST", "/orders/o-1/checkout".into(), parts));
        kit.prepare(Ask { action: Action::Cancel, ..ask }, &mut asked);
        let parts = ["b42", "", "", ""].map(str::to_owned);
        assert_eq!(said(&asked), ("DELETE", "/orders/o-1".into(), parts));
        assert!(fields_of(&["no colon".to_owned()]).is_err() && fields_of(&["a b: c".to_owned()]).is_err());
    }

    #[test]
    fn only_addresses_without_a_path_are_targets() {
        assert_eq!(Target::parse("http://127.0.0.1:81").unwrap().address().port(), 81);
        assert_eq!(Target::parse("http://127.0.0.1").unwrap().address().port(), 80);
        let secure = Target::parse("https://127.0.0.1").unwrap();
        assert_eq!((secure.address().port(), secure.tls().is_some()), (443, true));
        for url in [
            "ftp://127.0.0.1",
            "https://",
            "https://h/path",
            "127.0.0.1:80",
            "http://",
            "http://h/path",
            "http://a b",
        ] {
            assert!(Target::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn l10_a_name_has_all_its_addresses_and_those_that_answer_are_used() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        // Nobody listens at the first one.
        let given = Resolve::parse(&format!("shop.test:{port}:127.0.0.9,127.0.0.1,127.0.0.9")).unwrap();
        let reach = Reach { resolve: vec![given], ..Reach::default() };
        let target = Target::resolve(&format!("http://shop.test:{port}"), &reach).unwrap();
        assert_eq!(target.addresses().len(), 2, "each once");
        let reachable = target.reachable();
        assert_eq!(reachable.len(), 1);
        assert_eq!(
            (reachable[0].address(), reachable[0].host.as_str()),
            (listener.local_addr().unwrap(), target.host.as_str())
        );
        for wrong in ["", "h", "h:80", "h:x:127.0.0.1", "h:80:", "h:80:name", ":80:127.0.0.1"] {
            assert!(Resolve::parse(wrong).is_err(), "{wrong}");
        }
        assert!(Resolve::parse("h:80:[::1]").is_ok());
    }
}
