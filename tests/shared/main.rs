//! Several real engines on one stock, with a real redis-server and a real PostgreSQL.

#[path = "../common/mod.rs"]
mod common;

#[path = "../common/postgres.rs"]
mod postgres;

#[path = "../common/redis.rs"]
mod redis_server;

mod buyers;
mod house;
mod operating;
mod seats;
mod selling;
