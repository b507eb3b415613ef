//! One thread of the load: an event loop over its connections, its visits and its clock.
//!
//! A request is due by the schedule, never because an answer arrived (but in a closed phase). When it is due and
//! no connection is free, it waits and is counted from its due time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

use mio::{Events, Poll, Token};

use super::answer_log::{AnswerLog, Row, Told};
use super::connection::{Connection, InFlight, Progress};
use super::dice::Dice;
use super::journey::{Answer, Journey, Reaction};
use super::plan::{Clock, Plan, ns};
use super::recorder::{CellKey, Frame, Recorder};
use super::visits::Visits;
use super::wake_timer::WakeTimer;
use crate::outcome::{Action, Outcome};
use crate::wire::request::{Ask, RequestKit};
use crate::wire::response::{Response, json_text};

const SECOND_NS: u64 = 1_000_000_000;
/// How often time-outs and the end are looked for.
const SCAN_NS: u64 = 50_000_000;
/// Connections that are opened at the same time before the start; a listen queue is not endless.
const CONNECTING_MAX: usize = 128;
/// How long opening them may take.
const PRECONNECT_NS: u64 = 20 * SECOND_NS;
/// How long an interrupted run waits for answers.
const INTERRUPTED_DRAIN_NS: u64 = 2 * SECOND_NS;
/// Buyers drawn anew are numbered from here, above every population.
const NEW_BUYERS_FROM: u64 = 1_000_000_000;
const READ_BUFFER_BYTES: usize = 64 * 1024;

/// What a worker tells the collector.
#[derive(Debug)]
pub enum Report {
    /// Connections are open: how many.
    Ready(usize),
    /// A second has passed.
    Second(Box<Frame>),
    /// The worker has ended; the message says why if it could not go on.
    Ended(Result<(), String>),
}

/// Runs a worker to its end. It connects, reports [`Report::Ready`], and starts at the time it is then sent.
pub fn run(plan: Arc<Plan>, index: usize, reports: Sender<Report>, start: Receiver<u64>) {
    let outcome = (|| {
        let mut worker = Worker::new(plan, index, reports.clone())?;
        let connected = worker.preconnect()?;
        // The receiver is gone only when the run has been given up.
        if reports.send(Report::Ready(connected)).is_err() {
            return Ok(());
        }
        match start.recv() {
            Ok(start_ns) => worker.run(start_ns),
            Err(_) => Ok(()),
        }
    })();
    let _ = reports.send(Report::Ended(outcome.map_err(|error: io::Error| error.to_string())));
}

struct Worker {
    plan: Arc<Plan>,
    index: usize,
    clock: Clock,
    poll: Poll,
    timer: WakeTimer,
    kits: Vec<RequestKit>,
    connections: Vec<Connection>,
    free: VecDeque<u32>,
    journeys: Vec<Option<Journey>>,
    vacant: Vec<u32>,
    visits: Visits,
    planned: BinaryHeap<Reverse<(u64, u64, u32, ActionCode)>>,
    planned_count: u64,
    new_buyers: u64,
    in_flight: u64,
    wheel: Vec<Vec<(f64, u16)>>,
    dice: Dice,
    recorder: Recorder,
    log: AnswerLog,
    reports: Sender<Report>,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
    usage: Usage,
}

/// An [`Action`] that can be ordered, for the heap.
type ActionCode = u8;
const ACTIONS: [Action; 5] =
    [Action::Page, Action::Purchase, Action::Lookup, Action::Checkout, Action::Cancel];

fn code(action: Action) -> ActionCode {
    ACTIONS.iter().position(|known| *known == action).unwrap_or(0) as ActionCode
}

/// Where the next request comes from.
enum Next {
    Visit,
    Planned,
    Closed(u16),
}

