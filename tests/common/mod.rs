//! What black-box tests share: the real engine as a process, and a lean HTTP client.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod client;
pub mod engine;
