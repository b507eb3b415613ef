//! The load itself: when visitors are due, what they do, and the workers that do it over sockets.

pub mod answer_log;
mod connection;
mod crowd;
pub mod dice;
mod http2;
pub mod journey;
mod link;
pub mod plan;
pub mod recorder;
mod room;
pub mod schedule;
mod stream;
#[cfg(test)]
mod tls_server;
mod usage;
mod visits;
mod wake_timer;
pub mod worker;
pub mod workers;
