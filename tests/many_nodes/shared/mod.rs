//! Several real engines on one stock, with a real redis-server and a real PostgreSQL.

mod abilities;
mod bloat;
mod bloat_figures;
mod buyers;
mod calendar;
mod fixture;
mod hearing;
mod idle;
mod instance_lock;
mod operating;
mod pauses;
pub mod redis_kinds;
mod refusals;
mod restarts;
mod retirement;
mod room_plot;
mod room_sale;
mod search;
mod selling;
mod starts;
mod store_history;
mod waiting_room;
mod watching;
mod webhooks;
mod wrong_book;
