#![doc = include_str!("ARCHITECTURE.md")]

pub mod admin;
pub mod admission;
pub mod app;
pub mod checkout;
pub mod clock;
pub mod config;
pub mod domain;
pub mod edge;
pub mod exit;
pub mod ledger;
pub mod orders;
pub mod settings;
pub mod supervisor;
pub mod telemetry;
pub mod terminal;
pub mod tls;
