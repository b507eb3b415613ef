//! HTTP conformance of both front ends, over raw sockets: what is sent is spelled out byte by byte, and what was
//! executed is counted exactly.

mod addresses;
mod answers;
mod caches;
mod callers;
mod contract;
mod framing;
mod fuzzed;
mod life;
mod limits;
mod read_anything;
mod server;
mod tokens;
mod winners;