impl Worker {
    fn new(plan: Arc<Plan>, index: usize, reports: Sender<Report>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let workers = plan.scenario.client.workers as usize;
        let all = plan.scenario.client.connections as usize;
        let share = all / workers + usize::from(index < all % workers);
        let timer = WakeTimer::new(poll.registry(), Token(share))?;
        let scenario = &plan.scenario;
        let wheel = scenario.phases.iter().map(|phase| shares(scenario, &phase.shoppers)).collect();
        Ok(Self {
            index,
            clock: plan.clock,
            poll,
            timer,
            kits: plan.targets.iter().map(|t| RequestKit::new(t, &plan.sales, &plan.headers)).collect(),
            connections: std::iter::repeat_with(Connection::default).take(share).collect(),
            free: (0..share as u32).collect(),
            journeys: Vec::new(),
            vacant: Vec::new(),
            visits: Visits::new(scenario, index as u64, workers as u64, u64::MAX / 4),
            planned: BinaryHeap::new(),
            planned_count: 0,
            new_buyers: 0,
            in_flight: 0,
            wheel,
            dice: Dice::new(scenario.seed ^ (index as u64 + 1).wrapping_mul(0xD134_2543_DE82_EF95)),
            recorder: Recorder::new(scenario.phases.len()),
            log: AnswerLog::create(&plan.folder, index)?,
            reports,
            outgoing: Vec::with_capacity(1024),
            incoming: vec![0; READ_BUFFER_BYTES],
            usage: Usage::default(),
            plan,
        })
    }

    /// Opens all connections, a few at a time. Those that cannot be opened are tried again when they are needed.
    fn preconnect(&mut self) -> io::Result<usize> {
        let mut events = Events::with_capacity(CONNECTING_MAX * 2);
        let give_up_ns = self.clock.now_ns() + PRECONNECT_NS;
        let mut buffer = std::mem::take(&mut self.incoming);
        let mut waiting: VecDeque<usize> = (0..self.connections.len()).collect();
        let mut connecting = 0;
        while (connecting > 0 || !waiting.is_empty())
            && self.clock.now_ns() < give_up_ns
            && !self.plan.interrupt.requested()
        {
            while connecting < CONNECTING_MAX
                && let Some(id) = waiting.pop_front()
            {
                let address = self.plan.targets[id % self.kits.len()].address;
                match self.connections[id].connect(address, self.poll.registry(), Token(id)) {
                    Ok(()) => connecting += 1,
                    Err(_) => self.connections[id].close(),
                }
            }
            self.poll.poll(&mut events, Some(Duration::from_millis(50))).or_else(ignore_interrupted)?;
            for event in &events {
                let Token(id) = event.token();
                let Some(connection) = self.connections.get_mut(id) else { continue };
                let was_connecting = !connection.is_closed() && !connection.is_open();
                let closing = event.is_read_closed() || event.is_error();
                let progress = connection.on_ready(event.is_writable(), closing, &mut buffer, |_, _| true);
                if let Progress::Broken(_) = progress {
                    connection.close();
                }
                if was_connecting && (connection.is_open() || connection.is_closed()) {
                    connecting -= 1;
                }
            }
        }
        self.incoming = buffer;
        Ok(self.connections.iter().filter(|connection| connection.is_open()).count())
    }

    fn run(&mut self, start_ns: u64) -> io::Result<()> {
        let plan = Arc::clone(&self.plan);
        let workers = u64::from(plan.scenario.client.workers);
        self.visits = Visits::new(&plan.scenario, self.index as u64, workers, start_ns);
        let end_ns = start_ns + ns(plan.scenario.duration_s());
        let mut stop_ns = end_ns + ns(plan.scenario.client.drain_s);
        let mut interrupted = false;
        let mut events = Events::with_capacity(1024);
        let mut scan_ns = start_ns;
        let mut tick_ns = start_ns + SECOND_NS;
        let mut tick = 1;
        let (mut armed_ns, mut timeout) = (0, Duration::ZERO);
        while self.clock.now_ns() < start_ns {
            std::thread::sleep(Duration::from_nanos(start_ns.saturating_sub(self.clock.now_ns())));
        }
        self.usage = Usage::read(self.clock.now_ns());
        loop {
            let mut now_ns = self.dispatch()?;
            if now_ns >= scan_ns {
                scan_ns = now_ns + SCAN_NS;
                self.fail_timed_out(now_ns)?;
                if plan.interrupt.requested() && !interrupted {
                    interrupted = true;
                    self.count_unsent(now_ns);
                    self.visits.stop();
                    self.drop_planned();
                    stop_ns = stop_ns.min(now_ns + INTERRUPTED_DRAIN_NS);
                }
            }
            while now_ns >= tick_ns {
                self.report_second(tick, now_ns);
                tick += 1;
                tick_ns += SECOND_NS;
            }
            let at_rest = self.in_flight == 0 && self.planned.is_empty();
            if (at_rest && self.visits.is_over() && (now_ns >= end_ns || interrupted)) || now_ns >= stop_ns {
                break;
            }
            let wake_ns = self.next_wake(scan_ns.min(tick_ns));
            now_ns = self.clock.now_ns();
            // An answer that came before the timer has not moved it: a system call saved on every second round.
            if wake_ns != armed_ns || wake_ns <= now_ns {
                timeout = self.timer.set(Duration::from_nanos(wake_ns.saturating_sub(now_ns)))?;
                armed_ns = wake_ns;
            }
            self.poll.poll(&mut events, Some(timeout)).or_else(ignore_interrupted)?;
            for event in &events {
                let Token(id) = event.token();
                if id < self.connections.len() {
                    let closing = event.is_read_closed() || event.is_error();
                    self.on_ready(id as u32, event.is_writable(), closing)?;
                }
            }
        }
        self.finish(tick, end_ns)
    }

