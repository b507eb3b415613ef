//! The engine's side of the proxies' recipes: without flags, and with nothing changed but where its secrets are.

use testbed::certificates::{Authority, Files};
use testbed::servers::recipe::filled_in;

use super::{in_force, text_of};

#[test]
fn an_engine_takes_its_side_of_the_recipes_and_is_found_by_haproxy() {
    let files = Files::default();
    let (certificate, _) = files.write_pair("edge", &Authority::new("edge").sign("edge.internal"));
    files.write("proxy-ca.pem", Authority::new("proxies").pem());
    for secret in ["origin-secret", "admin-token", "jwt-key"] {
        files.write(secret, &format!("{secret}-of-more-than-thirty-two-letters"));
    }
    let folder = certificate.parent().unwrap().display();
    let text = filled_in("seckill.toml", &[("/etc/seckill/", &format!("{folder}/"))]);
    let settings = in_force(&files.write("seckill.toml", &text), &[]);

    let haproxy = text_of("proxy/haproxy.cfg");
    let (_, port) =
        haproxy.split_once(" check port ").expect("where engines are asked whether they are ready");
    let port = port.split_whitespace().next().unwrap();
    assert_eq!(settings["admin.listen"].0, format!("\"0.0.0.0:{port}\""), "other machines ask there");
    for service in ["gateway", "risk"] {
        assert_eq!(settings[&format!("checkout.{service}.kind")].0, "\"http\"");
    }
}
