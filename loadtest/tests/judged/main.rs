//! The tester judged: against shops with known faults, by its own binary.

mod promises;
mod shop;
mod tester;
