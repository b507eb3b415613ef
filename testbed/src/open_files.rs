//! How many files and sockets this process may have open.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the limit to `wanted`, or as far as it goes; answers with what it is then. Where both ends of a socket are in this
/// process, each counts.
pub fn allow_open_files(wanted: u64) -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(u64::MAX);
    if limit.current.is_some_and(|now| now < wanted.min(most)) {
        limit.current = Some(wanted.min(most));
        // Where that is refused, the limit stays as it is.
        let _ = setrlimit(Resource::Nofile, limit);
    }
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Files and sockets that process `pid` has open.
///
/// # Panics
/// There is no such process.
pub fn open_files_of(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).expect("a process of ours").count()
}
