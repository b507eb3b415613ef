//! What all connections of a thread share that speak HTTP/2.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use super::super::settings::EdgeSettings;
use super::answer::Openings;
use super::machine::Limits;

/// Bytes that are read at once: several frames of the largest size, or some hundred requests.
const READ_BYTES: usize = 64 * 1024;

/// What one connection may cost, and memory that whoever is looked at has.
pub struct Shared {
    pub limits: Rc<Limits>,
    pub keep_alive: bool,
    pub unread_max: Duration,
    pub openings: Openings,
    /// To read into and to write from: a silent connection has neither.
    input: Cell<Vec<u8>>,
    output: Cell<Vec<u8>>,
}

impl Shared {
    /// As the settings say.
    pub fn new(settings: &EdgeSettings) -> Self {
        Self {
            limits: Rc::new(Limits {
                http2: settings.http2.clone(),
                headers_max: settings.headers_max,
                body_bytes_max: settings.body_bytes_max,
            }),
            keep_alive: settings.keep_alive,
            unread_max: Duration::from_millis(settings.idle_timeout_ms),
            openings: Openings::new(),
            input: Cell::default(),
            output: Cell::default(),
        }
    }

    /// Memory to read into.
    pub fn take_input(&self) -> Vec<u8> {
        let input = self.input.take();
        if input.is_empty() { vec![0; READ_BYTES] } else { input }
    }

    /// Has the next connection read into it.
    pub fn give_input(&self, input: Vec<u8>) {
        self.input.set(input);
    }

    /// Memory to write to, if nothing is left in what the connection has.
    pub fn lend_output(&self, output: &mut Vec<u8>) {
        if output.is_empty() {
            *output = self.output.take();
        }
    }

    /// Takes it back, if everything in it was written.
    pub fn take_back_output(&self, output: &mut Vec<u8>) {
        if output.is_empty() {
            let lent = std::mem::take(output);
            let kept = self.output.take();
            self.output.set(if kept.capacity() > lent.capacity() { kept } else { lent });
        }
    }
}
