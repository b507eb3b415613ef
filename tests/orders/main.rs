//! The order store and the writer in front of it, driven in this process.

mod contract;
mod sqlite;
mod writer;
