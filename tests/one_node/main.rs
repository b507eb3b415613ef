//! The real engine under a crowd: what it promises, counted from outside. Each test starts the binary on a store of its
//! own, asks it over HTTP, and compares what every buyer was told with the orders that the engine exports.

mod acts;
mod archive;
mod backup;
mod busy_page;
mod buyer_page;
mod calendar;
mod console;
mod console_figures;
mod crash;
mod crash_archiving;
mod deadlines;
mod exactness;
mod gatekeeper;
mod history;
mod life;
mod limits;
mod log_tail;
mod lookups;
mod overload;
mod page_doubts;
mod pictures;
mod rolling;
mod room_figures;
mod room_moves;
mod scarce;
mod search;
mod service_manager;
mod waiting_room;
mod webhooks;
