//! Output to readers that may go away: `| head` ends a command's output, and is no reason for it to fail.

use std::fmt::Display;
use std::io::{self, ErrorKind, Write};

/// Writes to standard output. What nobody reads any more is left out.
pub fn print(text: &str) {
    let mut out = io::stdout().lock();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush())
        && error.kind() != ErrorKind::BrokenPipe
    {
        note(format_args!("standard output: {error}"));
    }
}

/// Writes a line to standard error, if anybody reads it.
pub fn note(text: impl Display) {
    let _ = writeln!(io::stderr().lock(), "loadtest: {text}");
}
