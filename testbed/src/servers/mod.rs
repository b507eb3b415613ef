//! One kind of server a file, and all of them together.

pub mod browser;
pub mod cluster;
pub mod engine;
pub mod haproxy;
pub mod nginx;
pub mod pgbouncer;
pub mod postgres;
pub mod process;
pub mod prometheus;
pub mod proxy;
pub mod recipe;
pub mod redis;
pub mod redis_cluster;
pub mod sentinel;
pub mod varnish;
