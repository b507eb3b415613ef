//! A front end over an application that only remembers what it was asked to execute.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderValue, StatusCode};
use seckill::clock::Clock;
use seckill::edge::{Application, Edge, EdgeSettings, Field, FrontEnd, Reply, Request};
use seckill::supervisor::Supervisor;
use seckill::telemetry::{Outcome, Telemetry};
use seckill::tls::Certificates;
use tokio::runtime::Runtime;
use tokio::sync::Notify;

/// Both front ends, for tests that hold for either.
pub const BOTH: [FrontEnd; 2] = [FrontEnd::Hyper, FrontEnd::May];

/// What `/cookies` has a browser keep.
pub const COOKIES: [&str; 2] = ["a=1; Path=/; HttpOnly", "b=2; Path=/; HttpOnly"];

/// Remembers what was executed.
#[derive(Default)]
pub struct Recorder {
    executed: Mutex<Vec<String>>,
    /// `/held` is answered when this is notified.
    pub release: Notify,
    /// Notified when `/held` is being executed.
    pub held: Notify,
}

impl Recorder {
    /// What was executed since the last look: method, path and body.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.executed.lock().unwrap())
    }
}

impl Application for Recorder {
    fn answer(&self, request: &Request<'_>) -> impl Future<Output = Reply> {
        let body = String::from_utf8_lossy(request.body);
        let line = format!("{} {} {}", request.method, request.path, body);
        self.executed.lock().unwrap().push(line.trim_end().to_owned());
        let (held, cookies) = (request.path == "/held", request.path == "/cookies");
        async move {
            if held {
                self.held.notify_one();
                self.release.notified().await;
            }
            // Waiting must work on both front ends.
            tokio::time::sleep(Duration::from_micros(1)).await;
            let mut reply = Reply::json(StatusCode::OK, Outcome::Served, b"{}".to_vec());
            for cookie in COOKIES.iter().filter(|_| cookies) {
                reply = reply.with(Field::SetCookie(Box::new(HeaderValue::from_static(cookie))));
            }
            reply
        }
    }
}

/// A running front end.
pub struct Server {
    pub addr: SocketAddr,
    pub recorder: Arc<Recorder>,
    pub certificates: Arc<Certificates>,
    edge: Edge,
    control: Runtime,
}

impl Server {
    /// With settings that are the defaults but for what `change` does to them.
    pub fn start(front_end: FrontEnd, change: impl FnOnce(&mut EdgeSettings)) -> Self {
        let mut settings = EdgeSettings {
            listen: "127.0.0.1:0".parse().unwrap(),
            front_end,
            threads: 2,
            ..EdgeSettings::default()
        };
        change(&mut settings);
        let control =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let recorder = Arc::new(Recorder::default());
        let telemetry = Arc::new(Telemetry::new(2));
        let (supervisor, _) = Supervisor::new(control.handle().clone());
        let certificates = settings.certificates().unwrap();
        let edge = Edge::start(
            &settings,
            Clock::start(),
            telemetry,
            Arc::clone(&recorder),
            Arc::clone(&certificates),
            &supervisor,
        );
        let edge = edge.unwrap();
        Self { addr: edge.addr(), recorder, certificates, edge, control }
    }

    /// Has it send its clients elsewhere.
    pub fn leave(&self) {
        self.edge.leave();
    }

    /// Drains; how many connections were cut.
    pub fn drain(self) -> usize {
        let cut = self.control.block_on(self.edge.drain(std::future::pending()));
        self.control.shutdown_background();
        cut
    }
}
