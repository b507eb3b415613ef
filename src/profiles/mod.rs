//! Profiles of the running engine, in the format of pprof.

mod cpu;
mod pprof_format;

pub use cpu::CpuProfiler;
