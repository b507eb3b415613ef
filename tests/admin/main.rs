//! The control plane over real HTTP, with an engine behind it that has no edge.

mod callers;
mod campaigns;
mod changes;
mod engine;
mod feeds;
mod figures;
