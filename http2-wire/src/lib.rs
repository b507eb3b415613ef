//! HTTP/2 as bytes (RFC 9113, RFC 7541): frames, and what header blocks are made of. What is allowed when, and what a
//! field means, is for those who use it: the engine's edge, which answers, and the load tester, which asks.

pub mod block;
pub mod fields;
pub mod frame;
pub mod huffman;
pub mod write;
