//! Delivers to one endpoint: reads the logs as there is room, keeps some deliveries in flight, tries again what was refused,
//! and gives an endpoint up that has taken nothing for days.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::Rng;
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::deliveries::Deliveries;
use super::endpoint::Endpoint;
use super::failing::Failing;
use super::outbox::Outbox;
use super::settings::WebhookSettings;
use super::told::{self, Told};
use super::transport::{Transport, WebhookAnswer};
use crate::domain::{EpochMs, StoreIdentity};
use crate::orders::{
    Act, ActKind, Actor, LogEnds, OrderDesk, StoreError, ToldLog, WebhookHealth, WebhookRow, WebhookSave,
    WebhookState, WebhookStep,
};

/// Events that are read of a log at once.
const PAGE_EVENTS: usize = 256;
/// Characters that are kept of why a delivery failed.
const WHY_CHARS_MAX: usize = 200;
/// How long to wait when the store does not answer, or knows an event whose sale it does not know yet.
const STORE_PAUSE: Duration = Duration::from_secs(1);

/// What couriers have in common.
#[derive(Clone, Debug)]
pub(super) struct Trade {
    pub desk: OrderDesk,
    pub store: StoreIdentity,
    pub settings: Arc<WebhookSettings>,
    pub transport: Arc<dyn Transport>,
    /// The ends of the logs, as they were seen last.
    pub ends: watch::Receiver<LogEnds>,
    /// Turns true when the engine stops.
    pub stopped: watch::Receiver<bool>,
}

/// Where a courier leaves what is to be written down.
pub(super) type Slot = Arc<Mutex<Option<WebhookSave>>>;

/// How an attempt ended.
struct Landed {
    log: ToldLog,
    event: Told,
    answer: Result<WebhookAnswer, String>,
}

/// Why an attempt failed.
struct Refusal {
    why: String,
    /// When the endpoint wants to be asked again.
    retry_after: Option<Duration>,
    /// It wants to hear nothing any more.
    is_gone: bool,
}

/// Delivers to one endpoint.
#[derive(Debug)]
pub(super) struct Courier {
    endpoint: Arc<Endpoint>,
    trade: Trade,
    deliveries: Arc<Deliveries>,
    slot: Slot,
    owner: i64,
    generation: u64,
    orders: Outbox,
    sales: Outbox,
    health: WebhookHealth,
    failing: Option<Failing>,
    /// Attempts that failed since one succeeded, in this life.
    in_a_row: u32,
    /// While the endpoint takes nothing: before this moment nothing is tried, and then one delivery alone.
    shut_until: Option<Instant>,
    /// How often it was found shut since it took something.
    found_shut: u32,
    /// The logs are not read before.
    read_at: Instant,
    flights: JoinSet<Landed>,
    /// Whose turn it was last to deliver, and to be read.
    is_sales_turn: bool,
    is_sales_read: bool,
    is_dirty: bool,
    save_at: Instant,
}

impl Courier {
    /// Goes on from what the store has of the endpoint.
    pub fn new(
        endpoint: Arc<Endpoint>,
        trade: Trade,
        deliveries: Arc<Deliveries>,
        slot: Slot,
        row: &WebhookRow,
    ) -> Self {
        let now = Instant::now();
        let failing = Failing::found(&row.state.health, trade.desk.clock().calendar(), now);
        let failing_since = failing.map(|failing| failing.since);
        Self {
            endpoint,
            trade,
            deliveries,
            slot,
            owner: row.owner,
            generation: row.generation,
            orders: Outbox::new(&row.state.orders),
            sales: Outbox::new(&row.state.sales),
            health: WebhookHealth { next_try: None, failing_since, ..row.state.health.clone() },
            failing,
            in_a_row: 0,
            shut_until: None,
            found_shut: 0,
            read_at: now,
            flights: JoinSet::new(),
            is_sales_turn: false,
            is_sales_read: false,
            is_dirty: false,
            save_at: now,
        }
    }

