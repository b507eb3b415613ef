//! What tests and the project's commands stand on: real servers, engines as processes, buyers, and what they are promised.
//!
//! Everything listens on the loopback interface, on free ports, keeps its data in a temporary folder, and ends with its
//! value. What cannot be started is a panic: nobody here could go on without it.

pub mod calendar;
pub mod certificates;
pub mod client;
pub mod crowd;
#[cfg(feature = "described")]
pub mod described;
#[cfg(feature = "described")]
pub mod engine;
pub mod install;
pub mod memory;
pub mod older_store;
pub mod open_files;
pub mod operator;
pub mod pages;
#[cfg(feature = "described")]
pub mod pauses;
pub mod processor;
pub mod promises;
pub mod receiver;
pub mod search;
pub mod servers;
pub mod snapshot;
pub mod watched;

use std::str::FromStr;
use std::time::{Duration, Instant};

/// Longer than anything takes that does not hang, however busy the machine is. The one limit of all tests: none of them
/// says how fast something is.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// From one look to the next.
const LOOK_PAUSE: Duration = Duration::from_millis(10);

/// What an environment variable asks for: by such a one a command of the project has a test do more. `None` when it is not
/// set.
///
/// # Panics
/// It is set to something else.
pub fn asked<T: FromStr>(variable: &str) -> Option<T> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} cannot be {text:?}")))
}

/// Waits until `holds`; how long that took.
///
/// # Panics
/// It never does.
#[track_caller]
pub fn until(what: &str, mut holds: impl FnMut() -> bool) -> Duration {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(LOOK_PAUSE);
    }
    began.elapsed()
}
