//! What connections and followers are told, in this order.

use tokio::sync::watch;

/// How far the plane is between its start and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Serve.
    Serve,
    /// Serve, and have clients go elsewhere with their next calls.
    Leave,
    /// Accept nobody, finish what is in flight; followers go on elsewhere.
    Drain,
}

/// Ends when the plane has come this far, or is gone.
pub(super) async fn reached(stage: &mut watch::Receiver<Stage>, goal: Stage) {
    let _ = stage.wait_for(|stage| *stage >= goal).await;
}
