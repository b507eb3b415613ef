//! Who follows events: each reads the log at its own pace, from where it says it stands, and holds a bounded part of
//! it.
//!
//! Nothing is kept for a follower but its place in the log, which it knows itself: who is cut, or loses the engine,
//! goes on from the last `seq` that it has seen, here or on another node.

use std::collections::HashMap;
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::Stream;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio::time::sleep;
use tonic::{Code, Status};

use super::proto::FollowEventsResponse;
use super::settings::GrpcSettings;
use super::stage::{Stage, reached};
use super::{status, told};
use crate::admission::LiveSale;
use crate::orders::{OrderDesk, event_json};
use crate::telemetry::{GrpcCall, GrpcRecords};

/// Events of one read of the store.
const PAGE_EVENTS: usize = 256;
/// Messages that wait for a follower who is slower than the store.
const MESSAGES_AHEAD: usize = 64;
/// From one try of the store to the next, while it does not answer.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// What a follower is shown.
#[derive(Debug)]
pub(super) struct Wanted {
    pub tenant: String,
    /// Empty: every one.
    pub campaign: String,
    /// Empty: every one.
    pub sku: String,
}

impl Wanted {
    fn is(&self, sale: &LiveSale) -> bool {
        let fits = |wanted: &str, name: &str| wanted.is_empty() || wanted == name;
        sale.key.tenant() == self.tenant
            && fits(&self.campaign, sale.key.campaign())
            && fits(&self.sku, sale.key.sku())
    }
}

/// Whether a follower may still be shown what it wants: its token may be taken away while it follows.
pub(super) type StillShown = Box<dyn Fn() -> bool + Send>;

/// How long a follower is told.
pub(super) struct Term {
    pub still_shown: StillShown,
    /// Until its deadline, if it has one.
    pub left: Option<Duration>,
}

/// What following works with.
pub(super) struct EventFeed {
    desk: OrderDesk,
    records: Arc<GrpcRecords>,
    look: Duration,
    slow_max: Duration,
    stage: watch::Receiver<Stage>,
}

impl EventFeed {
    pub fn new(
        settings: &GrpcSettings,
        desk: OrderDesk,
        records: Arc<GrpcRecords>,
        stage: watch::Receiver<Stage>,
    ) -> Self {
        let look = Duration::from_millis(settings.follower_look_ms);
        let slow_max = Duration::from_millis(settings.follower_slow_ms_max);
        Self { desk, records, look, slow_max, stage }
    }

    /// A follower of what is wanted, above `after`, who has a place as long as it is served.
    pub fn follow(
        &self,
        wanted: Wanted,
        Term { still_shown, left }: Term,
        after: u64,
        call: GrpcCall,
        place: OwnedSemaphorePermit,
    ) -> EventStream {
        let (line, messages, end) = Line::new(self.slow_max);
        let (desk, look, stage) = (self.desk.clone(), self.look, self.stage.clone());
        let records = Arc::clone(&self.records);
        tokio::spawn(async move {
            let _place = (place, records.followers.enter());
            Follower { desk, wanted, still_shown, after, told: after, look, stage, line }.run(left).await;
        });
        EventStream { messages, end, call, is_over: false }
    }
}

/// The engine's end of a follower's stream.
struct Line {
    messages: mpsc::Sender<FollowEventsResponse>,
    slow_max: Duration,
    end: oneshot::Sender<Status>,
}

/// Why a follower is told no more.
#[derive(Debug, PartialEq, Eq)]
enum Over {
    /// It took no message for too long.
    Slow,
    /// It is gone.
    Gone,
    /// Its deadline has passed.
    Late,
    /// Its token is none any more, or does not show it the tenant.
    NotShown,
    /// The engine stops.
    Stopping,
}

impl Line {
    fn new(slow_max: Duration) -> (Self, mpsc::Receiver<FollowEventsResponse>, oneshot::Receiver<Status>) {
        let (messages, taken) = mpsc::channel(MESSAGES_AHEAD);
        let (end, ended) = oneshot::channel();
        (Self { messages, slow_max, end }, taken, ended)
    }

    async fn tell(&self, message: FollowEventsResponse) -> Result<(), Over> {
        let sent = self.messages.send_timeout(message, self.slow_max).await;
        sent.map_err(|error| match error {
            mpsc::error::SendTimeoutError::Timeout(_) => Over::Slow,
            mpsc::error::SendTimeoutError::Closed(_) => Over::Gone,
        })
    }

    /// The last word: heard behind every message that was told.
    fn end(self, over: Over, seq: u64) {
        let (code, reason, message) = match over {
            // Hears nothing.
            Over::Gone => return,
            Over::Late => {
                let message = "The deadline has passed: go on from the last seq.";
                let _ = self.end.send(Status::deadline_exceeded(message));
                return;
            }
            Over::Slow => {
                let message = "Messages were not taken for too long: go on from seq.";
                (Code::ResourceExhausted, "slow-follower", message)
            }
            Over::NotShown => {
                let message = "The token does not show these events any more: go on from seq with another.";
                (Code::Unauthenticated, "unauthorized", message)
            }
            Over::Stopping => {
                let message = "The engine stops: go on from seq, here or on another node.";
                (Code::Unavailable, "stopping", message)
            }
        };
        let members = HashMap::from([("seq".to_owned(), seq.to_string())]);
        let _ = self.end.send(status::told(code, reason, message, members, None));
    }
}

