#![doc = include_str!("ARCHITECTURE.md")]

pub mod admission;
pub mod checkout;
pub mod domain;
pub mod ledger;
pub mod orders;
