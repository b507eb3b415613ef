//! Whether Redis serves this node, told once when it gets bad and once when it is good again.

use parking_lot::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// It is good again when commands pass and none has failed for so long: a server that takes some and refuses others is
/// told of once.
const CALM: Duration = Duration::from_secs(2);

#[derive(Debug)]
struct Outage {
    began: Instant,
    latest: Instant,
    said: String,
}

/// What became of the last commands.
#[derive(Debug, Default)]
pub(super) struct Health(Mutex<Option<Outage>>);

impl Health {
    /// A command has failed, or a connection.
    pub(super) fn failed(&self, said: &str) {
        let now = Instant::now();
        let mut outage = self.0.lock();
        match &mut *outage {
            Some(outage) => {
                outage.latest = now;
                if outage.said != said {
                    tracing::debug!(said, "redis fails in another way");
                    said.clone_into(&mut outage.said);
                }
            }
            None => {
                *outage = Some(Outage { began: now, latest: now, said: said.to_owned() });
                drop(outage);
                tracing::warn!(
                    said,
                    "redis does not lend: this node sells what it holds, and refuses when that is sold"
                );
            }
        }
    }

    /// A command has passed.
    pub(super) fn passed(&self) {
        let mut outage = self.0.lock();
        if let Some(over) = outage.take_if(|outage| outage.latest.elapsed() >= CALM) {
            drop(outage);
            tracing::info!(
                after_ms = over.began.elapsed().as_millis() as u64,
                said = over.said,
                "redis lends again"
            );
        }
    }
}
