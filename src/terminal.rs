//! What a person at a terminal reads. Nobody may be there, and whoever is may not read: neither ends the process in
//! another way than it would have ended, nor holds it up.

use std::io::{self, ErrorKind, Write};
use std::sync::mpsc;
use std::time::Duration;

/// How long a last word waits for somebody to take it.
const LAST_WORD_MAX: Duration = Duration::from_secs(1);

/// Prints what was asked for on standard output, at the pace of the reader. One that has read enough is no error.
///
/// # Errors
/// It cannot be written, such as on a full disk.
pub fn print(text: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Says something on standard output, whether or not anybody reads it.
pub fn say(text: String) {
    // Its thread waits for a reader, if need be for ever.
    drop(spoken(io::stdout(), text));
}

/// Says the last word on standard error, and waits a moment for it to be read.
pub fn complain(text: String) {
    if let Some(done) = spoken(io::stderr(), text) {
        let _ = done.recv_timeout(LAST_WORD_MAX);
    }
}

fn spoken(mut output: impl Write + Send + 'static, text: String) -> Option<mpsc::Receiver<()>> {
    let (said, done) = mpsc::channel();
    let thread = std::thread::Builder::new().name("terminal".into()).spawn(move || {
        // A closed output or a full disk: there is nobody left to tell.
        let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
        let _ = said.send(());
    });
    thread.is_ok().then_some(done)
}