    /// Sends what is due while connections are free. Returns the time.
    fn dispatch(&mut self) -> io::Result<u64> {
        loop {
            let now_ns = self.clock.now_ns();
            if self.free.is_empty() {
                return Ok(now_ns);
            }
            let Some((next, due_ns)) = self.next_due(now_ns) else { return Ok(now_ns) };
            let Some(id) = self.free.pop_front() else { return Ok(now_ns) };
            let (journey, action) = match next {
                Next::Planned => {
                    let Some(Reverse((_, _, journey, action))) = self.planned.pop() else {
                        return Ok(now_ns);
                    };
                    (journey, ACTIONS[usize::from(action)])
                }
                Next::Visit => {
                    let Some((due_ns, phase)) = self.visits.take() else { return Ok(now_ns) };
                    self.begin_visit(phase, due_ns)
                }
                Next::Closed(phase) => self.begin_visit(phase, now_ns),
            };
            // Its own lateness: from when it was due and a connection was free. (No request is due in a closed loop.)
            let possible_ns = due_ns.max(self.connections[id as usize].free_since_ns);
            self.recorder.record_lag(now_ns.saturating_sub(due_ns), now_ns.saturating_sub(possible_ns));
            self.send(id, journey, action, due_ns, now_ns)?;
        }
    }

    /// The most overdue request, if any is due.
    fn next_due(&mut self, now_ns: u64) -> Option<(Next, u64)> {
        let planned_ns = self.planned.peek().map_or(u64::MAX, |Reverse((due_ns, ..))| *due_ns);
        let visit_ns = self.visits.peek().map_or(u64::MAX, |(due_ns, _)| due_ns);
        if planned_ns.min(visit_ns) <= now_ns {
            let next = if planned_ns <= visit_ns { Next::Planned } else { Next::Visit };
            return Some((next, planned_ns.min(visit_ns)));
        }
        self.visits.closed_now(now_ns).map(|window| (Next::Closed(window.phase), now_ns))
    }

    fn next_wake(&self, at_latest_ns: u64) -> u64 {
        if self.free.is_empty() {
            return at_latest_ns;
        }
        let planned_ns = self.planned.peek().map_or(u64::MAX, |Reverse((due_ns, ..))| *due_ns);
        let visit_ns = self.visits.peek().map_or(u64::MAX, |(due_ns, _)| due_ns);
        let closed_ns = self.visits.closed_from().unwrap_or(u64::MAX);
        at_latest_ns.min(planned_ns).min(visit_ns).min(closed_ns)
    }

