//! Several real engines, one stock: PostgreSQL, Redis and a proxy in every line, a crowd that clicks everywhere, and
//! everything that can die, stall, forget or be cut off.
//!
//! `SECKILL_FAULT_ROUNDS` sets how often each fault strikes (`cargo xtask faults --rounds 20` is the long form).

mod crowded;
mod exactness;
mod faults;
mod fixture;
mod monitor;
mod round;
mod shoppers;