    /// Delivers until the engine stops or the endpoint is given up. Dropped, it leaves what is in flight to whoever goes on.
    pub async fn run(mut self) {
        let mut stopped = self.trade.stopped.clone();
        let mut ends = self.trade.ends.clone();
        while !*stopped.borrow() {
            self.start_deliveries();
            self.leave_word();
            if self.read_on().await {
                // However far the end of the log is: what has landed makes room for the next ones.
                while let Some(landed) = self.flights.try_join_next() {
                    if let Some(why) = self.landed(landed.expect("a delivery does not panic")) {
                        return self.give_up(why).await;
                    }
                }
                continue;
            }
            let wake_at = self.wake_at();
            tokio::select! {
                Some(landed) = self.flights.join_next() => {
                    let landed = landed.expect("a delivery does not panic");
                    if let Some(why) = self.landed(landed) {
                        return self.give_up(why).await;
                    }
                }
                () = until(wake_at) => {}
                _ = ends.changed() => {}
                _ = stopped.changed() => {}
            }
        }
        // What is under way is told to its end, as far as there is time.
        loop {
            self.save_at = Instant::now();
            self.leave_word();
            let Some(Ok(landed)) = self.flights.join_next().await else { return };
            self.landed(landed);
        }
    }

    fn outbox(&mut self, log: ToldLog) -> &mut Outbox {
        match log {
            ToldLog::Orders => &mut self.orders,
            ToldLog::Sales => &mut self.sales,
        }
    }

    /// Starts as many deliveries as may be in flight.
    fn start_deliveries(&mut self) {
        let now = Instant::now();
        let most = match self.shut_until {
            Some(until) if until > now => return,
            // Whether it answers again is asked by one alone.
            Some(_) => 1,
            None => self.trade.settings.parallel_max,
        };
        while self.flights.len() < most {
            // In turn: a crowd at one sale does not keep back what operators do.
            let turn = in_turn(&mut self.is_sales_turn);
            let next = turn.into_iter().find_map(|log| Some((log, self.outbox(log).next(now)?)));
            let Some((log, event)) = next else { return };
            let at = self.trade.desk.clock().calendar();
            let request = self.endpoint.request(&event.id, &event.body, at);
            let transport = Arc::clone(&self.trade.transport);
            self.flights.spawn(async move {
                let answer = transport.post(request).await;
                Landed { log, event, answer }
            });
        }
    }

    /// Reads what there is room for. Whether anything was read.
    async fn read_on(&mut self) -> bool {
        let now = Instant::now();
        if self.read_at > now {
            return false;
        }
        let ends = *self.trade.ends.borrow();
        // In turn as well: orders may come as fast as they are read, or be no events that this endpoint wants.
        for log in in_turn(&mut self.is_sales_read) {
            let outbox = self.outbox(log);
            let behind = outbox.to_refill(now);
            let after = outbox.read_through();
            let read = match behind {
                Some((lane, after)) => {
                    let read = self.read(log, after).await;
                    read.map(|page| {
                        let has_come = page.through > after;
                        self.outbox(log).refill(&lane, page.told, page.through);
                        has_come
                    })
                }
                None if outbox.has_room() && after < ends.of(log) => {
                    let read = self.read(log, after).await;
                    read.map(|page| {
                        self.is_dirty |= page.through > after;
                        self.outbox(log).offer(page.told, page.through);
                        page.through > after
                    })
                }
                None => continue,
            };
            match read {
                Ok(true) => return true,
                // The sale of the next event is not known yet.
                Ok(false) => self.read_at = Instant::now() + STORE_PAUSE,
                Err(error) => {
                    tracing::debug!(%error, endpoint = self.endpoint.name(), "webhooks wait for the order store");
                    self.read_at = Instant::now() + STORE_PAUSE;
                }
            }
        }
        false
    }

    async fn read(&self, log: ToldLog, after: u64) -> Result<told::Page, StoreError> {
        told::read(&self.trade.desk, self.trade.store, &self.endpoint, log, after, PAGE_EVENTS).await
    }

    /// When there is something to do although nothing happens.
    fn wake_at(&self) -> Option<Instant> {
        let now = Instant::now();
        let due = [self.orders.due_after(now), self.sales.due_after(now)].into_iter().flatten().min();
        // While it is shut, nothing else is due before it opens.
        let due = match self.shut_until {
            Some(until) if until > now => Some(due.map_or(until, |due| due.max(until))),
            _ => due,
        };
        let save = self.is_dirty.then_some(self.save_at);
        let read = Some(self.read_at).filter(|at| *at > now);
        [due, save, read].into_iter().flatten().min()
    }

    /// Takes note of how an attempt ended. Why the endpoint is to be given up, if it is.
    fn landed(&mut self, landed: Landed) -> Option<String> {
        let Landed { log, event, answer } = landed;
        self.is_dirty = true;
        match judged(answer) {
            Ok(()) => {
                self.deliveries.count(true);
                self.outbox(log).delivered(&event.lane);
                self.succeeded();
                None
            }
            Err(refusal) => {
                self.deliveries.count(false);
                self.refused(log, &event, refusal)
            }
        }
    }

