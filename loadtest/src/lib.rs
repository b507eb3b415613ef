//! The load tester of a flash-sale engine. It knows the engine only by HTTP: it can neither cheat nor be fooled.
//!
//! A run, in the order of the modules: a [`scenario`] says who comes when; [`load`] sends it from a few threads, each
//! request at its due time; the [`collector`] gathers what they measure; [`verify`] holds every promise that the
//! engine made against its store; [`summary`] and its neighbours write the output folder; [`exit`] is the answer.

pub mod admin;
pub mod agents;
pub mod bundled;
pub mod cli;
pub mod client;
pub mod collector;
pub mod compare;
pub mod console;
pub mod environment;
pub mod exit;
pub mod first_look;
pub mod folder;
pub mod hdr_files;
mod hdr_text;
pub mod load;
pub mod objectives;
pub mod outcome;
pub mod overrides;
pub mod probes;
pub mod progress;
pub mod report;
pub mod run;
pub mod scenario;
pub mod search;
pub mod summary;
pub mod text;
pub mod usl;
pub mod verify;
pub mod wire;
