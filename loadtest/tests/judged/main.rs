//! The tester judged: against shops with known faults, by its own binary.

mod faults;
mod honesty;
mod over_http2;
mod over_tls;
mod peers;
mod promises;
mod several_machines;
mod shop;
mod summaries;
mod tester;
mod through_proxies;
mod verdicts;
