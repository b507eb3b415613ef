//! The workers of this process: one thread each.

use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;

use super::plan::Plan;
use super::worker::{self, Report};

/// Threads that send their shares of the load, from [`Starter::start`] on.
#[derive(Debug)]
pub struct Workers(Vec<JoinHandle<()>>);

/// Says when the load begins. Workers whose starter is dropped before it did end without a request.
#[derive(Debug)]
pub struct Starter(Vec<Sender<u64>>);

impl Workers {
    /// Starts those of these numbers, which open their connections and tell `reports` that they are ready.
    ///
    /// # Errors
    /// The system has no thread for one.
    pub fn spawn(
        plan: &Arc<Plan>,
        numbers: Range<usize>,
        reports: &Sender<Report>,
    ) -> Result<(Self, Starter), String> {
        let (mut threads, mut starts) = (Vec::new(), Vec::new());
        for number in numbers {
            let (start, started) = channel();
            let (plan, reports) = (Arc::clone(plan), reports.clone());
            let thread = std::thread::Builder::new()
                .name(format!("load-{number}"))
                .spawn(move || worker::run(plan, number, reports, started))
                .map_err(|error| format!("no thread for a worker: {error}"))?;
            threads.push(thread);
            starts.push(start);
        }
        Ok((Self(threads), Starter(starts)))
    }

    /// Waits for their ends.
    ///
    /// # Errors
    /// One has broken down.
    pub fn join(self) -> Result<(), String> {
        self.0
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| "a worker has broken down".to_owned()))
    }
}

impl Starter {
    /// The load begins at this time of the run's clock.
    ///
    /// # Errors
    /// A worker has ended already.
    pub fn start(&self, at_ns: u64) -> Result<(), String> {
        let told = |start: &Sender<u64>| start.send(at_ns);
        self.0.iter().try_for_each(told).map_err(|_| "a worker ended before the start".to_owned())
    }
}
