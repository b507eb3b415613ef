//! The wire to the books of engines that sell one stock together: they are in Redis, written by the scripts of `lua/` alone.
//!
//! [`RedisBooks`] sends the movements of [`lease`](super::lease), [`RedisLink`] carries them, and [`EventRelay`] uses the
//! same link for the stream of order events.

mod books;
mod dial;
mod fault;
mod link;
mod names;
mod relay;
mod route;
mod sentinels;
mod settings;
mod stores;
mod stream;
mod trial;

pub use books::{Beats, RedisBooks};
pub use fault::RedisFault;
pub use link::RedisLink;
pub use names::KeyNames;
pub use relay::{EventRelay, RelayError, RelayParts, RelaySettings, RelayedEvent};
pub use settings::RedisSettings;
pub use stores::Remembered;
pub use stream::StreamEnd;
pub use trial::Eviction;
