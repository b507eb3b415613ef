//! Connections to the gRPC plane that say nothing.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use testbed::PATIENCE;
use testbed::engine::Launch;
use testbed::servers::process;

use super::grpc_call::{OK, buy};

/// A connection that begins like this, and says no more.
fn silent(address: SocketAddr, begun: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(begun).unwrap();
    socket
}

#[test]
fn who_says_nothing_keeps_no_place() {
    let address = process::free_address();
    let listen = address.to_string();
    let launch = Launch::new(&[
        ("GRPC__LISTEN", &listen),
        ("GRPC__CONNECTIONS_MAX", "2"),
        ("GRPC__TLS__HANDSHAKE_MS_MAX", "5000"),
    ]);
    let engine = launch.start();
    engine.sale("phone", 5, "");
    let all_places = [silent(address, b""), silent(address, b"PRI * HTTP/2")];
    for mut socket in all_places {
        // What was sent too late to be read resets it.
        let ended = socket.read_to_end(&mut Vec::new());
        assert!(!ended.is_err_and(|error| error.kind() == ErrorKind::WouldBlock), "it is not closed");
    }
    assert_eq!(buy(address, "ann", "1H").0, OK);
}

#[test]
fn who_says_nothing_does_not_hold_up_the_stop() {
    let address = process::free_address();
    let listen = address.to_string();
    let launch = Launch::new(&[
        ("GRPC__LISTEN", &listen),
        ("GRPC__TLS__HANDSHAKE_MS_MAX", "600000"),
        ("GRPC__DRAIN_MS", "600000"),
        ("STOP_MS_MAX", "3600000"),
    ]);
    let engine = launch.start();
    engine.sale("phone", 5, "");
    let socket = silent(address, b"PRI * HTTP/2");
    // Who came later was served: the silent one is known to the engine.
    assert_eq!(buy(address, "ann", "1H").0, OK);
    let (status, _) = engine.terminate();
    assert!(status.success());
    drop(socket);
}
