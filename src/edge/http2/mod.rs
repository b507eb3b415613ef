//! HTTP/2 (RFC 9113, RFC 7541), made for this edge: small requests, answers that are there at once, many of both in
//! one read and one write.
//!
//! [`Machine`](machine::Machine) knows the rules: frames in, requests out, no socket and no clock. [`Http2`] reads,
//! has requests answered and writes. Nothing is allocated for a request that is answered at once.

mod answer;
mod body;
mod connection;
mod credit;
mod field;
mod hpack_decoder;
mod hpack_encoder;
mod hpack_table;
mod machine;
mod request_head;
mod sender;
mod server;
mod shared;
mod streams;
mod worker;

pub(super) use http2_wire::frame::PREFACE;
pub(super) use server::Http2;
