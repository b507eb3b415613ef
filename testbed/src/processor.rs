//! The processor time of a process, as Linux tells it.

use std::time::Duration;

/// From one tick of `/proc/PID/stat` to the next, on every Linux that this runs on.
const TICK: Duration = Duration::from_millis(10);

/// Processor time that process `pid` has used since its start, its own and the system's for it, in whole ticks of 10 ms.
///
/// # Panics
/// There is no such process.
pub fn used(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    // Its name may have blanks; the fields behind it have none.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u32 = fields[11..13].iter().map(|field| field.parse::<u32>().expect("a number")).sum();
    TICK * ticks
}
