//! Shows the marks of the store on this node. A task of its own: however long it takes to move rooms or to write registrations down,
//! who is admitted is known.

use super::desk::OrderDesk;
use super::store_error::StoreError;

/// Shows the marks of all rooms, for ever.
pub async fn show_marks(desk: OrderDesk) {
    let mut is_blind = false;
    loop {
        let looked_at = desk.clock().stopwatch();
        match desk.show_marks().await {
            Ok(()) => {
                desk.admission().rooms().set_looked_at(looked_at);
                if std::mem::take(&mut is_blind) {
                    tracing::info!(
                        code = "waiting-rooms-seen",
                        "the marks of the waiting rooms are known again"
                    );
                }
            }
            Err(error) if !std::mem::replace(&mut is_blind, true) => warn_blind(&error),
            Err(_) => {}
        }
        tokio::time::sleep(desk.between_looks()).await;
    }
}

fn warn_blind(error: &StoreError) {
    tracing::warn!(
        %error,
        code = "waiting-rooms-unseen",
        sqlstate = error.sqlstate.as_deref(),
        "the marks of the waiting rooms cannot be read: nobody more is admitted, and after waiting_room.stale_ms_max each sale \
         is open or holds, as its queue.on_failure says"
    );
}
