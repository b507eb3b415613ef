//! HTTP conformance of both front ends, over raw sockets: what is sent is spelled out byte by byte, and what was
//! executed is counted exactly.

mod addresses;
mod answers;
mod caches;
mod callers;
mod contract;
mod framing;
mod fuzzed;
mod h2_client;
mod h2_floods;
mod h2_frames;
mod h2_life;
mod h2_malformed;
mod life;
mod limits;
mod own_orders;
mod proxies;
mod read_anything;
mod server;
mod tls;
mod tls_burst;
mod tls_identities;
mod tokens;
mod winners;
