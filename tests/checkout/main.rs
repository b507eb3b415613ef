//! Paying and letting go, over the real order store: every failure at every step, restarts, deadlines, and the HTTP
//! contracts against servers that misbehave.

mod example_gateway;
mod house;
mod http;
mod scripted;
mod tcc;
