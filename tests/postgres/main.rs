//! The PostgreSQL order store against a real server: several nodes on one database, and everything that can break between
//! a node and its store.

mod buyers;
mod engine;
mod events;
mod faults;
mod fence;
mod node;
mod store;

use xtask::servers::{postgres as server, proxy};
