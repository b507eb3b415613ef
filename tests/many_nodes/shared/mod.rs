//! Several real engines on one stock, with a real redis-server and a real PostgreSQL.

mod buyers;
mod calendar;
mod fixture;
mod instance_lock;
mod operating;
mod refusals;
mod selling;
