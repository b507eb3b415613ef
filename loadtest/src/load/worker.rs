//! One thread of the load: an event loop over its connections, its visits and its clock.
//!
//! A request is due by the schedule, never because an answer arrived (but in a closed phase). When it is due and
//! no connection is free, it waits and is counted from its due time.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::Duration;

use mio::{Events, Poll, Token};

use super::answer_log::AnswerLog;
use super::connection::{InFlight, Ready};
use super::crowd::{Crowd, Due};
use super::journey::Answer;
use super::link::{Link, Way};
use super::plan::{Clock, Plan, ns};
use super::recorder::{CellKey, Frame, Recorder};
use super::usage::Usage;
use super::wake_timer::WakeTimer;
use crate::outcome::{Action, Outcome};
use crate::wire::request::RequestKit;
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
    links: Vec<Link>,
    /// Lanes of a link; each carries one request at a time. They are numbered through all links.
    streams: u32,
    free: VecDeque<u32>,
    /// Since when each lane has been free.
    free_since_ns: Vec<u64>,
    /// Links that have been asked for something since they were last looked at.
    asked: Vec<usize>,
    crowd: Crowd,
    in_flight: u64,
    /// An answer has come since the last scan.
    heard: bool,
    /// Connections that were refused since the last answer.
    refused: u64,
    recorder: Recorder,
    log: AnswerLog,
    reports: Sender<Report>,
    outgoing: Vec<u8>,
    incoming: Vec<u8>,
    usage: Usage,
}

