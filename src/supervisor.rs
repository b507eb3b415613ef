//! The long-lived tasks and threads of an engine. Each is watched: none of them ends in silence.
//!
//! Whoever starts something that shall live as long as the engine starts it here, under a name. When it ends without
//! having been told to (it returned, failed or panicked), [`Ends`] says so, and the engine ends with that reason: a loop
//! that is gone would leave units stranded with nobody to notice.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use crate::exit::{Exit, Failure};

/// What a part's work comes to: an error says why it cannot go on.
pub type PartResult = Result<(), String>;

/// How a part of the engine ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It has nothing more to do.
    Returned,
    /// It cannot go on.
    Failed(String),
    /// A fault of the program.
    Panicked(String),
    /// What it has read is not what is there any more: the engine has to start over.
    Outdated(String),
}

/// A part that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its name.
    pub part: Arc<str>,
    /// How it ended.
    pub cause: Cause,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = &self.part;
        match &self.cause {
            Cause::Returned => write!(f, "{part} ended although nobody told it to"),
            Cause::Failed(problem) => write!(f, "{part} failed: {problem}"),
            Cause::Panicked(message) => write!(f, "{part} panicked: {message}"),
            Cause::Outdated(why) => write!(f, "{part} is outdated: {why}"),
        }
    }
}

/// Why an engine stops that was not told to.
impl From<Ended> for Failure {
    fn from(ended: Ended) -> Self {
        let exit = match ended.cause {
            Cause::Failed(_) => Exit::Io,
            Cause::Returned | Cause::Panicked(_) => Exit::Broken,
            Cause::Outdated(_) => Exit::StartOver,
        };
        Self::new(exit, ended)
    }
}

/// Starts the parts of an engine; cheap to clone.
#[derive(Clone, Debug)]
pub struct Supervisor {
    control: Handle,
    ends: mpsc::UnboundedSender<Ended>,
}

/// Where the ends of parts are told.
#[derive(Debug)]
pub struct Ends {
    ended: mpsc::UnboundedReceiver<Ended>,
}

impl Ends {
    /// The next part that ends by itself; never, while all go on.
    pub async fn next(&mut self) -> Ended {
        match self.ended.recv().await {
            Some(ended) => ended,
            None => std::future::pending().await,
        }
    }
}

impl Supervisor {
    /// A supervisor whose tasks run on `control`, and where it tells of their ends.
    pub fn new(control: Handle) -> (Self, Ends) {
        let (ends, ended) = mpsc::unbounded_channel();
        (Self { control, ends }, Ends { ended })
    }

    /// The runtime that the tasks run on.
    pub fn control(&self) -> &Handle {
        &self.control
    }

    /// Starts a task.
    pub fn task(&self, part: &str, work: impl Future<Output = PartResult> + Send + 'static) -> Part {
        let task = self.control.spawn(work);
        let abort = task.abort_handle();
        let (report, over) = self.report(part);
        self.control.spawn(async move {
            match task.await {
                Ok(outcome) => report.ended(outcome.into()),
                Err(error) if error.is_panic() => report.ended(Cause::panicked(&*error.into_panic())),
                // Given up, or the whole runtime ends: nothing to tell.
                Err(_) => {}
            }
        });
        Part { over, abort: Some(abort) }
    }

    /// Starts a thread, which may block.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn thread(&self, part: &str, work: impl FnOnce() -> PartResult + Send + 'static) -> io::Result<Part> {
        let (report, over) = self.report(part);
        std::thread::Builder::new().name(part.into()).spawn(move || report.ended(cause_of(work)))?;
        Ok(Part { over, abort: None })
    }

    /// Starts a thread that works for another part and returns when that one is gone, which tells its end itself: here only
    /// that the work failed or panicked is told.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn helper(&self, part: &str, work: impl FnOnce() -> PartResult + Send + 'static) -> io::Result<()> {
        let (report, _) = self.report(part);
        let work = move || match cause_of(work) {
            Cause::Returned => {}
            cause => report.ended(cause),
        };
        std::thread::Builder::new().name(part.into()).spawn(work).map(drop)
    }

    fn report(&self, part: &str) -> (Report, watch::Receiver<Option<Cause>>) {
        let (over, seen) = watch::channel(None);
        (Report { part: part.into(), ends: self.ends.clone(), over }, seen)
    }
}

/// How the work ended.
fn cause_of(work: impl FnOnce() -> PartResult) -> Cause {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(outcome) => outcome.into(),
        Err(panic) => Cause::panicked(&*panic),
    }
}

/// The duty to tell of an end.
struct Report {
    part: Arc<str>,
    ends: mpsc::UnboundedSender<Ended>,
    over: watch::Sender<Option<Cause>>,
}

