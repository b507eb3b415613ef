//! An engine, a recipe in front of it, and visitors of both tenants.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use testbed::certificates::{Authority, Files};
use testbed::client::{Answer, Client, request};
use testbed::engine::{Engine, Launch};
use testbed::servers::haproxy::HaproxyWith;
use testbed::servers::nginx::Nginx;
use testbed::servers::process::{free_address, is_root};
use testbed::servers::proxy::Proxy;
use testbed::servers::recipe::filled_in;
use testbed::servers::varnish::VarnishServer;
use tokio_rustls::TlsConnector;

use super::super::h2_client::Http2;
use super::super::tls_identities::Believed;
use super::super::tokens::{SECRET, token_of};

/// What the proxy says in `X-Origin-Secret`.
pub const ORIGIN_SECRET: &str = "0f1e2d3c4b5a69788796a5b4c3d2e1f0";
/// The names of the two tenants' shops.
pub const NORTH: &str = "north.example";
pub const SOUTH: &str = "south.example";

/// Which recipe stands in front.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Nginx,
    Haproxy,
    Varnish,
    VarnishAndHaproxy,
}

/// What runs in front; ended with the value, the first first.
#[expect(dead_code, reason = "held until they shall end")]
enum Front {
    Nginx(Nginx),
    Haproxy(HaproxyWith),
    Varnish(VarnishServer, Option<HaproxyWith>),
}

pub struct Shop {
    _front: Front,
    pub door: Door,
    /// Where the connections of the last proxy to the engine pass.
    pub link: Proxy,
    pub engine: Engine,
    /// Who has signed the engine's certificate, and who the proxies'.
    pub edge: Authority,
    pub proxies: Authority,
    _files: Files,
}

/// Where visitors come in.
pub struct Door {
    address: SocketAddr,
    /// Who has signed the shops' certificate, if they have one.
    public: Option<Authority>,
}

impl Kind {
    /// Whether the engine is reached under TLS.
    pub fn has_tls_behind(self) -> bool {
        self != Self::Varnish
    }

    /// Whether buyers are served under TLS.
    fn has_tls_before(self) -> bool {
        matches!(self, Self::Nginx | Self::Haproxy)
    }
}

impl Shop {
    /// As the files stand, with two sales of the same name, one a tenant.
    pub fn open(kind: Kind) -> Self {
        Self::open_with(kind, &[])
    }

