//! The search server, where one is configured.

use tokio::sync::watch;

use crate::exit::{Exit, Failure};
use crate::orders::OrderDesk;
use crate::search::{Search, SearchSettings};
use crate::supervisor::Supervisor;

/// The search server of these settings; `None` where there is none.
pub(super) fn open(settings: &SearchSettings, desk: &OrderDesk) -> Result<Option<Search>, Failure> {
    Search::new(settings, desk.clone()).map_err(|wrong| Failure::new(Exit::Config, wrong))
}

/// Has the sales followed, whenever this engine is the one that does.
pub(super) fn start(supervisor: &Supervisor, search: &Search, elected: Option<watch::Receiver<bool>>) {
    let following = search.clone().run(elected);
    supervisor.task("search", async move {
        following.await;
        Ok(())
    });
}
