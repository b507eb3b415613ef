//! The shop of the compose file, its services started by hand with its files: only what a name leads to is another place.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use testbed::client::request;
use testbed::servers::engine::{EngineProcess, PATIENT, binary};
use testbed::servers::nginx::Nginx;
use testbed::servers::postgres::Postgres;
use testbed::servers::process::{free_address, is_root};
use testbed::servers::prometheus::Prometheus;
use testbed::servers::redis::RedisServer;
use testbed::until;

use super::{content, dashboard, deployed, documents, text_of};

/// The compose file.
pub(super) fn compose() -> Value {
    documents("compose/compose.yml").remove(0)
}

/// A file of the shop with each of `edits` made.
fn edited(file: &str, edits: &[(&str, &str)]) -> String {
    edits.iter().fold(text_of(file), |text, (from, to)| {
        assert!(text.contains(from), "{file} has no {from:?}");
        text.replace(from, to)
    })
}

/// Makes the secrets as the script does, in a folder of the test's own.
fn make_secrets(folder: &Path) {
    fs::copy(deployed("compose/secrets.sh"), folder.join("secrets.sh")).unwrap();
    content(Command::new("sh").arg(folder.join("secrets.sh")));
}

/// The engines' file, with the secrets of this folder, which are made.
pub(super) fn engine_file(folder: &Path) -> PathBuf {
    make_secrets(folder);
    let (file, secrets) = (folder.join("seckill.toml"), format!("{}/secrets/", folder.display()));
    fs::write(&file, edited("compose/seckill.toml", &[("/run/secrets/", &secrets)])).unwrap();
    file
}

#[test]
fn every_file_and_secret_that_the_compose_file_names_is_there() {
    let (compose, folder) = (compose(), tempfile::tempdir().unwrap());
    make_secrets(folder.path());
    let token = || fs::read_to_string(folder.path().join("secrets/admin-token")).unwrap();
    let first = token();
    make_secrets(folder.path());
    assert!(first.len() == 48 && token() == first, "secrets that are there stay");

    let secrets = compose["secrets"].as_object().unwrap();
    for (name, secret) in secrets {
        let file = folder.path().join(secret["file"].as_str().unwrap());
        assert!(file.exists(), "secrets.sh makes no {name}");
    }
    let services = compose["services"].as_object().unwrap();
    for wanted in ["engine", "engine2", "proxy", "postgres", "redis", "prometheus", "grafana"] {
        assert!(services.contains_key(wanted), "{wanted}");
    }
    for (name, service) in services {
        for secret in service["secrets"].as_array().into_iter().flatten() {
            assert!(secrets.contains_key(secret.as_str().unwrap()), "{name}: {secret}");
        }
        for volume in service["volumes"].as_array().into_iter().flatten() {
            let source = volume.as_str().unwrap().split(':').next().unwrap();
            let is_named = compose["volumes"].get(source).is_some();
            assert!(is_named || deployed("compose").join(source).exists(), "{name}: {source}");
        }
        // Nobody but this machine reaches what asks for no token, or for one that was just made.
        for port in service["ports"].as_array().into_iter().flatten() {
            assert!(port.as_str().unwrap().starts_with("127.0.0.1:"), "{name}: {port}");
        }
    }
}