    fn succeeded(&mut self) {
        self.health.last_delivery = Some(self.trade.desk.clock().calendar());
        if let Some(failing) = self.failing.take() {
            tracing::info!(
                code = "webhook-answers",
                endpoint = self.endpoint.name(),
                failed_for_s = failing.lasts().as_secs(),
                "an endpoint of webhooks takes events again"
            );
            self.health.failing_since = None;
            self.health.failures = 0;
        }
        if self.shut_until.take().is_some() {
            self.orders.forgive();
            self.sales.forgive();
        }
        (self.in_a_row, self.found_shut) = (0, 0);
    }

    fn refused(&mut self, log: ToldLog, event: &Told, refusal: Refusal) -> Option<String> {
        let (now, calendar) = (Instant::now(), self.trade.desk.clock().calendar());
        let failing = *self.failing.get_or_insert_with(|| Failing::begun(calendar, now));
        let Refusal { why, retry_after, is_gone } = refusal;
        if self.health.failing_since.replace(failing.since).is_none() {
            tracing::warn!(
                code = "webhook-failing",
                endpoint = self.endpoint.name(),
                why,
                "a delivery to an endpoint of webhooks failed; it is tried again"
            );
        }
        self.health.failures = self.health.failures.saturating_add(1);
        self.health.last_failure = Some((calendar, why.clone()));
        self.in_a_row = self.in_a_row.saturating_add(1);
        let settings = Arc::clone(&self.trade.settings);
        let pause = |failures| backoff(settings.retry_ms, settings.retry_ms_max, failures);
        let asked = retry_after.map(|asked| asked.min(Duration::from_millis(settings.retry_ms_max)));
        let failures = self.outbox(log).failures(&event.lane);
        let not_before = now + pause(failures).max(asked.unwrap_or_default());
        self.outbox(log).refused(&event.lane, not_before);
        // Several in a row: it is the endpoint, and not what one sale's event has in it. What was in flight meanwhile says
        // nothing new.
        let is_several = self.in_a_row >= u32::try_from(settings.parallel_max).unwrap_or(u32::MAX);
        if is_several && self.shut_until.is_none_or(|until| until <= now) {
            self.found_shut = self.found_shut.saturating_add(1);
            self.shut_until = Some(now + pause(self.found_shut));
        }
        if let Some(asked) = asked {
            self.shut_until = self.shut_until.max(Some(now + asked));
        }
        let lasts = failing.lasts();
        if is_gone {
            return Some(why);
        }
        (lasts >= Duration::from_secs(settings.disable_after_s)).then(|| {
            format!("nothing was taken for {} s (webhooks.disable_after_s); at last: {why}", lasts.as_secs())
        })
    }

    fn state(&self) -> WebhookState {
        let mut health = self.health.clone();
        if health.failing_since.is_some() {
            let now = Instant::now();
            let due = [self.orders.due_after(now), self.sales.due_after(now), self.shut_until];
            let due = due.into_iter().flatten().filter(|at| *at > now).min();
            let calendar = self.trade.desk.clock().calendar();
            let in_ms = |at: Instant| i64::try_from(at.duration_since(now).as_millis()).unwrap_or(i64::MAX);
            health.next_try = due.map(|at| calendar.plus_ms(in_ms(at)));
        }
        WebhookState { orders: self.orders.cursor(), sales: self.sales.cursor(), health, disabled: None }
    }

    fn save(&self, state: WebhookState, act: Option<Act>) -> WebhookSave {
        let (owner, generation) = (self.owner, self.generation);
        WebhookSave { name: self.endpoint.name().to_owned(), owner, generation, state, act }
    }

    /// Leaves word of how far it is, not too often.
    fn leave_word(&mut self) {
        let now = Instant::now();
        if self.is_dirty && self.save_at <= now {
            *self.slot.lock() = Some(self.save(self.state(), None));
            self.is_dirty = false;
            self.save_at = now + Duration::from_millis(self.trade.settings.save_ms);
        }
    }

