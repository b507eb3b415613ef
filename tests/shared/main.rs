//! Several real engines on one stock, with a real redis-server and a real PostgreSQL.

#[path = "../common/mod.rs"]
mod common;

mod buyers;
mod calendar;
mod house;
mod operating;
mod refusals;
mod seats;
mod selling;

use xtask::servers::{postgres, redis as redis_server};
