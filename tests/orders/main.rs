//! The order store and the writer in front of it, driven in this process.

use testbed::servers::postgres as server;

mod contract;
mod postgres;
mod sqlite;
mod writer;
