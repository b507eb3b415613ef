//! Paying and letting go, over the real order store: every failure at every step, restarts, deadlines, and the HTTP
//! contracts against servers that misbehave. Where several engines, other configurations or `kill -9` matter, the engine is
//! the real process.

mod buyers;
mod collector;
mod direction;
mod doubt;
mod example_gateway;
mod expiry;
mod failures;
mod fixture;
mod gateway_change;
mod http;
mod limits;
mod operator;
mod outcome;
mod process;
mod refunds;
mod scripted;
mod several_nodes;
mod traces;
mod two_engines;
