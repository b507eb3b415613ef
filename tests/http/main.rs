//! HTTP conformance of both front ends, over raw sockets: what is sent is spelled out byte by byte, and what was
//! executed is counted exactly.

mod client;
mod contract;
mod engine;
mod framing;
mod fuzzed;
mod life;
mod limits;
mod server;