#[test]
fn grafana_finds_its_dashboard_and_who_asks_others_asks_services() {
    let compose = compose();
    let services = &compose["services"];
    let grafana = &services["grafana"];
    let is_mounted = |from: &str, to: &str| {
        let wanted = format!("{from}:{to}:ro");
        grafana["volumes"].as_array().unwrap().iter().any(|volume| *volume == wanted)
    };
    let provided = documents("grafana/provisioning/dashboards/seckill.yml").remove(0);
    let folder = provided["providers"][0]["options"]["path"].as_str().unwrap();
    let file = format!("{folder}/seckill.json");
    assert!(
        is_mounted("../grafana/seckill.json", &file)
            && is_mounted("../grafana/provisioning", "/etc/grafana/provisioning")
    );
    assert_eq!(grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"], file);

    // The dashboard names no source of figures: it takes the default of its kind.
    let source =
        documents("grafana/provisioning/datasources/prometheus.yml").remove(0)["datasources"][0].take();
    assert_eq!(
        (&source["isDefault"], &source["type"]),
        (&true.into(), &dashboard()["templating"]["list"][0]["query"])
    );
    let (host, port) =
        source["url"].as_str().unwrap().strip_prefix("http://").unwrap().split_once(':').unwrap();
    let published = services[host]["ports"][0].as_str().expect("its port is published");
    assert!(published.ends_with(&format!(":{port}")), "{published}");

    let scraped = documents("prometheus/prometheus.yml").remove(0);
    let engines = scraped["scrape_configs"][0]["static_configs"][0]["targets"].as_array().unwrap();
    assert_eq!(engines.len(), 2);
    for engine in engines {
        let (host, port) = engine.as_str().unwrap().split_once(':').unwrap();
        assert_eq!(services[host]["image"], "seckill", "{host}");
        assert!(text_of("compose/seckill.toml").contains(&format!("[admin]\nlisten = \"0.0.0.0:{port}\"")));
    }
}

#[test]
fn the_shop_of_the_compose_file_sells_and_is_watched() {
    let folder = tempfile::tempdir().unwrap();
    make_secrets(folder.path());
    let secrets = format!("{}/secrets/", folder.path().display());
    let secret = |name: &str| fs::read_to_string(format!("{secrets}{name}")).unwrap();
    let (postgres, redis) = (Postgres::start(""), RedisServer::start());
    fs::write(format!("{secrets}postgres-url"), postgres.new_database()).unwrap();

    let redis_url = format!("redis://{}", redis.address());
    let settings = edited(
        "compose/seckill.toml",
        &[
            ("/run/secrets/", &secrets),
            ("redis://redis:6379", &redis_url),
            ("lame_duck_ms = 3_000", "lame_duck_ms = 0"),
        ],
    );
    let file = folder.path().join("seckill.toml");
    fs::write(&file, settings).unwrap();
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    let engines = ["1", "2"].map(|number| {
        let mut command = Command::new(binary());
        command.envs(PATIENT).env("SECKILL_CONFIG", &file).env("SECKILL__NODE__ID", number);
        let data = folder.path().join(number);
        fs::create_dir(&data).unwrap();
        EngineProcess::start(command, &data, any, any)
    });

    let (address, nginx_folder) = (free_address(), tempfile::tempdir().unwrap());
    let temporary = "client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;";
    let config = edited(
        "compose/nginx.conf",
        &[
            // Where distributions keep what is too large for memory, only they may write.
            ("http {\n", &format!("http {{\n{temporary}\n")),
            ("pid /tmp/nginx.pid;", if is_root() { "pid pid; user root;" } else { "pid pid;" }),
            ("/run/secrets/", &secrets),
            ("listen 8080;", &format!("listen {address};")),
            ("server engine:8080 ", &format!("server {} ", engines[0].edge())),
            ("server engine2:8080 ", &format!("server {} ", engines[1].edge())),
        ],
    );
    let _nginx = Nginx::start(nginx_folder, &config, address);

    let bearer = format!("Authorization: Bearer {}\r\n", secret("admin-token"));
    let sale = r#"{"campaign":"autumn","sku":"watch","title":"Watch","price_cents":19900,"stock":1000,"per_buyer_limit":2}"#;
    let made = request(engines[0].admin(), "POST", "/api/v1/campaigns", &bearer, sale);
    assert_eq!(made.status, 201, "{}", made.body);
    let buy = |at: SocketAddr, buyer: &str| {
        request(at, "POST", "/seckill/autumn/watch", &format!("X-User-ID: {buyer}\r\n"), "")
    };
    assert_eq!(buy(engines[0].edge(), "ada").status, 403, "who is not the proxy is refused");
    // The second engine hears of the sale a moment later, and has units a moment after that.
    for (number, engine) in engines.iter().enumerate() {
        let own = format!("X-User-ID: first-{number}\r\nX-Origin-Secret: {}\r\n", secret("origin-secret"));
        until("each engine sells", || {
            request(engine.edge(), "POST", "/seckill/autumn/watch", &own, "").status == 201
        });
    }
    for buyer in 0..20 {
        until("a buyer has one by way of nginx", || buy(address, &format!("buyer-{buyer}")).status == 201);
    }
    assert_eq!(request(address, "GET", "/metrics", "", "").status, 404, "nginx passes what buyers need");
    for page in ["/problems/sold-out", "/openapi.json"] {
        assert_eq!(
            request(address, "GET", page, "", "").status,
            200,
            "the type of a problem leads to {page}"
        );
    }

    let targets = engines.each_ref().map(|engine| format!("\"{}\"", engine.admin())).join(", ");
    let config = edited(
        "prometheus/prometheus.yml",
        &[
            ("\"engine:9090\", \"engine2:9090\"", &targets),
            ("/run/secrets/", &secrets),
            ("interval: 10s", "interval: 1s"),
        ],
    );
    let rules = text_of("prometheus/seckill.rules.yml");
    let prometheus = Prometheus::start(&config, &[("seckill.rules.yml", &rules)]);
    until("both engines are watched", || prometheus.value("sum(up{job=\"seckill\"})") == Some(2.0));
    let won = "sum(seckill_sale_requests_total{campaign=\"autumn\",outcome=\"won\"})";
    until("Prometheus has every order", || prometheus.value(won).is_some_and(|won| won >= 22.0));
    let held = "max(seckill_sale_held_units{campaign=\"autumn\"})";
    until("and the units that are held", || prometheus.value(held) == Some(22.0));
}
