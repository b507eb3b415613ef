//! Rebuilds: asked for in the trail, which every engine can write and the one that writes the index reads. What the trail says
//! of its end is all that is written down of one, so that whoever goes on knows what is left to do.

use serde_json::{Value, json};

use crate::domain::EpochMs;
use crate::orders::{Act, ActKind, Actor, OrderDesk, StoreError, TrailEntry, TrailFilter};

/// Entries of the trail that are read at once.
const PAGE: usize = 256;

/// The last rebuild that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RebuildState {
    /// When it was asked for.
    pub asked_at: EpochMs,
    /// When it ended, and with how many documents or why not; `None` while it is to be done.
    pub ended: Option<(EpochMs, Result<u64, String>)>,
    number: u64,
}

impl RebuildState {
    /// What the trail tells of it; `None` when none was ever asked for.
    ///
    /// # Errors
    /// The store does not answer.
    pub(super) async fn read(desk: &OrderDesk) -> Result<Option<Self>, StoreError> {
        let Some(asked) = newest(desk, Some(ActKind::SearchRebuildAsked)).await? else { return Ok(None) };
        let mut state = Self { asked_at: asked.at, ended: None, number: asked.seq };
        for kind in [ActKind::SearchRebuilt, ActKind::SearchRebuildFailed] {
            let Some(ended) = newest(desk, Some(kind)).await? else { continue };
            // One that was asked for while another was under way is not ended with it.
            if ended.to["rebuild"].as_u64() >= Some(asked.seq) {
                let outcome = match kind {
                    ActKind::SearchRebuilt => Ok(ended.to["documents"].as_u64().unwrap_or_default()),
                    _ => Err(ended.reason.unwrap_or_default()),
                };
                state.ended = Some((ended.at, outcome));
            }
        }
        Ok(Some(state))
    }
}

async fn newest(desk: &OrderDesk, kind: Option<ActKind>) -> Result<Option<TrailEntry>, StoreError> {
    let kind = kind.map(|kind| kind.as_str().to_owned());
    let filter = TrailFilter { kind, limit: 1, ..TrailFilter::default() };
    Ok(desk.trail_page(filter).await?.into_iter().next())
}

/// Follows the trail for rebuilds that are asked for.
#[derive(Debug)]
pub(super) struct Requests {
    read_through: u64,
}

impl Requests {
    /// From now on, and the number of one that is left to do.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn follow(desk: &OrderDesk) -> Result<(Self, Option<u64>), StoreError> {
        let read_through = newest(desk, None).await?.map_or(0, |last| last.seq);
        let last = RebuildState::read(desk).await?;
        let left = last.filter(|last| last.ended.is_none()).map(|last| last.number);
        Ok((Self { read_through }, left))
    }

    /// The number of the newest one since.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn next(&mut self, desk: &OrderDesk) -> Result<Option<u64>, StoreError> {
        let mut asked = None;
        loop {
            let page = desk.all_acts_after(self.read_through, PAGE).await?;
            let Some(last) = page.last() else { return Ok(asked) };
            self.read_through = last.seq;
            let is_one = |entry: &&TrailEntry| entry.kind == ActKind::SearchRebuildAsked.as_str();
            asked = page.iter().filter(is_one).map(|entry| entry.seq).next_back().or(asked);
            if page.len() < PAGE {
                return Ok(asked);
            }
        }
    }
}

/// What the trail tells of the end of a rebuild.
pub(super) fn ended(number: u64, at: EpochMs, index: &str, outcome: Result<usize, String>) -> Act {
    let (kind, documents, reason) = match outcome {
        Ok(documents) => (ActKind::SearchRebuilt, Some(documents), None),
        Err(why) => (ActKind::SearchRebuildFailed, None, Some(why)),
    };
    Act {
        id: rand::random(),
        at,
        actor: Actor {
            who: "engine".into(),
            role: "policy".into(),
            address: String::new(),
            request_id: String::new(),
        },
        tenant: None,
        kind,
        object: index.to_owned(),
        from: Value::Null,
        to: json!({ "rebuild": number, "documents": documents }),
        reason,
    }
}