    /// The same, with more edits of the recipe that stands in front.
    pub fn open_with(kind: Kind, edits: &[(&str, &str)]) -> Self {
        let files = Files::default();
        let (edge, proxies, public) =
            (Authority::new("edge"), Authority::new("proxies"), Authority::new("ca"));
        let text = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
        let secret = text(files.write("origin-secret", &format!("{ORIGIN_SECRET}\n")));
        let edge_ca = text(files.write("edge-ca.pem", edge.pem()));
        let proxy_pair = proxies.sign("proxy");
        let (proxy_pem, proxy_key) = files.write_pair("proxy", &proxy_pair);
        let shop_pair = public.sign_for(&[NORTH, SOUTH]);
        let (shop_pem, shop_key) = files.write_pair("shop", &shop_pair);
        let both = |name: &str, (certificate, key): &(String, String)| {
            text(files.write(name, &format!("{certificate}{key}")))
        };
        let (proxy_both, shop_both) =
            (both("proxy-both.pem", &proxy_pair), both("shop-both.pem", &shop_pair));

        let engine = engine(kind, &files, &edge, &proxies, &secret);
        let link = Proxy::to(engine.edge());
        let (behind, admin_port) =
            (link.address().to_string(), format!("port {}", engine.admin_addr().port()));
        let haproxy = |address: SocketAddr, for_varnish: SocketAddr, edits: &[(&str, &str)]| {
            let own: &[(&str, &str)] = &[
                ("bind :443 ", &format!("bind {address} ")),
                ("127.0.0.1:8081", &for_varnish.to_string()),
                ("/etc/haproxy/shop.pem", &shop_both),
                ("/etc/haproxy/proxy.pem", &proxy_both),
                ("/etc/seckill/edge-ca.pem", &edge_ca),
                ("10.0.0.11:8443", &behind),
                ("port 9090", &admin_port),
                ("maxconn 20000", "maxconn 1000"),
            ];
            let config = filled_in("haproxy.cfg", &[own, edits].concat());
            HaproxyWith::start(&config, &[("SECKILL_ORIGIN_SECRET", ORIGIN_SECRET)], address)
        };
        let varnish = |backend: SocketAddr| {
            let own: &[(&str, &str)] = &[
                ("10.0.0.11", "127.0.0.1"),
                (".port = \"8080\"", &format!(".port = \"{}\"", backend.port())),
                ("/etc/varnish/seckill-origin-secret", &secret),
            ];
            let rules = filled_in("varnish.vcl", &[own, edits].concat());
            VarnishServer::with_rules(&rules, &parameters_told_by(&rules))
        };
        let mut address = free_address();
        let front = match kind {
            Kind::Nginx => {
                let folder = tempfile::tempdir().unwrap();
                let own_path = |name: &str| text(folder.path().join(name));
                let secret_line = format!("map $host $origin_secret {{ default \"{ORIGIN_SECRET}\"; }}\n");
                let own: &[(&str, &str)] = &[
                    ("user www-data;", if is_root() { "user root;" } else { "" }),
                    // Where distributions keep what is too large for memory, only they may write.
                    (
                        "http {\n",
                        "http {\nclient_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;\n",
                    ),
                    ("/run/nginx.pid", &own_path("pid")),
                    ("/var/log/nginx/error.log", &own_path("error.log")),
                    ("/var/cache/nginx/seckill", &own_path("cache")),
                    (
                        "/etc/nginx/seckill-origin-secret.conf",
                        &text(files.write("secret.conf", &secret_line)),
                    ),
                    ("listen 443 ", &format!("listen {address} ")),
                    ("10.0.0.11:8443", &behind),
                    ("/etc/seckill/edge-ca.pem", &edge_ca),
                    ("/etc/seckill/proxy.pem", &text(proxy_pem)),
                    ("/etc/seckill/proxy.key", &text(proxy_key)),
                    ("/etc/seckill/shop.pem", &text(shop_pem)),
                    ("/etc/seckill/shop.key", &text(shop_key)),
                ];
                let config = filled_in("nginx.conf", &[own, edits].concat());
                Front::Nginx(Nginx::start(folder, &config, address))
            }
            Kind::Haproxy => Front::Haproxy(haproxy(address, free_address(), edits)),
            Kind::Varnish => Front::Varnish(varnish(link.address()), None),
            Kind::VarnishAndHaproxy => {
                let between = free_address();
                let haproxy = haproxy(address, between, &[]);
                Front::Varnish(varnish(between), Some(haproxy))
            }
        };
        if let Front::Varnish(varnish, _) = &front {
            address = varnish.address();
        }
        let public = kind.has_tls_before().then_some(public);
        let door = Door { address, public };
        let shop = Self { _front: front, door, link, engine, edge, proxies, _files: files };
        for tenant in ["north", "south"] {
            shop.make_sale(tenant, "phone", 1_000);
        }
        shop
    }

    /// Makes a sale of which one buyer may have ten; its title says whose it is.
    pub fn make_sale(&self, tenant: &str, sku: &str, stock: u32) {
        let body = format!(
            r#"{{"campaign":"test","sku":"{sku}","price_cents":100,"stock":{stock},"title":"of {tenant}","per_buyer_limit":10}}"#
        );
        let lines = format!("X-Tenant-ID: {tenant}\r\n");
        let answer = request(self.engine.admin_addr(), "POST", "/api/v1/campaigns", &lines, &body);
        assert_eq!(answer.status, 201, "{}", answer.body);
    }

