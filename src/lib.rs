#![doc = include_str!("ARCHITECTURE.md")]

pub mod checkout;
pub mod domain;
pub mod orders;
