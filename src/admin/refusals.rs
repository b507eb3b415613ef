//! What the trail keeps of those who were refused: tokens that are none, and acts that a role does not allow.

use std::sync::Arc;
use std::time::Instant;

use super::acting::{Acting, Peer};
use super::control_plane::ControlPlane;
use super::failed_sign_ins::Verdict;
use super::request_id::RequestId;
use crate::orders::ActKind;

impl ControlPlane {
    /// A token came that is none. The trail keeps the first of an address in a while.
    pub(super) fn note_wrong_token(self: &Arc<Self>, peer: Option<Peer>, id: &RequestId) -> Verdict {
        let address = peer.map(|Peer(peer)| peer.ip());
        let verdict = self.failed_sign_ins.note(address, Instant::now());
        if verdict == Verdict::Told {
            self.tell_beside(Acting::of_nobody(peer, id), ActKind::SignInRefused, "sign-in".into());
        }
        verdict
    }

    /// Tells the trail, without waiting for it, of what no store takes part in.
    pub(super) fn tell_beside(self: &Arc<Self>, acting: Acting, kind: ActKind, object: String) {
        let plane = Arc::clone(self);
        tokio::spawn(async move {
            let mut act = acting.act(&plane, kind, object, None);
            act.tenant = act.tenant.filter(|_| acting.is_bound());
            if let Err(error) = plane.desk.tell(act).await {
                tracing::warn!(%error, act = kind.as_str(), "the trail does not tell of this");
            }
        });
    }
}
