//! What the operating system says about this process. Linux only; elsewhere there is nothing to tell.

use super::exposition::{Exposition, Kind};
use super::logs::dropped_log_lines;

/// Resources that the process uses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProcessUsage {
    /// CPU time of all threads, user and system, in seconds.
    pub cpu_s: f64,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
    /// Threads.
    pub threads: u64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// Open file descriptors that it may have; `None` without a limit.
    pub max_fds: Option<u64>,
}

impl ProcessUsage {
    /// Reads the usage now; `None` where there is no `/proc`.
    pub fn read() -> Option<Self> {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        let open_fds = std::fs::read_dir("/proc/self/fd").ok()?.count() as u64;
        let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
        Some(Self {
            max_fds: status_field(&limits, "Max open files"),
            cpu_s: cpu_s(&stat)?,
            resident_bytes: status_field(&status, "VmRSS:")? * 1024,
            threads: status_field(&status, "Threads:")?,
            open_fds,
        })
    }
}

fn status_field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

fn cpu_s(stat: &str) -> Option<f64> {
    /// The unit of `/proc/self/stat`: the kernel reports clock ticks of 1/100 s on every architecture.
    const TICKS_PER_SECOND: f64 = 100.0;
    // The second field is the program's name in parentheses and may contain anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((user + system) / TICKS_PER_SECOND)
}

impl Exposition {
    /// The process, under the names that Prometheus clients use.
    pub fn process(&mut self) {
        let dropped = "seckill_log_lines_dropped_total";
        self.family(dropped, Kind::Counter, "Log lines that standard error did not take in time.");
        self.sample(dropped, &[], dropped_log_lines() as f64);
        let Some(usage) = ProcessUsage::read() else { return };
        let rows = [
            ("process_cpu_seconds_total", Kind::Counter, "CPU time, user and system.", usage.cpu_s),
            ("process_resident_memory_bytes", Kind::Gauge, "Resident memory.", usage.resident_bytes as f64),
            ("process_threads", Kind::Gauge, "Threads.", usage.threads as f64),
            ("process_open_fds", Kind::Gauge, "Open file descriptors.", usage.open_fds as f64),
        ];
        let max_fds = usage.max_fds.map(|max| {
            ("process_max_fds", Kind::Gauge, "Open file descriptors that it may have.", max as f64)
        });
        for (name, kind, help, value) in rows.into_iter().chain(max_fds) {
            self.family(name, kind, help);
            self.sample(name, &[], value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) b) R 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20";
        assert_eq!(cpu_s(stat), Some(3.0));
        assert_eq!(cpu_s("garbage"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_uses_something() {
        let usage = ProcessUsage::read().unwrap();
        assert!(usage.resident_bytes > 1 << 20 && usage.threads >= 1 && usage.open_fds >= 3, "{usage:?}");
        assert!(usage.max_fds.is_none_or(|max| max >= usage.open_fds), "{usage:?}");
    }
}
