//! What `proto/seckill/v1/seckill.proto` says, in Rust. Made by `proto/generate`.

#![allow(missing_docs, clippy::all, rustdoc::all)]

include!("../../proto/generated/seckill.v1.rs");

/// The same as other programs read it: a set of file descriptors.
pub const DESCRIPTORS: &[u8] = include_bytes!("../../proto/generated/seckill.v1.bin");