struct Follower {
    desk: OrderDesk,
    wanted: Wanted,
    still_shown: StillShown,
    /// The last event that was read.
    after: u64,
    /// Up to where the follower knows that it has seen all.
    told: u64,
    look: Duration,
    stage: watch::Receiver<Stage>,
    line: Line,
}

impl Follower {
    async fn run(mut self, left: Option<Duration>) {
        let deadline = async {
            match left {
                Some(left) => sleep(left).await,
                None => pending().await,
            }
        };
        let over = tokio::select! {
            over = self.follow() => over,
            () = deadline => Over::Late,
        };
        self.line.end(over, self.told);
    }

    /// Goes from page to page as long as it may.
    async fn follow(&mut self) -> Over {
        loop {
            match self.page().await {
                Err(over) => return over,
                Ok(pause) => {
                    tokio::select! {
                        () = sleep(pause) => {}
                        () = self.line.messages.closed() => return Over::Gone,
                        () = reached(&mut self.stage, Stage::Drain) => return Over::Stopping,
                    }
                }
            }
        }
    }

    /// Tells of what the log has next. Answers with how long to wait before the next look.
    async fn page(&mut self) -> Result<Duration, Over> {
        if !(self.still_shown)() {
            return Err(Over::NotShown);
        }
        let events = match self.desk.events_with_sales(self.after, PAGE_EVENTS).await {
            Ok(events) => events,
            Err(error) => {
                tracing::debug!(%error, "followers of events wait for the order store");
                return Ok(STORE_PAUSE);
            }
        };
        let is_end = events.len() < PAGE_EVENTS;
        for (event, sale) in events {
            self.after = event.seq;
            // A sale that nobody knows was deleted: the row is of a purchase that was refused then.
            let Some(sale) = sale.filter(|sale| self.wanted.is(sale)) else { continue };
            let event = told::event(event_json(&sale, &event));
            self.line.tell(FollowEventsResponse { seq: self.after, event }).await?;
            self.told = self.after;
        }
        if is_end && self.after > self.told {
            self.line.tell(FollowEventsResponse { seq: self.after, event: None }).await?;
            self.told = self.after;
        }
        Ok(if is_end { self.look } else { Duration::ZERO })
    }
}

/// What a follower takes its messages from.
#[derive(Debug)]
pub(super) struct EventStream {
    messages: mpsc::Receiver<FollowEventsResponse>,
    end: oneshot::Receiver<Status>,
    call: GrpcCall,
    is_over: bool,
}

impl Stream for EventStream {
    type Item = Result<FollowEventsResponse, Status>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.is_over {
            return Poll::Ready(None);
        }
        if let Some(message) = ready!(this.messages.poll_recv(context)) {
            return Poll::Ready(Some(Ok(message)));
        }
        let end = ready!(Pin::new(&mut this.end).poll(context));
        this.is_over = true;
        let status = end.unwrap_or_else(|_| Status::internal("the stream broke off: go on from seq"));
        this.call.end(status.code() as usize);
        Poll::Ready(Some(Err(status)))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use tonic_types::StatusExt;

    use super::*;
    use crate::telemetry::GrpcMethod;

    fn message(seq: u64) -> FollowEventsResponse {
        FollowEventsResponse { seq, event: None }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_follower_is_cut_and_told_where_to_go_on() {
        let records = Arc::new(GrpcRecords::default());
        let (line, messages, end) = Line::new(Duration::from_secs(10));
        let call = records.begin(GrpcMethod::FollowEvents);
        let mut stream = EventStream { messages, end, call, is_over: false };
        let mut told = 0;
        // Nobody reads: there is room for so many, and the next one is waited for as long as may be.
        let over = loop {
            match line.tell(message(told + 1)).await {
                Ok(()) => told += 1,
                Err(over) => break over,
            }
        };
        assert_eq!((&over, told), (&Over::Slow, MESSAGES_AHEAD as u64));
        line.end(over, told);
        let mut seen = 0;
        let status = loop {
            match stream.next().await.expect("its last word") {
                Ok(message) => {
                    assert_eq!(message.seq, seen + 1);
                    seen = message.seq;
                }
                Err(status) => break status,
            }
        };
        assert_eq!((seen, status.code()), (told, Code::ResourceExhausted));
        let info = status.get_details_error_info().unwrap();
        assert_eq!((&*info.reason, &info.metadata["seq"]), ("SLOW_FOLLOWER", &told.to_string()));
        assert!(stream.next().await.is_none());
        drop(stream);
        assert_eq!(records.count(GrpcMethod::FollowEvents, Code::ResourceExhausted as usize), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_follower_who_is_gone_is_not_waited_for() {
        let (line, messages, _end) = Line::new(Duration::from_secs(10));
        drop(messages);
        assert_eq!(line.tell(message(1)).await, Err(Over::Gone));
    }
}
