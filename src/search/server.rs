//! What a search server is to the writer, whatever its kind.

use super::elastic::Elastic;
use super::meili::Meili;
use super::outcome::{Fault, Line, Verdict};
use super::settings::{SearchKind, SearchSettings};

/// A search server.
#[derive(Debug)]
pub(super) enum Server {
    Elastic(Elastic),
    Meili(Meili),
}

impl Server {
    /// The server of these settings.
    ///
    /// # Errors
    /// Nothing can be connected to with them.
    pub fn new(settings: &SearchSettings) -> Result<Self, String> {
        Ok(match settings.kind {
            SearchKind::Meilisearch => Self::Meili(Meili::new(settings)?),
            _ => Self::Elastic(Elastic::new(settings)?),
        })
    }

    /// Makes the index if it is not there. Answers with the highest version that a document there has.
    pub async fn prepare(&self) -> Result<u64, Fault> {
        match self {
            Self::Elastic(server) => server.prepare().await,
            Self::Meili(server) => server.prepare().await,
        }
    }

    /// Puts and removes, in this index instead of the usual one if one is named. A verdict for each line.
    pub async fn write(&self, lines: &[Line], into: Option<&str>) -> Result<Vec<Verdict>, Fault> {
        match self {
            Self::Elastic(server) => server.write(lines, into).await,
            Self::Meili(server) => server.write(lines, into).await,
        }
    }

    /// Removes all documents of versions below this one, but for those with these names.
    pub async fn remove_below(&self, version: u64, kept: &[String]) -> Result<(), Fault> {
        match self {
            Self::Elastic(server) => server.remove_below(version, kept).await,
            Self::Meili(server) => server.remove_below(version, kept).await,
        }
    }

    /// Makes an empty index for the rebuild with this number. `None` when that rebuild has taken its place already.
    pub async fn fresh(&self, rebuild: u64) -> Result<Option<String>, Fault> {
        match self {
            Self::Elastic(server) => server.fresh(rebuild).await,
            Self::Meili(server) => server.fresh().await.map(Some),
        }
    }

    /// Puts it in the place of the usual one, at once, and removes what was there.
    pub async fn swap(&self, fresh: &str) -> Result<(), Fault> {
        match self {
            Self::Elastic(server) => server.swap(fresh).await,
            Self::Meili(server) => server.swap(fresh).await,
        }
    }
}
