//! Writes the registrations of this node down: the log of who waits.

use super::desk::OrderDesk;

/// Writes down whoever registers, for ever.
pub async fn log_registrations(desk: OrderDesk) {
    loop {
        match desk.write_registrations().await {
            // There may be more.
            Ok(OrderDesk::REGISTRATIONS_AT_ONCE) => continue,
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "registrations wait for the store"),
        }
        tokio::time::sleep(desk.between_looks()).await;
    }
}
