//! The asking side of HTTP/2 (RFC 9113, RFC 7541), made for a load of small requests: what a request says is written where
//! it is sent from, and of an answer nothing is kept that nobody looks at.
//!
//! [`Client`] knows the rules: requests in, frames out, answers to the lane that asked. It has no socket and no clock.

mod client;
mod decode;
mod encode;
mod streams;

pub use client::{Client, Hear, NoAnswer};
pub use encode::{Asked, Common};
