//! A collector of traces: takes spans by OTLP over HTTP and reads them with the protocol's own types, as any backend would.

use std::future::pending;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use parking_lot::Mutex;
use prost::Message;
use tokio::runtime::{Builder, Runtime};

/// How it answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    /// Takes everything.
    #[default]
    Takes,
    /// Never.
    Hangs,
}

#[derive(Default)]
struct Desk {
    spans: Mutex<Vec<Span>>,
    services: Mutex<Vec<String>>,
    mood: Mutex<Mood>,
}

pub struct Collector {
    desk: Arc<Desk>,
    address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Collector {
    /// What each request has to have in its header.
    pub const HEADER: &'static str = "x-team: the-shop-and-nobody-else";

    pub fn start(mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let desk = Arc::new(Desk { mood: Mutex::new(mood), ..Desk::default() });
        let routes = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&desk));
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.spawn(async move {
            axum::serve(tokio::net::TcpListener::from_std(listener).unwrap(), routes).await.unwrap();
        });
        Self { desk, address, runtime: Some(runtime) }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Span> {
        self.desk.spans.lock().clone()
    }

    /// The services that have told them.
    pub fn services(&self) -> Vec<String> {
        self.desk.services.lock().clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn take(State(desk): State<Arc<Desk>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let mood = *desk.mood.lock();
    if mood == Mood::Hangs {
        return pending().await;
    }
    let (name, value) = Collector::HEADER.split_once(": ").unwrap();
    assert_eq!(headers[name], value);
    assert_eq!(headers["content-type"], "application/x-protobuf");
    let told = ExportTraceServiceRequest::decode(body).expect("OTLP");
    for told in told.resource_spans {
        let resource = told.resource.unwrap();
        desk.services.lock().extend(text(&resource.attributes, "service.name"));
        desk.spans.lock().extend(told.scope_spans.into_iter().flat_map(|scope| scope.spans));
    }
    StatusCode::OK
}

/// What an attribute says, as a text.
pub fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let attribute = attributes.iter().find(|attribute| attribute.key == key)?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        _ => None,
    }
}