    /// A visitor arrives: returns the journey and its first request; further ones are planned.
    fn begin_visit(&mut self, phase: u16, due_ns: u64) -> (u32, Action) {
        let plan = Arc::clone(&self.plan);
        let scenario = &plan.scenario;
        let wheel = &self.wheel[usize::from(phase)];
        let spin = self.dice.unit();
        let kind =
            wheel.iter().find(|(up_to, _)| spin < *up_to).or(wheel.last()).map_or(0, |(_, kind)| *kind);
        let shopper = &scenario.shoppers[usize::from(kind)];
        let buyer = match shopper.population {
            0 => {
                let number = self.new_buyers * u64::from(scenario.client.workers) + self.index as u64;
                self.new_buyers += 1;
                NEW_BUYERS_FROM + number
            }
            population => self.dice.below(population),
        };
        let campaign = scenario.campaign_of(&scenario.phases[usize::from(phase)]) as u16;
        let mut journey = Journey::new(shopper, kind, campaign, phase, buyer, &mut self.dice);
        let opening = journey.opening(shopper);
        journey.open_requests = opening.len() as u32;
        let id = self.vacant.pop().unwrap_or_else(|| {
            self.journeys.push(None);
            self.journeys.len() as u32 - 1
        });
        self.journeys[id as usize] = Some(journey);
        for (action, pause_ms) in &opening[1..] {
            self.plan_request(id, *action, due_ns + pause_ms * 1_000_000);
        }
        (id, opening[0].0)
    }

    fn plan_request(&mut self, journey: u32, action: Action, due_ns: u64) {
        self.planned_count += 1;
        self.planned.push(Reverse((due_ns, self.planned_count, journey, code(action))));
    }

    fn send(&mut self, id: u32, journey_id: u32, action: Action, due_ns: u64, now_ns: u64) -> io::Result<()> {
        let Some(journey) = &self.journeys[journey_id as usize] else { return Ok(()) };
        let client = &self.plan.scenario.client;
        let connection = &mut self.connections[id as usize];
        let target = id as usize % self.kits.len();
        let last = client.requests_per_connection;
        let ask = Ask {
            action,
            campaign: usize::from(journey.campaign),
            buyer: journey.buyer,
            quantity: journey.quantity,
            order: &journey.order,
            idempotency_key: self.plan.scenario.shoppers[usize::from(journey.shopper)].idempotency_key,
            close: last > 0 && connection.requests + 1 >= last,
        };
        self.outgoing.clear();
        self.kits[target].write(ask, &mut self.outgoing);
        connection.request = Some(InFlight {
            journey: journey_id,
            action,
            due_ns,
            sent_ns: now_ns,
            held_when_asked: journey.holds_order(),
        });
        self.in_flight += 1;
        self.recorder.counters.sent += 1;
        if connection.is_open() && connection.send(&self.outgoing).is_ok() {
            return Ok(());
        }
        // Closed, or the server has hung up since the last answer: this request needs a new connection.
        self.recorder.counters.connects += 1;
        let address = self.plan.targets[target].address;
        let opened = connection
            .connect(address, self.poll.registry(), Token(id as usize))
            .and_then(|()| connection.send(&self.outgoing));
        match opened {
            Ok(()) => Ok(()),
            Err(_) => self.fail(id, Outcome::ConnectFailed),
        }
    }

