//! What the kernel says about a process: processor time and memory, from `/proc`.

use std::fs;
use std::io;

/// The kernel's unit of time in `/proc/PID/stat` on every Linux that this runs on.
const TICKS_A_SECOND: f64 = 100.0;
const PAGE_BYTES: u64 = 4096;

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "/proc does not look like Linux's")
}

/// Seconds of processor time that process `pid` has used, in user and kernel mode, threads that ended included.
///
/// # Errors
/// There is no such process.
pub fn cpu_seconds(pid: u32) -> io::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold blanks; the fields after it do not.
    let fields = stat.rsplit_once(')').ok_or_else(malformed)?.1;
    let ticks = |field: usize| {
        fields.split_whitespace().nth(field).and_then(|text| text.parse::<f64>().ok()).ok_or_else(malformed)
    };
    Ok((ticks(11)? + ticks(12)?) / TICKS_A_SECOND)
}

/// Bytes of memory that process `pid` has in use (resident set).
///
/// # Errors
/// There is no such process.
pub fn resident_bytes(pid: u32) -> io::Result<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm"))?;
    let pages: u64 =
        statm.split_whitespace().nth(1).and_then(|text| text.parse().ok()).ok_or_else(malformed)?;
    Ok(pages * PAGE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_memory_and_time() {
        let pid = std::process::id();
        assert!(resident_bytes(pid).unwrap() > PAGE_BYTES);
        assert!(cpu_seconds(pid).unwrap() >= 0.0);
        assert!(cpu_seconds(u32::MAX).is_err());
    }
}
