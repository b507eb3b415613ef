//! What the benches share: how they set up the engine's core, and how they tell their figures.
//!
//! Every binary prints one figure a line, `name value unit`, so that people and `cargo xtask perf` read the same text.

pub mod bare;
pub mod figures;
pub mod harness;
pub mod process;