    fn on_ready(&mut self, id: u32, writable: bool, closing: bool) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.incoming);
        let mut connection = std::mem::take(&mut self.connections[id as usize]);
        let last = self.plan.scenario.client.requests_per_connection;
        let keep = last == 0 || connection.requests < last;
        let mut written = Ok(());
        let progress = connection.on_ready(writable, closing, &mut buffer, |request, response| {
            written = self.on_answer(*request, response);
            keep
        });
        self.connections[id as usize] = connection;
        self.incoming = buffer;
        written?;
        match progress {
            Progress::Answered => {
                self.in_flight -= 1;
                self.connections[id as usize].free_since_ns = self.clock.now_ns();
                self.free.push_back(id);
                // What became due meanwhile goes out now, not after the other events of this round.
                self.dispatch()?;
            }
            Progress::Broken(outcome) => self.fail(id, outcome)?,
            Progress::Waiting | Progress::Connected => {}
        }
        Ok(())
    }

    fn on_answer(&mut self, request: InFlight, response: &Response<'_>) -> io::Result<()> {
        let code = if response.status >= 400 { json_text(&response.body, "code") } else { &[] };
        let outcome = request.action.classify(response.status, code);
        self.recorder.counters.answered += 1;
        self.recorder.counters.bytes_in += response.consumed as u64;
        if outcome == Outcome::Unexpected {
            let code = String::from_utf8_lossy(code);
            self.recorder.note_oddity(format!("{:?}: {} {code}", request.action, response.status));
        }
        let names_order = response.status < 400 || outcome == Outcome::AlreadyPurchased;
        let text = |key| if names_order { json_text(&response.body, key) } else { &[] };
        let order = std::str::from_utf8(text("order_id")).unwrap_or_default();
        let status = std::str::from_utf8(text("status")).unwrap_or_default();
        self.conclude(request, outcome, order, status, response.retry_after_ms)
    }

    /// The request on this connection got no answer.
    fn fail(&mut self, id: u32, outcome: Outcome) -> io::Result<()> {
        let connection = &mut self.connections[id as usize];
        connection.close();
        let Some(request) = connection.request.take() else { return Ok(()) };
        connection.free_since_ns = self.clock.now_ns();
        self.in_flight -= 1;
        self.free.push_back(id);
        self.conclude(request, outcome, "", "", None)
    }

    /// Counts a request's outcome and lets its visitor go on.
    fn conclude(
        &mut self,
        request: InFlight,
        outcome: Outcome,
        order: &str,
        status: &str,
        retry_after_ms: Option<u64>,
    ) -> io::Result<()> {
        let now_ns = self.clock.now_ns();
        let Some(mut journey) = self.journeys[request.journey as usize].take() else { return Ok(()) };
        let plan = Arc::clone(&self.plan);
        let shopper = &plan.scenario.shoppers[usize::from(journey.shopper)];
        let limit = plan.scenario.campaigns[usize::from(journey.campaign)].per_buyer_limit;
        let answer = Answer {
            action: request.action,
            due_ns: request.due_ns,
            held_when_asked: request.held_when_asked,
            outcome,
            order,
            status,
            retry_after_ms,
        };
        let last_page = request.action == Action::Page;
        let Reaction { next, concluded, told, untruthful } =
            journey.react(answer, shopper, limit, &mut self.dice);

        let (phase, path) = (journey.phase, request.action.path());
        let service_ns = now_ns.saturating_sub(request.sent_ns);
        // A payment under way is counted when its outcome is known.
        if outcome != Outcome::Paying {
            let key = CellKey { phase, path, outcome };
            self.recorder.record(key, now_ns.saturating_sub(request.due_ns), service_ns);
        }
        if let Some((path, outcome, due_ns)) = concluded {
            let response_ns = now_ns.saturating_sub(due_ns);
            // Over several requests there is no other time of sending than the first one's.
            let service_ns = if due_ns == request.due_ns { service_ns } else { response_ns };
            self.recorder.record(CellKey { phase, path, outcome }, response_ns, service_ns);
        }
        self.recorder.counters.untruthful += u64::from(untruthful);
        if let Some(told) = told {
            self.log_told(told, &journey, order)?;
        }
        journey.open_requests -= 1;
        if let Some((action, pause_ms)) = next {
            journey.open_requests += 1;
            self.plan_request(request.journey, action, now_ns + pause_ms * 1_000_000);
            if last_page && action == Action::Purchase {
                for (action, pause_ms) in Journey::clicks_after_pages(shopper) {
                    journey.open_requests += 1;
                    self.plan_request(request.journey, action, now_ns + pause_ms * 1_000_000);
                }
            }
        }
        self.keep_or_end(request.journey, journey, now_ns);
        Ok(())
    }

    fn keep_or_end(&mut self, id: u32, journey: Journey, now_ns: u64) {
        if journey.open_requests > 0 {
            self.journeys[id as usize] = Some(journey);
            return;
        }
        if let Some((path, outcome, due_ns)) = journey.unresolved() {
            let elapsed_ns = now_ns.saturating_sub(due_ns);
            self.recorder.record(CellKey { phase: journey.phase, path, outcome }, elapsed_ns, elapsed_ns);
        }
        self.vacant.push(id);
    }

    fn log_told(&mut self, told: Told, journey: &Journey, order: &str) -> io::Result<()> {
        // An answer about an order need not name it; one that makes an order must.
        let made = matches!(told, Told::Won | Told::Replayed | Told::Pending);
        let order = if made && !order.is_empty() { order } else { &journey.order };
        self.log.append(&Row {
            kind: told,
            campaign: journey.campaign,
            quantity: journey.quantity as u32,
            buyer: journey.buyer,
            order: order.into(),
        })
    }

    fn fail_timed_out(&mut self, now_ns: u64) -> io::Result<()> {
        let sent_before_ns = now_ns.saturating_sub(self.plan.scenario.client.timeout_ms * 1_000_000);
        for id in 0..self.connections.len() {
            if self.connections[id].request.is_some_and(|request| request.sent_ns <= sent_before_ns) {
                self.fail(id as u32, Outcome::TimedOut)?;
            }
        }
        Ok(())
    }

    /// Counts the arrivals that are due and cannot be sent any more, with the time that they have waited.
    fn count_unsent(&mut self, now_ns: u64) {
        while let Some((due_ns, phase)) = self.visits.peek().filter(|(due_ns, _)| *due_ns <= now_ns) {
            self.visits.take();
            let (journey, action) = self.begin_visit(phase, due_ns);
            self.journeys[journey as usize] = None;
            self.vacant.push(journey);
            let key = CellKey { phase, path: action.path(), outcome: Outcome::Unsent };
            self.recorder.record(key, now_ns - due_ns, now_ns - due_ns);
        }
    }

    /// Gives up what visitors had planned.
    fn drop_planned(&mut self) {
        let now_ns = self.clock.now_ns();
        while let Some(Reverse((due_ns, _, id, action))) = self.planned.pop() {
            let Some(mut journey) = self.journeys[id as usize].take() else { continue };
            if due_ns <= now_ns {
                let path = ACTIONS[usize::from(action)].path();
                let key = CellKey { phase: journey.phase, path, outcome: Outcome::Unsent };
                self.recorder.record(key, now_ns - due_ns, now_ns - due_ns);
            }
            journey.open_requests -= 1;
            self.keep_or_end(id, journey, now_ns);
        }
    }

    fn report_second(&mut self, tick: u64, now_ns: u64) {
        let mut frame = Box::new(self.recorder.take(tick));
        let before = std::mem::replace(&mut self.usage, Usage::read(now_ns));
        frame.in_flight = self.in_flight;
        let oldest_ns = self.visits.peek().map_or(u64::MAX, |(due_ns, _)| due_ns);
        frame.behind_us = now_ns.saturating_sub(oldest_ns) / 1_000;
        frame.cpu_ns = self.usage.cpu_ns.saturating_sub(before.cpu_ns);
        frame.starved_ns = self.usage.starved_ns.saturating_sub(before.starved_ns);
        frame.wall_ns = self.usage.at_ns.saturating_sub(before.at_ns);
        // Nobody listens any more only when the run has been given up.
        let _ = self.reports.send(Report::Second(frame));
    }

    fn finish(&mut self, tick: u64, end_ns: u64) -> io::Result<()> {
        for id in 0..self.connections.len() {
            if self.connections[id].request.is_some() {
                self.fail(id as u32, Outcome::TimedOut)?;
            }
        }
        self.drop_planned();
        let now_ns = self.clock.now_ns();
        self.count_unsent(now_ns.min(end_ns));
        self.report_second(tick, now_ns);
        self.log.flush()
    }
}

