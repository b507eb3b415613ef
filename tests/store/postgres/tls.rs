//! Encrypted connections, and servers that are not who they should be.

use std::path::{Path, PathBuf};

use seckill::orders::postgres::PostgresSettings;
use seckill::orders::{Fault, StoreError};
use testbed::certificates::{Authority, Files};
use testbed::servers::postgres::Postgres;

use super::node::{Node, settings};

/// A server that takes encrypted connections only, and whose certificate is for its address and not for `localhost`.
struct Guarded {
    postgres: Postgres,
    url: String,
    ca_file: PathBuf,
    files: Files,
}

impl Guarded {
    fn start() -> Self {
        let (authority, files) = (Authority::new("authority"), Files::default());
        let (certificate, key) = authority.sign("127.0.0.1");
        let postgres = Postgres::start_with(
            "ssl = on",
            &[
                ("server.crt", &certificate),
                ("server.key", &key),
                ("pg_hba.conf", "hostssl all all all trust\n"),
            ],
        );
        let ca_file = files.write("ca.pem", authority.pem());
        let url = postgres.new_database();
        Self { postgres, url, ca_file, files }
    }

    fn open(&self, node: u16, url: &str, sslmode: &str, ca_file: &Path) -> Result<Node, StoreError> {
        let settings =
            PostgresSettings { ca_file: ca_file.into(), ..settings(&format!("{url}?sslmode={sslmode}")) };
        settings.check().unwrap();
        Node::open_with(node, &settings)
    }
}

#[test]
fn a_server_that_wants_encryption_gets_it_and_one_that_must_prove_itself_does() {
    let server = Guarded::start();
    let nobody = Path::new("");
    let refused = server.open(1, &server.url, "disable", nobody).err().expect("not in the clear");
    assert_eq!(refused.kind, Fault::Fatal, "{refused}");
    for (node, mode, ca_file) in
        [(1, "prefer", nobody), (2, "require", nobody), (3, "verify-full", &server.ca_file)]
    {
        let mut node = server.open(node, &server.url, mode, ca_file).unwrap();
        let sale = node.sale(mode, 10, 1);
        node.buy(sale, "ann", None).unwrap();
        assert_eq!(node.sold(sale), 1);
        let in_the_clear = "SELECT count(*) FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) \
                            WHERE application_name LIKE 'seckill%' AND NOT ssl";
        assert_eq!(server.postgres.query("postgres", in_the_clear), "0");
    }
}

#[test]
fn a_server_that_cannot_prove_who_it_is_is_not_trusted() {
    let server = Guarded::start();
    let told = |url: &str, ca_file: &Path| {
        let error = server.open(1, url, "verify-full", ca_file).err().expect("it is not who it should be");
        assert!(error.message.contains("certificate"), "{error}");
    };
    // Signed by somebody else: by one in a file, or by nobody whom the system trusts.
    let other = server.files.write("other.pem", Authority::new("other").pem());
    told(&server.url, &other);
    told(&server.url, Path::new(""));
    // Signed by the right one, for another name.
    told(&server.url.replace("127.0.0.1", "localhost"), &server.ca_file);
    let missing = server.open(1, &server.url, "verify-full", Path::new("/none/of/them")).err();
    assert!(missing.is_some_and(|it| it.kind == Fault::Fatal && it.message.contains("ca_file")));
}

#[test]
fn encryption_that_the_server_does_not_offer_is_missed_only_if_it_is_required() {
    let postgres = Postgres::shared();
    let url = postgres.new_database();
    drop(Node::open(1, &format!("{url}?sslmode=prefer")));
    assert!(Node::try_open(1, &format!("{url}?sslmode=require")).is_err());
}

#[test]
fn a_file_of_certificates_that_nobody_would_look_at_is_an_error() {
    let settings =
        PostgresSettings { ca_file: "ca.pem".into(), ..settings("postgres://db/shop?sslmode=require") };
    assert_eq!(settings.check().unwrap_err().field, "ca_file");
}
