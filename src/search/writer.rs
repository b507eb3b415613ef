//! Who writes, and when: the one engine of a store that looks at the sales once an interval and has the index told.

use std::fmt;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::document::{Face, Moment, document, id_of};
use super::outcome::{Fault, Line, Verdict};
use super::progress::Progress;
use super::rebuild::{RebuildState, Requests, ended};
use super::server::Server;
use super::settings::{SearchKind, SearchSettings};
use super::shelf::{Job, Shelf};
use crate::domain::{EpochMs, SaleId};
use crate::orders::{OrderDesk, SalesPicture, StoreError};

/// Reading the sales may take this part of the time at most: a store with so many that it takes long is read more seldom.
const READING_SHARE: u32 = 20;
/// Bytes of a line beside its document, about.
const LINE_BYTES: usize = 100;
/// How long to wait when the store does not answer.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// Search, as an engine has it; cheap to clone.
#[derive(Clone)]
pub struct Search(Arc<Shared>);

struct Shared {
    desk: OrderDesk,
    settings: SearchSettings,
    server: Server,
    progress: Progress,
}

impl fmt::Debug for Search {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Search").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}

impl Search {
    /// The search server of the settings; `None` where there is none. Nothing is connected to yet.
    ///
    /// # Errors
    /// A setting that cannot work, with its key.
    pub fn new(settings: &SearchSettings, desk: OrderDesk) -> Result<Option<Self>, String> {
        if settings.kind == SearchKind::Off {
            return Ok(None);
        }
        let server = Server::new(settings)?;
        let shared = Shared { desk, settings: settings.clone(), server, progress: Progress::default() };
        Ok(Some(Self(Arc::new(shared))))
    }

    /// How it is set.
    pub fn settings(&self) -> &SearchSettings {
        &self.0.settings
    }

    /// How writing goes at this engine.
    pub fn progress(&self) -> &Progress {
        &self.0.progress
    }

    /// The last rebuild that was asked for, at whichever engine.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn rebuild(&self) -> Result<Option<RebuildState>, StoreError> {
        RebuildState::read(&self.0.desk).await
    }

    /// Writes while `elected` says so, without it always. Dropped, it leaves what is under way to whoever goes on.
    pub async fn run(self, mut elected: Option<watch::Receiver<bool>>) {
        loop {
            until(&mut elected, true).await;
            self.0.progress.set_writer(true);
            let mut writer = Writer::new(&self.0);
            tokio::select! {
                () = writer.write_on() => {}
                () = until(&mut elected, false) => tracing::debug!("another engine writes the search index"),
            }
            self.0.progress.set_writer(false);
            self.0.progress.show(0, None, 0);
        }
    }
}

/// Ends when this is the word on whether the engine is the one. Without an election it is.
async fn until(elected: &mut Option<watch::Receiver<bool>>, word: bool) {
    match elected {
        None if word => {}
        None => pending().await,
        Some(elected) => {
            if elected.wait_for(|is_elected| *is_elected == word).await.is_err() {
                // Nobody says anything any more: the engine stops.
                pending().await
            }
        }
    }
}

/// Why a turn was cut short.
enum Trouble {
    /// The order store does not answer.
    Store(StoreError),
    /// The search server does not do what it is asked for.
    Server(Fault),
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Self::Server(fault)
    }
}

/// One time of being the one that writes.
struct Writer<'a> {
    shared: &'a Shared,
    shelf: Shelf,
    /// Of the documents that were written last.
    version: u64,
    is_prepared: bool,
    batch_max: usize,
    /// Turns that failed since one did not.
    failures: u32,
    requests: Option<Requests>,
    /// The rebuild that is to be done.
    rebuild: Option<u64>,
    refresh_at: Instant,
    /// Once everything is told again, documents below this version are of no sale.
    below: Option<u64>,
    is_first: bool,
    is_behind: bool,
    reading: Duration,
}

