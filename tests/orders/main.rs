//! The order store and the writer in front of it, driven in this process.

#[path = "../common/postgres.rs"]
mod server;

mod contract;
mod postgres;
mod sqlite;
mod writer;
