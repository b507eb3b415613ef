//! A client that speaks HTTP/2 as browsers and CDNs do.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{Method, Request};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use testbed::PATIENCE;
use testbed::client::Answer;

/// A connection, and the runtime that drives it.
pub struct Http2 {
    runtime: Runtime,
    requests: SendRequest<Bytes>,
    scheme: &'static str,
    host: &'static str,
    driver: JoinHandle<Result<(), h2::Error>>,
}

impl Http2 {
    /// By prior knowledge.
    pub fn connect(addr: SocketAddr) -> Self {
        Self::over("http", async move { TcpStream::connect(addr).await.unwrap() })
    }

    /// Over what `connecting` brings.
    pub fn over<T>(scheme: &'static str, connecting: impl Future<Output = T>) -> Self
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (requests, driver) = runtime.block_on(async {
            let (requests, connection) = h2::client::handshake(connecting.await).await.unwrap();
            (requests, tokio::spawn(connection))
        });
        Self { runtime, requests, scheme, host: "localhost", driver }
    }

    /// The same, asking a server of this name.
    pub fn asking(self, host: &'static str) -> Self {
        Self { host, ..self }
    }

    /// Sends a request; its answer is to come.
    pub fn begin(&mut self, method: &str, path: &str, fields: &[(&str, &str)], body: &str) -> Pending {
        let mut request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(format!("{}://{}{path}", self.scheme, self.host));
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(()).unwrap();
        let body = Bytes::copy_from_slice(body.as_bytes());
        let requests = self.requests.clone();
        Pending(self.runtime.spawn(async move {
            let mut requests = requests.ready().await?;
            let (answer, mut stream) = requests.send_request(request, body.is_empty())?;
            if !body.is_empty() {
                // Who is refused for its length is answered before it has sent everything.
                let _ = stream.send_data(body, true);
            }
            let (head, mut read) = answer.await?.into_parts();
            let mut body = Vec::new();
            while let Some(data) = read.data().await {
                let data = data?;
                read.flow_control().release_capacity(data.len())?;
                body.extend_from_slice(&data);
            }
            let fields = head.headers.iter();
            let fields = fields.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
            Ok(Answer {
                status: head.status.as_u16(),
                fields: fields.collect(),
                body: String::from_utf8(body).unwrap(),
            })
        }))
    }

    /// The answer to what was begun; what the server did instead of answering.
    pub fn finish(&self, pending: Pending) -> Result<Answer, h2::Error> {
        let answered = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, pending.0).await });
        answered.expect("the server neither answers nor closes").unwrap()
    }

    /// One request and its answer.
    pub fn ask(&mut self, method: &str, path: &str, fields: &[(&str, &str)], body: &str) -> Answer {
        let pending = self.begin(method, path, fields, body);
        self.finish(pending).unwrap()
    }

    /// Waits until the connection is over: `Ok` when the server has ended it in order.
    pub fn wait_for_end(self) -> Result<(), h2::Error> {
        let Self { runtime, requests, driver, .. } = self;
        drop(requests);
        let ended = runtime.block_on(async { tokio::time::timeout(PATIENCE, driver).await });
        ended.expect("the server neither answers nor closes").unwrap()
    }

    /// Waits until the server has ended the connection, without the client having ended it.
    pub fn wait_for_server(&self) {
        let deadline = std::time::Instant::now() + PATIENCE;
        while !self.driver.is_finished() {
            assert!(std::time::Instant::now() < deadline, "the server does not close");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// A request that was sent.
pub struct Pending(JoinHandle<Result<Answer, h2::Error>>);
