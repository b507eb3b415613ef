//! What black-box tests share: the real engine as a process, a lean HTTP client, a crowd of buyers and what they are
//! promised.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod calendar;
pub mod client;
pub mod crowd;
pub mod engine;
pub mod promises;
