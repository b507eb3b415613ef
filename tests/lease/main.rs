//! The ledger: one suite for the embedded and the shared one; the protocol of the latter, checked exhaustively; its scripts,
//! on a real server; whole clusters, with faults; the relay of events.

use testbed::servers::redis as server;

mod answers;
mod book;
mod breaks;
mod cluster;
mod contract;
mod explore;
mod going_back;
mod hearing;
mod hung_hosts;
mod link;
mod mutants;
mod node;
mod protocol;
mod relay;
mod resting;
mod scripts;
mod step;
mod store;
mod symmetry;
mod trial;
mod walk;
mod wire;
mod world;
