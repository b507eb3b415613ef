//! Everybody who sends the load of a run: this process's workers, and the agents'.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use super::hired_agent::HiredAgent;
use super::message::Share;
use crate::collector::Collector;
use crate::environment::AgentMachine;
use crate::load::plan::Plan;
use crate::load::worker::Report;
use crate::load::workers::{Starter, Workers};
use crate::wire::buyer::BuyerTokens;
use crate::wire::request::Reach;

/// How long an agent may take until it is ready: a log-in, and its connections.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How often a signal is looked for while the load is sent.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Who is asked for help, and what they need to know beside the plan.
#[derive(Debug, Clone)]
pub struct Help<'a> {
    /// The commands of the agents.
    pub agents: &'a [String],
    /// For how long an agent may say nothing while it sends, or while it hands on its logs.
    pub silence_max: Duration,
    /// The engine's data-plane addresses, as they were given.
    pub targets: &'a [String],
    /// How they are found and trusted.
    pub reach: &'a Reach,
    /// The tokens of buyers.
    pub tokens: Option<&'a BuyerTokens>,
}

/// Everybody who sends the load.
#[derive(Debug)]
pub struct Crew {
    workers: Workers,
    starter: Starter,
    agents: Vec<HiredAgent>,
    silence_max: Duration,
    reports: Receiver<Report>,
    size: usize,
}

impl Crew {
    /// Starts this process's workers and the agents, who open their connections. The plan's scenario has the workers of
    /// all together; each machine has the same number.
    ///
    /// # Errors
    /// A thread or a command cannot be started.
    pub fn hire(plan: &Arc<Plan>, help: &Help<'_>) -> Result<Self, String> {
        let (sender, reports) = channel();
        let size = plan.scenario.client.workers as usize;
        let each = size / (help.agents.len() + 1);
        let (workers, starter) = Workers::spawn(plan, 0..each, &sender)?;
        let hire = |(number, command): (usize, &String)| {
            let share = Share {
                first_worker: (number + 1) * each,
                workers: each,
                scenario: plan.scenario.clone(),
                run_id: plan.run_id.clone(),
                sales: plan.sales.clone(),
                targets: help.targets.to_vec(),
                reach: help.reach.clone(),
                headers: plan.headers.clone(),
                tokens: help.tokens.cloned(),
            };
            HiredAgent::hire(command, share, &plan.folder, plan.clock, &sender)
        };
        let agents = help.agents.iter().enumerate().map(hire).collect::<Result<_, _>>()?;
        Ok(Self { workers, starter, agents, silence_max: help.silence_max, reports, size })
    }

    /// Waits until everybody has its connections; tells how many they are.
    ///
    /// # Errors
    /// Somebody ended, or an agent said nothing for a minute.
    pub fn wait_ready(&self) -> Result<usize, String> {
        let mut connected = 0;
        for _ in 0..self.size {
            match self.reports.recv_timeout(READY_WITHIN) {
                Ok(Report::Ready(count)) => connected += count,
                Ok(Report::Ended(Err(why))) => return Err(why),
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("an agent was not ready within {} s", READY_WITHIN.as_secs()));
                }
                _ => return Err("a worker ended before the start".into()),
            }
        }
        Ok(connected)
    }

    /// The machines of the agents.
    pub fn machines(&self) -> Vec<AgentMachine> {
        self.agents.iter().filter_map(HiredAgent::machine).collect()
    }

    /// Sends the load from this time of the run's clock on, to its end, and gathers what is measured.
    ///
    /// # Errors
    /// Somebody could not go on, an agent fell silent, or a file of the output folder cannot be written.
    pub fn send(self, plan: &Plan, start_ns: u64, collector: &mut Collector) -> Result<(), String> {
        let file = |error: std::io::Error| format!("output folder: {error}");
        self.starter.start(start_ns)?;
        self.agents.iter().try_for_each(|agent| agent.start(start_ns))?;
        let silence_ns = u64::try_from(self.silence_max.as_nanos()).unwrap_or(u64::MAX);
        let (mut running, mut stopped) = (self.size, false);
        while running > 0 {
            if plan.interrupt.requested() && !stopped {
                stopped = true;
                self.agents.iter().for_each(HiredAgent::stop);
            }
            // Before the start nobody has anything to say.
            if plan.clock.now_ns() > start_ns.saturating_add(silence_ns) {
                self.agents.iter().try_for_each(|agent| agent.check_speaks(self.silence_max))?;
            }
            match self.reports.recv_timeout(LOOK_EVERY) {
                Ok(Report::Second(frame)) => collector.take(*frame).map_err(file)?,
                Ok(Report::Ended(outcome)) => {
                    outcome?;
                    running -= 1;
                }
                Ok(Report::Ready(_)) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err("a worker has broken down".into()),
            }
        }
        self.workers.join()?;
        for agent in self.agents {
            if agent.finish(self.silence_max)? {
                plan.signs.give_up();
            }
        }
        collector.finish().map_err(file)
    }
}
