//! Several machines that send one load.
//!
//! The tester that was asked for a run is the leader. For each agent it runs a command of the user's, such as
//! `ssh gen2 loadtest agent`, and speaks with it over that command's standard input and output: no port is opened, and who
//! may ask an agent for anything is whoever may run commands there. An agent is a process with workers of its own, which
//! are numbered on after those of the others: arrivals, buyers and connections are dealt over the workers by their numbers,
//! so that all machines together send what one would. Every second of every worker goes to the leader as it is measured,
//! with whole histograms, and at the end the answers that promised something: the leader's report, its checks and its
//! verdict are of all machines together.
//!
//! The protocol, in lines of JSON ([`message`]): the leader says [`Ping`](message::ToAgent::Ping) some times, to learn the
//! difference of the two clocks, then [`Load`](message::ToAgent::Load). The agent opens its connections and says
//! [`Ready`](message::FromAgent::Ready) for each worker. At [`Start`](message::ToAgent::Start), a time of the agent's clock, the
//! load begins. The agent sends [`Second`](message::FromAgent::Second) and [`Ended`](message::FromAgent::Ended), then its logs
//! and [`Done`](message::FromAgent::Done). An agent whose input ends before that stops sending and leaves. A run that loses an
//! agent has no result.

pub mod agent;
pub mod crew;
mod hired_agent;
pub mod message;
