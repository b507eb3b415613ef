//! The PostgreSQL order store against a real server: several nodes on one database, and everything that can break between
//! a node and its store.

mod buyers;
mod contract;
mod deadlines;
mod engine;
mod events;
mod failover;
mod faults;
mod fence;
mod following;
mod gate;
pub mod node;
mod older;
mod outage;
mod pages;
mod retirement;
mod shared_retirement;
mod shares;
mod sharing;
mod store;
mod tls;
mod trail;
mod unwanted;
