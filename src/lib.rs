#![doc = include_str!("ARCHITECTURE.md")]

pub mod admin;
pub mod config;
pub mod domain;
pub mod orders;
pub mod settings;
pub mod telemetry;
