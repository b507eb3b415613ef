//! What a thread has had of the processors: the measure of whether the client itself was short of them.

const SECOND_NS: u64 = 1_000_000_000;

/// Sums since the thread began.
#[derive(Debug, Default)]
pub struct Usage {
    /// When they were read.
    pub at_ns: u64,
    /// Time on a processor.
    pub cpu_ns: u64,
    /// Time runnable, but waiting for a processor.
    pub starved_ns: u64,
}

impl Usage {
    /// Reads the sums of the calling thread.
    pub fn read(at_ns: u64) -> Self {
        let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        let cpu_ns = cpu.tv_sec as u64 * SECOND_NS + cpu.tv_nsec as u64;
        // Second number of schedstat: nanoseconds runnable but not running. Elsewhere than on Linux: not known.
        let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        let starved_ns = schedstat.split_whitespace().nth(1).and_then(|text| text.parse().ok()).unwrap_or(0);
        Self { at_ns, cpu_ns, starved_ns }
    }
}
