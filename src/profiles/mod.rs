//! Profiles of the running engine, in the format of pprof, and what its allocator holds.

mod cpu;
mod heap;
mod pprof_format;

pub use cpu::CpuProfiler;
pub use heap::allocator_statistics;
