//! What the ledger remembers of the order stores that sell from it.

use redis::{FromRedisValue, Value};

use super::books::{RedisBooks, Script, strange};
use super::fault::RedisFault;
use crate::domain::StoreIdentity;
use crate::orders::{StoreHistory, StoreMark};

const STORE: Script = Script { text: include_str!("../../../lua/store.lua") };

/// The hash of all stores. Its name carries no identity: it is where stores meet.
const STORES_KEY: &str = "seckill:{stores}";

/// What the ledger says to a store that tells how far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remembered {
    /// It was not further before, and is remembered as it is.
    Ok,
    /// It was further before: it has gone back, unless it has come as far meanwhile.
    Further {
        /// The timeline that it was in.
        timeline: u64,
        /// How far it had come.
        mark: StoreMark,
    },
    /// Its books are called by the names of sales alone, and so are another store's.
    NamesAreTaken,
}

impl RedisBooks {
    /// Tells the ledger how far a store has come.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn tell_store(&self, store: &StoreHistory) -> Result<Remembered, RedisFault> {
        self.meet_stores(store).await.map(|(remembered, _)| remembered)
    }

    /// How long ago the store `other` has told the ledger how far it has come, in ms; `None` when it never has.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn store_seen_ms(
        &self,
        store: &StoreHistory,
        other: StoreIdentity,
    ) -> Result<Option<u64>, RedisFault> {
        let (_, others) = self.meet_stores(store).await?;
        let other = other.to_string();
        Ok(others.into_iter().find(|(known, _)| *known == other).map(|(_, ms)| ms))
    }

    async fn meet_stores(
        &self,
        store: &StoreHistory,
    ) -> Result<(Remembered, Vec<(String, u64)>), RedisFault> {
        let StoreHistory { identity, timeline, own_names, mark } = store;
        let arguments = [
            identity.to_string(),
            timeline.to_string(),
            mark.last_event.to_string(),
            mark.last_change.to_string(),
            mark.decisions.to_string(),
            u8::from(!own_names).to_string(),
        ];
        let value = self.evaluate(&STORE, &[STORES_KEY.to_owned()], &arguments).await?;
        let words = Vec::<Value>::from_redis_value(value).map_err(|error| strange(&error))?;
        let [status, timeline, last_event, last_change, decisions, others @ ..] = words.as_slice() else {
            return Err(RedisFault::Strange("too few words about a store".into()));
        };
        let number = |word: &Value| u64::from_redis_value(word.clone()).map_err(|error| strange(&error));
        let text = |word: &Value| String::from_redis_value(word.clone()).map_err(|error| strange(&error));
        let mark = StoreMark {
            last_event: number(last_event)?,
            last_change: number(last_change)?,
            decisions: number(decisions)?,
        };
        let remembered = match text(status)?.as_str() {
            "ok" => Remembered::Ok,
            "older" => Remembered::Further { timeline: number(timeline)?, mark },
            "taken" => Remembered::NamesAreTaken,
            other => return Err(RedisFault::Strange(other.to_owned())),
        };
        let others = others.chunks_exact(2).map(|pair| Ok((text(&pair[0])?, number(&pair[1])?)));
        Ok((remembered, others.collect::<Result<_, RedisFault>>()?))
    }
}
