//! Real servers for tests and for the project's commands: PostgreSQL, Redis, engines, and the lines between them.
//!
//! Everything listens on the loopback interface, on free ports, keeps its data in a temporary folder, and ends with its
//! value. What cannot be started is a panic: nobody here could go on without it.

pub mod servers;
