//! The PostgreSQL order store against a real server: several nodes on one database, and everything that can break between
//! a node and its store.

use testbed::servers::{postgres as server, proxy};

#[path = "../checkout/scripted.rs"]
#[allow(dead_code, reason = "the tests of checkout use the rest")]
mod scripted;

mod buyers;
mod checkout;
mod engine;
mod events;
mod failover;
mod faults;
mod fence;
mod following;
mod node;
mod outage;
mod sharing;
mod store;
mod tls;
mod unwanted;