impl Report {
    fn ended(self, cause: Cause) {
        let ended = Ended { part: self.part, cause };
        match ended.cause {
            Cause::Returned => tracing::debug!("{ended}"),
            Cause::Failed(_) | Cause::Panicked(_) | Cause::Outdated(_) => tracing::error!("{ended}"),
        }
        self.over.send_replace(Some(ended.cause.clone()));
        // Nobody listens any more when the engine is already stopping.
        let _ = self.ends.send(ended);
    }
}

/// A running part.
#[derive(Debug)]
pub struct Part {
    over: watch::Receiver<Option<Cause>>,
    abort: Option<AbortHandle>,
}

impl Part {
    /// Waits until it has ended, and says how. One that was given up has returned.
    pub async fn ended(&mut self) -> Cause {
        let cause = self.over.wait_for(Option::is_some).await;
        cause.ok().and_then(|cause| cause.clone()).unwrap_or(Cause::Returned)
    }

    /// How it ended, if it has.
    pub fn end(&self) -> Option<Cause> {
        self.over.borrow().clone()
    }

    /// Gives a task up where it stands, without a word to [`Ends`]. A thread goes on.
    pub fn give_up(&self) {
        if let Some(abort) = &self.abort {
            abort.abort();
        }
    }
}

impl From<PartResult> for Cause {
    fn from(outcome: PartResult) -> Self {
        outcome.map_or_else(Self::Failed, |()| Self::Returned)
    }
}

impl Cause {
    fn panicked(panic: &(dyn Any + Send)) -> Self {
        let message = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let message = message.or_else(|| panic.downcast_ref::<String>().cloned());
        Self::Panicked(message.unwrap_or_else(|| "without a word".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(part: &str, cause: Cause) -> Ended {
        Ended { part: part.into(), cause }
    }

    #[tokio::test]
    async fn o13_every_way_to_end_is_told_with_its_reason() {
        let (supervisor, mut ends) = Supervisor::new(Handle::current());
        let mut part = supervisor.task("expiry", async { panic!("no deadline {}", 7) });
        assert_eq!(ends.next().await, ended("expiry", Cause::Panicked("no deadline 7".into())));
        assert_eq!(part.ended().await, Cause::Panicked("no deadline 7".into()));
        supervisor.task("recovery", async { Ok(()) });
        assert_eq!(ends.next().await, ended("recovery", Cause::Returned));
        supervisor.task("lock", async { Err("taken".into()) });
        assert_eq!(ends.next().await.to_string(), "lock failed: taken");
        supervisor.thread("writer", || panic!("a bug")).unwrap();
        assert_eq!(ends.next().await.to_string(), "writer panicked: a bug");
        let part = supervisor.thread("edge-0", || Err("no listener".into())).unwrap();
        assert_eq!(ends.next().await, ended("edge-0", Cause::Failed("no listener".into())));
        assert_eq!(part.end(), Some(Cause::Failed("no listener".into())));
    }

    #[tokio::test]
    async fn what_is_given_up_is_no_end() {
        let (supervisor, mut ends) = Supervisor::new(Handle::current());
        let mut part = supervisor.task("expiry", std::future::pending());
        assert_eq!(part.end(), None);
        part.give_up();
        assert_eq!(part.ended().await, Cause::Returned);
        supervisor.task("recovery", async { Ok(()) });
        assert_eq!(&*ends.next().await.part, "recovery");
    }

    #[tokio::test]
    async fn the_end_of_a_helper_is_told_only_when_its_work_failed() {
        let (supervisor, mut ends) = Supervisor::new(Handle::current());
        supervisor.helper("checkpointer", || Ok(())).unwrap();
        supervisor.helper("checkpointer", || Err("no disk".into())).unwrap();
        assert_eq!(ends.next().await, ended("checkpointer", Cause::Failed("no disk".into())));
    }

    /// Whoever adds a loop of the engine's own adds it here, so that its end is noticed.
    #[test]
    fn o13_app_and_edge_start_nothing_that_is_not_watched() {
        let source = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut left =
            ["app", "edge/hyper_server.rs", "edge/may_server.rs"].map(|name| source.join(name)).to_vec();
        while let Some(file) = left.pop() {
            if file.is_dir() {
                left.extend(std::fs::read_dir(&file).unwrap().map(|file| file.unwrap().path()));
                continue;
            }
            // A scope ends after its threads, and breaks down where one of them does.
            let text = std::fs::read_to_string(&file).unwrap().replace("scope.spawn(", "");
            for start in [".spawn(", "tokio::spawn(", "thread::spawn(", "thread::Builder"] {
                assert!(!text.contains(start), "{}: {start} instead of the supervisor", file.display());
            }
        }
    }
}
