//! The ledger of engines that sell one stock together: the books are in Redis, written by the scripts of `lua/` alone.

mod link;
mod movements;

pub use link::{RedisFault, RedisLink, RedisSettings};
pub use movements::{
    Caller, Chunk, Life, Line, Movement, Rebuild, RedisBooks, Reply, Snapshot, Verdict, book_key,
};
