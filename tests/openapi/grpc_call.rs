//! Calls by a client that goes on to wait when its own deadline is over, and keeps what it is told as it comes.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::RecvStream;
use h2::client::SendRequest;
use http::{HeaderMap, Request};
use testbed::PATIENCE;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// The numbers of codes.
pub const OK: &str = "0";
pub const INVALID_ARGUMENT: &str = "3";
pub const DEADLINE_EXCEEDED: &str = "4";
pub const UNAUTHENTICATED: &str = "16";

/// A call that was begun. Its connection ends with it.
pub struct Call {
    head: HeaderMap,
    answer: RecvStream,
    driver: JoinHandle<Result<(), h2::Error>>,
    /// Without it the client would say that it goes.
    _requests: SendRequest<Bytes>,
}

impl Call {
    /// Calls a method of the service with these fields beside those of every call.
    pub async fn begin(address: SocketAddr, method: &str, fields: &[(&str, &str)], message: &[u8]) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let (requests, connection) = h2::client::handshake(stream).await.unwrap();
        let driver = tokio::spawn(connection);
        let mut request = Request::post(format!("http://localhost/seckill.v1.Seckill/{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for &(name, value) in fields {
            request = request.header(name, value);
        }
        // Not compressed, with its length.
        let framed = [&[0, 0, 0, 0, message.len() as u8][..], message].concat();
        let mut requests = requests.ready().await.unwrap();
        let (answer, mut body) = requests.send_request(request.body(()).unwrap(), false).unwrap();
        body.send_data(Bytes::from(framed), true).unwrap();
        let (head, answer) = answer.await.unwrap().into_parts();
        Self { head: head.headers, answer, driver, _requests: requests }
    }

    /// More of its answer. `None`: that is all.
    pub async fn more(&mut self) -> Option<Bytes> {
        self.answer.data().await.transpose().unwrap()
    }

    /// The number of its code, and what has come before that.
    pub async fn end(mut self) -> (String, Vec<u8>) {
        let mut answer = Vec::new();
        while let Some(more) = self.more().await {
            answer.extend_from_slice(&more);
        }
        let trailers = self.answer.trailers().await.unwrap();
        self.driver.abort();
        let code = |fields: &HeaderMap| Some(fields.get("grpc-status")?.to_str().unwrap().to_owned());
        let code = code(&self.head).or_else(|| code(&trailers?)).expect("a status");
        (code, answer)
    }
}

/// A purchase of one unit of `test/phone` in this buyer's name, with this deadline: the number of its code, and the message.
#[tokio::main(flavor = "current_thread")]
pub async fn buy(address: SocketAddr, buyer: &str, timeout: &str) -> (String, Vec<u8>) {
    let bought = async {
        let fields = [("x-user-id", buyer), ("grpc-timeout", timeout)];
        // Fields 1 and 2 are texts. Field 4 is the key.
        let message = b"\x0a\x04test\x12\x05phone\x22\x01k";
        Call::begin(address, "Purchase", &fields, message).await.end().await
    };
    tokio::time::timeout(PATIENCE, bought).await.expect("an answer")
}
