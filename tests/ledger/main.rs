//! The ledger that several nodes share: its protocol, checked exhaustively; its scripts, on a real server; whole clusters,
//! with faults; the relay of events.

mod book;
mod breaks;
mod cluster;
mod explore;
mod link;
mod mutants;
mod node;
mod protocol;
mod relay;
mod scripts;
mod store;
mod world;

use xtask::servers::redis as server;
