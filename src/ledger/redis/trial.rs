//! Whether a server lends: everything that lending needs is done to a key of its own, and what the server says to that is
//! the answer.

use redis::{ErrorKind, FromRedisValue, ServerErrorKind, Value};

use super::super::concerns::Concerns;
use super::fault::RedisFault;
use super::link::RedisLink;

/// The key of the trial: it is gone after each.
const TRIAL_KEY: &str = "seckill:{trial}";

const TRIAL: &str = include_str!("../../../lua/trial.lua");
const TRIAL_STREAM: &str = include_str!("../../../lua/trial_stream.lua");

/// The concern that books may be evicted.
const BOOKS_EVICTED: &str = "ledger-books-evicted";

/// What becomes of the ledger's books when the server is full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Eviction {
    /// They stay: writes are refused instead.
    Never,
    /// They stay as it is set up now; in words, what would have to be otherwise.
    NotNow(String),
    /// They may be evicted; in words, with what to do about it.
    Books(String),
}

impl Eviction {
    /// By the policy of that name, at a server that may take so many bytes (0: as many as it likes).
    fn by(policy: &str, bytes_max: u64) -> Self {
        const CURE: &str = "set maxmemory-policy noeviction, or give the ledger a Redis of its own";
        if policy.starts_with("allkeys-") && bytes_max > 0 {
            Self::Books(format!(
                "Redis evicts any key when it is full (maxmemory-policy {policy}, maxmemory {bytes_max}): a book that is \
                 evicted has to be counted anew, and its sale stands still meanwhile; {CURE}"
            ))
        } else if policy.starts_with("allkeys-") {
            Self::NotNow(format!(
                "Redis would evict any key when it is full (maxmemory-policy {policy}), but has no maxmemory; {CURE}"
            ))
        } else if policy.starts_with("volatile-") {
            Self::NotNow(format!(
                "Redis evicts keys that expire when it is full (maxmemory-policy {policy}); those of the ledger never do, \
                 so they stay, and writes are refused when nothing else is left; {CURE}"
            ))
        } else {
            Self::Never
        }
    }
}

impl Eviction {
    /// Says whether books may be evicted, when that changes.
    pub fn tell(&self, concerns: &Concerns) {
        match self {
            Self::Books(said) => concerns.hold(BOOKS_EVICTED, said),
            Self::Never | Self::NotNow(_) => concerns.settle(BOOKS_EVICTED),
        }
    }
}

impl RedisLink {
    /// Does, to a key of its own, everything that lending needs: a server that takes this lends.
    ///
    /// # Errors
    /// What Redis said, and what to do about it.
    pub async fn trial(&self) -> Result<Eviction, RedisFault> {
        let strange = |said: String| RedisFault::Strange(said);
        let words = Vec::<String>::from_redis_value(self.try_script(TRIAL, TRIAL_KEY).await?);
        match words.map_err(|error| strange(error.to_string()))?.as_slice() {
            [ok, policy, bytes_max] if ok == "ok" => {
                Ok(Eviction::by(policy, bytes_max.parse().unwrap_or_default()))
            }
            other => Err(strange(other.join(" "))),
        }
    }

    /// Asks, without writing anything, whether `stream` may be written.
    ///
    /// # Errors
    /// What Redis said, and what to do about it.
    pub async fn try_stream(&self, stream: &str) -> Result<(), RedisFault> {
        self.try_script(TRIAL_STREAM, stream).await.map(drop).map_err(|fault| match fault {
            RedisFault::Refused(said) => {
                RedisFault::Refused(format!("{said} (the stream {stream}, relay.stream)"))
            }
            other => other,
        })
    }

    async fn try_script(&self, script: &str, key: &str) -> Result<Value, RedisFault> {
        let mut by_hash = redis::cmd("EVALSHA");
        by_hash.arg(redis::Script::new(script).get_hash()).arg(1).arg(key);
        let answer = match self.send(&by_hash).await? {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.send(redis::cmd("EVAL").arg(script).arg(1).arg(key)).await?
            }
            answer => answer,
        };
        answer.map_err(|error| RedisFault::Strange(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn books_are_evicted_by_policies_for_all_keys_and_only_when_there_is_a_limit() {
        assert!(
            matches!(Eviction::by("allkeys-lru", 1), Eviction::Books(said) if said.contains("allkeys-lru"))
        );
        assert!(matches!(Eviction::by("allkeys-random", 0), Eviction::NotNow(_)));
        assert!(matches!(Eviction::by("volatile-lru", 1), Eviction::NotNow(_)));
        for policy in ["noeviction", ""] {
            assert_eq!(Eviction::by(policy, 1), Eviction::Never);
        }
    }
}
