//! The stream of order events, as the relay reads and moves its end.

use redis::{FromRedisValue, Value};

use super::books::{RedisBooks, Script, strange};
use super::fault::RedisFault;
use crate::domain::StoreIdentity;

const RELAY: Script = Script { text: include_str!("../../../lua/relay.lua") };
const RELAY_CLEAR: Script = Script { text: include_str!("../../../lua/relay_clear.lua") };

/// Where a stream ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamEnd {
    /// The number of its last event, 0 for a stream that is not there.
    pub last: u64,
    /// The JSON of that event, if it is still there.
    pub event: Option<String>,
    /// The identity of the order store that has it, if the entry says so.
    pub store: Option<String>,
}

impl RedisBooks {
    /// Appends numbered events of an order store to a stream, if `after` is the last number in it. Returns its end as it is
    /// now.
    ///
    /// # Errors
    /// Redis does not answer: the events may be there, or come later.
    pub async fn append(
        &self,
        stream: &str,
        after: u64,
        length_max: u64,
        store: StoreIdentity,
        events: impl Iterator<Item = (u64, &str)>,
    ) -> Result<StreamEnd, RedisFault> {
        let mut arguments = vec![after.to_string(), length_max.max(1).to_string(), store.to_string()];
        for (seq, json) in events {
            arguments.extend([seq.to_string(), json.to_owned()]);
        }
        let value = self.evaluate(&RELAY, &[stream.to_owned()], &arguments).await?;
        let (last, fields) =
            <(u64, Vec<String>)>::from_redis_value(value).map_err(|error| strange(&error))?;
        let mut end = StreamEnd { last, ..StreamEnd::default() };
        for pair in fields.chunks_exact(2) {
            match pair[0].as_str() {
                "event" => end.event = Some(pair[1].clone()),
                "store" => end.store = Some(pair[1].clone()),
                _ => {}
            }
        }
        Ok(end)
    }

    /// Deletes a stream, if `last` is the last number in it. Says whether it did.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn clear_stream(&self, stream: &str, last: u64) -> Result<bool, RedisFault> {
        let value: Value = self.evaluate(&RELAY_CLEAR, &[stream.to_owned()], &[last.to_string()]).await?;
        u64::from_redis_value(value).map(|deleted| deleted == 1).map_err(|error| strange(&error))
    }
}
