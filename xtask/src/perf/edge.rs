//! What an answer costs at the edge, protocol by protocol, beside servers that do nothing but answer.

use std::fs;
use std::path::PathBuf;

use testbed::certificates::{Authority, Files};
use testbed::install;

use super::comparison::{Column, Comparison, Contender};
use super::server::{FrontEnd, Server};
use super::{CPU, Options, P99, PLENTY, RATE, WORK_FOLDER};
use crate::Failure;

/// Streams of a connection that are measured, and connections beside them: as many requests under way, where that is
/// possible.
const STREAMS: [(&str, &str); 4] = [("1", "64"), ("8", "16"), ("32", "8"), ("100", "4")];

/// Refusals over each protocol, then durable wins.
///
/// # Errors
/// A contender does not start, or failed.
pub fn run(options: &Options) -> Result<String, Failure> {
    install::install_missing(&install::FOR_EDGE)?;
    let secured = Secured::new();
    Ok(refusals(options, &secured)? + &wins(options, &secured)?)
}

/// What an engine needs that speaks TLS, and a client that believes it.
pub struct Secured {
    _files: Files,
    cacert: String,
    certificate: String,
    key: String,
}

impl Secured {
    /// Made for one run.
    pub fn new() -> Self {
        let (files, authority) = (Files::default(), Authority::new("perf"));
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let cacert = text(files.write("ca.pem", authority.pem()));
        let (certificate, key) = files.write_pair("edge", &authority.sign("localhost"));
        Self { _files: files, cacert, certificate: text(certificate), key: text(key) }
    }

    /// The engine's keys.
    pub fn keys(&self) -> [(&str, &str); 2] {
        [("EDGE__TLS__CERT_FILE", &self.certificate), ("EDGE__TLS__KEY_FILE", &self.key)]
    }

    /// The file of the authority.
    pub fn cacert(&self) -> &str {
        &self.cacert
    }
}

fn refusals(options: &Options, secured: &Secured) -> Result<String, Failure> {
    let plain = Server::engine("edge", FrontEnd::Hyper, 0)?;
    let secure = Server::engine_with("edge-tls", FrontEnd::Hyper, 0, &secured.keys())?;
    let reply = format!("{WORK_FOLDER}/edge.http");
    plain.client(&["--capture", &reply])?;
    let captured = fs::read_to_string(&reply)?;
    let body = captured.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let floor = Server::floor(&reply)?;
    let (hyper, h2) = (Server::bare(&reply, false)?, Server::bare(&reply, true)?);
    let nginx = Server::fixed("nginx", "perf/peers/nginx/fixed.conf", body)?;
    let h2o = Server::fixed("h2o", "perf/peers/h2o/h2o.conf", body)?;
    let ten = ["--requests-a-connection", "10"];
    let secured = ["--cacert", secured.cacert()];
    let with_streams =
        |name: String, server: &Server, (streams, connections): (&str, &str), more: &[&str]| {
            let many = ["--streams", streams, "--connections", connections];
            Contender::edge_client(&name, server, options).with(&many).with(more)
        };
    let mut contenders = vec![
        Contender::client("raw epoll, fixed reply, HTTP/1.1 (the floor)", &floor, options),
        Contender::client("hyper alone, HTTP/1.1", &hyper, options),
        Contender::client("nginx, fixed reply, HTTP/1.1", &nginx, options),
        Contender::client("h2o, a small file, HTTP/1.1", &h2o, options).with(&["--method", "GET"]),
        Contender::client("engine, HTTP/1.1", &plain, options),
        with_streams("h2 alone, 32 streams".into(), &h2, STREAMS[2], &[]),
    ];
    for (streams, connections) in STREAMS {
        let name = format!("engine, HTTP/2, {streams} stream(s)");
        contenders.push(with_streams(name, &plain, (streams, connections), &[]));
    }
    contenders.extend([
        Contender::edge_client("engine, HTTP/1.1, TLS", &secure, options).with(&secured),
        with_streams("engine, HTTP/2, 32 streams, TLS".into(), &secure, STREAMS[2], &secured),
        Contender::client("engine, HTTP/1.1, 10 requests a connection", &plain, options).with(&ten),
        Contender::edge_client("engine, HTTP/1.1, TLS, 10 requests a connection", &secure, options)
            .with(&secured)
            .with(&ten),
    ]);
    Comparison {
        title: "The edge: a sold-out POST, protocol by protocol",
        columns: vec![CPU, RATE, P99],
        ratio: Some((CPU.figure, "CPU against the floor")),
        contenders,
    }
    .run(options.rounds)
    .map(|outcome| outcome.table())
}

fn wins(options: &Options, secured: &Secured) -> Result<String, Failure> {
    let plain = Server::engine("edge-wins", FrontEnd::Hyper, PLENTY)?;
    let secure = Server::engine_with("edge-wins-tls", FrontEnd::Hyper, PLENTY, &secured.keys())?;
    let many = ["--streams", "32", "--connections", "32"];
    Comparison {
        title: "The edge: durable wins on one SKU, 1,024 requests under way",
        columns: vec![Column { figure: "client.rate_201", heading: "durable wins/s", decimals: 0 }, CPU, P99],
        ratio: Some((CPU.figure, "CPU against HTTP/1.1")),
        contenders: vec![
            Contender::client("HTTP/1.1, 1,024 connections", &plain, options)
                .with(&["--connections", "1024"]),
            Contender::edge_client("HTTP/2, 32 connections with 32 streams", &plain, options).with(&many),
            Contender::edge_client("the same under TLS", &secure, options)
                .with(&many)
                .with(&["--cacert", secured.cacert()]),
        ],
    }
    .run(options.rounds)
    .map(|outcome| outcome.table())
}
