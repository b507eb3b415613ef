//! The wire to the books of engines that sell one stock together: they are in Redis, written by the scripts of `lua/` alone.
//!
//! [`RedisBooks`] sends the movements of [`lease`](super::lease), [`RedisLink`] carries them, and [`EventRelay`] uses the
//! same link for the stream of order events.

mod books;
mod fault;
mod link;
mod relay;
mod route;
mod settings;

pub use books::{RedisBooks, book_key};
pub use fault::RedisFault;
pub use link::RedisLink;
pub use relay::{EventRelay, RelayError, RelaySettings, RelayedEvent};
pub use settings::RedisSettings;
