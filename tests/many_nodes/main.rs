//! Several real engines that sell one stock: what buyers and operators see at each of them, and what becomes of it when
//! anything dies, stalls, forgets or is cut off.

mod cluster;
mod shared;