impl<'a> Writer<'a> {
    fn new(shared: &'a Shared) -> Self {
        Self {
            shared,
            shelf: Shelf::default(),
            version: 0,
            is_prepared: false,
            batch_max: shared.settings.batch_documents_max,
            failures: 0,
            requests: None,
            rebuild: None,
            refresh_at: Instant::now(),
            below: None,
            is_first: true,
            is_behind: false,
            reading: Duration::ZERO,
        }
    }

    async fn write_on(&mut self) {
        loop {
            let begun = Instant::now();
            let outcome = self.turn().await;
            self.show();
            let pause = match outcome {
                Ok(()) => {
                    if std::mem::take(&mut self.failures) > 0 {
                        tracing::info!(code = "search-answers", "the search server takes documents again");
                    }
                    let every = Duration::from_millis(self.shared.settings.interval_ms);
                    every.max(self.reading * READING_SHARE).saturating_sub(begun.elapsed())
                }
                Err(Trouble::Store(error)) => {
                    tracing::debug!(%error, "search waits for the order store");
                    STORE_PAUSE
                }
                Err(Trouble::Server(fault)) => self.failed(&fault),
            };
            // Others have a turn, too, however little there is to wait for.
            sleep(pause.max(Duration::from_millis(1))).await;
        }
    }

    /// Takes note of a request that failed. How long to wait.
    fn failed(&mut self, fault: &Fault) -> Duration {
        let settings = &self.shared.settings;
        self.is_prepared = false;
        self.failures = self.failures.saturating_add(1);
        let (kind, why) = (settings.kind.as_str(), fault.why());
        if self.failures == 1 {
            tracing::warn!(
                code = "search-failing",
                kind,
                why,
                "a request to the search server failed; it is tried again"
            );
        } else {
            tracing::debug!(
                kind,
                why,
                failures = self.failures,
                "a request to the search server failed again"
            );
        }
        self.shared.progress.count_failure(self.now(), why.to_owned());
        let asked = match fault {
            Fault::Later(_, Some(asked)) => (*asked).min(Duration::from_millis(settings.retry_ms_max)),
            _ => Duration::ZERO,
        };
        backoff(settings.retry_ms, settings.retry_ms_max, self.failures).max(asked)
    }

    fn now(&self) -> EpochMs {
        self.shared.desk.clock().calendar()
    }

    /// Shows how it stands, and says in the log when that turns bad or good.
    fn show(&mut self) {
        let (late, since) = (self.shelf.late(), self.shelf.late_since());
        self.shared.progress.show(late, since, self.shelf.refusals());
        let lag = since.map_or(Duration::ZERO, |since| since.elapsed());
        let is_behind = lag >= Duration::from_secs(self.shared.settings.behind_s);
        if is_behind && !self.is_behind {
            let lag_s = lag.as_secs();
            tracing::warn!(
                code = "search-behind",
                documents = late,
                lag_s,
                "the search index is behind the sales"
            );
        } else if self.is_behind && since.is_none() {
            tracing::info!(code = "search-caught-up", "the search index is as the sales are again");
        }
        // Behind it stays until nothing is late.
        self.is_behind = is_behind || self.is_behind && since.is_some();
    }

    /// Looks once, and has the index told what it finds.
    async fn turn(&mut self) -> Result<(), Trouble> {
        let shared = self.shared;
        self.look_for_rebuilds().await?;
        let begun = Instant::now();
        let SalesPicture { as_of, sales } = shared.desk.sales_picture().await?;
        self.reading = begun.elapsed();
        let is_due = self.refresh_at <= begun;
        if is_due || self.rebuild.is_some() {
            self.shelf.refresh();
            self.is_prepared = false;
        }
        // A load tester's sales are no goods.
        let shown = sales.into_iter().filter(|(sale, _)| !sale.key.is_load_test());
        let faced = shown.map(|(sale, phase)| {
            let face = Face::of(&sale, phase, &shared.settings);
            (sale, face)
        });
        let jobs = self.shelf.look(faced.collect(), as_of, begun);
        self.show();
        self.prepare().await?;
        self.version = (self.version + 1).max(u64::try_from(as_of.0).unwrap_or_default());
        if let Some(number) = self.rebuild {
            return self.build_anew(number, jobs, as_of).await;
        }
        if is_due {
            // What a writer before this one has sent may arrive until its requests have run out of time: once more then.
            let every = Duration::from_secs(shared.settings.refresh_s);
            let settled = Duration::from_millis(2 * shared.settings.timeout_ms);
            self.refresh_at =
                begun + if std::mem::take(&mut self.is_first) { every.min(settled) } else { every };
            self.below = Some(self.version);
        }
        self.write(&jobs, as_of).await?;
        if let Some(below) = self.below.filter(|_| self.shelf.is_refreshed()) {
            let refused: Vec<String> = self.shelf.refused_sales().map(id_of).collect();
            shared.server.remove_below(below, &refused).await?;
            self.below = None;
        }
        Ok(())
    }

