//! What the trail keeps of those who were refused: tokens that are none, and acts that a role does not allow. And how it is told
//! of anything without being waited for.

use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::acting::{Acting, Peer};
use super::caller::Caller;
use super::control_plane::ControlPlane;
use super::refused_attempts::{RefusedAttempts, Source, Verdict, WINDOW};
use super::request_id::RequestId;
use crate::orders::ActKind;

impl ControlPlane {
    /// A token came that is none.
    pub(super) fn note_wrong_token(self: &Arc<Self>, peer: Option<Peer>, id: &RequestId) -> Verdict {
        let source = Source { who: None, address: address_of(peer) };
        let acting = Acting::of_nobody(peer, id);
        self.note_refusal(&self.failed_sign_ins, source, acting, (ActKind::SignInRefused, "sign-in".into()))
    }

    /// Somebody tried what the role does not allow.
    pub(super) fn note_refused_act(
        self: &Arc<Self>,
        caller: &Caller,
        peer: Option<Peer>,
        acting: Acting,
        tried: String,
    ) {
        let source = Source { who: Some(Arc::clone(&caller.name)), address: address_of(peer) };
        self.note_refusal(&self.refused_acts, source, acting, (ActKind::ActRefused, tried));
    }

    /// The trail keeps the first attempt of a source, and once its time is over, in one entry, how many more there were.
    fn note_refusal(
        self: &Arc<Self>,
        attempts: &Arc<RefusedAttempts>,
        source: Source,
        acting: Acting,
        (kind, tried): (ActKind, String),
    ) -> Verdict {
        let (verdict, counted_as) = attempts.note(source);
        if verdict == Verdict::Told {
            let (plane, attempts) = (Arc::clone(self), Arc::clone(attempts));
            tokio::spawn(async move {
                plane.tell_of(&acting, kind, tried.clone(), Value::Null).await;
                let later = Arc::downgrade(&plane);
                drop(plane);
                sleep(WINDOW).await;
                let more = attempts.close(&counted_as);
                let Some(plane) = later.upgrade().filter(|_| more > 0) else { return };
                let to = json!({ "more": more });
                if counted_as.is_some() {
                    plane.tell_of(&acting, kind, tried, to).await;
                } else {
                    // Of many: they are not laid at the door of the first.
                    let nobody = Acting::of_nobody(None, &RequestId(String::new()));
                    plane.tell_of(&nobody, kind, "many".into(), to).await;
                }
            });
        }
        verdict
    }

    /// Tells the trail, without waiting for it, of what no store takes part in.
    pub(super) fn tell_beside(self: &Arc<Self>, acting: Acting, kind: ActKind, object: String) {
        let plane = Arc::clone(self);
        tokio::spawn(async move { plane.tell_of(&acting, kind, object, Value::Null).await });
    }

    async fn tell_of(&self, acting: &Acting, kind: ActKind, object: String, to: Value) {
        let mut act = acting.act(self, kind, object, None);
        act.tenant = act.tenant.filter(|_| acting.is_bound());
        act.to = to;
        if let Err(error) = self.desk.tell(act).await {
            tracing::warn!(%error, act = kind.as_str(), "the trail does not tell of this");
        }
    }
}

fn address_of(peer: Option<Peer>) -> Option<IpAddr> {
    peer.map(|Peer(peer)| peer.ip())
}