/// Shoppers of a phase with the upper ends of their shares of `[0, 1)`.
fn shares(scenario: &crate::scenario::Scenario, names: &[String]) -> Vec<(f64, u16)> {
    let chosen: Vec<(usize, f64)> = scenario
        .shoppers
        .iter()
        .enumerate()
        .filter(|(_, shopper)| names.is_empty() || names.contains(&shopper.name))
        .map(|(index, shopper)| (index, shopper.weight))
        .collect();
    let total: f64 = chosen.iter().map(|(_, weight)| weight).sum();
    let mut up_to = 0.0;
    chosen
        .into_iter()
        .map(|(index, weight)| {
            up_to += weight / total;
            (up_to, index as u16)
        })
        .collect()
}

fn ignore_interrupted(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) }
}

/// What the thread has had of the processors.
#[derive(Debug, Default)]
struct Usage {
    at_ns: u64,
    cpu_ns: u64,
    starved_ns: u64,
}

impl Usage {
    fn read(at_ns: u64) -> Self {
        let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        let cpu_ns = cpu.tv_sec as u64 * SECOND_NS + cpu.tv_nsec as u64;
        // Second number of schedstat: nanoseconds runnable but not running. Elsewhere than on Linux: not known.
        let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        let starved_ns = schedstat.split_whitespace().nth(1).and_then(|text| text.parse().ok()).unwrap_or(0);
        Self { at_ns, cpu_ns, starved_ns }
    }
}
