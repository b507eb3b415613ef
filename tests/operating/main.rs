//! What operators do and see: the configuration of the binary, and the control plane over real HTTP, with an engine behind it
//! that has no edge.

mod acts;
mod callers;
mod campaigns;
mod changes;
mod configuration;
mod console_roles;
mod deploy;
mod engine;
mod feeds;
mod figures;
mod identities;
mod live;
mod pages;
mod refunds;
mod roles;
mod trail;
