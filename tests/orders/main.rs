//! The order store and the writer in front of it, driven in this process.

mod contract;
mod postgres;
mod sqlite;
mod writer;

use xtask::servers::postgres as server;