    async fn look_for_rebuilds(&mut self) -> Result<(), StoreError> {
        let desk = &self.shared.desk;
        let asked = match &mut self.requests {
            Some(requests) => requests.next(desk).await?,
            None => {
                let (requests, left) = Requests::follow(desk).await?;
                self.requests = Some(requests);
                left
            }
        };
        self.rebuild = asked.or(self.rebuild);
        Ok(())
    }

    async fn prepare(&mut self) -> Result<(), Fault> {
        if self.is_prepared {
            return Ok(());
        }
        match self.shared.server.prepare().await {
            Ok(newest) => self.version = self.version.max(newest),
            // It may be what a rebuild is asked for.
            Err(Fault::Refused(why) | Fault::Whole(why)) if self.rebuild.is_some() => {
                tracing::debug!(why, "the search index cannot be used; it is built anew");
            }
            Err(fault) => return Err(fault),
        }
        self.is_prepared = true;
        Ok(())
    }

    /// Has the index told all of this. What it does not take, or not now, stays on the shelf.
    async fn write(&mut self, jobs: &[Job], as_of: EpochMs) -> Result<(), Fault> {
        let (mut left, mut trouble) = (jobs, None);
        while !left.is_empty() {
            let lines = self.lines(left, as_of);
            let (batch, rest) = left.split_at(lines.len());
            batch.iter().for_each(|job| self.shelf.sent(job.sale()));
            let Some(verdicts) = self.judged(&lines, None).await? else { continue };
            for (job, verdict) in batch.iter().zip(verdicts) {
                match verdict {
                    Verdict::Taken => {
                        self.shelf.done(job.sale(), job.face());
                        self.shared.progress.count_taken(job.face().is_none(), self.now());
                    }
                    Verdict::Refused(why) => {
                        self.shelf.refused(job.sale());
                        self.tell_refusal(job, &why);
                    }
                    Verdict::Stale => {
                        trouble =
                            Some("documents there are of later versions than this engine knew".to_owned());
                    }
                    Verdict::Later(why) => trouble = Some(why),
                }
            }
            self.show();
            left = rest;
        }
        trouble.map_or(Ok(()), |why| Err(Fault::Later(why, None)))
    }

    /// A verdict for each line; `None` when a smaller part is to be tried.
    async fn judged(&mut self, lines: &[Line], into: Option<&str>) -> Result<Option<Vec<Verdict>>, Fault> {
        let most = self.shared.settings.batch_documents_max;
        match self.shared.server.write(lines, into).await {
            Ok(verdicts) => {
                // By and by as much as before.
                self.batch_max = (self.batch_max + self.batch_max / 8 + 1).min(most);
                Ok(Some(verdicts))
            }
            Err(Fault::Whole(why)) if lines.len() == 1 => Ok(Some(vec![Verdict::Refused(why)])),
            Err(Fault::Whole(why)) => {
                self.shared.progress.count_failure(self.now(), why);
                self.batch_max = lines.len() / 2;
                Ok(None)
            }
            Err(fault) => Err(fault),
        }
    }

