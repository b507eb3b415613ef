#![doc = include_str!("ARCHITECTURE.md")]

pub mod admission;
pub mod domain;
pub mod edge;
pub mod ledger;
pub mod orders;
pub mod settings;
pub mod telemetry;
