//! The order store and the writers in front of it, driven in this process: one contract for the embedded store and for that of
//! several nodes, and what each of them has beside it.

mod contract;
mod deadlines;
mod log;
mod order_model;
mod postgres;
mod retirement;
mod sqlite;
mod telling;
mod waiting_rooms;
mod webhooks;
mod writer;