    /// The durable orders of a sale in the north.
    pub fn orders(&self, sku: &str) -> Vec<serde_json::Value> {
        let path = format!("/api/v1/orders?campaign=test&sku={sku}&limit=10000");
        let answer = request(self.engine.admin_addr(), "GET", &path, "X-Tenant-ID: north\r\n", "");
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// One request on a connection of its own. `None` when it is not answered.
    pub fn ask(&self, host: &str, method: &str, path: &str, lines: &str, body: &str) -> Option<Answer> {
        ask(&mut self.door.visit(host), host, method, path, lines, body)
    }

    /// The public state of the phones, at the shop of this name.
    pub fn state(&self, host: &str, lines: &str) -> Answer {
        self.ask(host, "GET", "/seckill/test/phone", lines, "").expect("an answer")
    }

    /// Buys a phone in the north, on a connection of its own.
    pub fn buy(&self, buyer: &str) -> Option<Answer> {
        self.ask(NORTH, "POST", "/seckill/test/phone", &bearer(buyer), "")
    }
}

impl Door {
    fn config(&self, protocol: &str) -> Option<Arc<ClientConfig>> {
        self.public.as_ref().map(|public| public.client(&[protocol], None))
    }

    /// A visitor's connection to the shop of this name.
    pub fn visit(&self, host: &str) -> Client {
        let socket = TcpStream::connect(self.address).unwrap();
        match self.config("http/1.1") {
            None => Client::over(socket),
            Some(config) => {
                let name = ServerName::try_from(host.to_owned()).unwrap();
                let session = ClientConnection::new(config, name).unwrap();
                Client::above(&socket, StreamOwned::new(session, socket.try_clone().unwrap()))
            }
        }
    }

    /// A visitor who speaks HTTP/2, where buyers may.
    pub fn visit_by_http2(&self) -> Option<Http2> {
        let (config, address) = (self.config("h2")?, self.address);
        let client = Http2::over("https", async move {
            let stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let name = ServerName::try_from(NORTH).unwrap();
            TlsConnector::from(config).connect(name, stream).await.unwrap()
        });
        Some(client.asking(NORTH))
    }
}

/// The header line by which a buyer is known.
pub fn bearer(buyer: &str) -> String {
    format!("Authorization: Bearer {}\r\n", token_of(buyer))
}

/// One request on this connection. `None` when it is not answered.
pub fn ask(
    client: &mut Client,
    host: &str,
    method: &str,
    path: &str,
    lines: &str,
    body: &str,
) -> Option<Answer> {
    let length = if body.is_empty() && method == "GET" {
        String::new()
    } else {
        format!("Content-Length: {}\r\n", body.len())
    };
    client.send(format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{lines}{length}\r\n{body}")).answer()
}

fn engine(kind: Kind, files: &Files, edge: &Authority, proxies: &Authority, secret: &str) -> Engine {
    let text = |path: std::path::PathBuf| path.to_str().unwrap().to_owned();
    let (certificate, key) = files.write_pair("edge", &edge.sign("edge.internal"));
    let config = filled_in(
        "seckill.toml",
        &[
            ("/etc/seckill/edge.pem", &text(certificate)),
            ("/etc/seckill/edge.key", &text(key)),
            ("/etc/seckill/proxy-ca.pem", &text(files.write("proxy-ca.pem", proxies.pem()))),
            ("/etc/seckill/origin-secret", secret),
            ("/etc/seckill/jwt-key", &text(files.write("jwt-key", SECRET))),
            ("10.0.0.0/8", "127.0.0.0/8"),
            ("page = false", "page = true"),
            // Of the admin plane, which only this machine reaches, the test asks without one.
            ("token_file = \"/etc/seckill/admin-token\"", ""),
            ("kind = \"http\"", "kind = \"simulated\""),
        ],
    );
    let config: Vec<_> =
        config.lines().filter(|line| kind.has_tls_behind() || !line.starts_with("tls.")).collect();
    let config = text(files.write("seckill.toml", &config.join("\n")));
    let launch = Launch::new(&[]).with_addresses_of_its_own();
    let page = ("SECKILL__EDGE__PAGE".to_owned(), "true".to_owned());
    launch.with_environment(vec![("SECKILL_CONFIG".to_owned(), config), page]).start()
}

/// The parameters that the rules tell operators to start Varnish with.
fn parameters_told_by(rules: &str) -> Vec<&str> {
    let line = rules.lines().find(|line| line.starts_with("#   varnishd ")).expect("how it is started");
    let words: Vec<_> = line.split_whitespace().collect();
    words.windows(2).filter(|pair| pair[0] == "-p").flatten().copied().collect()
}