impl Worker {
    fn new(plan: Arc<Plan>, index: usize, reports: Sender<Report>) -> io::Result<Self> {
        let poll = Poll::new()?;
        let workers = plan.scenario.client.workers as usize;
        let all = plan.scenario.client.connections as usize;
        let share = all / workers + usize::from(index < all % workers);
        let timer = WakeTimer::new(poll.registry(), Token(share))?;
        let scenario = &plan.scenario;
        let streams = scenario.client.streams();
        let lanes = share as u32 * streams;
        let kits: Vec<_> = plan
            .targets
            .iter()
            .map(|target| RequestKit::new(target, &plan.sales, &plan.headers, plan.identity.clone()))
            .collect();
        let link = |id: usize| Link::new(&kits[id % kits.len()], scenario.client.http2.then_some(streams));
        Ok(Self {
            index,
            clock: plan.clock,
            poll,
            timer,
            links: (0..share).map(link).collect(),
            kits,
            streams,
            // One of each link first: the load begins on all of them.
            free: (0..lanes).map(|n| n % share as u32 * streams + n / share as u32).collect(),
            free_since_ns: vec![0; lanes as usize],
            asked: Vec::new(),
            // Until the start is known nobody is due.
            crowd: Crowd::new(Arc::clone(&plan), index, u64::MAX / 4),
            in_flight: 0,
            heard: false,
            refused: 0,
            recorder: Recorder::new(scenario.phases.len()),
            log: AnswerLog::create(&plan.folder, &plan.run_id, index)?,
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
        let mut waiting: VecDeque<usize> = (0..self.links.len()).collect();
        let mut connecting = 0;
        while (connecting > 0 || !waiting.is_empty())
            && self.clock.now_ns() < give_up_ns
            && !self.plan.interrupt.requested()
        {
            while connecting < CONNECTING_MAX
                && let Some(id) = waiting.pop_front()
            {
                let target = &self.plan.targets[id % self.kits.len()];
                let way = Way { target, registry: self.poll.registry(), token: Token(id) };
                connecting += usize::from(self.links[id].connect(&way).is_ok());
            }
            self.poll.poll(&mut events, Some(Duration::from_millis(50))).or_else(ignore_interrupted)?;
            for event in &events {
                let Token(id) = event.token();
                let Some(link) = self.links.get_mut(id) else { continue };
                let was_connecting = !link.is_closed() && !link.is_open();
                link.go_on(Ready::of(event), 0, &mut buffer, &mut Vec::new(), |_, _, _| {});
                if was_connecting && (link.is_open() || link.is_closed()) {
                    connecting -= 1;
                }
            }
        }
        self.incoming = buffer;
        Ok(self.links.iter().filter(|link| link.is_open()).count())
    }

    fn run(&mut self, start_ns: u64) -> io::Result<()> {
        let plan = Arc::clone(&self.plan);
        self.crowd = Crowd::new(Arc::clone(&plan), self.index, start_ns);
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
            let mut now_ns = self.settle()?;
            if now_ns >= scan_ns {
                scan_ns = now_ns + SCAN_NS;
                self.fail_timed_out(now_ns)?;
                self.look_for_life(start_ns, now_ns);
                if (plan.interrupt.requested() || plan.signs.gone()) && !interrupted {
                    interrupted = true;
                    self.turn_away(now_ns, now_ns);
                    stop_ns = stop_ns.min(now_ns + INTERRUPTED_DRAIN_NS);
                }
            }
            while now_ns >= tick_ns {
                self.report_second(tick, now_ns);
                tick += 1;
                tick_ns += SECOND_NS;
            }
            let at_rest = self.in_flight == 0 && self.crowd.is_over();
            if (at_rest && (now_ns >= end_ns || interrupted)) || now_ns >= stop_ns {
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
                if id < self.links.len() {
                    self.on_ready(id, Ready::of(event))?;
                    // What became due meanwhile goes out now, not after the other events of this round.
                    self.settle()?;
                }
            }
        }
        self.finish(tick, end_ns)
    }

    /// Gives the engine up when nobody has heard from it for long and it refuses connections. One that is only slow
    /// takes them.
    fn look_for_life(&mut self, start_ns: u64, now_ns: u64) {
        if std::mem::take(&mut self.heard) {
            self.refused = 0;
            self.plan.signs.answered(now_ns);
        }
        let silent_ns = now_ns.saturating_sub(self.plan.signs.last_answer_ns().max(start_ns));
        let give_up_ns = ns(self.plan.scenario.client.give_up_s);
        if give_up_ns > 0 && self.refused > 0 && silent_ns >= give_up_ns {
            self.plan.signs.give_up();
        }
    }

    /// Sends what is due, and goes on with what was asked, until there is neither. Returns the time.
    fn settle(&mut self) -> io::Result<u64> {
        loop {
            let now_ns = self.dispatch()?;
            if self.asked.is_empty() {
                return Ok(now_ns);
            }
            while let Some(id) = self.asked.pop() {
                self.on_ready(id, Ready::Asked)?;
            }
        }
    }

    /// Sends what is due while connections are free. Returns the time.
    fn dispatch(&mut self) -> io::Result<u64> {
        loop {
            let now_ns = self.clock.now_ns();
            let Some(lane) = self.free_lane() else { return Ok(now_ns) };
            let Some(due) = self.crowd.take_due(now_ns) else {
                self.free.push_front(lane);
                return Ok(now_ns);
            };
            // Its own lateness: from when it was due and a connection was free.
            let possible_ns = due.at_ns.max(self.free_since_ns[lane as usize]);
            self.recorder.record_lag(now_ns.saturating_sub(due.at_ns), now_ns.saturating_sub(possible_ns));
            self.send(lane, due, now_ns)?;
        }
    }

    /// The next lane that can be used.
    fn free_lane(&mut self) -> Option<u32> {
        while let Some(lane) = self.free.pop_front() {
            if self.links[(lane / self.streams) as usize].takes(lane % self.streams) {
                return Some(lane);
            }
        }
        None
    }

    fn next_wake(&self, at_latest_ns: u64) -> u64 {
        // Without a free connection only an answer helps, and that wakes by itself.
        if self.free.is_empty() { at_latest_ns } else { at_latest_ns.min(self.crowd.next_ns()) }
    }

    fn send(&mut self, lane: u32, due: Due, now_ns: u64) -> io::Result<()> {
        let id = (lane / self.streams) as usize;
        let target = id % self.kits.len();
        let link = &mut self.links[id];
        let close = link.is_last(self.plan.scenario.client.requests_per_connection);
        let Some((ask, held_when_asked)) = self.crowd.ask(due, close) else {
            self.free.push_back(lane);
            return Ok(());
        };
        let request = InFlight {
            journey: due.journey,
            action: due.action,
            due_ns: due.at_ns,
            sent_ns: now_ns,
            held_when_asked,
        };
        self.in_flight += 1;
        self.recorder.counters.sent += 1;
        let way =
            Way { target: &self.plan.targets[target], registry: self.poll.registry(), token: Token(id) };
        let kit = &self.kits[target];
        let (connects, sent) = link.send(lane % self.streams, request, kit, ask, &way, &mut self.outgoing);
        let is_driven = link.is_driven();
        self.look_at(id, is_driven);
        self.recorder.counters.connects += u64::from(connects);
        sent.or_else(|_| self.give_up(lane, Outcome::ConnectFailed))
    }

    fn on_ready(&mut self, id: usize, ready: Ready) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.incoming);
        let mut link = std::mem::take(&mut self.links[id]);
        let (mut freed, mut heard) = (Vec::new(), Ok(()));
        let first = id as u32 * self.streams;
        let last = self.plan.scenario.client.requests_per_connection;
        link.go_on(ready, last, &mut buffer, &mut freed, |lane, request, answer| {
            let told = match answer {
                Ok(answer) => self.on_answer(request, answer),
                Err(outcome) => self.on_silence(request, outcome),
            };
            heard = std::mem::replace(&mut heard, Ok(())).and(told);
            self.in_flight -= 1;
            self.release(first + lane);
        });
        freed.into_iter().for_each(|lane| self.release(first + lane));
        if link.needs_connection() {
            let target = &self.plan.targets[id % self.kits.len()];
            let way = Way { target, registry: self.poll.registry(), token: Token(id) };
            self.recorder.counters.connects += 1;
            // One that cannot be had is asked for again when its requests have timed out.
            let _ = link.connect(&way);
        }
        self.links[id] = link;
        self.incoming = buffer;
        heard
    }

    /// Has the link looked at before the next wait, if nothing else does that.
    fn look_at(&mut self, id: usize, is_driven: bool) {
        if is_driven && !self.asked.contains(&id) {
            self.asked.push(id);
        }
    }

    /// The lane is free from now on.
    fn release(&mut self, lane: u32) {
        self.free_since_ns[lane as usize] = self.clock.now_ns();
        self.free.push_back(lane);
    }

    fn on_answer(&mut self, request: InFlight, response: &Response<'_>) -> io::Result<()> {
        let code = if response.status >= 400 { json_text(&response.body, "code") } else { &[] };
        let outcome = request.action.classify(response.status, code);
        self.heard = true;
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
        let is_of_room = matches!(request.action, Action::Register | Action::Wait) && response.status < 400;
        let body = if is_of_room { &response.body[..] } else { &[] };
        self.conclude(request, outcome, (order, status), response.retry_after_ms, body)
    }

    /// The request in this lane gets no answer any more.
    fn give_up(&mut self, lane: u32, outcome: Outcome) -> io::Result<()> {
        let link = &mut self.links[(lane / self.streams) as usize];
        let Some(request) = link.give_up(lane % self.streams) else { return Ok(()) };
        let is_driven = link.is_driven();
        self.look_at((lane / self.streams) as usize, is_driven);
        self.in_flight -= 1;
        self.release(lane);
        self.on_silence(request, outcome)
    }

    fn on_silence(&mut self, request: InFlight, outcome: Outcome) -> io::Result<()> {
        self.refused += u64::from(outcome == Outcome::ConnectFailed);
        self.conclude(request, outcome, ("", ""), None, &[])
    }

    fn request(&self, lane: u32) -> Option<&InFlight> {
        self.links[(lane / self.streams) as usize].request(lane % self.streams)
    }

    /// Counts a request's outcome and lets its visitor go on.
    fn conclude(
        &mut self,
        request: InFlight,
        outcome: Outcome,
        (order, status): (&str, &str),
        retry_after_ms: Option<u64>,
        body: &[u8],
    ) -> io::Result<()> {
        let now_ns = self.clock.now_ns();
        let answer = Answer {
            action: request.action,
            due_ns: request.due_ns,
            held_when_asked: request.held_when_asked,
            outcome,
            order,
            status,
            retry_after_ms,
            body,
        };
        let Some(after) = self.crowd.hear(request.journey, answer, now_ns) else { return Ok(()) };
        let service_ns = now_ns.saturating_sub(request.sent_ns);
        // A payment under way is counted when its outcome is known.
        if outcome != Outcome::Paying {
            let key = CellKey { phase: after.phase, path: request.action.path(), outcome };
            self.recorder.record(key, now_ns.saturating_sub(request.due_ns), service_ns);
        }
        for (path, outcome, due_ns) in [after.concluded, after.unresolved].into_iter().flatten() {
            let response_ns = now_ns.saturating_sub(due_ns);
            // Over several requests there is no other time of sending than the first one's.
            let service_ns = if due_ns == request.due_ns { service_ns } else { response_ns };
            self.recorder.record(CellKey { phase: after.phase, path, outcome }, response_ns, service_ns);
        }
        self.recorder.counters.untruthful += u64::from(after.untruthful);
        self.recorder.note_demand(after.campaign, after.demand_units);
        after.row.map_or(Ok(()), |row| self.log.append(&row))
    }

    fn fail_timed_out(&mut self, now_ns: u64) -> io::Result<()> {
        let sent_before_ns = now_ns.saturating_sub(self.plan.scenario.client.timeout_ms * 1_000_000);
        for lane in 0..self.free_since_ns.len() as u32 {
            if self.request(lane).is_some_and(|request| request.sent_ns <= sent_before_ns) {
                self.give_up(lane, Outcome::TimedOut)?;
            }
        }
        Ok(())
    }

    /// Nobody is served any more: counts who was due until `until_ns`, with the time that they have waited.
    fn turn_away(&mut self, now_ns: u64, until_ns: u64) {
        let recorder = &mut self.recorder;
        self.crowd.turn_away(now_ns, until_ns, |key, waited_ns| recorder.record(key, waited_ns, waited_ns));
    }

    fn report_second(&mut self, tick: u64, now_ns: u64) {
        let mut frame = Box::new(self.recorder.take(tick));
        let before = std::mem::replace(&mut self.usage, Usage::read(now_ns));
        frame.in_flight = self.in_flight;
        frame.behind_us = now_ns.saturating_sub(self.crowd.visit_ns()) / 1_000;
        frame.cpu_ns = self.usage.cpu_ns.saturating_sub(before.cpu_ns);
        frame.starved_ns = self.usage.starved_ns.saturating_sub(before.starved_ns);
        frame.wall_ns = self.usage.at_ns.saturating_sub(before.at_ns);
        // Nobody listens any more only when the run has been given up.
        let _ = self.reports.send(Report::Second(frame));
    }

    fn finish(&mut self, tick: u64, end_ns: u64) -> io::Result<()> {
        for lane in 0..self.free_since_ns.len() as u32 {
            if self.request(lane).is_some() {
                self.give_up(lane, Outcome::TimedOut)?;
            }
        }
        let now_ns = self.clock.now_ns();
        self.turn_away(now_ns, now_ns.min(end_ns));
        self.report_second(tick, now_ns);
        self.log.flush()
    }
}

fn ignore_interrupted(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) }
}
