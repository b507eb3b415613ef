//! The memory of a process, as Linux tells it.

use std::fs;
use std::io;

/// What a process has in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Bytes that are its own: heap, stacks.
    pub anonymous_bytes: u64,
    /// Bytes of everything, files that are mapped among it.
    pub resident_bytes: u64,
}

impl Memory {
    /// Looks at process `pid`.
    ///
    /// # Errors
    /// There is no such process.
    pub fn of(pid: u32) -> io::Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
            kib.map(|kib| kib * 1_024)
                .ok_or_else(|| io::Error::other(format!("process {pid} tells no {name}")))
        };
        Ok(Self { anonymous_bytes: bytes("RssAnon:")?, resident_bytes: bytes("VmRSS:")? })
    }

    /// Bytes of files that are mapped: the program's own among them, and what processes share. The system takes them back when it
    /// needs room, and reads them again.
    pub fn mapped_bytes(&self) -> u64 {
        self.resident_bytes.saturating_sub(self.anonymous_bytes)
    }
}