    /// As many as one request may have, at least one.
    fn lines(&self, jobs: &[Job], as_of: EpochMs) -> Vec<Line> {
        let (mut lines, mut bytes) = (Vec::new(), 0);
        for job in jobs.iter().take(self.batch_max.max(1)) {
            let document = match job {
                Job::Put { sale, face, since } => {
                    let moment = Moment { as_of, since: *since, version: self.version };
                    Some(document(sale, *face, moment).to_string())
                }
                Job::Remove(_) => None,
            };
            bytes += document.as_ref().map_or(0, String::len) + LINE_BYTES;
            if bytes > self.shared.settings.batch_bytes_max && !lines.is_empty() {
                break;
            }
            lines.push(Line { id: id_of(job.sale()), version: self.version, document });
        }
        lines
    }

    fn tell_refusal(&self, job: &Job, why: &str) {
        self.shared.progress.count_refused();
        let sale = name_of(job);
        tracing::warn!(code = "search-refused", sale, why, "the search index does not take a document");
    }

    /// Fills an empty index and puts it in the place of the one that is there.
    async fn build_anew(&mut self, number: u64, jobs: Vec<Job>, as_of: EpochMs) -> Result<(), Trouble> {
        let outcome = match self.fill(number, &jobs, as_of).await {
            Ok(documents) => Ok(documents),
            Err(fault @ Fault::Later(..)) => return Err(fault.into()),
            Err(fault) => Err(fault.why().to_owned()),
        };
        match &outcome {
            Ok(documents) => {
                (self.below, self.is_prepared) = (None, false);
                self.refresh_at = Instant::now() + Duration::from_secs(self.shared.settings.refresh_s);
                tracing::info!(code = "search-rebuilt", documents, "the search index was built anew");
            }
            Err(why) => {
                tracing::warn!(code = "search-not-rebuilt", why, "the search index could not be built anew")
            }
        }
        let told = ended(number, self.now(), &self.shared.settings.index, outcome);
        self.shared.desk.tell(told).await?;
        self.rebuild = None;
        Ok(())
    }

    /// How many documents the new index has.
    async fn fill(&mut self, number: u64, jobs: &[Job], as_of: EpochMs) -> Result<usize, Fault> {
        let puts: Vec<Job> = jobs.iter().filter(|job| job.face().is_some()).cloned().collect();
        let Some(fresh) = self.shared.server.fresh(number).await? else { return Ok(puts.len()) };
        let (mut left, mut refused) = (&puts[..], Vec::new());
        while !left.is_empty() {
            let lines = self.lines(left, as_of);
            let (batch, rest) = left.split_at(lines.len());
            let Some(verdicts) = self.judged(&lines, Some(&fresh)).await? else { continue };
            for (job, verdict) in batch.iter().zip(verdicts) {
                match verdict {
                    Verdict::Taken => self.shared.progress.count_taken(false, self.now()),
                    Verdict::Refused(why) => {
                        self.tell_refusal(job, &why);
                        refused.push(job.sale());
                    }
                    Verdict::Stale => {
                        return Err(Fault::Later("somebody else writes the new index".into(), None));
                    }
                    Verdict::Later(why) => return Err(Fault::Later(why, None)),
                }
            }
            left = rest;
        }
        // From here on nobody knows which of the two is there, until the answer.
        jobs.iter().for_each(|job| self.shelf.sent(job.sale()));
        self.shared.server.swap(&fresh).await?;
        for job in jobs {
            self.shelf.done(job.sale(), job.face());
        }
        refused.iter().for_each(|sale: &SaleId| self.shelf.refused(*sale));
        Ok(puts.len() - refused.len())
    }
}

fn name_of(job: &Job) -> String {
    match job {
        Job::Put { sale, .. } => sale.key.to_string(),
        Job::Remove(sale) => format!("number {}", sale.0),
    }
}

/// The pause after so many failures: doubled with each, and drawn from its upper half, so that engines that failed together
/// do not come back together.
fn backoff(first_ms: u64, ms_max: u64, failures: u32) -> Duration {
    let doubled = first_ms.saturating_mul(1 << failures.saturating_sub(1).min(32));
    let ms = doubled.clamp(1, ms_max.max(1));
    Duration::from_millis(rand::rng().random_range(ms.div_ceil(2)..=ms))
}