    /// Disables the endpoint, with an entry of the trail in the same transaction.
    async fn give_up(mut self, why: String) {
        self.flights.abort_all();
        let at = self.trade.desk.clock().calendar();
        let mut state = self.state();
        state.health.next_try = None;
        state.disabled = Some((at, why.clone()));
        let save = self.save(state, Some(disabled_by_itself(&self.endpoint, at, &why)));
        self.slot.lock().take();
        tracing::warn!(
            code = "webhook-disabled",
            endpoint = self.endpoint.name(),
            why,
            "an endpoint of webhooks is told nothing any more until an operator enables it"
        );
        // Kept or out of date: somebody else has the endpoint then.
        while let Err(error) = self.trade.desk.step_webhooks(WebhookStep::Save(vec![save.clone()])).await {
            tracing::debug!(%error, "that an endpoint is disabled waits for the order store");
            sleep(STORE_PAUSE).await;
        }
    }
}

/// Both logs, and first the one that was second before.
const fn in_turn(is_sales: &mut bool) -> [ToldLog; 2] {
    *is_sales = !*is_sales;
    if *is_sales { [ToldLog::Sales, ToldLog::Orders] } else { ToldLog::ALL }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}

/// What an answer means, by the rules of Standard Webhooks: 2xx is taken, all else is not, and 410 is the end.
fn judged(answer: Result<WebhookAnswer, String>) -> Result<(), Refusal> {
    let cut = |why: String| why.chars().take(WHY_CHARS_MAX).collect();
    match answer {
        Ok(WebhookAnswer { status: 200..=299, .. }) => Ok(()),
        Ok(WebhookAnswer { status, retry_after }) => {
            let why = match status {
                300..=399 => format!("HTTP status {status}: redirects are not followed"),
                410 => "HTTP status 410: it wants to hear nothing any more".into(),
                _ => format!("HTTP status {status}"),
            };
            Err(Refusal { why, retry_after, is_gone: status == 410 })
        }
        Err(why) => Err(Refusal { why: cut(why), retry_after: None, is_gone: false }),
    }
}

/// The pause after so many failures: doubled with each, and drawn from its upper half, so that what failed together does not
/// come back together.
fn backoff(first_ms: u64, ms_max: u64, failures: u32) -> Duration {
    let doubled = first_ms.saturating_mul(1 << failures.saturating_sub(1).min(32));
    let ms = doubled.clamp(1, ms_max.max(1));
    Duration::from_millis(rand::rng().random_range(ms.div_ceil(2)..=ms))
}

/// What the trail tells of an endpoint that was given up.
fn disabled_by_itself(endpoint: &Endpoint, at: EpochMs, why: &str) -> Act {
    let text = str::to_owned;
    Act {
        id: rand::random(),
        at,
        actor: Actor {
            who: text("engine"),
            role: text("policy"),
            address: String::new(),
            request_id: String::new(),
        },
        tenant: endpoint.tenant().map(text),
        kind: ActKind::WebhookDisabled,
        object: text(endpoint.name()),
        from: json!({ "disabled": false }),
        to: json!({ "disabled": true }),
        reason: Some(text(why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_2xx_is_taken_and_only_410_is_the_end() {
        let answer = |status| judged(Ok(WebhookAnswer { status, retry_after: None }));
        for status in [200, 201, 204, 299] {
            assert!(answer(status).is_ok(), "{status}");
        }
        for status in [100, 199, 300, 301, 307, 400, 404, 409, 429, 500, 503] {
            assert!(answer(status).is_err_and(|refusal| !refusal.is_gone), "{status}");
        }
        assert!(answer(410).is_err_and(|refusal| refusal.is_gone));
        let long = judged(Err("x".repeat(1_000))).err().unwrap();
        assert_eq!((long.why.len(), long.is_gone), (WHY_CHARS_MAX, false));
    }

    #[test]
    fn no_log_is_always_first() {
        let mut is_sales = false;
        let first = [(); 4].map(|()| in_turn(&mut is_sales)[0]);
        assert_eq!(first, [ToldLog::Sales, ToldLog::Orders, ToldLog::Sales, ToldLog::Orders]);
    }

    #[test]
    fn the_pause_doubles_up_to_its_limit() {
        for (failures, ms) in [(1, 5_000), (2, 10_000), (11, 3_600_000), (u32::MAX, 3_600_000)] {
            for _ in 0..20 {
                let pause = u64::try_from(backoff(5_000, 3_600_000, failures).as_millis()).unwrap();
                assert!((ms / 2..=ms).contains(&pause), "{failures}: {pause}");
            }
        }
    }
}
